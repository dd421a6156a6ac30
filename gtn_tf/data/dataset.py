"""A data set as splits of raw images, and what batches of them go through on the way.

Data are normalized to mean zero and variance one (Appendix A.1), and CIFAR-10's real
training images are augmented with random crops and flips (Appendix A.2).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from gtn_tf.errors import UserError

_CROP_PADDING = 4  # pixels on each side, usual for CIFAR-10; the paper names no number


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images (uint8 [N, H, W, C]) and the class of each (int32 [N])."""

    images: np.ndarray
    labels: np.ndarray

    @functools.cached_property
    def tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Images and labels, copied when first asked for, once for all that draw."""
        with tf.init_scope():  # outside of a function that is being traced
            return tf.constant(self.images), tf.constant(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits, raw, and what is needed to normalize and augment them.

    `mean` and `std` (float32 [C], raw pixel units) are those of the training images
    alone. `augment`: outer batches get random crops and flips.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    augment: bool

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.train.images.shape[1:]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)


def build_dataset(
    name: str,
    splits: dict[str, Split],
    class_names: tuple[str, ...],
    augment: bool = False,
) -> Dataset:
    """With the statistics of the training images.

    Raises:
      UserError: a channel that is the same in all of them.
    """
    mean, std = _channel_statistics(name, splits["train"].images)
    return Dataset(
        name=name,
        **splits,
        class_names=class_names,
        mean=mean,
        std=std,
        augment=augment,
    )


def _channel_statistics(name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel, float32 [C], of uint8 [N, H, W, C]."""
    mean = images.mean(axis=(0, 1, 2), dtype=np.float64)
    # Sums of squared bytes are whole numbers below 2**53: nothing is lost to rounding
    # before the difference, and no float64 copy of all images is made.
    squares = np.einsum("nhwc,nhwc->c", images, images, dtype=np.float64)
    variance = squares / (images.size / images.shape[-1]) - mean**2
    if np.any(variance <= 0):
        raise UserError(
            f"dataset {name!r} has standard deviation 0 in channel "
            f"{int(np.argmin(variance))}; allowed: above 0; check the images"
        )
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def normalize(images, mean, std) -> tf.Tensor:
    """(images - mean) / std per channel (App. A.1): [..., H, W, C] to float32."""
    mean = tf.cast(mean, tf.float32)
    return (tf.cast(images, tf.float32) - mean) / tf.cast(std, tf.float32)


def augment(images, seed) -> tf.Tensor:
    """Random crops after zero padding, and horizontal flips with probability 1/2.

    Each image has its own crop and flip (App. A.2). What is padded with is black for
    raw images, and the mean for normalized ones.

    Args:
      images: [B, H, W, C], of any type; B may be unknown in a graph.
      seed: int [2]; the same seed gives the same crops and flips.
    Returns:
      Images of the same shape and type.
    """
    images = tf.convert_to_tensor(images)
    num_images = tf.shape(images)[0]
    height, width = images.shape[1:3]
    # A named generator and whole numbers: defaults differ between devices, and floats
    # between XLA and the rest.
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, alg="philox"))
    draw = functools.partial(tf.random.stateless_uniform, dtype=tf.int32, alg="philox")
    corners = draw([num_images, 2], crop_seed, maxval=2 * _CROP_PADDING + 1)
    flips = draw([num_images, 1], flip_seed, maxval=2) == 1
    rows = corners[:, :1] + tf.range(height)  # [B, H]
    columns = corners[:, 1:] + tf.range(width)  # [B, W]
    columns = tf.where(flips, columns[:, ::-1], columns)
    around = [_CROP_PADDING, _CROP_PADDING]
    padded = tf.pad(images, [[0, 0], around, around, [0, 0]])
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)  # [B, H, W + 8, C]
    return tf.gather(cropped, columns, axis=2, batch_dims=1)  # [B, H, W, C]
