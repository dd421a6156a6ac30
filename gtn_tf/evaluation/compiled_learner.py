"""One architecture with a teacher: fresh weights, T steps, and what they are worth."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from gtn_tf.meta import inner_loop
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.meta_gradients import MetaProblem
from gtn_tf.networks.stateless import StatelessModel

_SEED = tf.TensorSpec([2], tf.int32)


def _trace(function: Callable, *specs) -> Callable:
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _specs(values):
    return tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), values)


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
                state, loss = inner_loop.inner_step(
                    learner,
                    problem.optimizer,
                    problem.inner_loss,
                    state,
                    teacher.show(weights, *shown),
                    hyperparameters,
                )
                return state, total + tf.where(t >= first_late, loss, 0)

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
            state, _ = inner_loop.inner_step(
                self.learner,
                problem.optimizer,
                problem.inner_loss,
                state,
                problem.teacher.show(problem.teacher.weights(), *shown),
                tuple(values[name][t] for name in problem.optimizer.names),
            )
            return state

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
        return InnerState(_specs(params), batch_stats, _specs(slots))
