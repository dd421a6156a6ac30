"""The gradient of the meta-loss through a learner's whole training.

    meta_loss = objective's loss of learner(theta_T) + its values at intermediate steps
    theta_(t+1) = inner_step(theta_t, teacher's batch t, hyperparameters t)

Memory is either of all T inner steps' activations (`recompute=False`), or of the
states between segments of `segment_length` steps and one segment's activations,
which are computed again on the way back (Appendix D; Griewank & Walther, 2000). A
segment can be cut in the same way again, into parts of `part_length` steps.
What is recomputed is a whole traced segment, generator and inner gradient included:
`tf.recompute_grad` suspends the recording of tapes, so a tape opened *inside* it
sees nothing, but a function traced before keeps its gradient operations.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from gtn_tf.meta import inner_loop
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.meta_problem import MetaProblem, Weights
from gtn_tf.networks.stateless import StatelessModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryPolicy:
    """How the unrolled loop is differentiated; the gradient does not depend on it.

    Attributes:
      recompute: compute activations again on the way back instead of keeping them.
      segment_length: inner steps between kept states when recomputing.
      part_length: of a segment that is gone back through, the steps between states
        that are kept meanwhile; every step is then computed three times. 0: all
        activations of the segment are kept.
    """

    recompute: bool = True
    segment_length: int = 1
    part_length: int = 0

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of segments, outermost first."""
        own = (self.segment_length, self.part_length) if self.recompute else ()
        return tuple(length for length in own if length)


class _Carry(NamedTuple):
    state: InnerState
    loss: tf.Tensor  # sum of those so far


class Lesson(NamedTuple):
    """What inner steps get beside the learner's state.

    Attributes:
      outer_batches: what the objective has sampled.
      weights: of the teacher and of the inner loss.
      inputs: a nest of tensors, each [steps, ...].
    """

    outer_batches: Any
    weights: Weights
    inputs: Any

    def part(self, first, count: int) -> Lesson:
        """Of `count` steps from step `first` on, which may be a tensor."""

        def cut(values):
            chosen = values[first : first + count]
            chosen.set_shape([count, *values.shape[1:]])
            return chosen

        return self._replace(inputs=tf.nest.map_structure(cut, self.inputs))


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
    end = problem.hyperparameters.num_inner_steps
    lesson = plan_lesson(problem, seed, outer_batches, end)
    state, total = unrolled(problem, learner, state, lesson, memory_policy)
    meta_loss = problem.score(learner, state, outer_batches, -1)
    if not problem.scores_every_step:
        total += meta_loss
    return state, meta_loss, total


