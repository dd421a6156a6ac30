"""Splits of labelled images, and parts of them held back at random, class by class."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from gtn_tf.errors import UserError

SPLITS = ("train", "validation", "test")
HELD_BACK = 0.15  # of each class, for each split that is missing


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images (uint8 or float32 [N, H, W, C]) and the class of each (int32 [N])."""

    images: np.ndarray
    labels: np.ndarray

    @functools.cached_property
    def tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Images and labels, copied when first asked for, once for all that draw."""
        with tf.init_scope():  # outside of a function that is being traced
            return tf.constant(self.images), tf.constant(self.labels)


def complete(
    name: str, given: dict[str, Split], class_names: tuple[str, ...], seed: int
) -> dict[str, Split]:
    """All three splits: those that are missing are cut off the training images.

    A missing split gets HELD_BACK of the training images of each class, one at least,
    drawn at random; each class is drawn by itself, so that images added to one of them
    leave the others as they were. Images keep their order.

    Args:
      name: of the data set, for errors.
      given: train, and validation or test where they are given.

    Raises:
      UserError: a class with no image in a split, or too few to be cut.
    """
    for split in given:
        _check_every_class(name, split, given[split].labels, class_names)
    missing = [split for split in SPLITS if split not in given]
    if not missing:
        return given
    train = given["train"]
    parts: dict[str, list] = {split: [] for split in (*missing, "train")}
    for label in range(len(class_names)):
        own = np.flatnonzero(train.labels == label)
        count = max(1, round(HELD_BACK * len(own)))
        if len(own) <= count * len(missing):
            raise UserError(
                f"dataset {name!r} has {len(own)} training images of class "
                f"{class_names[label]!r}; needed: {1 + len(missing)} or more, because "
                f"{' and '.join(missing)} are cut off them; add images, or give "
                f"{' and '.join(missing)}"
            )
        order = np.random.default_rng([seed, label]).permutation(own)
        bounds = [count * i for i in range(1, 1 + len(missing))]
        for split, indices in zip(parts, np.split(order, bounds), strict=True):
            parts[split].append(indices)
    cut = {
        split: _take(train, np.sort(np.concatenate(parts[split]))) for split in parts
    }
    return {split: (given | cut)[split] for split in SPLITS}


def _take(split: Split, indices: np.ndarray) -> Split:
    return Split(split.images[indices], split.labels[indices])


def _check_every_class(name, split: str, labels, class_names) -> None:
    missing = set(range(len(class_names))) - set(np.unique(labels).tolist())
    if missing:
        or_else = f", or no {split} images, so that they are cut off the training ones"
        raise UserError(
            f"dataset {name!r} has no {split} image of class "
            f"{class_names[min(missing)]!r} ({len(missing)} of {len(class_names)} "
            "classes have none); needed: every class in every split; give images of it"
            f"{'' if split == 'train' else or_else}"
        )
