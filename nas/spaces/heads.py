"""From features to logits: what networks of every space end in."""

from __future__ import annotations

import keras

from gtn_tf.errors import UserError
from nas.spaces.operations import Style
from nas.spaces.regularization import Regularization

MIN_AUXILIARY_SIZE = 29  # pixels a side that leave 8 after two halvings


def classifier(
    features, num_classes: int, style: Style, regularization: Regularization, seed: int
):
    """The mean over positions, dropout, a dense layer. [B, H, W, C] -> [B, K].

    Args:
      seed: of the dropout.
    """
    features = keras.layers.GlobalAveragePooling2D(dtype=style.dtype)(features)
    if regularization.dropout:
        dropout = keras.layers.Dropout(regularization.dropout, seed=seed)
        features = dropout(features)
    return style.dense(features, num_classes)


def auxiliary_head(features, num_classes: int, style: Style):
    """A small network's logits, on features after the second halving of the image.

    [B, H, W, C] -> [B, K].

    Raises:
      UserError: the images are too small for it.
    """
    if min(features.shape[1:3]) < 8:
        raise UserError(
            f"the auxiliary head cannot read {features.shape[1]}x{features.shape[2]} "
            "features of the image halved twice: they have at least 8x8 for "
            f"images of at least {MIN_AUXILIARY_SIZE} pixels a side; leave the head out"
        )
    features = style.relu(features)
    features = keras.layers.AveragePooling2D(5, 3)(features)
    features = style.convolution(features, 128, 1)
    features = style.convolution(style.relu(features), 768, 2, padding="valid")
    features = keras.layers.Flatten()(style.relu(features))
    return style.dense(features, num_classes)
