"""What is asked of a policy: return in an environment (Appendix H).

    loss = -mean of log pi(a|s) (R - V(s))  +  value loss  -  a little entropy

The taught policy acts (on-policy), its actions' log-probabilities are differentiated
through its training, and V is a network of its own, learned with the teacher: it stands
for the mean over the policies taught so far.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import keras
import tensorflow as tf

from gtn_tf.data.dataset import normalize
from gtn_tf.data.environments import MEASURING, TRAINING, Environment, Episodes
from gtn_tf.meta import rollouts
from gtn_tf.meta.objectives import Measured
from gtn_tf.meta.rollouts import Rollout

DISCOUNT = 0.99
_ENTROPY = 0.01
_VALUE_UNITS = 64  # Appendix H: one layer of tanh units, as of the policy


class Seeds(NamedTuple):
    """Of one loss: of each environment, and of the actions drawn."""

    environments: tf.Tensor  # int32 [N]
    actions: tf.Tensor  # int32 [2]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ActorCritic:
    """The advantage actor-critic loss (Mnih et al., 2016) of fresh episodes.

    Attributes:
      environment: where policies act.
      num_environments: N, each of an episode's most frames.
      value: states [B, S] -> values [B, 1], in units of 1 / (1 - discount).
    """

    environment: Environment
    num_environments: int
    value: keras.Model
    measured: ClassVar[Measured] = Measured("return", 1, "")
    num_validated: ClassVar[int] = 5  # returns differ more than accuracies

    @classmethod
    def of_run(cls, config: Any, dataset: Environment) -> ActorCritic:
        """As many environments as the outer batch has episodes' frames."""
        return cls(
            environment=dataset,
            num_environments=config.outer_batch_size // dataset.episode_frames,
            value=_value_network(dataset.image_shape, config.seed),
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """Of the value network."""
        return [variable.value for variable in self.value.trainable_variables]

    @property
    def normalize(self) -> Callable:
        """Raw states -> x."""
        environment = self.environment
        return functools.partial(normalize, mean=environment.mean, std=environment.std)

    def sample(self, num_batches: int, seed: tf.Tensor) -> Seeds:
        """Seeds of the episodes of each loss."""
        first, second = tf.unstack(tf.random.split(seed, 2), num=2)
        draw = functools.partial(
            tf.random.stateless_uniform, minval=0, maxval=2**31 - 1, dtype=tf.int32
        )
        shape = [num_batches, self.num_environments]
        return Seeds(draw(shape, first), draw([num_batches, 2], second))

    def loss(self, apply: Callable, batch: Seeds) -> tf.Tensor:
        """Of the policy in fresh environments, its actions drawn as it would."""

        def act(states, noise):
            return tf.argmax(apply(self.normalize(states)) + noise, -1, tf.int32)

        environment = self.environment
        uniform = tf.random.stateless_uniform(
            [
                environment.episode_frames,
                self.num_environments,
                environment.num_classes,
            ],
            batch.actions,
            minval=1e-7,
        )
        gumbel = -tf.math.log(-tf.math.log(uniform))
        rollout = rollouts.roll_out(
            environment, act, TRAINING, batch.environments, gumbel
        )
        x = self.normalize(_in_one(rollout.states))
        values = self._values(_in_one(rollout.states))
        returns = self._returns(rollout)
        advantages = tf.stop_gradient(returns - values)
        spread = tf.math.reduce_std(advantages)
        advantages = (advantages - tf.reduce_mean(advantages)) / (spread + 1e-6)
        logits = apply(x)
        log_policy = tf.nn.log_softmax(logits)
        chosen = tf.gather(log_policy, _in_one(rollout.actions), batch_dims=1)
        entropy = -tf.reduce_sum(tf.exp(log_policy) * log_policy, -1)
        return (
            -tf.reduce_mean(chosen * advantages)
            + 0.5 * tf.reduce_mean(tf.square(returns - values))
            - _ENTROPY * tf.reduce_mean(entropy)
        )

    def _values(self, states: tf.Tensor) -> tf.Tensor:
        """V of raw states [B, S], times 1 - discount: [B]."""
        return self.value(self.normalize(states))[:, 0]

    def _returns(self, rollout: Rollout) -> tf.Tensor:
        """R of each frame, times 1 - discount: [L * N].

        Rewards to the end of the episode; where it was cut, or frames end before it,
        the value of the state that was reached stands for the rest.
        """
        shape = tf.shape(rollout.rewards)
        reached = self._values(_in_one(rollout.successors))
        reached = tf.stop_gradient(tf.reshape(reached, shape))
        is_last = tf.range(shape[0])[:, None] == shape[0] - 1
        cut = rollout.truncated | (is_last & ~rollout.terminated)
        goes_on = tf.cast(~(rollout.terminated | cut), tf.float32)
        rewards = (1 - DISCOUNT) * rollout.rewards
        rewards += DISCOUNT * tf.cast(cut, tf.float32) * reached

        def before(following, frame):
            reward, goes_on = frame
            return reward + DISCOUNT * goes_on * following

        returns = tf.scan(
            before, (rewards, goes_on), tf.zeros_like(rewards[0]), reverse=True
        )
        return tf.stop_gradient(tf.reshape(returns, [-1]))

    def examples(self, split: Episodes) -> Iterator[tuple]:
        """The seeds of all episodes at once."""
        yield (tf.constant(split.seeds, tf.int32),)

    def measure(self, apply: Callable, example: tuple) -> tf.Tensor:
        """Episodes, their sum of returns, and that of the negative ones.

        Actions are the most probable ones.
        """
        (seeds,) = example

        def act(states, _):
            return tf.argmax(apply(self.normalize(states)), -1, tf.int32)

        frames = tf.range(self.environment.episode_frames)
        rollout = rollouts.roll_out(self.environment, act, MEASURING, seeds, frames)
        over = tf.cast(rollout.terminated | rollout.truncated, tf.int32)
        is_first = tf.cumsum(over, exclusive=True) == 0
        total = tf.reduce_sum(rollout.rewards * tf.cast(is_first, tf.float32))
        return tf.stack([tf.cast(tf.shape(seeds)[0], tf.float32), total, -total])


def _in_one(values: tf.Tensor) -> tf.Tensor:
    """[L, N, ...] -> [L * N, ...]."""
    return tf.reshape(values, [-1, *values.shape[2:]])


def _value_network(state_shape: tuple[int, ...], seed: int) -> keras.Model:
    initializer = keras.initializers.GlorotUniform
    return keras.Sequential(
        [
            keras.Input(state_shape),
            keras.layers.Dense(
                _VALUE_UNITS, "tanh", kernel_initializer=initializer(seed)
            ),
            keras.layers.Dense(1, kernel_initializer=initializer(seed + 1)),
        ],
        name="value",
    )
