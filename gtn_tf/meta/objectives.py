"""What is asked of a learner, as a loss: the meta-loss is its value after T steps."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol

import tensorflow as tf

from gtn_tf.data import batches
from gtn_tf.data.dataset import Dataset, normalize
from gtn_tf.data.splits import Split

_CHUNK_SIZE = 500  # images per forward pass: bounds memory, not the result


class Measured(NamedTuple):
    """What trained learners are compared by; more of it is better.

    Attributes:
      name: as in "test accuracy".
      factor: that it is shown with.
      unit: that follows it, with the space between.
    """

    name: str
    factor: float
    unit: str


ACCURACY = Measured("accuracy", 100, " %")


class Objective(Protocol):
    """What a learner is scored by.

    It knows neither how the learner was trained nor how its loss is differentiated.

    Attributes:
      measured: what `measure` measures.
      variables: what is learned with the teacher, by the same loss.
      num_validated: fresh learners in a validation.
      normalize: raw inputs -> x.
    """

    measured: Measured
    variables: list[tf.Variable]
    num_validated: int
    normalize: Callable

    @classmethod
    def of_run(cls, config: Any, dataset: Dataset) -> Objective:
        """The objective of a run's configuration."""

    def sample(self, num_batches: int, seed: tf.Tensor) -> Any:
        """What the losses are of: a nest of tensors, each [num_batches, ...]."""

    def loss(self, apply: Callable, batch: Any) -> tf.Tensor:
        """A scalar.

        Args:
          apply: x -> outputs of the learner, as it is evaluated.
          batch: one of those that were sampled.
        """

    def examples(self, split: Any) -> Iterator[tuple[tf.Tensor, ...]]:
        """A split in parts that fit into memory, each [N, ...]."""

    def measure(self, apply: Callable, example: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Of one part: its size, the sum of what is measured, that of losses; [3]."""


class OuterBatches(NamedTuple):
    """Real training data that a learner is scored on: raw images and label ids.

    `images` is [L + 1, B, H, W, C]: one batch for each of the L intermediate losses,
    then that of the trained learner; `labels` is [L + 1, B].
    """

    images: tf.Tensor
    labels: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification:
    """The loss on real images and their labels (Appendix A).

    Attributes:
      draw: (num_batches, batch_size, seed) -> raw images, labels.
      batch_size: real images in each loss.
      normalize: raw images -> x.
      outer_loss: (logits [B, K], label ids [B]) -> scalar.
    """

    draw: Callable
    batch_size: int
    normalize: Callable
    outer_loss: Callable
    measured: ClassVar[Measured] = ACCURACY
    variables: ClassVar[list] = []
    num_validated: ClassVar[int] = 1

    @classmethod
    def of_run(cls, config: Any, dataset: Dataset) -> Classification:
        """Cross-entropy on real training images, augmented for CIFAR-10."""
        augment = {"auto": dataset.augment, "always": True, "never": False}
        return cls(
            draw=batches.sampler(dataset.train, augment[config.augment]),
            batch_size=config.outer_batch_size,
            normalize=functools.partial(normalize, mean=dataset.mean, std=dataset.std),
            outer_loss=cross_entropy_of_labels,
        )

    def sample(self, num_batches: int, seed: tf.Tensor) -> OuterBatches:
        """One batch for each loss."""
        return OuterBatches(*self.draw(num_batches, self.batch_size, seed))

    def loss(self, apply: Callable, batch: OuterBatches) -> tf.Tensor:
        """Of the learner's outputs for the batch's images."""
        return self.outer_loss(apply(self.normalize(batch.images)), batch.labels)

    def examples(self, split: Split) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Raw images (float32) and labels."""
        for start in range(0, len(split.labels), _CHUNK_SIZE):
            chunk = slice(start, start + _CHUNK_SIZE)
            images = tf.cast(split.images[chunk], tf.float32)
            yield images, tf.constant(split.labels[chunk])

    def measure(self, apply: Callable, example: tuple) -> tf.Tensor:
        """Number of images, number right, sum of losses."""
        images, labels = example
        logits = apply(self.normalize(images))
        right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
        loss = self.outer_loss(logits, labels)
        count = tf.cast(tf.shape(labels)[0], loss.dtype)
        return tf.stack(
            [count, tf.reduce_sum(tf.cast(right, loss.dtype)), loss * count]
        )


def cross_entropy_of_labels(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of softmax(logits [B, K]) from label ids [B]."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
