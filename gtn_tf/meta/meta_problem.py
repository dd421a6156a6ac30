"""What is learned by a meta-gradient, and how it is scored.

    x, y = teacher's batch t, which may depend on the learner's feedback
    gradient = d inner_loss(y, learner of theta_t (x)) / d theta_t
    theta_(t+1) = optimizer(gradient, theta_t, hyperparameters t)
    loss = objective's of the learner of theta_(t+1)

The loss counts after the last step, and on the way where that is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import tensorflow as tf

from gtn_tf.meta import inner_loop
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.inner_losses import InnerLoss
from gtn_tf.meta.inner_optimizers import InnerHyperparameters, InnerOptimizer
from gtn_tf.meta.objectives import Objective
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.teachers.base import Teacher


class Weights(NamedTuple):
    """What every inner step reads of what is learned.

    Attributes:
      teacher: as of `Teacher.weights`.
      inner_loss: as of `InnerLoss.weights`.
    """

    teacher: list[tf.Tensor]
    inner_loss: list[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class MetaProblem:
    """What is learned, and how it is scored.

    Attributes:
      objective: what learners are scored by.
      intermediate_loss_every: add the objective's loss after every so many inner steps;
        0 for the trained learner's only (the paper's text).
    """

    teacher: Teacher
    hyperparameters: InnerHyperparameters
    optimizer: InnerOptimizer
    inner_loss: InnerLoss
    objective: Objective
    intermediate_loss_every: int = 0

    @property
    def num_intermediate_losses(self) -> int:
        """L: the trained learner's own loss is not counted."""
        every = self.intermediate_loss_every
        return (self.hyperparameters.num_inner_steps - 1) // every if every else 0

    @property
    def variables(self) -> list:
        """What the meta-gradient is of, in its order."""
        learned = self.teacher.variables + self.hyperparameters.variables
        return learned + self.inner_loss.variables + self.objective.variables

    def at(self, values: list[tf.Tensor]) -> MetaProblem:
        """The same problem that reads these tensors in place of its variables.

        An objective that learns variables of its own cannot be moved so.
        """
        count = len(self.teacher.variables)
        end = count + len(self.hyperparameters.variables)
        return dataclasses.replace(
            self,
            teacher=self.teacher.at(values[:count]),
            hyperparameters=self.hyperparameters.at(values[count:end]),
            inner_loss=self.inner_loss.at(values[end:]),
        )

    def weights(self) -> Weights:
        """What `step` reads."""
        return Weights(self.teacher.weights(), self.inner_loss.weights())

    def begin(self, learner: StatelessModel, seed: tf.Tensor) -> InnerState:
        """A fresh learner, of which nothing is known."""
        told = self.teacher.no_feedback()
        return inner_loop.initial_state(learner, self.optimizer, seed, told)

    def step(
        self, learner: StatelessModel, weights: Weights, state, shown, hyperparameters
    ) -> tuple[InnerState, tf.Tensor]:
        """One inner step on what the teacher shows this learner.

        Args:
          shown: the step's part of the teacher's plan.
          hyperparameters: of the step, in the order of the optimizer's names.

        Returns:
          As of `inner_loop.inner_step`.
        """
        return inner_loop.inner_step(
            learner,
            self.optimizer,
            functools.partial(self.inner_loss, weights=weights.inner_loss),
            state,
            self.teacher.show(weights.teacher, *shown, *state.feedback),
            hyperparameters,
            self.teacher.feedback,
        )

    @property
    def scores_every_step(self) -> bool:
        """Whether the losses in the loop include the trained learner's: a condition
        there would cost small learners a tenth of their time."""
        return self.intermediate_loss_every == 1 and self.num_intermediate_losses > 0

    def score(self, learner, state: InnerState, outer_batches, index) -> tf.Tensor:
        """The objective's loss of a learner for one of the sampled batches."""

        def apply(x):
            outputs, _ = learner.apply(
                state.params, state.batch_stats, x, training=False
            )
            return outputs

        batch = tf.nest.map_structure(lambda values: values[index], outer_batches)
        return self.objective.loss(apply, batch)