def plan_lesson(problem: MetaProblem, seed: tf.Tensor, outer_batches, end) -> Lesson:
    """Of all T inner steps.

    Args:
      end: the number of steps after which the learner counts as trained: T, or a
        tensor; no intermediate loss is due there or later.
    """
    steps = tf.range(problem.hyperparameters.num_inner_steps)
    every = max(1, problem.intermediate_loss_every)
    due = ((steps + 1) % every == 0) & (steps + 1 < end)
    hyperparameters = problem.hyperparameters.values()
    inputs = (
        (steps // every, due),
        tuple(hyperparameters[name] for name in problem.optimizer.names),
        problem.teacher.plan(seed),
    )
    return Lesson(outer_batches, problem.weights(), inputs)


def _stepper(problem: MetaProblem, learner: StatelessModel) -> Callable:
    """outer batches, weights, carry, inputs of one step -> carry."""

    def step(outer_batches, weights, carry, step_inputs):
        (index, due), hyperparameters, shown = step_inputs
        state, _ = problem.step(learner, weights, carry.state, shown, hyperparameters)
        zero = tf.zeros([], state.params.dtype)
        if problem.scores_every_step:
            loss = problem.score(learner, state, outer_batches, index)
        elif problem.num_intermediate_losses:
            loss = tf.cond(
                due,
                lambda: problem.score(learner, state, outer_batches, index),
                lambda: zero,
            )
        else:
            loss = zero
        return _Carry(state, carry.loss + loss)

    return step


def forward(
    problem: MetaProblem,
    learner: StatelessModel,
    state: InnerState,
    lesson: Lesson,
    first,
    last,
) -> tuple[InnerState, tf.Tensor]:
    """The state after the lesson's steps first ... last - 1, and the sum of the
    intermediate losses there. It is not made for being differentiated: nothing is
    kept, and the numbers of steps may be tensors.
    """
    step = _stepper(problem, learner)

    def body(t, carry):
        inputs = tf.nest.map_structure(lambda values: values[t], lesson.inputs)
        return t + 1, step(lesson.outer_batches, lesson.weights, carry, inputs)

    carry = _Carry(state, tf.zeros([], state.params.dtype))
    first = tf.convert_to_tensor(first)
    _, carry = tf.while_loop(lambda t, _: t < last, body, (first, carry))
    return carry.state, carry.loss


def unrolled(
    problem: MetaProblem,
    learner: StatelessModel,
    state: InnerState,
    lesson: Lesson,
    memory_policy: MemoryPolicy,
) -> tuple[InnerState, tf.Tensor]:
    """The state after all of the lesson's steps, and the sum of the intermediate
    losses, in segments as memory is spent."""
    step = _stepper(problem, learner)
    shared = (lesson.outer_batches, lesson.weights)
    carry = _Carry(state, tf.zeros([], state.params.dtype))
    carry = _segmented(step, shared, carry, lesson.inputs, memory_policy.lengths)
    return carry.state, carry.loss


def _segmented(step, shared, carry, inputs, lengths) -> _Carry:
    """The carry after the steps of these inputs, in segments of lengths[0] steps, each
    of them in segments of lengths[1]."""
    num_steps = inputs[0][0].shape[0]
    if not lengths:
        each = functools.partial(step, *shared)
        return inner_loop.unroll(each, carry, inputs, num_steps)
    length = min(lengths[0], num_steps)
    num_segments, rest = divmod(num_steps, length)
    whole = num_segments * length

    def cut(values):
        # B is open within a segment.
        shape = [-1 if size is None else size for size in values.shape[1:]]
        return tf.reshape(values[:whole], [num_segments, length, *shape])

    def run(carry, inputs, num_segments):
        segment = _segment(step, shared, carry, inputs, lengths[1:])
        return inner_loop.unroll(segment, carry, inputs, num_segments)

    carry = run(carry, tf.nest.map_structure(cut, inputs), num_segments)
    if rest:
        remaining = tf.nest.map_structure(lambda v: v[whole:][None], inputs)
        carry = run(carry, remaining, 1)
    return carry


def _segment(step, shared, carry, inputs, lengths):
    """A function (carry, inputs of one segment) -> carry, computed again on the way
    back."""

    def segment(shared, carry, inputs):
        return _segmented(step, shared, carry, inputs, lengths)

    def spec(values):
        return tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), values)

    def input_spec(values):  # [num_segments, length, B, ...]
        # With every dimension known, grappler rewrites sums into temporary variables
        # whose names clash between iterations of the loop: leave B open.
        length, *shape = values.shape[1:]
        shape = [length, *(None for _ in shape[:1]), *shape[1:]]
        return tf.TensorSpec(shape, values.dtype)

    traced = tf.function(segment, autograph=False).get_concrete_function(
        spec(shared), spec(carry), tf.nest.map_structure(input_spec, inputs)
    )
    return lambda carry, inputs: _recomputed(traced, (shared, carry, inputs))


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
        tape.watch(problem.variables)  # which may be tensors, as of `MetaProblem.at`
        _, meta_loss, total = train_and_score(
            problem, learner, state, seed, outer_batches, memory_policy
        )
    gradients = tape.gradient(
        total, problem.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return meta_loss, total - meta_loss, gradients
