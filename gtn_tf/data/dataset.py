"""A data set as splits of raw images, and what batches of them go through on the way.

Data are normalized to mean zero and variance one (Appendix A.1), and CIFAR-10's real
training images are augmented with random crops and flips (Appendix A.2).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from gtn_tf.data import arrays
from gtn_tf.data.splits import SPLITS, Split, complete
from gtn_tf.errors import UserError

_CROP_PADDING = 4  # pixels on each side, usual for CIFAR-10; the paper names no number


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

    @property
    def num_examples(self) -> dict[str, int]:
        """Split -> images."""
        return {split: len(getattr(self, split).labels) for split in SPLITS}

    @functools.cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for all images, labels and class names."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for name in SPLITS:
            split = getattr(self, name)
            for array in (split.images, split.labels):
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @staticmethod
    def from_arrays(
        train: tuple,
        validation: tuple | None = None,
        test: tuple | None = None,
        *,
        class_names: Sequence[str] | None = None,
        name: str = "arrays",
        seed: int = 0,
    ) -> Dataset:
        """A data set of one's own arrays.

            train, test = keras.datasets.mnist.load_data()
            mnist = Dataset.from_arrays(train, test=test, name="mnist")

        Where validation or test are not given, 15 % of the training images of each
        class are held back for each of them, drawn by the seed.

        Args:
          train, validation, test: (images, labels). Images are uint8 or float,
            [N, H, W] or [N, H, W, C], of one shape and type in all; labels are
            integers [N] or [N, 1].
          class_names: a name for each label id; by default the ids themselves.
          name: what runs and exported files are called after.

        Raises:
          UserError: arrays of another type or shape, numbers that are not finite,
            labels that are no ids from 0 without gaps, fewer than two classes, a class
            that a split has no image of, or too few images to hold some back.
        """
        if seed < 0:
            raise UserError(f"seed {seed}; allowed: 0 and above; give another seed")
        pairs = {"train": train, "validation": validation, "test": test}
        given = {
            split: arrays.to_split(name, split, *_pair(name, split, pair))
            for split, pair in pairs.items()
            if pair is not None
        }
        arrays.check_alike(name, given)
        names = arrays.check_classes(name, given, class_names)
        return build_dataset(name, complete(name, given, names, seed), names)


def _pair(name: str, split: str, pair) -> tuple:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise UserError(
            f"dataset {name!r}: {split} is a {type(pair).__name__}; needed: a pair of "
            f"images and labels; give {split}=(x, y)"
        )
    return tuple(pair)


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
    """Mean and standard deviation per channel, float32 [C], of raw [N, H, W, C]."""
    mean = images.mean(axis=(0, 1, 2), dtype=np.float64)
    if images.dtype == np.uint8:
        # Sums of squared bytes are whole numbers below 2**53: nothing is lost to
        # rounding before the difference, and no float64 copy of all images is made.
        squares = np.einsum("nhwc,nhwc->c", images, images, dtype=np.float64)
        variance = squares / (images.size / images.shape[-1]) - mean**2
    else:
        variance = np.mean([np.square(i - mean).mean((0, 1)) for i in images], axis=0)
    constant = images.min(axis=(0, 1, 2)) == images.max(axis=(0, 1, 2))
    std = np.sqrt(np.maximum(variance, 0)).astype(np.float32)
    if np.any(constant | (std <= 0)):
        raise UserError(
            f"dataset {name!r} has standard deviation 0 in channel "
            f"{int(np.argmax(constant | (std <= 0)))}; allowed: above 0; check the "
            "images"
        )
    return mean.astype(np.float32), std


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
