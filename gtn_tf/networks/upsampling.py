"""Twice as large by nearest neighbors, then a 3x3 convolution, at a quarter's size.

    convolve(upsample(x), W) = depth_to_space(convolve(x, W'))

The nine taps of W fall on two by two of the pixels before upsampling, which ones
depends on whether the row and the column are even or odd. W' [3, 3, C, 4 F] adds up
the taps on each pixel for the four cases. The products are the same in number, but
for few filters F they are done in a third of the time: convolutions on CPUs work on
blocks of many filters.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from gtn_tf.networks import layers


def _taps_by_pixel() -> np.ndarray:
    """1 where tap (a, b) falls on pixel (s, t) of the 3x3 ones before upsampling, for
    even (0) and odd (1) rows p and columns q, [s, t, p, q, a, b]."""
    one_axis = np.zeros((3, 2, 3), "float32")  # [s, p, a]
    for parity in range(2):
        for tap in range(3):
            one_axis[1 + (parity + tap - 1) // 2, parity, tap] = 1
    return np.einsum("spa,tqb->stpqab", one_axis, one_axis)


class _Upsampled:
    """Mixin for a 3x3 "same" Conv2D: as if its input were upsampled twofold before.

    [B, H, W, C] -> [B, 2 H, 2 W, F]
    """

    def convolution_op(self, inputs, kernel):
        taps = ops.cast(_taps_by_pixel(), kernel.dtype)
        kernels = ops.einsum("stpqab,abcf->stcpqf", taps, kernel)
        kernels = ops.reshape(kernels, (*kernel.shape[:3], 4 * self.filters))
        outputs = ops.conv(inputs, kernels, padding="same")  # [B, H, W, 4 F]
        return tf.nn.depth_to_space(outputs, 2)  # [B, 2 H, 2 W, F]

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = [side and 2 * side for side in (height, width)]
        return (batch, *sides, self.filters)


class UpsampledConv2D(_Upsampled, keras.layers.Conv2D):
    """Upsampling and Conv2D in one."""


class WeightNormUpsampledConv2D(_Upsampled, layers.WeightNormConv2D):
    """Upsampling and WeightNormConv2D in one."""


def upsampled_convolution(filters: int, weight_norm: bool, dtype, **kwargs):
    """A 3x3 convolution of the image upsampled twofold; plain or weight-normalized.

    Its kernel is Kaiming normal.
    """
    layer = WeightNormUpsampledConv2D if weight_norm else UpsampledConv2D
    kernel = layers.kaiming_normal()
    options = {"padding": "same", "kernel_initializer": kernel} | kwargs
    return layer(filters, 3, dtype=dtype, **options)
