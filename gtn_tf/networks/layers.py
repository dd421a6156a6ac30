"""Layers of learners and generators: weight normalization, momentum-0 batch norm.

The layers work under `keras.Model.stateless_call` and differentiate twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
from keras import ops


def normalize_weight(kernel, gain):
    """W = g V / ||V||, one norm per output unit (section 2; Salimans & Kingma, 2016).

    Args:
      kernel: V, [..., units]; the norm is taken over all axes but the last.
      gain: g, [units].
    """
    axes = tuple(range(len(kernel.shape) - 1))
    inverse_norm = ops.rsqrt(ops.sum(ops.square(kernel), axis=axes))  # [units]
    return kernel * (gain * inverse_norm)


def initial_gain(kernel):
    """The g with which the normalized weight equals V: ||V||, [units]."""
    axes = tuple(range(len(kernel.shape) - 1))
    return ops.sqrt(ops.sum(ops.square(kernel), axis=axes))


class WeightNorm:
    """Mixin: a `gain` [units] beside Keras' `kernel`, which then stands for V."""

    def build(self, input_shape):
        super().build(input_shape)
        kernel = self._kernel
        self.gain = self.add_weight(
            shape=kernel.shape[-1:],
            initializer=lambda shape, dtype=None: ops.cast(
                initial_gain(kernel.value), dtype
            ),
            name="gain",
        )

    @property
    def raw_kernel(self) -> keras.Variable:
        """V."""
        return self._kernel

    @property
    def kernel(self):
        if not self.built:
            raise AttributeError("A weight-normalized layer has no kernel before build")
        # Under a bfloat16 policy Keras hands out rounded variables; a norm over
        # thousands of weights is taken in the variables' own precision.
        kernel = ops.cast(self._kernel, self.variable_dtype)
        gain = ops.cast(self.gain, self.variable_dtype)
        return ops.cast(normalize_weight(kernel, gain), self.compute_dtype)


class WeightNormDense(WeightNorm, keras.layers.Dense):
    """Dense with W = g V / ||V||. [B, inputs] -> [B, units]."""


class WeightNormConv2D(WeightNorm, keras.layers.Conv2D):
    """Conv2D with W = g V / ||V||. [B, H, W, C] -> [B, H', W', filters]."""


