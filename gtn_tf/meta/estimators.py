"""Estimators of the meta-gradient behind one interface; backpropagation is the first.

They differ in how much of the inner loop is differentiated, and so in memory, variance
and bias. All randomness comes from the seed, so that none has a state to be saved.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from gtn_tf.meta import meta_gradients
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.networks.stateless import StatelessModel


class Estimate(NamedTuple):
    """What is known of one learner.

    Attributes:
      meta_loss: of the trained learner, a scalar.
      intermediate_loss: mean of those on the way, or 0.
      gradients: estimated, one for each of the problem's variables, of their shapes.
    """

    meta_loss: tf.Tensor
    intermediate_loss: tf.Tensor
    gradients: list[tf.Tensor]


class Estimator(Protocol):
    """A way to estimate the meta-gradient; pure in its arguments."""

    @classmethod
    def of_run(cls, config: Any) -> Estimator:
        """The estimator of a run's flags, a `config.TrainingConfig`.

        Raises:
          UserError: flags that contradict.
        """

    def num_differentiated(self, num_inner_steps: int) -> int:
        """How many inner steps the way back goes through; their activations take the
        memory."""

    def __call__(
        self,
        problem: MetaProblem,
        learner: StatelessModel,
        state: InnerState,
        seed: tf.Tensor,
        outer_batches: Any,
        memory_policy: MemoryPolicy,
    ) -> Estimate:
        """The estimate from one fresh learner.

        Args:
          state: of the learner before its first step.
          seed: int [2], of what the teacher shows and of all that is drawn here.
          outer_batches: what the problem's objective has sampled.
          memory_policy: how the steps that are differentiated spend memory.
        """


@dataclasses.dataclass(frozen=True)
class Backpropagation:
    """The gradient through all T inner steps: exact for the learner at hand.

    One learner's training forward and backward, and the memory of T steps or what
    `MemoryPolicy` makes of it. Its variance over learners grows with T where small
    changes of a step are magnified by those after it (Metz et al., 2019).
    """

    @classmethod
    def of_run(cls, config) -> Backpropagation:
        """It has no flags."""
        return cls()

    def num_differentiated(self, num_inner_steps: int) -> int:
        """All."""
        return num_inner_steps

    def __call__(self, problem, learner, state, seed, outer_batches, memory_policy):
        """As of `Estimator`."""
        meta_loss, rest, gradients = meta_gradients.meta_gradient(
            problem, learner, state, seed, outer_batches, memory_policy
        )
        count = max(problem.num_intermediate_losses, 1)
        return Estimate(meta_loss, rest / count, gradients)


BACKPROPAGATION = Backpropagation()
