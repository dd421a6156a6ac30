"""One architecture with a teacher: fresh weights, T steps, and what they are worth."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from gtn_tf.meta import inner_loop
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.networks.stateless import StatelessModel

_SEED = tf.TensorSpec([2], tf.int32)


def _trace(function: Callable, *specs) -> Callable:
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _specs(values):
    return tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), values)


def _split(state: InnerState, shown: tuple) -> tuple[tuple, tuple]:
    """The teacher's plan, and what it is told of the learner at each step."""
    count = len(shown) - len(state.feedback)
    return shown[:count], shown[count:]


def _told(told: tuple, t, state: InnerState) -> tuple:
    """What the teacher is told at each step, [T, ...], with what it is told at t: with
    the plan, this is what it shows, so that it can be shown again."""
    return tuple(
        tf.tensor_scatter_nd_update(values, [[t]], own[None])
        for values, own in zip(told, state.feedback, strict=True)
    )


class CompiledLearner:
    """An architecture's few steps and their measurement, each compiled when first used.

    Args:
      problem: the teacher and its inner hyperparameters.
      model: with logits; its batch norms keep the last batch's statistics in training.
    """

    def __init__(self, problem: MetaProblem, model: keras.Model):
        self._problem = problem
        self.learner = StatelessModel(model)
        self._measure: Callable | None = None

    def _fresh(self, seed):
        """A fresh state, and what the teacher will show (see `_told`)."""
        state_seed, plan_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        teacher = self._problem.teacher
        num_steps = teacher.spec.num_inner_steps
        room = tuple(
            tf.zeros([num_steps, *told.shape], told.dtype)
            for told in teacher.no_feedback()
        )
        state = self._problem.begin(self.learner, state_seed)
        return state, (*teacher.plan(plan_seed), *room)

    @functools.cached_property
    def train(self) -> Callable:
        """seed, scale of rates -> trained state, late loss (see `rate_scale`)."""
        problem, learner = self._problem, self.learner
        num_steps = problem.teacher.spec.num_inner_steps
        first_late = num_steps - math.ceil(num_steps / 3)

        def train(seed, scale):
            state, shown = self._fresh(seed)
            values = problem.hyperparameters.values()
            values["learning_rate"] *= tf.cast(scale, state.params.dtype)
            weights = problem.weights()
            planned, told = _split(state, shown)

            def step(carry, inputs):
                state, total, told = carry
                t, hyperparameters, planned = inputs
                told = _told(told, t, state)
                state, loss = problem.step(
                    learner, weights, state, planned, hyperparameters
                )
                return state, total + tf.where(t >= first_late, loss, 0), told

            inputs = (
                tf.range(num_steps),
                tuple(values[name] for name in problem.optimizer.names),
                planned,
            )
            carry = state, tf.zeros([], state.params.dtype), told
            state, total, told = inner_loop.unroll(step, carry, inputs, num_steps)
            state = self._settled(state, (*planned, *told), num_steps)
            return state, total / (num_steps - first_late)

        return _trace(train, _SEED, tf.TensorSpec([], tf.float32))

    def _settled(self, state: InnerState, shown, num_shown) -> InnerState:
        """The state with batch statistics averaged over the first batches shown."""
        teacher, weights = self._problem.teacher, self._problem.teacher.weights()

        def add(t, total):
            x, _ = teacher.show(weights, *(values[t] for values in shown))
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
        """state, shown, number of batches -> state with their mean statistics."""
        specs = _specs(self.begin.structured_outputs)
        return _trace(self._settled, *specs, tf.TensorSpec([], tf.int32))

    @functools.cached_property
    def begin(self) -> Callable:
        """seed -> fresh state, what the teacher will show."""
        return _trace(self._fresh, _SEED)

    @functools.cached_property
    def step(self) -> Callable:
        """state, shown, t -> state after inner step t, what is shown until then."""
        problem = self._problem

        def step(state, shown, t):
            values = problem.hyperparameters.values()
            planned, told = _split(state, shown)
            told = _told(told, t, state)
            state, _ = problem.step(
                self.learner,
                problem.weights(),
                state,
                [stored[t] for stored in planned],
                tuple(values[name][t] for name in problem.optimizer.names),
            )
            return state, (*planned, *told)

        specs = _specs(self.begin.structured_outputs)
        return _trace(step, *specs, tf.TensorSpec([], tf.int32))

    def measure(self, state: InnerState, example: tuple) -> tf.Tensor:
        """Size of an example, sum of what is measured, sum of losses (see
        `objectives.Objective`)."""
        if self._measure is None:
            specs = [tf.TensorSpec([None, *v.shape[1:]], v.dtype) for v in example]
            self._measure = _trace(self._measured, self._state_spec(), *specs)
        return self._measure(state, *example)

    def _measured(self, state, *example):
        def apply(x):
            outputs, _ = self.learner.apply(
                state.params, state.batch_stats, x, training=False
            )
            return outputs

        return self._problem.objective.measure(apply, example)

    def _state_spec(self) -> InnerState:
        """Shapes and types of a state, without tracing what draws one."""
        learner = self.learner
        params = tf.zeros([learner.num_params], learner.dtype)
        slots = self._problem.optimizer.init(params, learner.layout)
        batch_stats = tf.TensorSpec([learner.num_stats], learner.dtype)
        told = self._problem.teacher.no_feedback()
        return InnerState(_specs(params), batch_stats, _specs(slots), _specs(told))
