"""Few-step accuracy: what a fresh learner knows after T steps with a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import stats

from gtn_tf import inner_loop, learners, meta_gradients
from gtn_tf.data_files import Split
from gtn_tf.inner_loop import InnerState
from gtn_tf.meta_gradients import Differentiation, MetaProblem
from gtn_tf.stateless import StatelessModel

_CHUNK_SIZE = 500  # images per forward pass: bounds memory, not the result
_NOT_TRAINING = 1  # folded into seeds: no learner that the outer loop has seen


class Evaluator:
    """Trains fresh learners with a teacher and measures their accuracy.

    Args:
      problem: the teacher and its inner hyperparameters.
      specs: the learners to draw from.
    """

    def __init__(self, problem: MetaProblem, specs: list[learners.LearnerSpec]):
        self.problem = dataclasses.replace(problem, intermediate_loss_every=0)
        self._specs = specs
        self._compiled: dict[learners.LearnerSpec, tuple] = {}

    def train(self, index: int, seed: int) -> tuple[StatelessModel, InnerState]:
        """The index-th fresh learner of this seed after T steps.

        Its architecture goes through the predefined set in turn; its weights and the
        data order come from (seed, index).
        """
        learner, train, _ = self._functions(self._specs[index % len(self._specs)])
        fresh = tf.random.experimental.stateless_fold_in([seed, index], _NOT_TRAINING)
        return learner, train(fresh)

    def accuracy(self, split: Split, index: int, seed: int) -> float:
        """The fraction of a split that the index-th fresh learner gets right."""
        _, _, count_correct = self._functions(self._specs[index % len(self._specs)])
        _, state = self.train(index, seed)
        correct = sum(
            int(
                count_correct(
                    state,
                    tf.constant(split.images[start : start + _CHUNK_SIZE]),
                    tf.constant(split.labels[start : start + _CHUNK_SIZE]),
                )
            )
            for start in range(0, len(split.labels), _CHUNK_SIZE)
        )
        return correct / len(split.labels)

    def accuracies(self, split: Split, num_learners: int, seed: int) -> list[float]:
        """Few-step accuracy of each of `num_learners` fresh learners."""
        return [self.accuracy(split, index, seed) for index in range(num_learners)]

    def _functions(self, spec: learners.LearnerSpec) -> tuple:
        if spec not in self._compiled:
            learner = StatelessModel(learners.build_model(spec))
            self._compiled[spec] = (learner, *_compile(self.problem, learner))
        return self._compiled[spec]


def _compile(
    problem: MetaProblem, learner: StatelessModel
) -> tuple[Callable, Callable]:
    """(seed -> trained state), (state, raw images, labels -> number correct)."""
    keep = Differentiation(recompute=False)

    def train(seed):
        state_seed, plan_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        state = inner_loop.initial_state(learner, problem.optimizer, state_seed)
        return meta_gradients.train_learner(
            problem, learner, state, plan_seed, (), keep
        )[0]

    def count_correct(state, images, labels):
        x = problem.normalise(images)
        logits, _ = learner.apply(state.params, state.batch_stats, x, training=False)
        predicted = tf.argmax(logits, axis=-1, output_type=labels.dtype)
        return tf.reduce_sum(tf.cast(predicted == labels, tf.int32))

    def trace(function, *specs):
        return tf.function(function, autograph=False).get_concrete_function(*specs)

    traced = trace(train, tf.TensorSpec([2], tf.int32))
    state = tf.nest.map_structure(
        lambda value: tf.TensorSpec(value.shape, value.dtype), traced.structured_outputs
    )
    images = tf.TensorSpec([None, *learner.model.input_shape[1:]], tf.uint8)
    labels = tf.TensorSpec([None], tf.int32)
    return traced, trace(count_correct, state, images, labels)


def summarise(values: list[float], seed: int) -> dict:
    """Mean and 95 % percentile bootstrap interval (n = 1,000, section 3).

    Args:
      values: one for each of at least two fresh learners.
    """
    if len(set(values)) == 1:  # every resample is the same: no interval to compute
        mean = low = high = values[0]
    else:
        interval = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=1000,
            confidence_level=0.95,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        mean, low, high = np.mean(values), interval.low, interval.high
    numbers = {"mean": float(mean), "low": float(low), "high": float(high)}
    return numbers | {"values": values}
