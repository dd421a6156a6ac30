"""What final training adds to a network, and to images (NAO's procedure)."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf
from keras import ops


@dataclasses.dataclass(frozen=True)
class Regularization:
    """What is added to a network for final training.

    Attributes:
      dropout: fraction of features dropped before the dense layer (NAO keeps 0.6).
      drop_path: probability of dropping an operation's result in the last cell, at
        the end of training (NAO keeps 0.8); less in earlier cells and before.
      auxiliary_head: a second output, of a head where the image is halved twice.
      seed: of what is dropped.
    """

    dropout: float = 0.4
    drop_path: float = 0.2
    auxiliary_head: bool = True
    seed: int = 0


NONE = Regularization(dropout=0, drop_path=0, auxiliary_head=False)


@keras.saving.register_keras_serializable("nas")
class DropPath(keras.layers.Layer):
    """Zeroes whole images' features with probability rate * progress, in training.

    What stays is divided by the probability of staying. `progress` is a weight from 0
    to 1, how much of training is done: `set_progress` moves it.

    Args:
      rate: the probability at the end of training.
      seed: of the draws.
    """

    def __init__(self, rate: float, seed: int, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.progress = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="progress"
        )

    def call(self, inputs, training=False):
        if not training:
            return inputs
        keep = 1 - self.rate * ops.cast(self.progress, inputs.dtype)
        shape = (ops.shape(inputs)[0], *(1 for _ in inputs.shape[1:]))  # [B, 1, 1, 1]
        draws = keras.random.uniform(shape, dtype=inputs.dtype, seed=self._generator)
        return inputs * ops.cast(draws < keep, inputs.dtype) / keep

    def get_config(self):
        return super().get_config() | {"rate": self.rate, "seed": self.seed}


def set_progress(model: keras.Model, progress: float) -> None:
    """Tells every DropPath of a model how much of training is done, from 0 to 1."""
    for layer in model.layers:
        if isinstance(layer, DropPath):
            layer.progress.assign(progress)


def cutout(images: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Zeroes a square in each image (DeVries & Taylor, 2017).

    The square's center is anywhere in the image, so that parts of it may lie outside.

    Args:
      images: [B, H, W, C], normalized: 0 is the mean.
      size: side of the square, in pixels; 0: none.
      seed: int [2].
    """
    if not size:
        return images
    height, width = images.shape[1:3]
    draws = tf.random.stateless_uniform([2, tf.shape(images)[0], 1], seed, alg="philox")
    rows = _outside(draws[0], height, size)  # [B, H]
    columns = _outside(draws[1], width, size)  # [B, W]
    stays = rows[:, :, None] | columns[:, None, :]  # [B, H, W]
    return images * tf.cast(stays, images.dtype)[..., None]


def _outside(draws: tf.Tensor, length: int, size: int) -> tf.Tensor:
    """Which of `length` positions lie outside `size` around a draw, [B, length]."""
    first = tf.cast(draws * length, tf.int32) - size // 2  # [B, 1]
    positions = tf.range(length)
    return (positions < first) | (positions >= first + size)
