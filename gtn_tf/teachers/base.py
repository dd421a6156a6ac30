"""Teachers: what a learner is trained on, behind one interface.

Every teacher has the one method that the inner loop is about,

    batch(step, seed) -> x [B, H, W, C], targets [B, K]

pure in (step, seed) and the values of `variables`, which is what makes recomputing
it correct. For the unrolled loop it comes in two parts:

    plan(seed) -> inputs, each [T, ...]: what is shown at every step, drawn at once
    show(weights, *inputs of one step) -> x, targets, with weights = self.weights()

`show` reads no variable: it is traced into inner steps, where captured variables
break under a loop, so everything it needs comes as an argument. A teacher that
responds to the learner gets what `feedback` made of the step before as well:

    show(weights, *inputs of one step, *feedback)
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import math

import keras
import tensorflow as tf

from gtn_tf.data.dataset import Dataset
from gtn_tf.errors import UserError
from gtn_tf.teachers import curricula
from gtn_tf.teachers.registry import CURRICULA

_FIRST_SHARE = 0.99  # of its class in a learned label, at the start


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """Shapes that every teacher shares.

    Attributes:
      num_inner_steps: T.
      inner_batch_size: B.
      image_shape: (H, W, C).
      num_classes: K.
      curriculum: a key of `registry.CURRICULA`.
      labels: what the targets are, one of `registry.LABELS`.
      dtype: of images and targets, "float32" or "float64".
    """

    num_inner_steps: int
    inner_batch_size: int
    image_shape: tuple[int, int, int]
    num_classes: int
    curriculum: str = "full"
    labels: str = "hard"
    dtype: str = "float32"


class Teacher(abc.ABC):
    """The interface, and what its families share.

    Attributes:
      variables: what is meta-learned.
      learns: whether what is shown is learned; if not, it is data, and not exported.
      has_fixed_batches: latents or pixels for T batches of B, and no others.
      generator: where images come from; None where they come from elsewhere.
      possible_labels: those of `registry.LABELS` that it can have.
      label_scores: learned labels before their softmax [T, B, K]; None without.
    """

    learns = True
    has_fixed_batches = False
    generator: keras.Model | None = None
    possible_labels: tuple[str, ...] = ("hard",)
    label_scores: tf.Variable | None = None

    def __init__(self, spec: TeacherSpec):
        self.spec = spec
        self.variables: list[tf.Variable] = []  # set by `_use`

    @classmethod
    @abc.abstractmethod
    def of_run(cls, spec: TeacherSpec, config, dataset: Dataset) -> Teacher:
        """The teacher of a run.

        Args:
          config: the run's flags, a `config.TrainingConfig`.
          dataset: of real images.

        Raises:
          UserError: a data set that does not suit it.
        """

    @classmethod
    def check_curriculum(cls, name: str) -> None:
        """Refuses a curriculum that this kind of teacher has no use for.

        Raises:
          UserError: what is allowed.
        """
        if name not in CURRICULA:
            raise UserError(
                f"--curriculum={name} is unknown: give one of {', '.join(CURRICULA)}"
            )

    @classmethod
    def check_labels(cls, name: str, curriculum: str) -> None:
        """Refuses labels that this kind of teacher cannot have.

        Raises:
          UserError: what is allowed.
        """
        if name not in cls.possible_labels:
            raise UserError(
                f"--labels={name} contradicts the teacher, {cls.__name__}: give one of "
                f"{', '.join(cls.possible_labels)}, or another --teacher"
            )
        if name == "learned" and CURRICULA[curriculum].order is None:
            raise UserError(
                f"--labels=learned contradicts --curriculum={curriculum}: learned "
                "labels are stored beside a curriculum; give all_shuffled, "
                "shuffled_batch or full, or --labels=generated"
            )

    def begin_as(self, x: tf.Tensor, labels, num_steps: int) -> float:
        """Makes what is shown resemble images, one for each place of the curriculum.

        Args:
          x: [T, B, H, W, C], normalized.
          labels: [T, B], as in `curricula.even_labels`.
          num_steps: of learning, where it takes some.

        Returns:
          The mean squared difference that is left.

        Raises:
          UserError: a teacher that stores nothing for its places to be set.
        """
        raise UserError(
            f"{type(self).__name__} with curriculum {self.spec.curriculum!r} "
            "stores no batches to begin as real images: use the curriculum full, "
            "shuffled_batch or all_shuffled with a generator or distilled pixels, or "
            "no warm start"
        )

    def weights(self) -> list[tf.Tensor]:
        """What `show` needs beside its inputs, the same at every step."""
        return []

    @abc.abstractmethod
    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What is shown at every step, each [T, ...]."""

    @abc.abstractmethod
    def show(self, weights, *inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """x [B, H, W, C] and targets [B, K] from one step's part of the plan, and from
        the learner's feedback where there is any."""

    def no_feedback(self) -> tuple[tf.Tensor, ...]:
        """What is known of a learner before its first step; of all shapes that
        `feedback` gives, and empty for a teacher that does not respond."""
        return ()

    def feedback(self, targets, outputs) -> tuple[tf.Tensor, ...]:
        """What the next step is told of the learner, differentiable in its outputs.

        Args:
          targets: of the batch that it was shown, [B, K].
          outputs: what it said of the batch before its step, [B, K].
        """
        return ()

    def batch(
        self, step, seed: tf.Tensor, feedback: tuple[tf.Tensor, ...] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """x [B, H, W, C] and targets [B, K] of inner step `step`.

        Args:
          feedback: of the step before; None where there is no learner.
        """
        inputs = [values[step] for values in self.plan(seed)]
        told = self.no_feedback() if feedback is None else feedback
        return self.show(self.weights(), *inputs, *told)

    def stored_in(self, dtype: str) -> Teacher:
        """The same teacher with its variables kept in another floating type.

        What it shows is computed, and comes, in `spec.dtype` as before.
        """
        other = copy.copy(self)
        other._use([tf.Variable(tf.cast(v, dtype)) for v in self.variables])
        return other

    def at(self, values: list[tf.Tensor]) -> Teacher:
        """The same teacher that reads these tensors in place of its variables."""
        other = copy.copy(self)
        other._use(list(values))
        return other

    def _use(self, variables: list[tf.Variable]) -> None:
        """Makes these the variables that it reads."""
        self.variables = variables

    def resized(self, num_inner_steps: int, inner_batch_size: int) -> Teacher:
        """The same teacher, asked for another amount of data (Appendix G).

        Raises:
          UserError: the teacher stores what it shows, T batches of B.
        """
        if self.has_fixed_batches:
            raise UserError(
                f"this teacher stores {self.spec.num_inner_steps} batches of "
                f"{self.spec.inner_batch_size} images: only --curriculum=none and "
                "--teacher=real have more"
            )
        other = copy.copy(self)
        other.spec = dataclasses.replace(
            self.spec,
            num_inner_steps=num_inner_steps,
            inner_batch_size=inner_batch_size,
        )
        return other

    def _ordered(self, seed: tf.Tensor, *stored: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Stored items, each [T, B, ...], in the curriculum's order."""
        spec = self.spec
        order = CURRICULA[spec.curriculum].order(
            spec.num_inner_steps, spec.inner_batch_size, seed
        )
        return tuple(curricula.present(values, order) for values in stored)

    def _stored_labels(self) -> list[tf.Tensor]:
        """The fixed classes of stored items as targets [T, B, K] and, where labels
        are learned, the learned ones.

        Learned ones are softmax(c v) with v begun as the hard label, and c such that
        the class's own share is then 0.99.
        """
        spec = self.spec
        fixed = curricula.even_labels(
            spec.num_inner_steps, spec.inner_batch_size, spec.num_classes
        )
        labels = [self._targets(fixed)]
        if self.label_scores is not None:
            scores = tf.cast(self.label_scores, spec.dtype)
            labels.append(tf.nn.softmax(self._sharpness * scores))
        return labels

    @property
    def _sharpness(self) -> float:
        odds = _FIRST_SHARE / (1 - _FIRST_SHARE)
        return math.log(odds * max(self.spec.num_classes - 1, 1))

    def _first_label_scores(self) -> tf.Variable:
        return tf.Variable(self._stored_labels()[0], name="label_scores")

    def _targets(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(labels, self.spec.num_classes, dtype=self.spec.dtype)


def normal_variable(shape, dtype: str, seed: int, name: str) -> tf.Variable:
    """Begun from a unit Gaussian."""
    values = tf.random.stateless_normal(shape, [seed, 1], dtype=dtype)
    return tf.Variable(values, name=name)
