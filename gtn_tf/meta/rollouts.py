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


class Start(NamedTuple):
    """Environments that stand somewhere: what they are known by, states [N, S]."""

    handle: tf.Tensor
    states: tf.Tensor


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


def start(environment: Environment, stream: int, seeds: tf.Tensor) -> Start:
    """Environments reset by these seeds [N] of a stream of `environments`."""

    def reset(seeds):
        handle, states = environment.reset(stream, seeds)
        return np.int32(handle), states

    handle, states = tf.numpy_function(reset, [seeds], [tf.int32, tf.float32])
    handle.set_shape([])
    states.set_shape([*seeds.shape, *environment.image_shape])
    return Start(handle, states)


def roll_out(
    environment: Environment, act: Callable, begun: Start, num_frames: int
) -> tuple[Rollout, Start]:
    """What happens in so many frames, and where the environments stand then.

    Args:
      act: (raw states [N, S], frame number) -> actions, int32 [N].
    """
    num = begun.states.shape[0]
    types = [tf.float32, tf.float32, tf.float32, tf.bool, tf.bool]
    shapes = 2 * [[num, *environment.image_shape]] + 3 * [[num]]

    def frame(before, t):
        states = before[0]
        actions = tf.cast(act(states, t), tf.int32)
        found = tf.numpy_function(
            lambda handle, actions: tuple(environment.step(handle, actions)),
            [begun.handle, actions],
            types,
        )
        for tensor, shape in zip(found, shapes, strict=True):
            tensor.set_shape(shape)
        following, successors, rewards, terminated, truncated = found
        return (following, states, actions, successors, rewards, terminated, truncated)

    states = begun.states
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
    scanned = tf.scan(frame, tf.range(num_frames), first)
    following, *recorded = map(tf.stop_gradient, scanned)
    return Rollout(*recorded), begun._replace(states=following[-1])


def release(environment: Environment, begun: Start, after: tf.Tensor) -> None:
    """Gives the environments back, once `after` is computed."""
    with tf.control_dependencies([after]):
        tf.numpy_function(environment.release, [begun.handle], tf.int32)
