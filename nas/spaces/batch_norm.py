"""Batch norm as one operation of TensorFlow, with derivatives of any order.

    h = (x - mean(x)) s,  s = 1 / sqrt(variance(x) + epsilon),  y = gamma h + beta

where means are over batch and positions. With what is left of a gradient v,

    P v = v - mean(v) - h mean(v h)

the gradients for x, gamma and beta are gamma s P b, sum(b h) and sum(b), where b is
that for y (Ioffe & Szegedy, 2015). TensorFlow has them as one operation, too, and the
gradients of these, but those keep more memory at each turn of a loop than all
activations take, and leave out what goes through mean and variance. Ours do not.
"""

from __future__ import annotations

import keras
import tensorflow as tf

_AXES = [0, 1, 2]  # of [B, H, W, C], over which means are


@keras.saving.register_keras_serializable("nas")
class FusedBatchNorm(keras.layers.BatchNormalization):
    """Keras' batch norm of [B, H, W, C], in float32 as one operation.

    Keras' own computes its parts one by one, and a step of training takes a third
    longer; it holds the mean constant within the variance, so that the derivative of a
    gradient, of which meta-gradients are made, comes out wrong.

    Args:
      for_meta_gradients: with our gradients of gradients. TensorFlow never forgets a
        graph that has such, so that networks that are trained once do without.
    """

    def __init__(self, for_meta_gradients: bool = False, **options):
        super().__init__(**options)
        self.for_meta_gradients = for_meta_gradients

    def call(self, inputs, training=False, mask=None):
        """y [B, H, W, C] by the batch's statistics in training, else by the moving."""
        normalize = _fused if inputs.dtype == tf.float32 else _in_parts
        if training and self.for_meta_gradients and normalize is _fused:
            normalize = _fused_for_meta_gradients
        arguments = inputs, *self._scale_and_center(inputs), self.epsilon
        if not training:
            statistics = self.moving_mean.value, self.moving_variance.value
            return normalize(*arguments, *statistics)[0]
        outputs, mean, variance = normalize(*arguments)
        new = 1 - self.momentum
        self.moving_mean.assign_add(new * (mean - self.moving_mean))
        self.moving_variance.assign_add(new * (variance - self.moving_variance))
        return outputs

    def get_config(self):
        """As the constructor takes it."""
        return super().get_config() | {"for_meta_gradients": self.for_meta_gradients}

    def _scale_and_center(self, inputs):
        channels = inputs.shape[-1:]
        gamma = self.gamma if self.scale else tf.ones(channels, inputs.dtype)
        beta = self.beta if self.center else tf.zeros(channels, inputs.dtype)
        return tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta)


def _in_parts(x, gamma, beta, epsilon: float, mean=None, variance=None):
    """y, mean and variance, which are those of x unless they are given."""
    mean = tf.reduce_mean(x, _AXES) if mean is None else mean
    centered = x - mean
    if variance is None:
        variance = tf.reduce_mean(tf.square(centered), _AXES)
    outputs = centered * tf.math.rsqrt(variance + epsilon) * gamma + beta
    return outputs, mean, variance


def _fused(x, gamma, beta, epsilon: float, mean=None, variance=None):
    """As `_in_parts`."""
    is_training = mean is None
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        x, gamma, beta, mean, variance, epsilon=epsilon, is_training=is_training
    )
    return outputs, mean, _biased(variance, x)


def _biased(variance, x):
    """Of TensorFlow's estimate, which is unbiased."""
    count = tf.cast(tf.size(x) // tf.size(variance), variance.dtype)
    return variance * (count - 1) / count


def _fused_for_meta_gradients(x, gamma, beta, epsilon: float):
    """As `_in_parts`, of x itself."""

    @tf.custom_gradient
    def normalized(x, gamma, beta):
        empty = tf.constant([])
        outputs, mean, unbiased, *reserved = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=epsilon
        )
        variance = _biased(unbiased, x)

        def gradient(upstream, *_):  # that through the statistics is in `_statistics`
            statistics = mean, variance
            return _gradients(upstream, x, gamma, statistics, reserved, epsilon)

        return (outputs, mean, variance), gradient

    outputs, mean, variance = normalized(x, gamma, beta)
    return outputs, *_statistics(x, mean, variance)


@tf.custom_gradient
def _statistics(x, mean, variance):
    """Mean and variance as given, differentiated as those of x.

    A step of training asks for no gradient here, and computes none.
    """

    def gradient(of_mean, of_variance):
        count = tf.cast(tf.size(x) // tf.size(mean), x.dtype)
        centered = x - tf.reduce_mean(x, _AXES)
        return (of_mean + 2 * of_variance * centered) / count, None, None

    return (tf.identity(mean), tf.identity(variance)), gradient


def _gradients(b, x, gamma, statistics, reserved, epsilon: float):
    """For x, gamma and beta, for an upstream gradient b of y."""

    @tf.custom_gradient
    def of_first_order(b, x, gamma):
        of_x, of_gamma, of_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=b,
            x=x,
            scale=gamma,
            reserve_space_1=reserved[0],
            reserve_space_2=reserved[1],
            reserve_space_3=reserved[2],
            epsilon=epsilon,
        )

        def gradient(*upstream):
            return _second_gradients(upstream, b, x, gamma, statistics, epsilon)

        return (of_x, of_gamma, of_beta), gradient

    return of_first_order(b, x, gamma)


def _second_gradients(upstream, b, x, gamma, statistics, epsilon: float):
    """For b, x and gamma, for the upstream gradients of those for x, gamma and beta."""
    a, of_gamma, of_beta = upstream
    mean, variance = statistics
    s = tf.math.rsqrt(variance + epsilon)
    h = (x - mean) * s  # [B, H, W, C]
    count = tf.cast(tf.size(x) // tf.size(mean), x.dtype)
    along_a, along_b = tf.reduce_mean(a * h, _AXES), tf.reduce_mean(b * h, _AXES)
    left_of_a = a - tf.reduce_mean(a, _AXES) - h * along_a  # P a
    left_of_b = b - tf.reduce_mean(b, _AXES) - h * along_b
    product = tf.reduce_mean(left_of_a * b, _AXES)  # a, P b, over the count
    for_b = gamma * s * left_of_a + of_gamma * h + of_beta
    for_x = s * of_gamma * left_of_b - gamma * tf.square(s) * (
        h * product + along_b * left_of_a + along_a * left_of_b
    )
    return for_b, for_x, s * count * product
