"""The moving statistics of Keras' batch norm, where few steps have been taken.

A moving average of momentum 0.99 would hardly have moved in a teacher's T steps. The
last batch's statistics stand in its place between steps, and in the end the mean over
all batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import keras
import tensorflow as tf

_MOMENTA = ("momentum", "renorm_momentum")
_STATISTICS = (
    "moving_mean",
    "moving_variance",
    "moving_stddev",
    "renorm_mean",
    "renorm_stddev",
)


@contextlib.contextmanager
def of_last_batch(model: keras.Model):
    """Within, what is traced or run keeps the last batch's statistics.

    The layers' momenta are zero within and as before afterwards, also after an error.
    """
    momenta = [
        (layer, name, getattr(layer, name))
        for layer in _layers(model)
        for name in _MOMENTA
        if hasattr(layer, name)
    ]
    for layer, name, _ in momenta:
        setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, name, momentum in momenta:
            setattr(layer, name, momentum)


def average(model: keras.Model, batches: Iterable) -> None:
    """Sets the statistics to the mean over batches, seen by the model as it is.

    One pass forward in training mode; nothing else of the model has changed after it,
    seeds of dropout and other layers' state included.

    Args:
      batches: (x [B, H, W, C], anything) pairs, one or more.
    """
    moving = [
        variable
        for layer in _layers(model)
        for name in _STATISTICS
        if (variable := getattr(layer, name, None)) is not None
    ]
    if not moving:
        return
    own = {id(variable) for variable in moving}
    # Spectral normalization, for one, assigns even its kernel on the way forward.
    others = [v for v in model.variables if id(v) not in own]
    before = [tf.identity(v.value) for v in others]

    def after_batch(x):
        model(x, training=True)
        return [tf.identity(v.value) for v in moving]

    if not model.run_eagerly:
        after_batch = tf.function(after_batch, autograph=False)
    try:
        with of_last_batch(model):
            seen = [after_batch(tf.convert_to_tensor(x)) for x, _ in batches]
    finally:
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
    for variable, *values in zip(moving, *seen, strict=True):
        variable.assign(tf.add_n(values) / len(values))


def _layers(model: keras.Model) -> list:
    """The batch norms that training may change."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
