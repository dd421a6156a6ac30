"""Models as people write them, of Keras' own layers alone, which no teacher has seen.

What a teacher is worth to others is measured on these: Keras' default initializers,
biases beside batch norm, no weight norm.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from gtn_tf.networks.layers import PositionEmbedding


def _readme(shape, num_classes):
    """The model of the README's ten lines."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(64, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(num_classes),
        ]
    )


def _multilayer_perceptron(shape, num_classes):
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Flatten(),
            layers.Dense(256, "relu"),
            layers.Dense(128, "relu"),
            layers.Dense(num_classes),
        ]
    )


def _convolutional(shape, num_classes):
    """Convolutions and max pooling as in Keras' first examples, no normalization."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, "relu"),
            layers.Dense(num_classes),
        ]
    )


def _deep_convolutional(shape, num_classes):
    parts = [keras.Input(shape)]
    for filters, strides in ((32, 1), (64, 2), (64, 1), (64, 2), (64, 1)):
        parts += [
            layers.Conv2D(filters, 3, strides, padding="same"),
            layers.BatchNormalization(),
            layers.LeakyReLU(negative_slope=0.1),
        ]
    parts += [layers.GlobalAveragePooling2D(), layers.Dense(num_classes)]
    return keras.Sequential(parts)


def _layer_norm(shape, num_classes):
    parts = [keras.Input(shape)]
    for filters in (48, 96):
        parts += [
            layers.Conv2D(filters, 3, 2, padding="same"),
            layers.LayerNormalization(),
            layers.Activation("gelu"),
        ]
    return keras.Sequential([*parts, layers.Flatten(), layers.Dense(num_classes)])


def _normalized(features, activation="relu"):
    return layers.Activation(activation)(layers.BatchNormalization()(features))


def _residual(shape, num_classes):
    """Two blocks with projections (He et al., 2016)."""
    images = keras.Input(shape)
    features = layers.Conv2D(32, 3, padding="same", use_bias=False)(images)
    features = _normalized(features)
    for filters, strides in ((32, 1), (64, 2)):
        block = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(
            features
        )
        block = layers.Conv2D(filters, 3, padding="same", use_bias=False)(
            _normalized(block)
        )
        block = layers.BatchNormalization()(block)
        if strides > 1:
            features = layers.Conv2D(filters, 1, strides, use_bias=False)(features)
            features = layers.BatchNormalization()(features)
        features = layers.ReLU()(layers.Add()([features, block]))
    features = layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.Dense(num_classes)(features))


def _depthwise(shape, num_classes):
    """Depthwise-separable blocks (Howard et al., 2017)."""
    images = keras.Input(shape)
    features = layers.Conv2D(32, 3, padding="same", use_bias=False)(images)
    features = _normalized(features)
    for filters, strides in ((64, 2), (128, 1), (128, 2)):
        features = _normalized(
            layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(features)
        )
        features = _normalized(layers.Conv2D(filters, 1, use_bias=False)(features))
    features = layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.Dense(num_classes)(features))


def _transformer(shape, num_classes, size=64, depth=2):
    """A small vision transformer (Dosovitskiy et al., 2021)."""
    patch = 2 if min(shape[:2]) < 16 else 4
    images = keras.Input(shape)
    tokens = layers.Conv2D(size, patch, patch)(images)
    tokens = PositionEmbedding()(layers.Reshape((-1, size))(tokens))
    for _ in range(depth):
        normed = layers.LayerNormalization(epsilon=1e-6)(tokens)
        tokens = layers.Add()(
            [tokens, layers.MultiHeadAttention(4, size // 4)(normed, normed)]
        )
        normed = layers.LayerNormalization(epsilon=1e-6)(tokens)
        hidden = layers.Dense(2 * size, "gelu")(normed)
        tokens = layers.Add()([tokens, layers.Dense(size)(hidden)])
    features = layers.GlobalAveragePooling1D()(
        layers.LayerNormalization(epsilon=1e-6)(tokens)
    )
    return keras.Model(images, layers.Dense(num_classes)(features))


# Name -> (image shape, number of classes) -> an untrained model with logits.
STOCK_MODELS: dict[str, Callable[[tuple[int, int, int], int], keras.Model]] = {
    "one convolution (the README's)": _readme,
    "multilayer perceptron": _multilayer_perceptron,
    "convolutions and pooling": _convolutional,
    "deep convolutional": _deep_convolutional,
    "layer norm and GELU": _layer_norm,
    "residual": _residual,
    "depthwise separable": _depthwise,
    "vision transformer": _transformer,
}
