"""The gradient of the meta-loss through a learner's whole training.

    meta_loss = objective's loss of learner(theta_T) + its values at intermediate steps
    theta_(t+1) = inner_step(theta_t, teacher's batch t, hyperparameters t)

Memory is either of all T inner steps' activations (`recompute=False`), or of the
states between segments of `segment_length` steps and one segment's activations,
which are computed again on the way back (Appendix D; Griewank & Walther, 2000).
What is recomputed is a whole traced segment, generator and inner gradient included:
`tf.recompute_grad` suspends the recording of tapes, so a tape opened *inside* it
sees nothing, but a function traced before keeps its gradient operations.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from gtn_tf.meta import inner_loop
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.inner_optimizers import InnerHyperparameters, InnerOptimizer
from gtn_tf.meta.objectives import Objective
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.teachers.base import Teacher


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryPolicy:
    """How the unrolled loop is differentiated; the gradient does not depend on it.

    Attributes:
      recompute: compute activations again on the way back instead of keeping them.
      segment_length: inner steps between kept states when recomputing.
    """

    recompute: bool = True
    segment_length: int = 1


class _Carry(NamedTuple):
    state: InnerState
    loss: tf.Tensor  # sum of those so far


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
    inner_loss: Callable
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
        return learned + self.objective.variables

    def score(self, learner, state: InnerState, outer_batches, index) -> tf.Tensor:
        """The objective's loss of a learner for one of the sampled batches."""

        def apply(x):
            outputs, _ = learner.apply(
                state.params, state.batch_stats, x, training=False
            )
            return outputs

        batch = tf.nest.map_structure(lambda values: values[index], outer_batches)
        return self.objective.loss(apply, batch)


def train_and_score(
    problem: MetaProblem,
    learner: StatelessModel,
    state: InnerState,
    seed: tf.Tensor,
    outer_batches,
    memory_policy: MemoryPolicy,
) -> tuple[InnerState, tf.Tensor, tf.Tensor]:
    """The learner after T inner steps, its loss, and the sum of that and those on the
    way."""
    num_steps = problem.hyperparameters.num_inner_steps
    hyperparameters = problem.hyperparameters.values()
    inputs = (
        tf.range(num_steps),
        tuple(hyperparameters[name] for name in problem.optimizer.names),
        problem.teacher.plan(seed),
    )
    weights = problem.teacher.weights()

    def step(outer_batches, weights, carry, step_inputs):
        t, hyperparameters, shown = step_inputs
        state, _ = inner_loop.inner_step(
            learner,
            problem.optimizer,
            problem.inner_loss,
            carry.state,
            problem.teacher.show(weights, *shown),
            hyperparameters,
        )
        return _Carry(
            state, carry.loss + _loss_at(problem, learner, state, outer_batches, t)
        )

    carry = _Carry(state, tf.zeros([], state.params.dtype))
    carry = _unrolled(step, outer_batches, weights, carry, inputs, memory_policy)
    meta_loss = problem.score(learner, carry.state, outer_batches, -1)
    total = carry.loss
    if not _scores_every_step(problem):
        total += meta_loss
    return carry.state, meta_loss, total


def _scores_every_step(problem: MetaProblem) -> bool:
    """Whether the losses in the loop include the trained learner's: a condition there
    would cost small learners a tenth of their time."""
    return problem.intermediate_loss_every == 1 and problem.num_intermediate_losses > 0


def _loss_at(problem, learner, state, outer_batches, t):
    """The loss after inner step t, or zero where none is due."""
    every = problem.intermediate_loss_every
    zero = tf.zeros([], state.params.dtype)
    if _scores_every_step(problem):
        return problem.score(learner, state, outer_batches, t)
    if not problem.num_intermediate_losses:
        return zero
    due = ((t + 1) % every == 0) & (t + 1 < problem.hyperparameters.num_inner_steps)
    return tf.cond(
        due,
        lambda: problem.score(learner, state, outer_batches, t // every),
        lambda: zero,
    )


def _unrolled(step, outer_batches, weights, carry, inputs, memory_policy):
    """The carry after all steps, in segments as memory is spent."""
    num_steps, length = inputs[0].shape[0], memory_policy.segment_length
    num_segments, rest = divmod(num_steps, length)
    whole = num_segments * length

    def segmented(values):
        return tf.reshape(values[:whole], [num_segments, length, *values.shape[1:]])

    def run(carry, inputs, num_segments, length):
        segment = _segment(
            step, outer_batches, weights, carry, inputs, length, memory_policy
        )
        return inner_loop.unroll(segment, carry, inputs, num_segments)

    carry = run(carry, tf.nest.map_structure(segmented, inputs), num_segments, length)
    if rest:
        remaining = tf.nest.map_structure(lambda v: v[whole:][None], inputs)
        carry = run(carry, remaining, 1, rest)
    return carry


def _segment(step, outer_batches, weights, carry, inputs, length, memory_policy):
    """A function (carry, inputs of one segment) -> carry."""

    def segment(outer_batches, weights, carry, inputs):
        return inner_loop.unroll(
            lambda carry, inputs: step(outer_batches, weights, carry, inputs),
            carry,
            inputs,
            length,
        )

    if not memory_policy.recompute:
        return functools.partial(segment, outer_batches, weights)

    def spec(values):
        return tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), values)

    def input_spec(values):  # [num_segments, length, B, ...]
        # With every dimension known, grappler rewrites sums into temporary variables
        # whose names clash between iterations of the loop: leave B open.
        shape = [length, *(None for _ in values.shape[2:3]), *values.shape[3:]]
        return tf.TensorSpec(shape, values.dtype)

    traced = tf.function(segment, autograph=False).get_concrete_function(
        spec(outer_batches),
        spec(weights),
        spec(carry),
        tf.nest.map_structure(input_spec, inputs),
    )
    return lambda carry, inputs: _recomputed(
        traced, (outer_batches, weights, carry, inputs)
    )


def _recomputed(traced, arguments):
    """traced(*arguments), forgotten and computed again when differentiated."""
    flat = tf.nest.flatten(arguments)
    floating = [tensor.dtype.is_floating for tensor in flat]

    def function(*floats):
        # Integers are captured: as arguments they would be copied and watched.
        remaining = iter(floats)
        merged = [
            next(remaining) if is_float else tensor
            for is_float, tensor in zip(floating, flat, strict=True)
        ]
        outputs = traced(*tf.nest.pack_sequence_as(arguments, merged))
        return tuple(tf.nest.flatten(outputs))

    floats = [
        tensor for is_float, tensor in zip(floating, flat, strict=True) if is_float
    ]
    outputs = tf.recompute_grad(function)(*floats)
    return tf.nest.pack_sequence_as(traced.structured_outputs, outputs)


def meta_gradient(
    problem: MetaProblem,
    learner: StatelessModel,
    state: InnerState,
    seed: tf.Tensor,
    outer_batches,
    memory_policy: MemoryPolicy,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """One meta-gradient, from a fresh learner to the loss of the trained one.

    Returns:
      The meta-loss of the trained learner, the sum of the intermediate losses, and
      the gradient of their sum for each of `problem.variables`.
    """
    with tf.GradientTape() as tape:
        _, meta_loss, total = train_and_score(
            problem, learner, state, seed, outer_batches, memory_policy
        )
    gradients = tape.gradient(
        total, problem.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return meta_loss, total - meta_loss, gradients
