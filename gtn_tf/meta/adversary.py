"""A second term of the outer loss: the teacher's images are to look real (Appendix I).

    outer loss  (1 - w) meta_loss + w mean softplus(-D(x))         x from the teacher
    D's loss    mean softplus(-D(real)) + mean softplus(D(x))

after Goodfellow et al., 2014, with the generator's loss that does not saturate. Both
gradients are taken at the same weights. With w = 1 the teacher is the generator of a
plain GAN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from gtn_tf.teachers.base import Teacher

_STREAM = 1 << 20  # folded into seeds: no learner of an outer step has this index


class AdversarialLosses(NamedTuple):
    """What both sides lose in one outer step."""

    adversarial_loss: tf.Tensor  # the teacher's term: 0.69 where it is guessed at
    discriminator_loss: tf.Tensor  # of two terms: 1.39 where it guesses


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Adversary:
    """A discriminator that learns beside the teacher, one step for each of its steps.

    Attributes:
      teacher: whose images it judges.
      discriminator: x [B, H, W, C] -> scores [B, 1].
      optimizer: of the discriminator, its slots made.
      draw: (num_batches, batch_size, seed) -> raw real images, labels.
      normalize: raw images -> x.
      weight: w, above 0 and at most 1.
      last: losses of the last step, to be shown; no step depends on them.
    """

    teacher: Teacher
    discriminator: keras.Model
    optimizer: keras.optimizers.Optimizer
    draw: Callable
    normalize: Callable
    weight: float
    last: AdversarialLosses = dataclasses.field(
        default_factory=lambda: AdversarialLosses(tf.Variable(0.0), tf.Variable(0.0))
    )

    @property
    def variables(self) -> list[tf.Variable]:
        """All that changes: the discriminator and its optimizer."""
        changed = *self.discriminator.trainable_variables, *self.optimizer.variables
        return [variable.value for variable in changed]

    def added(self, seed: tf.Tensor, gradients: list, variables: list) -> list:
        """The gradients of the outer loss; moves the discriminator by one step.

        Args:
          seed: [2], of the outer step.
          gradients: of the meta-loss, for each of `variables`.
        """
        own = self._gradients(seed, variables)
        return [
            (1 - self.weight) * gradient + self.weight * other
            for gradient, other in zip(gradients, own, strict=True)
        ]

    def _gradients(self, seed: tf.Tensor, variables: list) -> list:
        """Of the teacher's own term, for each of `variables`."""
        seed = tf.random.experimental.stateless_fold_in(seed, _STREAM)
        plan_seed, step_seed, real_seed = tf.unstack(tf.random.split(seed, 3), num=3)
        spec = self.teacher.spec
        step = tf.random.stateless_uniform(
            [], step_seed, maxval=spec.num_inner_steps, dtype=tf.int32
        )
        images, _ = self.draw(1, spec.inner_batch_size, real_seed)
        real = self.normalize(images[0])
        learned = [v.value for v in self.discriminator.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            x, _ = self.teacher.batch(step, plan_seed)
            scores = self.discriminator(x, training=True)
            loss = tf.reduce_mean(tf.nn.softplus(-scores))
            told_real = tf.nn.softplus(-self.discriminator(real, training=True))
            own_loss = tf.reduce_mean(told_real + tf.nn.softplus(scores))
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(loss, variables, unconnected_gradients=zero)
        moves = tape.gradient(own_loss, learned)
        self.optimizer.apply(moves, self.discriminator.trainable_variables)
        for told, value in zip(self.last, (loss, own_loss), strict=True):
            told.assign(tf.cast(value, told.dtype))
        return [tf.convert_to_tensor(gradient) for gradient in gradients]
