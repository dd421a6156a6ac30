"""A policy that acts in environments, as part of a TensorFlow program.

Environments are no TensorFlow: they are stepped by `tf.numpy_function`, and no gradient
goes through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gtn_tf.data.environments import Environment


class Rollout(NamedTuple):
    """L frames of N environments.

    Attributes:
      states: raw, float32 [L, N, S], in which the actions were taken.
      actions: int32 [L, N].
      successors: raw, float32 [L, N, S], what they led to.
      rewards: float32 [L, N].
      terminated, truncated: bool [L, N], as of `environments.Transition`.
    """

    states: tf.Tensor
    actions: tf.Tensor
    successors: tf.Tensor
    rewards: tf.Tensor
    terminated: tf.Tensor
    truncated: tf.Tensor


def _start(environment: Environment, stream: int, seeds: tf.Tensor):
    """What environments reset by these seeds are known by, and their states [N, S]."""

    def reset(seeds):
        handle, states = environment.reset(stream, seeds)
        return np.int32(handle), states

    handle, states = tf.numpy_function(reset, [seeds], [tf.int32, tf.float32])
    handle.set_shape([])
    states.set_shape([*seeds.shape, *environment.image_shape])
    return handle, states


def roll_out(
    environment: Environment,
    act: Callable,
    stream: int,
    seeds: tf.Tensor,
    noise: tf.Tensor,
) -> Rollout:
    """What happens in L frames of fresh environments, one for each seed [N].

    Args:
      act: (raw states [N, S], noise of the frame) -> actions, int32 [N].
      stream: of seeds, as of `Environment.reset`.
      noise: [L, ...], what actions are drawn by.
    """
    handle, states = _start(environment, stream, seeds)
    num = seeds.shape[0]
    types = [tf.float32, tf.float32, tf.float32, tf.bool, tf.bool]
    shapes = 2 * [[num, *environment.image_shape]] + 3 * [[num]]

    def frame(before, noise):
        states = before[0]
        actions = act(states, noise)
        found = tf.numpy_function(
            lambda handle, actions: tuple(environment.step(handle, actions)),
            [handle, actions],
            types,
        )
        for tensor, shape in zip(found, shapes, strict=True):
            tensor.set_shape(shape)
        following, successors, rewards, terminated, truncated = found
        return (following, states, actions, successors, rewards, terminated, truncated)

    numbers = tf.zeros_like(states[:, 0])
    signs = tf.zeros_like(numbers, tf.bool)
    first = (
        states,
        states,
        tf.zeros_like(numbers, tf.int32),
        states,
        numbers,
        signs,
        signs,
    )
    scanned = tf.scan(frame, noise, first, parallel_iterations=1)
    with tf.control_dependencies(scanned):
        tf.numpy_function(environment.release, [handle], tf.int32)
    return Rollout(*map(tf.stop_gradient, scanned[1:]))
