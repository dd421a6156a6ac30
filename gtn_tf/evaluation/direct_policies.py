"""A policy that learns in its environment itself, by the same loss: the control (A2C).

    params, value = Adam(gradient of the actor-critic loss of the policy as it stands)

An update has the frames of an outer step: whole episodes. Updates of fewer frames, as
are usual for A2C (Mnih et al., 2016), did worse on CartPole.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.meta.actor_critic import ActorCritic
from gtn_tf.networks import learners
from gtn_tf.networks.learner_spec import LearnerSpec
from gtn_tf.networks.stateless import StatelessModel

_LEARNING_RATE = 0.01  # of Adam; it falls to a tenth along a cosine
_CLIP_NORM = 5.0


class DirectResult(NamedTuple):
    """How a directly trained policy does.

    Attributes:
      curve: (updates so far, mean return in the validation episodes), [points, 2].
      test_return: mean return in the test episodes, after all updates.
    """

    curve: np.ndarray
    test_return: float


def train(
    objective: ActorCritic,
    learner_spec: LearnerSpec,
    num_updates: int,
    seed: int,
    num_points: int = 20,
) -> DirectResult:
    """Trains one fresh policy.

    Args:
      objective: its value network is trained too, from where it stands.
      num_points: of the curve.
    """
    trainer = _Trainer(objective, learner_spec, num_updates, seed)
    environment = objective.environment
    measured_at = set(np.linspace(0, num_updates, num_points + 1).astype(int)[1:])
    curve = []
    for update in tqdm(range(num_updates), "a2c", unit="update", file=sys.stderr):
        trainer.update(tf.constant([seed, update]))
        if update + 1 in measured_at:
            curve.append((update + 1, trainer.mean_return(environment.validation)))
    return DirectResult(np.array(curve), trainer.mean_return(environment.test))


class _Trainer:
    """One policy and its value network."""

    def __init__(self, objective, learner_spec, num_updates: int, seed: int):
        self._objective = objective
        self._learner = StatelessModel(learners.build_model(learner_spec))
        params, self._batch_stats = self._learner.init(tf.constant([seed, 0]))
        self._params = tf.Variable(params)
        self._variables = [self._params, *objective.variables]
        schedule = keras.optimizers.schedules.CosineDecay(
            _LEARNING_RATE, num_updates, 0.1
        )
        self._optimizer = keras.optimizers.Adam(schedule)
        self._optimizer.build(self._variables)
        self.update = tf.function(self._update, autograph=False)
        self._measure = tf.function(
            lambda *example: objective.measure(self._apply, example), autograph=False
        )

    def _apply(self, x):
        params = tf.convert_to_tensor(self._params)
        return self._learner.apply(params, self._batch_stats, x, training=False)[0]

    def _update(self, seed):
        """One step of Adam on the frames that this seed draws."""
        objective = self._objective
        sampled = objective.sample(1, seed)
        batch = tf.nest.map_structure(lambda values: values[0], sampled)
        with tf.GradientTape() as tape:
            loss = objective.loss(self._apply, batch)
        gradients = tape.gradient(loss, self._variables)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        gradients, _ = tf.clip_by_global_norm(gradients, _CLIP_NORM)
        self._optimizer.apply(gradients, self._variables)

    def mean_return(self, split) -> float:
        """Over a split's episodes, by the most probable actions."""
        totals = sum(self._measure(*e).numpy() for e in self._objective.examples(split))
        return float(totals[1] / totals[0])
