"""A policy that learns in its environment itself, by the same loss: the control (A2C).

    params, value = Adam(gradient of the actor-critic loss of a few frames)

Environments are not reset between two updates, as is usual for A2C (Mnih et al., 2016):
an update sees fewer frames than an episode has, and there are more of them.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.data.environments import TRAINING
from gtn_tf.meta import rollouts
from gtn_tf.meta.actor_critic import ActorCritic
from gtn_tf.networks import learners
from gtn_tf.networks.learner_spec import LearnerSpec
from gtn_tf.networks.stateless import StatelessModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class DirectSpec:
    """What A2C is trained by; the defaults did best on CartPole of what was tried.

    Attributes:
      num_environments: side by side.
      num_frames: of each in an update.
      learning_rate: of Adam; it falls to a tenth along a cosine.
      clip_norm: of the gradient.
    """

    num_environments: int = 8
    num_frames: int = 16
    learning_rate: float = 0.003
    clip_norm: float = 5.0


class DirectResult(NamedTuple):
    """How a directly trained policy does.

    Attributes:
      curve: (frames so far, mean return in the validation episodes), [points, 2].
      test_return: mean return in the test episodes, after all frames.
    """

    curve: np.ndarray
    test_return: float


def train(
    objective: ActorCritic,
    learner_spec: LearnerSpec,
    total_frames: int,
    seed: int,
    spec: DirectSpec = DirectSpec(),
    num_points: int = 20,
) -> DirectResult:
    """Trains one fresh policy for so many frames in all.

    Args:
      objective: its value network is trained too, from where it stands.
      num_points: of the curve.
    """
    trainer = _Trainer(objective, learner_spec, total_frames, seed, spec)
    environment = objective.environment
    num_updates = max(1, total_frames // trainer.frames_per_update)
    measured_at = set(np.linspace(0, num_updates, num_points + 1).astype(int)[1:])
    curve = []
    for update in tqdm(range(num_updates), "a2c", unit="update", file=sys.stderr):
        trainer.update(update)
        if update + 1 in measured_at:
            frames = (update + 1) * trainer.frames_per_update
            curve.append((frames, trainer.mean_return(environment.validation)))
    return DirectResult(np.array(curve), trainer.mean_return(environment.test))


class _Trainer:
    """One policy, its value network, and the environments that it is in."""

    def __init__(self, objective, learner_spec, total_frames, seed, spec: DirectSpec):
        self._objective, self._seed, self._spec = objective, seed, spec
        self._learner = StatelessModel(learners.build_model(learner_spec))
        params, self._batch_stats = self._learner.init(tf.constant([seed, 0]))
        self._params = tf.Variable(params)
        self._variables = [self._params, *objective.variables]
        self.frames_per_update = spec.num_environments * spec.num_frames
        schedule = keras.optimizers.schedules.CosineDecay(
            spec.learning_rate, max(1, total_frames // self.frames_per_update), 0.1
        )
        self._optimizer = keras.optimizers.Adam(schedule)
        self._optimizer.build(self._variables)
        self._begun: Any = None
        self._step = tf.function(self._update, autograph=False)
        self._measure = tf.function(
            lambda *example: objective.measure(self._apply, example), autograph=False
        )

    def _apply(self, x):
        params = tf.convert_to_tensor(self._params)
        return self._learner.apply(params, self._batch_stats, x, training=False)[0]

    def _update(self, begun, seed):
        objective = self._objective
        with tf.GradientTape() as tape:
            rollout, ended = objective.roll_out(
                self._apply, begun, seed, self._spec.num_frames
            )
            loss = objective.loss_of(self._apply, rollout, ended)
        gradients = tape.gradient(loss, self._variables)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        gradients, _ = tf.clip_by_global_norm(gradients, self._spec.clip_norm)
        self._optimizer.apply(gradients, self._variables)
        return ended

    def update(self, number: int) -> None:
        """One step of Adam on the next frames."""
        if self._begun is None:
            first = self._seed * self._spec.num_environments
            seeds = tf.range(first, first + self._spec.num_environments)
            self._begun = rollouts.start(self._objective.environment, TRAINING, seeds)
        self._begun = self._step(self._begun, tf.constant([self._seed, number]))

    def mean_return(self, split) -> float:
        """Over a split's episodes, by the most probable actions."""
        totals = sum(self._measure(*e).numpy() for e in self._objective.examples(split))
        return float(totals[1] / totals[0])
