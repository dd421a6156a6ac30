"""The inner loop: T steps of a learner on a teacher's data, state in, state out.

Nothing here knows how it is differentiated; see `meta_gradients`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from gtn_tf.meta.inner_optimizers import InnerOptimizer
from gtn_tf.networks.stateless import StatelessModel

# With TensorFlow's ten, the way back leaves behind what no later turn waits for, and
# holds the memory of so many turns; with one, nothing else fills the time that a
# processor waits in.
_PARALLEL_ITERATIONS = 2


class InnerState(NamedTuple):
    """All that one inner step hands to the next.

    Attributes:
      params: of the learner, [P].
      batch_stats: of its batch norms, [S].
      slots: of the optimizer.
      feedback: what the next batch may depend on; empty but for teachers that respond.
    """

    params: tf.Tensor
    batch_stats: tf.Tensor
    slots: tuple[tf.Tensor, ...]
    feedback: tuple[tf.Tensor, ...] = ()


def _no_feedback(targets: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return ()


def initial_state(
    learner: StatelessModel,
    optimizer: InnerOptimizer,
    seed: tf.Tensor,
    feedback: tuple[tf.Tensor, ...] = (),
) -> InnerState:
    """A fresh learner, nothing remembered."""
    params, batch_stats = learner.init(seed)
    slots = optimizer.init(params, learner.layout)
    return InnerState(params, batch_stats, slots, feedback)


def inner_step(
    learner: StatelessModel,
    optimizer: InnerOptimizer,
    inner_loss: Callable,
    state: InnerState,
    batch: tuple[tf.Tensor, tf.Tensor],
    hyperparameters: tuple[tf.Tensor, ...],
    feedback: Callable = _no_feedback,
) -> tuple[InnerState, tf.Tensor]:
    """One step of training on batch = (x [B, H, W, C], targets [B, K]).

    Args:
      inner_loss: (targets, outputs [B, K]) -> scalar.
      feedback: (targets, outputs) -> what the next batch may depend on.

    Returns:
      The state after the step, and the inner loss of the batch before it.
    """
    x, targets = batch
    with tf.GradientTape() as tape:
        tape.watch(state.params)
        logits, batch_stats = learner.apply(
            state.params, state.batch_stats, x, training=True
        )
        loss = inner_loss(targets, logits)
    gradient = tape.gradient(loss, state.params)  # [P]
    params, slots = optimizer.update(
        gradient, state.slots, state.params, hyperparameters, learner.layout
    )
    return InnerState(params, batch_stats, slots, feedback(targets, logits)), loss


def unroll(step: Callable[[Any, Any], Any], state: Any, inputs: Any, num_steps: int):
    """state = step(state, inputs[t]) for t = 0 ... num_steps - 1.

    A tf.while_loop, so that graph size and start-up do not grow with num_steps.

    Args:
      state: nest of tensors; `step` returns the same structure.
      inputs: nest of tensors with time first, [num_steps, ...].
    """

    if num_steps == 1:
        return step(state, tf.nest.map_structure(lambda values: values[0], inputs))
    # The gradient of values[t] would have the size of all values at every step.
    arrays = tf.nest.map_structure(_array, inputs)

    def at(t):
        return tf.nest.map_structure(lambda array: array.read(t), arrays)

    _, state = tf.while_loop(
        lambda t, _: t < num_steps,
        lambda t, state: (t + 1, step(state, at(t))),
        (tf.constant(0), state),
        maximum_iterations=num_steps,
        parallel_iterations=_PARALLEL_ITERATIONS,
    )
    return state


def _array(values: tf.Tensor) -> tf.TensorArray:
    """The same values, each along the first axis on its own."""
    array = tf.TensorArray(
        values.dtype,
        size=values.shape[0],
        element_shape=values.shape[1:],
        clear_after_read=False,
    )
    return array.unstack(values)