class BatchNorm(keras.layers.Layer):
    """Batch norm with momentum 0 (A.1): evaluation uses the last batch's statistics.

    In training the batch's mean and variance normalize, and become the values of
    the non-trainable weights; otherwise those weights normalize. Statistics are
    taken over all axes but the last.

    Args:
      center_only: subtract the mean and add beta, without variance and gamma.
      epsilon: added to the variance.
    """

    def __init__(self, center_only=False, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.center_only = center_only
        self.epsilon = epsilon

    def build(self, input_shape):
        def weight(name, initial, trainable):
            # Where fresh weights are looked for; see `initial_weights`.
            initializer = keras.initializers.get(initial)
            setattr(self, f"{name}_initializer", initializer)
            return self.add_weight(
                shape=input_shape[-1:],
                initializer=initializer,
                name=name,
                trainable=trainable,
            )

        self.beta = weight("beta", "zeros", True)
        self.mean = weight("mean", "zeros", False)
        if not self.center_only:
            self.gamma = weight("gamma", "ones", True)
            self.variance = weight("variance", "ones", False)

    def call(self, inputs, training=False):
        axes = tuple(range(len(inputs.shape) - 1))
        if training:
            mean = ops.mean(inputs, axis=axes)  # [C]
            self.mean.assign(mean)
        else:
            mean = ops.convert_to_tensor(self.mean)
        centered = inputs - mean
        if self.center_only:
            return centered + self.beta
        if training:
            variance = ops.mean(ops.square(centered), axis=axes)  # [C]
            self.variance.assign(variance)
        else:
            variance = ops.convert_to_tensor(self.variance)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return centered * scale + self.beta

    def get_config(self):
        config = super().get_config()
        return config | {"center_only": self.center_only, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("gtn_tf")
class LayerNorm(keras.layers.LayerNormalization):
    """Layer norm over the last axis, which differentiates twice.

    Keras takes the variance from `tf.nn.moments`, which holds the mean constant in it:
    no matter to the first derivative, but the derivative of a gradient, of which
    meta-gradients are made, comes out wrong.
    """

    def call(self, inputs):
        dtype = self.variable_dtype
        inputs = ops.cast(inputs, dtype)
        centered = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
        scale = ops.cast(self.gamma, dtype) * ops.rsqrt(variance + self.epsilon)
        return ops.cast(
            centered * scale + ops.cast(self.beta, dtype), self.compute_dtype
        )


def kaiming_normal(scale: float = 1.0) -> keras.initializers.Initializer:
    """N(0, 2 * scale / fan_in), not truncated (A.1; He et al., 2015)."""
    return keras.initializers.VarianceScaling(
        2 * scale, mode="fan_in", distribution="untruncated_normal"
    )


def dense(
    units: int, weight_norm: bool, dtype, initializer: str = "kaiming", **kwargs
) -> keras.layers.Layer:
    """A dense layer, weight-normalized or plain.

    Args:
      initializer: of its kernel, a key of `INITIALIZERS`.
    """
    layer = WeightNormDense if weight_norm else keras.layers.Dense
    kernel = INITIALIZERS[initializer]()
    return layer(units, kernel_initializer=kernel, dtype=dtype, **kwargs)


def convolution(
    filters: int,
    weight_norm: bool,
    dtype,
    kernel_size=3,
    initializer: str = "kaiming",
    **kwargs,
) -> keras.layers.Layer:
    """A convolution, "same" if not told otherwise; plain or weight-normalized.

    Args:
      initializer: of its kernel, a key of `INITIALIZERS`.
    """
    layer = WeightNormConv2D if weight_norm else keras.layers.Conv2D
    kernel = INITIALIZERS[initializer]()
    options = {"padding": "same", "kernel_initializer": kernel} | kwargs
    return layer(filters, kernel_size, dtype=dtype, **options)


def depthwise(
    channels: int, dtype, kernel_size=3, initializer: str = "kaiming", **kwargs
) -> keras.layers.Layer:
    """A convolution of each channel by itself, plain, "same" if not told otherwise.

    Args:
      channels: of its inputs. Keras counts all of them into the fan-in; a filter
        reads one.
      initializer: of its kernel, a key of `INITIALIZERS`.
    """
    kernel = INITIALIZERS[initializer]()
    if initializer == "kaiming":
        kernel = kaiming_normal(channels)
    options = {"padding": "same", "depthwise_initializer": kernel} | kwargs
    return keras.layers.DepthwiseConv2D(kernel_size, dtype=dtype, **options)


# Name -> makes the initializer of kernels: the paper's, or the default of Keras.
INITIALIZERS: dict[str, Callable[[], keras.initializers.Initializer]] = {
    "kaiming": kaiming_normal,
    "keras": keras.initializers.GlorotUniform,
}


def activation(dtype, name: str = "leaky_relu") -> keras.layers.Layer:
    """An activation by name, a key of `ACTIVATIONS`."""
    return ACTIVATIONS[name](dtype=dtype)


ACTIVATIONS: dict[str, Callable[..., keras.layers.Layer]] = {
    "leaky_relu": functools.partial(keras.layers.LeakyReLU, negative_slope=0.1),  # A.1
    "relu": keras.layers.ReLU,
    "gelu": functools.partial(keras.layers.Activation, "gelu"),
    "tanh": functools.partial(keras.layers.Activation, "tanh"),
}


@keras.saving.register_keras_serializable("gtn_tf")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned vector to each token. [B, tokens, size] -> the same."""

    embeddings_initializer = keras.initializers.RandomNormal(stddev=0.02)

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            shape=input_shape[1:],
            initializer=self.embeddings_initializer,
            name="embeddings",
        )

    def call(self, inputs):
        return inputs + self.embeddings
