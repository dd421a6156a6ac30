"""A Keras model as pure functions over flat vectors.

    init(seed) -> params, batch_stats
    apply(params, batch_stats, x, training) -> logits [B, K], batch_stats

`params` and `batch_stats` are one flat vector each. The inner loop's cost on small
learners is the number of operations, and a vector makes an optimizer's update, a
loop variable and a zero one operation each instead of one per weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from gtn_tf.networks import initial_weights

_SPLIT_FROM = 17  # parts from which TensorFlow's gradient of a concatenation is a split


class Layout(NamedTuple):
    """Where each tensor lies in a flat vector, and what it is.

    Attributes:
      shapes: of the tensors, in order.
      kinds: of the tensors, keys of `initial_weights.KINDS`.
    """

    shapes: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """Numbers in each tensor."""
        return [math.prod(shape) for shape in self.shapes]


def layout(variables: Sequence) -> Layout:
    """The layout of these Keras variables, flattened one after the other."""
    return Layout(
        tuple(tuple(v.shape) for v in variables),
        tuple(initial_weights.kind(v) for v in variables),
    )


class StatelessModel:
    """The pure functions `init` and `apply` of a Keras model.

    The model's own weights are neither read nor written but by `assign`.

    Args:
      model: any built Keras classifier, [B, H, W, C] -> logits [B, K].
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.layout = layout(model.trainable_variables)
        self._stat_shapes = [tuple(v.shape) for v in model.non_trainable_variables]
        self.dtype = model.trainable_variables[0].dtype
        self.num_params = sum(self.layout.sizes)
        self.num_stats = sum(math.prod(shape) for shape in self._stat_shapes)

    def init(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Fresh params [P] and batch_stats [S] from an int seed [2].

        Each weight is drawn by its own initializer; see `initial_weights`.
        """
        values = initial_weights.draw(self.model, seed)
        return tuple(
            flatten([tf.cast(values[id(v)], self.dtype) for v in variables], self.dtype)
            for variables in (
                self.model.trainable_variables,
                self.model.non_trainable_variables,
            )
        )

    def apply(
        self, params: tf.Tensor, batch_stats: tf.Tensor, x: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits [B, K] of x [B, H, W, C], and the batch statistics [S] after it."""
        logits, statistics = self.model.stateless_call(
            unflatten(params, self.layout.shapes),
            self._statistics(batch_stats),
            x,
            training=training,
        )
        if not training:
            return logits, batch_stats
        statistics = [tf.cast(value, self.dtype) for value in statistics]
        return logits, flatten(statistics, self.dtype)

    def assign(self, params: tf.Tensor, batch_stats: tf.Tensor) -> keras.Model:
        """The Keras model with these weights written into it."""
        weights = unflatten(params, self.layout.shapes)
        for variable, value in zip(
            self.model.trainable_variables, weights, strict=True
        ):
            variable.assign(value)
        for variable, value in zip(
            self.model.non_trainable_variables,
            self._statistics(batch_stats),
            strict=True,
        ):
            variable.assign(value)
        return self.model

    def _statistics(self, batch_stats: tf.Tensor) -> list[tf.Tensor]:
        values = unflatten(batch_stats, self._stat_shapes)
        # The states of random layers are integers, small enough for a float.
        return [
            tf.cast(value, variable.dtype)
            for value, variable in zip(
                values, self.model.non_trainable_variables, strict=True
            )
        ]


def flatten(values: Sequence[tf.Tensor], dtype: str) -> tf.Tensor:
    """One vector of all values; the inverse of `unflatten`.

    The gradient of a concatenation is one split where it has more than 16 parts, and
    otherwise a slice for each, of which the inner gradient's gradient has many: empty
    parts make it the split. (A gradient by tf.custom_gradient would keep every graph
    that it is traced in for as long as the process lives.)
    """
    parts = [v if len(v.shape) == 1 else tf.reshape(v, [-1]) for v in values]
    empty = [tf.zeros([0], dtype)] * max(1, _SPLIT_FROM - len(parts))
    return tf.concat([*parts, *empty], 0)


def unflatten(vector: tf.Tensor, shapes: Sequence[tuple[int, ...]]) -> list:
    """The tensors of these shapes that follow each other in a vector."""
    if not shapes:
        return []
    parts = tf.split(vector, [math.prod(shape) for shape in shapes])
    return [
        part if len(shape) == 1 else tf.reshape(part, shape)
        for part, shape in zip(parts, shapes, strict=True)
    ]
