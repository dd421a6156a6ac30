"""Random windows of the inner loop that are differentiated: RaT-BPTT."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.meta import meta_gradients
from gtn_tf.meta.estimators import Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class TruncatedWindows:
    """Backpropagation through W inner steps (Feng, Vedantam & Kempe, 2024).

        end ~ uniform {W, ..., T}
        theta_(end - W) is trained without gradient (burn-in)
        loss of theta_end, and the intermediate losses within the window

    Time of up to T steps forward and W backward, memory of W. It is the exact gradient
    of the window's losses where the state at the window's start is held constant: as
    an estimate of the whole meta-gradient it is biased, because what early steps do to
    later windows is left out, and learners that stopped early count as well. With
    W = T it is backpropagation.

    Attributes:
      window_length: W.
    """

    window_length: int

    @classmethod
    def of_run(cls, config) -> TruncatedWindows:
        """Windows of --window_length."""
        length = length_of(config, "window_length")
        if config.segment_length > length:
            raise UserError(
                f"--segment_length={config.segment_length} is longer than the window "
                f"of {length} inner steps that is differentiated: give a value from 1 "
                f"to {length}, or a longer --window_length"
            )
        return cls(window_length=length)

    def num_differentiated(self, num_inner_steps: int) -> int:
        """Those of the window."""
        return min(self.window_length, num_inner_steps)

    def __call__(self, problem, learner, state, seed, outer_batches, memory_policy):
        """As of `Estimator`; the meta-loss is that at the window's end."""
        num_steps = problem.hyperparameters.num_inner_steps
        length = self.num_differentiated(num_steps)
        own_seed = tf.random.experimental.stateless_fold_in(seed, 1)
        end = tf.random.stateless_uniform([], own_seed, length, num_steps + 1, tf.int32)
        burn_in = meta_gradients.plan_lesson(problem, seed, outer_batches, end)
        state, _ = meta_gradients.forward(
            problem, learner, state, burn_in, 0, end - length
        )
        with tf.GradientTape() as tape:
            lesson = meta_gradients.plan_lesson(problem, seed, outer_batches, end)
            window = lesson.part(end - length, length)
            state, total = meta_gradients.unrolled(
                problem, learner, state, window, memory_policy
            )
            every_step = problem.scores_every_step
            last = end - 1 if every_step else -1
            meta_loss = problem.score(learner, state, outer_batches, last)
            if not every_step:
                total += meta_loss
        gradients = tape.gradient(
            total, problem.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        (_, due), _, _ = window.inputs
        count = tf.maximum(1, tf.math.count_nonzero(due, dtype=tf.int32))
        rest = (total - meta_loss) / tf.cast(count, total.dtype)
        return Estimate(meta_loss, rest, gradients)


def length_of(config, name: str) -> int:
    """The inner steps that a flag of this name stands for; 0 is a fourth of T.

    Raises:
      UserError: more than there are.
    """
    length, num_steps = getattr(config, name), config.num_inner_steps
    if length > num_steps:
        raise UserError(
            f"--{name}={length} is longer than --num_inner_steps={num_steps}: give a "
            f"value from 1 to {num_steps}, or 0 for a fourth of them"
        )
    return length or -(-num_steps // 4)
