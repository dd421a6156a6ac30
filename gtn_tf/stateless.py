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

import keras
import tensorflow as tf

from gtn_tf import layers


class StatelessModel:
    """The pure functions `init` and `apply` of a Keras model.

    The model's own weights are neither read nor written but by `assign`.

    Args:
      model: any built Keras classifier, [B, H, W, C] -> logits [B, K].
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._param_shapes = [tuple(v.shape) for v in model.trainable_variables]
        self._stat_shapes = [tuple(v.shape) for v in model.non_trainable_variables]
        self.dtype = model.trainable_variables[0].dtype
        self.num_params = sum(map(math.prod, self._param_shapes))

    def init(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Fresh params [P] and batch_stats [S] from an int seed [2].

        Kernels are Kaiming normal, N(0, 2 / fan_in) (A.1; He et al., 2015); gains
        start at the norm of their kernel, so that a weight-normalised layer starts
        as the plain one; scales and variances are one, all else is zero.
        """
        params = _initial_values(self.model.trainable_variables, seed)
        statistics = [
            _initial_value(v, seed, []) for v in self.model.non_trainable_variables
        ]
        return _flatten(params, self.dtype), _flatten(statistics, self.dtype)

    def apply(
        self, params: tf.Tensor, batch_stats: tf.Tensor, x: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits [B, K] of x [B, H, W, C], and the batch statistics [S] after it."""
        logits, statistics = self.model.stateless_call(
            _unflatten(params, self._param_shapes),
            _unflatten(batch_stats, self._stat_shapes),
            x,
            training=training,
        )
        if not training:
            return logits, batch_stats
        return logits, _flatten(statistics, self.dtype)

    def assign(self, params: tf.Tensor, batch_stats: tf.Tensor) -> keras.Model:
        """The Keras model with these weights written into it."""
        weights = _unflatten(params, self._param_shapes)
        for variable, value in zip(
            self.model.trainable_variables, weights, strict=True
        ):
            variable.assign(value)
        statistics = _unflatten(batch_stats, self._stat_shapes)
        for variable, value in zip(
            self.model.non_trainable_variables, statistics, strict=True
        ):
            variable.assign(value)
        return self.model


def initialise(model: keras.Model, seed: int) -> keras.Model:
    """The model with fresh trainable weights, as `StatelessModel.init` draws them."""
    variables = model.trainable_variables
    values = _initial_values(variables, tf.constant([seed, 0]))
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return model


def _initial_values(variables: Sequence, seed: tf.Tensor) -> list[tf.Tensor]:
    seeds = tf.unstack(tf.random.split(seed, len(variables)), num=len(variables))
    values: list[tf.Tensor] = []
    for variable, variable_seed in zip(variables, seeds, strict=True):
        values.append(_initial_value(variable, variable_seed, values))
    return values


def _initial_value(variable, seed: tf.Tensor, previous: Sequence[tf.Tensor]):
    """One weight's initial value; a gain follows its kernel in `previous`."""
    shape = tuple(variable.shape)
    if variable.name.endswith("kernel"):
        # A unit of a depthwise convolution [h, w, C, multiplier] reads one channel.
        fan_in_axes = -2 if "depthwise" in variable.path else -1
        scale = math.sqrt(2 / math.prod(shape[:fan_in_axes]))
        return scale * tf.random.stateless_normal(shape, seed, dtype=variable.dtype)
    if variable.name == "gain":
        kernel = next(p for p in reversed(previous) if len(p.shape) > 1)
        return layers.initial_gain(kernel)
    if variable.name in ("gamma", "variance", "moving_variance"):
        return tf.ones(shape, variable.dtype)
    return tf.zeros(shape, variable.dtype)


def _flatten(values: Sequence[tf.Tensor], dtype: str) -> tf.Tensor:
    """One vector of all values; the inverse of `_unflatten`.

    The two are each other's gradient. TensorFlow's own gradient of a concatenation
    is one slice for each input, and the inner gradient's gradient has many.
    """
    if not values:
        return tf.zeros([0], dtype)
    shapes = [tuple(value.shape) for value in values]

    @tf.custom_gradient
    def flatten(*values):
        vector = tf.concat([tf.reshape(value, [-1]) for value in values], 0)
        return vector, lambda gradient: _unflatten(gradient, shapes)

    return flatten(*values)


def _unflatten(vector: tf.Tensor, shapes: Sequence[tuple[int, ...]]) -> list:
    """The tensors of these shapes that follow each other in a vector."""
    if not shapes:
        return []

    @tf.custom_gradient
    def unflatten(vector):
        parts = tf.split(vector, [math.prod(shape) for shape in shapes])
        values = [
            tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)
        ]
        return values, lambda *gradients: _flatten(gradients, vector.dtype)

    return unflatten(vector)
