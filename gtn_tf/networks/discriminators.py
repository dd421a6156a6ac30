"""The discriminator D(x) that tells real images from a teacher's (Appendix I)."""

from __future__ import annotations

import keras
import tensorflow as tf

from gtn_tf.networks import layers, stateless

_SLOPE = 0.2  # of LeakyReLU below zero


def build_discriminator(
    image_shape: tuple[int, int, int],
    widths: tuple[int, int],
    weight_norm: bool,
    seed: int,
) -> keras.Model:
    """D: x [B, H, W, C] -> scores [B, 1], logits of the images being real.

    Two 3x3 convolutions with stride 2, then a dense layer. It has no batch norm, so
    that an image's score does not depend on the others.

    Args:
      widths: filters of the two convolutions.
    """
    images = keras.Input(image_shape)
    features = images
    for filters in widths:
        features = layers.convolution(filters, weight_norm, "float32", strides=2)(
            features
        )
        features = keras.layers.LeakyReLU(_SLOPE)(features)
    features = keras.layers.Flatten()(features)
    scores = layers.dense(1, weight_norm, "float32")(features)
    model = stateless.StatelessModel(keras.Model(images, scores, name="discriminator"))
    return model.assign(*model.init(tf.constant([seed, 0])))
