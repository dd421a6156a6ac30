"""How layers are built, and NAO's eleven operations.

An operation is a function from Keras tensor to Keras tensor that gives num_filters
channels, and an image halved by a stride of 2. NAO's convolutions are ReLU, convolution
without bias, batch norm (Appendix C).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.networks import layers
from nas.spaces.batch_norm import FusedBatchNorm


@keras.saving.register_keras_serializable("nas")
class AveragePoolingOfSmallImages(keras.layers.AveragePooling2D):
    """Average pooling whose window is larger than the image, as two products.

    TensorFlow 2.21 gives such pooling a wrong gradient on CPUs, by up to 40 %: always
    in float64, and in float32 without oneDNN.
    """

    def call(self, inputs):
        rows, columns = (
            tf.constant(_means(side, self.pool_size[0], self.strides[0]), inputs.dtype)
            for side in inputs.shape[1:3]
        )
        return tf.einsum("ph,bhwc,qw->bpqc", rows, inputs, columns)


def _means(side: int, size: int, stride: int) -> np.ndarray:
    """[outputs, side]: what takes a row of pixels to the means of its windows.

    Padding is that of "same" and does not count.
    """
    num_outputs = -(-side // stride)
    before = max(0, (num_outputs - 1) * stride + size - side) // 2
    means = np.zeros([num_outputs, side])
    for output in range(num_outputs):
        start = output * stride - before
        means[output, max(0, start) : start + size] = 1
    return means / means.sum(axis=1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Style:
    """How layers are built.

    Attributes:
      weight_norm: W = g V / ||V|| in every dense layer and every convolution but
        depthwise ones, and batch norm with the last batch's statistics, as for
        learners (A.2); otherwise plain weights, and batch norm with moving averages.
      batch_norm: without it, convolutions alone.
      for_meta_gradients: batch norm as meta-gradients need it; see `batch_norm`.
      dtype: of all layers.
    """

    weight_norm: bool = False
    batch_norm: bool = True
    for_meta_gradients: bool = False
    dtype: str = "float32"

    def convolution(
        self, features, filters: int, kernel_size, affine: bool = True, **options
    ):
        """Convolution without bias, then batch norm."""
        layer = layers.convolution(
            filters,
            self.weight_norm,
            self.dtype,
            kernel_size,
            use_bias=False,
            **options,
        )
        return self.normalized(layer(features), affine)

    def depthwise(self, features, kernel_size: int, **options):
        """A convolution of each channel by itself, without bias or batch norm."""
        layer = layers.depthwise(
            features.shape[-1], self.dtype, kernel_size, use_bias=False, **options
        )
        return layer(features)

    def normalized(self, features, affine: bool = True):
        """Batch norm.

        Args:
          affine: with gamma and beta.
        """
        if not self.batch_norm:
            return features
        norm = FusedBatchNorm(
            self.for_meta_gradients,
            momentum=0.0 if self.weight_norm else 0.9,
            epsilon=1e-5,
            center=affine,
            scale=affine,
            dtype=self.dtype,
        )
        return norm(features)

    def relu(self, features):
        """ReLU."""
        return keras.layers.ReLU(dtype=self.dtype)(features)

    def dense(self, features, units: int):
        """A dense layer with bias."""
        return layers.dense(units, self.weight_norm, self.dtype)(features)


PLAIN = Style()  # for training on real data


def every_other(features, style: Style):
    """The pixels of even rows and columns.

    A 1x1 convolution of them stands for one with strides of 2, whose gradient in
    TensorFlow 2.21 with oneDNN, for features of few channels, writes beyond its memory:
    the process aborts, or goes on with other numbers.
    """
    pixels = keras.layers.AveragePooling2D(1, 2, padding="same", dtype=style.dtype)
    return pixels(features)


def factorized_reduction(features, filters: int, style: Style, affine: bool = True):
    """Half the filters from the even pixels, half from the odd, then batch norm.

    The odd ones are the even ones of an image shifted by a pixel. It is shifted by
    padding, and what that adds is cut off after the convolution, where it is small:
    the gradient of cutting off a whole image takes as long as the convolutions.
    """
    shifted = keras.layers.ZeroPadding2D(1, dtype=style.dtype)(features)
    even, odd = (
        layers.convolution(
            num_filters, style.weight_norm, style.dtype, 1, use_bias=False
        )(every_other(part, style))
        for part, num_filters in (
            (features, filters // 2),
            (shifted, filters - filters // 2),
        )
    )
    odd = keras.layers.Cropping2D(((1, 0), (1, 0)), dtype=style.dtype)(odd)
    halves = [even, odd]
    both = keras.layers.Concatenate(dtype=style.dtype)(halves)
    return style.normalized(both, affine)


def _identity(features, filters, stride, style):
    if stride == 1:
        return features
    return factorized_reduction(features, filters, style)


def _convolution(*kernel_sizes) -> Callable:
    """ReLU, convolution, batch norm for each; of a pair each strides along its own."""

    def apply(features, filters, stride, style):
        for kernel_size in kernel_sizes:
            if stride > 1 and kernel_size == (1, 1):
                features, stride = every_other(features, style), 1
            along = tuple(
                stride if side > 1 or len(kernel_sizes) == 1 else 1
                for side in kernel_size
            )
            features = style.convolution(
                style.relu(features), filters, kernel_size, strides=along
            )
        return features

    return apply


def pooling(layer: type, size: int) -> Callable:
    """Pooling whose padding does not count, as an operation.

    Args:
      layer: Keras' MaxPooling2D or AveragePooling2D.
      size: of the window's side.
    """

    def apply(features, filters, stride, style):
        del filters
        own = layer
        if layer is keras.layers.AveragePooling2D and size > min(features.shape[1:3]):
            own = AveragePoolingOfSmallImages
        return own(size, stride, padding="same", dtype=style.dtype)(features)

    return apply


IDENTITY = 5

# Number in NAO's encoding -> (features, filters, stride, style) -> features.
OPERATIONS: dict[int, Callable] = {
    IDENTITY: _identity,
    6: _convolution((1, 1)),
    7: _convolution((3, 3)),
    8: _convolution((1, 3), (3, 1)),
    9: _convolution((1, 7), (7, 1)),
    10: pooling(keras.layers.MaxPooling2D, 2),
    11: pooling(keras.layers.MaxPooling2D, 3),
    12: pooling(keras.layers.MaxPooling2D, 5),
    13: pooling(keras.layers.AveragePooling2D, 2),
    14: pooling(keras.layers.AveragePooling2D, 3),
    15: pooling(keras.layers.AveragePooling2D, 5),
}
