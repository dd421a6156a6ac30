"""A teacher that responds to how the learner does (section 4, future work).

    z'_t = z_t + told_t f(z_t, y_t, t / T, h_t, h_t of y_t),    x_t = G(z'_t, y_t)

h_t is what the learner has said of the batch of step t - 1, before its step on it.
told_t is 1 where it has said something, and 0 at the first step and where there is no
learner: what is shown then is the stored curriculum. f is a hidden layer and an output
layer that begins at zero, so that a run begins exactly as that of `gtn.GTN`.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.teachers.base import TeacherSpec
from gtn_tf.teachers.gtn import GTN
from gtn_tf.teachers.registry import CURRICULA

_HIDDEN = 32
_TOLD = 3  # numbers of each class in a feedback


class ClosedLoop(GTN):
    """A GTN whose stored latents are changed by what the learner has said."""

    possible_labels = ("hard", "learned")

    def __init__(self, spec: TeacherSpec, generator: keras.Model, seed: int):
        super().__init__(spec, generator, seed)
        size = self.latent_size
        num_inputs = size + spec.num_classes * (1 + _TOLD) + _TOLD + 1
        kernel = tf.random.stateless_normal(
            [num_inputs, _HIDDEN], [seed, 3], dtype=spec.dtype
        )
        values = {
            "kernel": kernel / num_inputs**0.5,
            "bias": tf.zeros([_HIDDEN], spec.dtype),
            # No bias: batch norm after the generator's first layer would undo it.
            "output": tf.zeros([_HIDDEN, size], spec.dtype),
        }
        response = [tf.Variable(v, name=f"response_{n}") for n, v in values.items()]
        self._use([*self.variables, *response])

    @classmethod
    def of_run(cls, spec: TeacherSpec, config, dataset) -> ClosedLoop:
        """A generator of the run's widths, and a network that responds.

        Raises:
          UserError: a policy, which is told of no classes; a discriminator.
        """
        if len(dataset.image_shape) == 1:
            raise UserError(
                f"--teacher=closed_loop contradicts --dataset={config.dataset}: it "
                "responds to what a classifier says of each class, and a policy is "
                "none; give --teacher=state_actions or gtn"
            )
        if config.adversarial_weight:
            raise UserError(
                f"--adversarial_weight={config.adversarial_weight:g} contradicts "
                "--teacher=closed_loop: what it shows depends on a learner, and the "
                "discriminator has none; give 0, or --teacher=gtn"
            )
        return super().of_run(spec, config, dataset)

    @classmethod
    def check_curriculum(cls, name: str) -> None:
        """Raises UserError for a curriculum that draws latents afresh."""
        if CURRICULA[name].order is None:
            raise UserError(
                f"--curriculum={name} contradicts --teacher=closed_loop: it changes "
                "latents that are stored; give all_shuffled, shuffled_batch or full"
            )

    def _use(self, variables: list[tf.Variable]) -> None:
        super()._use(variables)
        is_labeled = self.label_scores is not None
        self._response = variables[self._num_weights + 1 + is_labeled :]

    def weights(self) -> list[tf.Tensor]:
        """The generator's trainable weights, then those of the response."""
        response = [tf.cast(v, self.spec.dtype) for v in self._response]
        return super().weights() + response

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Latents and labels as of `GTN`, and t / T [T]."""
        num_steps = self.spec.num_inner_steps
        progress = tf.range(num_steps, dtype=self.spec.dtype) / num_steps
        return (*super().plan(seed), progress)

    def no_feedback(self) -> tuple[tf.Tensor]:
        """[K, 3], zeros."""
        return (tf.zeros([self.spec.num_classes, _TOLD], self.spec.dtype),)

    def feedback(self, targets, outputs) -> tuple[tf.Tensor]:
        """[K, 3]: each class's share of the targets, the mean probability that was
        given to it where it was right, and the mean of minus its logarithm.

        Both are zero for a class that the targets lack. The argument `outputs` has
        logits.
        """
        outputs = tf.cast(outputs, targets.dtype)
        counts = tf.reduce_sum(targets, 0)  # [K]
        shares = counts / tf.cast(tf.shape(targets)[0], counts.dtype)
        logarithms = tf.nn.log_softmax(outputs)
        given = tf.reduce_sum(targets * tf.exp(logarithms), 0)
        losses = -tf.reduce_sum(targets * logarithms, 0)
        told = [shares, *(tf.math.divide_no_nan(v, counts) for v in (given, losses))]
        return (tf.stack(told, -1),)

    def show(self, weights, latents, *others) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [B, H, W, C] and targets [B, K].

        Args:
          latents: [B, Z].
          others: the rest of a step's plan, and the feedback [K, 3].
        """
        *labels, progress, feedback = others
        response = weights[self._num_weights :]
        change = _response(response, latents, labels[0], progress, feedback)
        return super().show(weights, latents + change, *labels)


def _response(weights, latents, classes, progress, feedback) -> tf.Tensor:
    """The change of latents [B, Z] of these classes [B, K]."""
    kernel, bias, output = weights
    own = classes @ feedback  # [B, 3]
    same = tf.concat([tf.reshape(feedback, [-1]), progress[None]], 0)
    same = tf.broadcast_to(same, [tf.shape(latents)[0], same.shape[0]])
    inputs = tf.concat([latents, classes, own, same], 1)
    hidden = tf.tanh(inputs @ kernel + bias)  # [B, hidden]
    told = tf.reduce_sum(feedback[:, 0])  # shares add up to 1
    return told * (hidden @ output)
