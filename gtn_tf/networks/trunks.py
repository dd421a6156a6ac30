"""Trunks of the learner families: from images to what the last dense layer gets.

Each is (spec, images) -> features [B, ...]; `families.FAMILIES` names them.
"""

from __future__ import annotations

import keras

from gtn_tf.networks import layers
from gtn_tf.networks.learner_spec import LearnerSpec, layer_dtypes

_NUM_HEADS = 4
_LARGE_IMAGE = 16  # pixels to a side, from which patches have sides of 4 instead of 2


class _Blocks:
    """The layers that trunks are made of, as a spec asks for them."""

    def __init__(self, spec: LearnerSpec):
        self.spec = spec
        self.product, self.dtype = layer_dtypes(spec.precision)

    @property
    def _bias(self) -> bool:
        return self.spec.normalization == "none"

    def normalized(self, features):
        """What follows every hidden layer, before the activation."""
        name = self.spec.normalization
        if name == "none":
            return features
        if name == "layer":
            norm = layers.LayerNorm(epsilon=1e-6, dtype=self.dtype)
        else:
            norm = layers.BatchNorm(center_only=name == "center", dtype=self.dtype)
        return norm(features)

    def activated(self, features):
        return layers.activation(self.dtype, self.spec.activation)(features)

    def convolution(self, features, filters, kernel_size=3, strides=1):
        """A convolution alone."""
        spec = self.spec
        return layers.convolution(
            filters,
            spec.weight_norm,
            self.product,
            kernel_size,
            spec.initializer,
            strides=strides,
            use_bias=self._bias,
        )(features)

    def convolved(self, features, filters, kernel_size=3, strides=1):
        """Convolution, normalization, activation."""
        features = self.convolution(features, filters, kernel_size, strides)
        return self.activated(self.normalized(features))

    def depthwise(self, features, strides):
        """A 3x3 convolution of each channel by itself, normalization, activation."""
        features = layers.depthwise(
            features.shape[-1],
            self.product,
            initializer=self.spec.initializer,
            strides=strides,
            use_bias=self._bias,
        )(features)
        return self.activated(self.normalized(features))

    def dense(self, features, units):
        """Dense, normalization, activation."""
        spec = self.spec
        features = layers.dense(
            units, spec.weight_norm, self.product, spec.initializer, use_bias=self._bias
        )(features)
        return self.activated(self.normalized(features))

    def flat(self, features):
        return keras.layers.Flatten(dtype=self.dtype)(features)

    def mean(self, features):
        """Mean over positions."""
        return keras.layers.GlobalAveragePooling2D(dtype=self.dtype)(features)

    def sum(self, *features):
        return keras.layers.Add(dtype=self.dtype)(list(features))


def dense(spec: LearnerSpec, images, pooled: bool):
    """3x3 convolutions that halve the image each, then one dense layer.

    Args:
      pooled: halve by max pooling (A.1), or by strides of 2, at a third of the cost.
    """
    blocks = _Blocks(spec)
    *filters, units = spec.widths
    features = images
    for width in filters:
        if not pooled:
            features = blocks.convolved(features, width, strides=2)
            continue
        features = blocks.convolution(features, width)
        pool = keras.layers.MaxPooling2D(3, 2, padding="same", dtype=blocks.dtype)
        features = blocks.activated(blocks.normalized(pool(features)))
    return blocks.dense(blocks.flat(features), units)


def convolutional(spec: LearnerSpec, images):
    """Five 3x3 convolutions, strides 2 at the second and fourth, then the mean
    over positions (A.2)."""
    blocks = _Blocks(spec)
    features = images
    for index, width in enumerate(spec.widths):
        strides = 2 if index in (1, 3) else 1
        features = blocks.convolved(features, width, strides=strides)
    return blocks.mean(features)


def shallow(spec: LearnerSpec, images):
    """3x3 convolutions, strides of 2 from the second, flattened for the classifier."""
    blocks = _Blocks(spec)
    features = images
    for index, width in enumerate(spec.widths):
        features = blocks.convolved(features, width, strides=2 if index else 1)
    return blocks.flat(features)


def fully_connected(spec: LearnerSpec, images):
    """A dense layer for each width."""
    blocks = _Blocks(spec)
    features = blocks.flat(images)
    for units in spec.widths:
        features = blocks.dense(features, units)
    return features


def residual(spec: LearnerSpec, images):
    """For each width a 3x3 convolution with strides of 2 and a block of two more that
    is added to what it gets (He et al., 2016); then the mean over positions."""
    blocks = _Blocks(spec)
    features = images
    for filters in spec.widths:
        features = blocks.convolved(features, filters, strides=2)
        block = blocks.convolved(features, filters)
        block = blocks.normalized(blocks.convolution(block, filters))
        features = blocks.activated(blocks.sum(features, block))
    return blocks.mean(features)


def depthwise(spec: LearnerSpec, images):
    """A 3x3 convolution, then for each further width a depthwise one and a 1x1 one
    (Howard et al., 2017), strides of 2 at every other; the mean over positions."""
    blocks = _Blocks(spec)
    first, *others = spec.widths
    features = blocks.convolved(images, first)
    for index, width in enumerate(others):
        features = blocks.depthwise(features, strides=1 + (index + 1) % 2)
        features = blocks.convolved(features, width, kernel_size=1)
    return blocks.mean(features)


def transformer(spec: LearnerSpec, images):
    """Patches as tokens of the first width, and for each further width a block of
    attention and two dense layers, that width between them, each after layer norm and
    added to what it gets (Dosovitskiy et al., 2021); the mean over tokens."""
    blocks = _Blocks(spec)
    size, *hidden = spec.widths
    dtype = blocks.dtype

    def norm(features):
        return layers.LayerNorm(epsilon=1e-6, dtype=dtype)(features)

    def dense(units):
        return layers.dense(units, False, blocks.product, spec.initializer)

    patch = 4 if min(spec.image_shape[:2]) >= _LARGE_IMAGE else 2
    tokens = layers.convolution(
        size,
        False,
        blocks.product,
        patch,
        spec.initializer,
        strides=patch,
        padding="valid",
    )(images)
    tokens = keras.layers.Reshape((-1, size), dtype=dtype)(tokens)  # [B, N, size]
    tokens = layers.PositionEmbedding(dtype=dtype)(tokens)
    for units in hidden:
        normed = norm(tokens)
        attention = keras.layers.MultiHeadAttention(
            _NUM_HEADS, -(-size // _NUM_HEADS), dtype=blocks.product
        )
        tokens = blocks.sum(tokens, attention(normed, normed))
        wide = blocks.activated(dense(units)(norm(tokens)))
        tokens = blocks.sum(tokens, dense(size)(wide))
    return keras.layers.GlobalAveragePooling1D(dtype=dtype)(norm(tokens))
