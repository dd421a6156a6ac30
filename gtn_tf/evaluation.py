"""Few-step accuracy: what a fresh learner knows after T steps with a teacher."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from gtn_tf import inner_loop, learners, rate_scale
from gtn_tf.data_files import Split
from gtn_tf.inner_loop import InnerState
from gtn_tf.meta_gradients import MetaProblem
from gtn_tf.stateless import StatelessModel

_CHUNK_SIZE = 500  # images per forward pass: bounds memory, not the result
_NOT_TRAINING = 1  # folded into seeds: no learner that the outer loop has seen


class Score(NamedTuple):
    """How a trained learner does on a split."""

    accuracy: float  # fraction right, 0 to 1
    loss: float  # mean of the outer loss


class Evaluator:
    """Trains fresh learners with a teacher and measures how well they do.

    Args:
      problem: the teacher and its inner hyperparameters.
      specs: the learners to draw from, hashable.
      build: spec -> Keras model with logits, whose batch norms keep the last batch's
        statistics in training.
      fits_rates: multiply the learned rates by a scale that is chosen for each
        architecture with its first learner, as `teach` does (see `rate_scale`).
    """

    def __init__(
        self,
        problem: MetaProblem,
        specs: list,
        build: Callable[..., keras.Model] = learners.build_model,
        fits_rates: bool = False,
    ):
        self.problem = dataclasses.replace(problem, intermediate_loss_every=0)
        self._specs = specs
        self._build = build
        self._fits_rates = fits_rates
        self._compiled: dict = {}
        self._scales: dict = {}

    def train(self, index: int, seed: int) -> tuple[StatelessModel, InnerState]:
        """The index-th fresh learner of this seed after T steps.

        Its architecture goes through the predefined set in turn; its weights and the
        data order come from (seed, index). Its batch norms have the mean of their
        statistics over the T batches, as `teach` leaves them in a user's model.
        """
        functions = self._functions(index)
        scale = self._rate_scale(index, seed)
        state, _ = functions.train(_fresh_seed(index, seed), tf.constant(scale))
        return functions.learner, state

    def _rate_scale(self, index: int, seed: int) -> float:
        if not self._fits_rates:
            return 1.0
        first = index % len(self._specs)
        if first not in self._scales:
            functions, own_seed = self._functions(first), _fresh_seed(first, seed)
            self._scales[first] = rate_scale.choose(
                lambda scale: float(functions.train(own_seed, tf.constant(scale))[1])
            )
        return self._scales[first]

    def score(self, split: Split, index: int, seed: int) -> Score:
        """The index-th fresh learner on a split, after T steps."""
        _, state = self.train(index, seed)
        return _score(self._functions(index), state, split)

    def accuracies(self, split: Split, num_learners: int, seed: int) -> list[float]:
        """Few-step accuracy of each of `num_learners` fresh learners."""
        return [
            self.score(split, index, seed).accuracy for index in range(num_learners)
        ]

    def curve(self, split: Split, index: int, seed: int) -> list[Score]:
        """The index-th fresh learner on a split, after 1, 2, ... T steps (Fig. 2b)."""
        functions = self._functions(index)
        state, plan = functions.begin(_fresh_seed(index, seed))
        scores = []
        for step in range(self.problem.hyperparameters.num_inner_steps):
            state = functions.step(state, plan, tf.constant(step))
            settled = functions.settle(state, plan, tf.constant(step + 1))
            scores.append(_score(functions, settled, split))
        return scores

    def probabilities(self, split: Split, index: int, seed: int) -> np.ndarray:
        """What the index-th fresh learner says of a split after T steps, [N, K]."""
        learner, state = self.train(index, seed)
        model = learner.assign(state.params, state.batch_stats)
        chunks = [
            tf.nn.softmax(model(self.problem.normalise(images), training=False))
            for images in np.split(
                split.images, range(_CHUNK_SIZE, len(split.labels), _CHUNK_SIZE)
            )
        ]
        return np.concatenate(chunks)

    def _functions(self, index: int) -> _Functions:
        spec = self._specs[index % len(self._specs)]
        if spec not in self._compiled:
            self._compiled[spec] = _Functions(self.problem, self._build(spec))
        return self._compiled[spec]


class _Functions:
    """What is compiled for one architecture, each when it is first used."""

    def __init__(self, problem: MetaProblem, model: keras.Model):
        self._problem = problem
        self.learner = StatelessModel(model)

    def _fresh(self, seed):
        state_seed, plan_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        optimizer = self._problem.optimizer
        return inner_loop.initial_state(self.learner, optimizer, state_seed), plan_seed

    @functools.cached_property
    def train(self) -> Callable:
        """seed, scale of rates -> trained state, late loss (see `rate_scale`)."""
        problem, learner = self._problem, self.learner
        teacher, num_steps = problem.teacher, self._problem.teacher.spec.num_inner_steps
        first_late = num_steps - math.ceil(num_steps / 3)

        def train(seed, scale):
            state, plan_seed = self._fresh(seed)
            values = problem.hyperparameters.values()
            values["learning_rate"] *= tf.cast(scale, state.params.dtype)
            weights = teacher.weights()

            def step(carry, inputs):
                state, total = carry
                t, hyperparameters, shown = inputs
                x, targets = teacher.show(weights, *shown)
                logits, _ = learner.apply(
                    state.params, state.batch_stats, x, training=True
                )
                loss = problem.inner_loss(targets, logits)
                total += tf.where(t >= first_late, loss, 0)
                state = inner_loop.inner_step(
                    learner,
                    problem.optimizer,
                    problem.inner_loss,
                    state,
                    (x, targets),
                    hyperparameters,
                )
                return state, total

            inputs = (
                tf.range(num_steps),
                tuple(values[name] for name in problem.optimizer.names),
                teacher.plan(plan_seed),
            )
            carry = state, tf.zeros([], state.params.dtype)
            state, total = inner_loop.unroll(step, carry, inputs, num_steps)
            state = self._settled(state, inputs[2], num_steps)
            return state, total / (num_steps - first_late)

        return _trace(train, _SEED, tf.TensorSpec([], tf.float32))

    def _settled(self, state: InnerState, plan, num_shown) -> InnerState:
        """The state with batch statistics averaged over the first batches shown."""
        teacher, weights = self._problem.teacher, self._problem.teacher.weights()

        def add(t, total):
            x, _ = teacher.show(weights, *(values[t] for values in plan))
            _, batch_stats = self.learner.apply(
                state.params, state.batch_stats, x, training=True
            )
            return t + 1, total + batch_stats

        _, total = tf.while_loop(
            lambda t, _: t < num_shown,
            add,
            (tf.constant(0), tf.zeros_like(state.batch_stats)),
        )
        mean = total / tf.cast(num_shown, total.dtype)
        return state._replace(batch_stats=mean)

    @functools.cached_property
    def settle(self) -> Callable:
        """state, plan, number of batches shown -> state with their mean statistics."""
        specs = _specs(self.begin.structured_outputs)
        return _trace(self._settled, *specs, tf.TensorSpec([], tf.int32))

    @functools.cached_property
    def begin(self) -> Callable:
        """seed -> fresh state, what the teacher will show."""

        def begin(seed):
            state, plan_seed = self._fresh(seed)
            return state, self._problem.teacher.plan(plan_seed)

        return _trace(begin, _SEED)

    @functools.cached_property
    def step(self) -> Callable:
        """state, plan, t -> state after inner step t."""
        problem = self._problem

        def step(state, plan, t):
            values = problem.hyperparameters.values()
            shown = [stored[t] for stored in plan]
            return inner_loop.inner_step(
                self.learner,
                problem.optimizer,
                problem.inner_loss,
                state,
                problem.teacher.show(problem.teacher.weights(), *shown),
                tuple(values[name][t] for name in problem.optimizer.names),
            )

        specs = _specs(self.begin.structured_outputs)
        return _trace(step, *specs, tf.TensorSpec([], tf.int32))

    @functools.cached_property
    def measure(self) -> Callable:
        """state, raw images, labels -> number right, sum of losses."""
        problem, learner = self._problem, self.learner

        def measure(state, images, labels):
            x = problem.normalise(images)
            logits, _ = learner.apply(
                state.params, state.batch_stats, x, training=False
            )
            right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
            loss = problem.outer_loss(logits, labels)
            count = tf.cast(tf.shape(labels)[0], loss.dtype)
            return tf.reduce_sum(tf.cast(right, loss.dtype)), loss * count

        images = tf.TensorSpec([None, *learner.model.input_shape[1:]], tf.uint8)
        labels = tf.TensorSpec([None], tf.int32)
        state = _specs(self.begin.structured_outputs)[0]
        return _trace(measure, state, images, labels)


_SEED = tf.TensorSpec([2], tf.int32)


def _trace(function: Callable, *specs) -> Callable:
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _specs(values):
    return tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), values)


def _fresh_seed(index: int, seed: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in([seed, index], _NOT_TRAINING)


def _score(functions: _Functions, state: InnerState, split: Split) -> Score:
    totals = np.zeros(2)
    for start in range(0, len(split.labels), _CHUNK_SIZE):
        chunk = slice(start, start + _CHUNK_SIZE)
        images, labels = split.images[chunk], split.labels[chunk]
        measured = functions.measure(state, tf.constant(images), tf.constant(labels))
        totals += [float(value) for value in measured]
    return Score(*(float(total) / len(split.labels) for total in totals))


def summarize(values: list[float], seed: int) -> dict:
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


def interval(values: list[float]) -> str:
    """Mean and interval of `summarize` as text, in percent."""
    summary = summarize(values, 0)
    mean, low, high = (100 * summary[key] for key in ("mean", "low", "high"))
    return f"{mean:.2f} % ({low:.2f} to {high:.2f})"
