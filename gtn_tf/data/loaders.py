"""Data sets by name.

Training sets are split uniformly into training and validation (Section 3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gtn_tf.data import dataset_flags, image_sizes
from gtn_tf.data.dataset import Dataset, Split, build_dataset
from gtn_tf.data.folders import read_folder
from gtn_tf.data.npz_files import read_npz
from gtn_tf.data.original_files import (
    IDX_FILES,
    read_cifar10_files,
    read_idx_files,
)
from gtn_tf.data.splits import SPLITS, complete
from gtn_tf.data.tfds import read_tfds
from gtn_tf.errors import UserError

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


def load(name: str, data_dir: str | None, seed: int, image_size: str = "") -> Dataset:
    """Loads a data set: one of DATASETS, one's own, or any of tensorflow_datasets.

    Args:
      name: key of DATASETS; folder:PATH or npz:FILE (see `folders`, `npz_files`), with
        a path that is relative to data_dir where that is given; or what tfds.builder
        takes.
      data_dir: folder with original files (see `original_files`) or prepared tfds
        sets, or that one's own is in; None or empty: tfds in its own folder.
      seed: decides which training images are held back for validation (for digits, and
        sets without a test split, for the test too).
      image_size: "N" or "HxW", which images are resized to; "": they stay as they are.
    Raises:
      UserError: unknown name, no such folder, files missing or damaged, no way to
        download, negative seed, images or labels that cannot be used.
    """
    if seed < 0:
        raise UserError(f"seed {seed}; allowed: 0 and above; pass another seed")
    size = dataset_flags.parse_image_size(image_size)
    data_dir = data_dir or None
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if not folder.is_dir():
            raise UserError(
                f"data_dir {data_dir!r} is no folder; allowed: an existing folder or "
                f"none; create it or correct the path"
            )
        data_dir = str(folder)
    source, _, path = name.partition(":")
    if source in _OWN:
        return _OWN[source](name, _find(name, path, data_dir), seed, size)
    if source == dataset_flags.ENVIRONMENT:
        raise UserError(
            f"--dataset={name} is an environment, and images are needed here: give a "
            "data set of images; bin/train takes environments"
        )
    if source == dataset_flags.IN_PYTHON:
        raise UserError(
            f"dataset {name!r} was made of arrays in a Python program; allowed: names "
            "and files; evaluate its teacher there, or save the arrays by numpy.savez "
            "and give --dataset=npz:FILE"
        )
    dataset = DATASETS.get(name, functools.partial(_load_tfds, name))(data_dir, seed)
    return _resized(dataset, size)


def _find(name: str, path: str, data_dir: str | None) -> Path:
    if not path:
        raise UserError(
            f"--dataset={name} names no path; needed: folder:PATH or npz:FILE; give it"
        )
    found = Path(path).expanduser()
    if data_dir is None:
        return found
    places = [Path(data_dir) / found, Path(data_dir) / found.name]
    return next((place for place in places if place.exists()), places[0])


def _load_folder(name: str, path: Path, seed: int, size) -> Dataset:
    short = dataset_flags.short_name(name)
    try:
        given, class_names = read_folder(path, size)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--dataset={name} cannot be read ({reason}: {error.filename}); needed: "
            "folders and images that you may read; correct the path or its permissions"
        ) from error
    splits = complete(short, given, class_names, seed)
    return build_dataset(short, splits, class_names)


def _load_npz(name: str, path: Path, seed: int, size) -> Dataset:
    given, class_names = read_npz(path)
    short = dataset_flags.short_name(name)
    dataset = Dataset.from_arrays(
        **given, class_names=class_names, name=short, seed=seed
    )
    return _resized(dataset, size)


def _resized(dataset: Dataset, size: tuple[int, int] | None) -> Dataset:
    if size is None or size == dataset.image_shape[:2]:
        return dataset
    splits = {
        split: image_sizes.resize(getattr(dataset, split), size) for split in SPLITS
    }
    return build_dataset(dataset.name, splits, dataset.class_names, dataset.augment)


# Sources of one's own data -> function (name, path, seed, size) -> Dataset
_OWN = {"folder": _load_folder, "npz": _load_npz}


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
    return build_dataset("digits", splits, _DIGIT_NAMES)


def _load_idx(
    name: str, class_names: tuple[str, ...], data_dir: str | None, seed: int
) -> Dataset:
    """MNIST or Fashion-MNIST; a sixth of training is for validation: 50k/10k/10k."""
    splits = read_idx_files(name, data_dir) if data_dir is not None else None
    if splits is None:
        splits, _ = read_tfds(name, data_dir, f"in --data_dir the files {_IDX_HINT}")
    num_validation = len(splits["train"].labels) // 6
    splits |= _hold_back(name, splits["train"], {"validation": num_validation}, seed)
    return build_dataset(name, splits, class_names)


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
    return build_dataset("cifar10", splits, class_names or _CIFAR10_NAMES, augment=True)


def _load_tfds(name: str, data_dir: str | None, seed: int) -> Dataset:
    """Any other set; splits it lacks are a tenth of its training images each."""
    splits, class_names = read_tfds(
        name, data_dir, "in --data_dir the set as tensorflow_datasets prepares it"
    )
    tenth = len(splits["train"].labels) // 10
    sizes = {split: tenth for split in ("validation", "test") if split not in splits}
    splits |= _hold_back(name, splits["train"], sizes, seed)
    return build_dataset(name, splits, class_names)


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
        raise UserError(
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
