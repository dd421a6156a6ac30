"""The inner loop: T steps of a learner on a teacher's data, state in, state out.

Nothing here knows how it is differentiated; see `meta_gradients`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from gtn_tf.meta.inner_optimizers import InnerOptimizer
from gtn_tf.networks.stateless import StatelessModel


class InnerState(NamedTuple):
    """All that one inner step hands to the next."""

    params: tf.Tensor  # [P]
    batch_stats: tf.Tensor  # [S]
    slots: tuple[tf.Tensor, ...]


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of softmax(logits [B, K]) from targets [B, K]."""
    return tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    )


def mean_squared_error(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Mean of (outputs - targets)^2, both [B, K] (regression, section 2)."""
    return tf.reduce_mean(tf.square(outputs - targets))


def initial_state(
    learner: StatelessModel, optimizer: InnerOptimizer, seed: tf.Tensor
) -> InnerState:
    """A fresh learner, nothing remembered."""
    params, batch_stats = learner.init(seed)
    return InnerState(params, batch_stats, optimizer.init(params, learner.layout))


def inner_step(
    learner: StatelessModel,
    optimizer: InnerOptimizer,
    inner_loss: Callable,
    state: InnerState,
    batch: tuple[tf.Tensor, tf.Tensor],
    hyperparameters: tuple[tf.Tensor, ...],
) -> tuple[InnerState, tf.Tensor]:
    """One step of training on batch = (x [B, H, W, C], targets [B, K]).

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
    return InnerState(params, batch_stats, slots), loss


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
