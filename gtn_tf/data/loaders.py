"""Data sets as splits of raw images, and what batches of them go through on the way.

Training sets are split uniformly into training and validation (Section 3), data are
normalised to mean zero and variance one (Appendix A.1), and CIFAR-10's real training
images are augmented with random crops and flips (Appendix A.2).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from gtn_tf.data.original_files import (
    IDX_FILES,
    Split,
    read_cifar10_files,
    read_idx_files,
)
from gtn_tf.data.tfds import read_tfds

_CROP_PADDING = 4  # pixels on each side, usual for CIFAR-10; the paper names no number
_DIGIT_NAMES = tuple(str(digit) for digit in range(10))
_FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_CIFAR10_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_IDX_HINT = ", ".join(f"{stem}.gz" for pair in IDX_FILES.values() for stem in pair)
_CIFAR10_HINT = "cifar-10-python.tar.gz (or the folder cifar-10-batches-py from it)"


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits, raw, and what is needed to normalise and augment them.

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
        return len(self.class_names)


def load(name: str, data_dir: str | None, seed: int) -> Dataset:
    """Loads a data set: one of DATASETS, or any other by its tensorflow_datasets name.

    Args:
      name: key of DATASETS, or what tfds.builder takes.
      data_dir: folder with original files (see data_files.py) or prepared tfds sets;
        None: tfds in its own folder.
      seed: decides which training images are held back for validation (for digits, and
        sets without a test split, for the test too).
    Raises:
      ValueError: unknown name, no such folder, files missing or damaged, no way to
        download, negative seed.
    """
    if seed < 0:
        raise ValueError(f"seed {seed}; allowed: 0 and above; pass another seed")
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if not folder.is_dir():
            raise ValueError(
                f"data_dir {data_dir!r} is no folder; allowed: an existing folder or "
                f"none; create it or correct the path"
            )
        data_dir = str(folder)
    loader = DATASETS.get(name, functools.partial(_load_tfds, name))
    return loader(data_dir, seed)


def normalise(images, mean, std) -> tf.Tensor:
    """(images - mean) / std per channel (App. A.1): [..., H, W, C] to float32."""
    mean = tf.cast(mean, tf.float32)
    return (tf.cast(images, tf.float32) - mean) / tf.cast(std, tf.float32)


def augment(images, seed) -> tf.Tensor:
    """Random crops after zero padding, and horizontal flips with probability 1/2.

    Each image has its own crop and flip (App. A.2). What is padded with is black for
    raw images, and the mean for normalised ones.

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


def _load_digits(data_dir: str | None, seed: int) -> Dataset:
    """scikit-learn's 1,797 digits of 8x8, values 0 to 16: 1,297 / 200 / 300."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[..., np.newaxis].astype(np.uint8)  # [N, 8, 8, 1]
    splits = _hold_back(
        "digits",
        Split(images, digits.target.astype(np.int32)),
        {"validation": 200, "test": 300},
        seed,
    )
    return _dataset("digits", splits, _DIGIT_NAMES)


def _load_idx(
    name: str, class_names: tuple[str, ...], data_dir: str | None, seed: int
) -> Dataset:
    """MNIST or Fashion-MNIST; a sixth of training is for validation: 50k/10k/10k."""
    splits = read_idx_files(name, data_dir) if data_dir is not None else None
    if splits is None:
        splits, _ = read_tfds(name, data_dir, f"in --data_dir the files {_IDX_HINT}")
    num_validation = len(splits["train"].labels) // 6
    splits |= _hold_back(name, splits["train"], {"validation": num_validation}, seed)
    return _dataset(name, splits, class_names)


def _load_cifar10(data_dir: str | None, seed: int) -> Dataset:
    """CIFAR-10; a tenth of training is for validation: 45k/5k/10k."""
    official = read_cifar10_files(data_dir) if data_dir is not None else None
    if official is None:
        official = read_tfds("cifar10", data_dir, f"in --data_dir {_CIFAR10_HINT}")
    splits, class_names = official
    num_validation = len(splits["train"].labels) // 10
    splits |= _hold_back(
        "cifar10", splits["train"], {"validation": num_validation}, seed
    )
    return _dataset("cifar10", splits, class_names or _CIFAR10_NAMES, augment=True)


def _load_tfds(name: str, data_dir: str | None, seed: int) -> Dataset:
    """Any other set; splits it lacks are a tenth of its training images each."""
    splits, class_names = read_tfds(
        name, data_dir, "in --data_dir the set as tensorflow_datasets prepares it"
    )
    tenth = len(splits["train"].labels) // 10
    sizes = {split: tenth for split in ("validation", "test") if split not in splits}
    splits |= _hold_back(name, splits["train"], sizes, seed)
    return _dataset(name, splits, class_names)


# name -> function (data_dir, seed) -> Dataset
DATASETS: dict[str, Callable[[str | None, int], Dataset]] = {
    "digits": _load_digits,
    "mnist": functools.partial(_load_idx, "mnist", _DIGIT_NAMES),
    "fashion_mnist": functools.partial(_load_idx, "fashion_mnist", _FASHION_NAMES),
    "cifar10": _load_cifar10,
}


def _hold_back(
    name: str, train: Split, sizes: dict[str, int], seed: int
) -> dict[str, Split]:
    """Cuts random parts of the given sizes off `train`; the rest stays "train"."""
    num_images = len(train.labels)
    num_held_back = sum(sizes.values())
    if min((*sizes.values(), num_images - num_held_back)) < 1:
        raise ValueError(
            f"dataset {name!r} has {num_images} training images; needed: enough for "
            f"{' and '.join(sizes)} beside training; add images"
        )
    order = np.random.default_rng(seed).permutation(num_images)
    bounds = np.cumsum([*sizes.values()])
    parts = zip((*sizes, "train"), np.split(order, bounds), strict=True)
    return {
        part: Split(train.images[indices], train.labels[indices])
        for part, indices in parts
    }


def _dataset(
    name: str,
    splits: dict[str, Split],
    class_names: tuple[str, ...],
    augment: bool = False,
) -> Dataset:
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
        raise ValueError(
            f"dataset {name!r} has standard deviation 0 in channel "
            f"{int(np.argmin(variance))}; allowed: above 0; check the images"
        )
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)
