"""What is asked of a learner, as a loss: the meta-loss is its value after T steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf


class Objective(Protocol):
    """What a learner is scored by.

    It knows neither how the learner was trained nor how its loss is differentiated.
    """

    def sample(self, num_batches: int, seed: tf.Tensor) -> Any:
        """What the losses are of: a nest of tensors, each [num_batches, ...]."""

    def loss(self, apply: Callable, batch: Any) -> tf.Tensor:
        """A scalar.

        Args:
          apply: x -> outputs of the learner, as it is evaluated.
          batch: one of those that were sampled.
        """


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

    def sample(self, num_batches: int, seed: tf.Tensor) -> OuterBatches:
        """One batch for each loss."""
        return OuterBatches(*self.draw(num_batches, self.batch_size, seed))

    def loss(self, apply: Callable, batch: OuterBatches) -> tf.Tensor:
        """Of the learner's outputs for the batch's images."""
        return self.outer_loss(apply(self.normalize(batch.images)), batch.labels)


def cross_entropy_of_labels(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of softmax(logits [B, K]) from label ids [B]."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
