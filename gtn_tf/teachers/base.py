"""Teachers: what a learner is trained on. Generator, distilled pixels, real data.

Every teacher has the one method that the inner loop is about,

    batch(step, seed) -> x [B, H, W, C], targets [B, K]

pure in (step, seed) and the values of `variables`, which is what makes recomputing
it correct. For the unrolled loop it comes in two parts:

    plan(seed) -> inputs, each [T, ...]: what is shown at every step, drawn at once
    show(weights, *inputs of one step) -> x, targets, with weights = self.weights()

`show` reads no variable: it is traced into inner steps, where captured variables
break under a loop, so everything it needs comes as an argument.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from gtn_tf.teachers import curricula


@dataclasses.dataclass(frozen=True)
class TeacherSpec:
    """Shapes that every teacher shares.

    Attributes:
      num_inner_steps: T.
      inner_batch_size: B.
      image_shape: (H, W, C).
      num_classes: K.
      curriculum: a key of `curricula.CURRICULA`.
      dtype: of images and targets, "float32" or "float64".
    """

    num_inner_steps: int
    inner_batch_size: int
    image_shape: tuple[int, int, int]
    num_classes: int
    curriculum: str = "full"
    dtype: str = "float32"


class Teacher(abc.ABC):
    """The interface, and what its families share. `variables` are meta-learned.

    `stores`: latents or pixels for T batches of B, and no others.
    """

    stores = False

    def __init__(self, spec: TeacherSpec):
        self.spec = spec
        self.variables: list[tf.Variable] = []  # set by `_use`

    def weights(self) -> list[tf.Tensor]:
        """What `show` needs beside its inputs, the same at every step."""
        return []

    @abc.abstractmethod
    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What is shown at every step, each [T, ...]."""

    @abc.abstractmethod
    def show(self, weights, *inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """x [B, H, W, C] and targets [B, K] from one step's part of the plan."""

    def batch(self, step, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """x [B, H, W, C] and targets [B, K] of inner step `step`."""
        inputs = [values[step] for values in self.plan(seed)]
        return self.show(self.weights(), *inputs)

    def stored_in(self, dtype: str) -> Teacher:
        """The same teacher with its variables kept in another floating type.

        What it shows is computed, and comes, in `spec.dtype` as before.
        """
        other = copy.copy(self)
        other._use([tf.Variable(tf.cast(v, dtype)) for v in self.variables])
        return other

    def _use(self, variables: list[tf.Variable]) -> None:
        """Makes these the variables that it reads."""
        self.variables = variables

    def resized(self, num_inner_steps: int, inner_batch_size: int) -> Teacher:
        """The same teacher, asked for another amount of data (Appendix G).

        Raises:
          ValueError: the teacher stores what it shows, T batches of B.
        """
        if self.stores:
            raise ValueError(
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

    def _ordered(self, stored: tf.Tensor, seed: tf.Tensor):
        """Stored items and their fixed labels in the curriculum's order."""
        spec = self.spec
        shape = (spec.num_inner_steps, spec.inner_batch_size)
        order = curricula.CURRICULA[spec.curriculum].order(*shape, seed)
        labels = curricula.even_labels(*shape, spec.num_classes)
        return (
            curricula.present(stored, order),
            self._targets(curricula.present(labels, order)),
        )

    def _targets(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(labels, self.spec.num_classes, dtype=self.spec.dtype)


class GTN(Teacher):
    """x = G(z_t, y_t), with learned latents z or, without curriculum, drawn ones."""

    def __init__(self, spec: TeacherSpec, generator: keras.Model, seed: int):
        super().__init__(spec)
        self.generator = generator
        self.latent_size = generator.input_shape[0][-1]
        variables = [v.value for v in generator.trainable_variables]
        if curricula.CURRICULA[spec.curriculum].order is not None:
            shape = (spec.num_inner_steps, spec.inner_batch_size, self.latent_size)
            variables.append(_normal_variable(shape, spec.dtype, seed, "latents"))
            self.stores = True
        self._use(variables)

    def _use(self, variables: list[tf.Variable]) -> None:
        self.variables = variables
        self._num_weights = len(variables) - self.stores
        self.latents = variables[-1] if self.stores else None

    def weights(self) -> list[tf.Tensor]:
        """The generator's trainable weights."""
        stored = self.variables[: self._num_weights]
        return [tf.cast(v, self.spec.dtype) for v in stored]

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Latents [T, B, latent_size] and targets [T, B, K].

        Without curriculum z is drawn from a unit Gaussian, y uniformly (section 2).
        """
        if self.latents is not None:
            return self._ordered(tf.cast(self.latents, self.spec.dtype), seed)
        spec = self.spec
        shape = [spec.num_inner_steps, spec.inner_batch_size]
        latents_seed, labels_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        latents = tf.random.stateless_normal(
            [*shape, self.latent_size], latents_seed, dtype=spec.dtype
        )
        labels = tf.random.stateless_uniform(
            shape, labels_seed, maxval=spec.num_classes, dtype=tf.int32
        )
        return latents, self._targets(labels)

    def show(self, weights, latents, targets) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [B, H, W, C] generated from latents [B, Z] and targets [B, K]."""
        images, _ = self._normalized_by_batch(weights, latents, targets)
        return images, targets

    def statistics(self, seed: tf.Tensor) -> list[tf.Tensor]:
        """What `generate` normalizes with: batch norm's means and variances.

        They are those of the T batches of this seed, averaged over the batches.
        """
        plan, weights = self.plan(seed), self.weights()
        sums = [tf.zeros(v.shape, v.dtype) for v in self._unlearned]
        for t in range(self.spec.num_inner_steps):
            _, own = self._normalized_by_batch(weights, *(values[t] for values in plan))
            sums = [total + value for total, value in zip(sums, own, strict=True)]
        return [total / self.spec.num_inner_steps for total in sums]

    def generate(self, weights, statistics, latents, targets) -> tf.Tensor:
        """Images [N, H, W, C], each independent of the others.

        Args:
          weights: as `weights()` gives them.
          statistics: as `statistics(seed)` gives them.
          latents: [N, Z].
          targets: [N, K].
        """
        images, _ = self.generator.stateless_call(
            weights, statistics, [latents, targets], training=False
        )
        return images

    def _normalized_by_batch(self, weights, latents, targets):
        """Images, and the statistics that the batch itself was normalized with."""
        unread = [tf.zeros(v.shape, v.dtype) for v in self._unlearned]
        return self.generator.stateless_call(
            weights, unread, [latents, targets], training=True
        )

    @property
    def _unlearned(self) -> list:
        return self.generator.non_trainable_variables


class Distillation(Teacher):
    """Dataset distillation (Wang et al., 2019b): the pixels are the variables."""

    stores = True

    def __init__(self, spec: TeacherSpec, seed: int):
        super().__init__(spec)
        shape = (spec.num_inner_steps, spec.inner_batch_size, *spec.image_shape)
        self._use([_normal_variable(shape, spec.dtype, seed, "pixels")])

    def _use(self, variables: list[tf.Variable]) -> None:
        (self.pixels,) = self.variables = variables

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [T, B, H, W, C] and targets [T, B, K]."""
        return self._ordered(tf.cast(self.pixels, self.spec.dtype), seed)

    def show(self, weights, images, targets) -> tuple[tf.Tensor, tf.Tensor]:
        return images, targets


class Real(Teacher):
    """Random batches of real training data, without replacement within one run.

    Nothing here is learned; the inner hyperparameters are, as for the others
    (section 3.3).

    Args:
      draw: (num_steps, batch_size, seed) -> raw images uint8 [T, B, H, W, C] and
        labels [T, B].
      normalise: raw images -> x.
    """

    def __init__(self, spec: TeacherSpec, draw: Callable, normalise: Callable):
        super().__init__(spec)
        self._draw = draw
        self._normalise = normalise

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw images [T, B, H, W, C] and label ids [T, B]."""
        return self._draw(self.spec.num_inner_steps, self.spec.inner_batch_size, seed)

    def show(self, weights, images, labels) -> tuple[tf.Tensor, tf.Tensor]:
        return self._normalise(images), self._targets(labels)


def _normal_variable(shape, dtype: str, seed: int, name: str) -> tf.Variable:
    values = tf.random.stateless_normal(shape, [seed, 1], dtype=dtype)
    return tf.Variable(values, name=name)
