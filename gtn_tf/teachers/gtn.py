"""The Generative Teaching Network: a generator and its latents (section 2)."""

from __future__ import annotations

import keras
import tensorflow as tf

from gtn_tf.teachers import curricula
from gtn_tf.teachers.base import Teacher, TeacherSpec, normal_variable


class GTN(Teacher):
    """x = G(z_t, y_t), with learned latents z or, without curriculum, drawn ones."""

    def __init__(self, spec: TeacherSpec, generator: keras.Model, seed: int):
        super().__init__(spec)
        self.generator = generator
        self.latent_size = generator.input_shape[0][-1]
        variables = [v.value for v in generator.trainable_variables]
        if curricula.CURRICULA[spec.curriculum].order is not None:
            shape = (spec.num_inner_steps, spec.inner_batch_size, self.latent_size)
            variables.append(normal_variable(shape, spec.dtype, seed, "latents"))
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
