"""Images and labels that a user gives as arrays, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gtn_tf.data import dataset_flags
from gtn_tf.data.splits import Split
from gtn_tf.errors import UserError

MAX_CHANNELS = 4
_NUM_CHECKED = 1000  # images, in each look for numbers that are not finite


def to_split(name: str, split: str, images, labels) -> Split:
    """A split of a user's arrays; integers keep their type, floats become float32.

    Args:
      name, split: of the data set and of the part of it, for errors.
      images: uint8 or float [N, H, W] or [N, H, W, C].
      labels: integers [N] or [N, 1].

    Raises:
      UserError: arrays of another type or shape, of different lengths, with numbers
        that are not finite or with negative labels.
    """
    images = _images(f"dataset {name!r}: x_{split}", images)
    labels = _labels(f"dataset {name!r}: y_{split}", labels)
    if len(images) != len(labels):
        raise UserError(
            f"dataset {name!r}: x_{split} has {len(images)} images and y_{split} "
            f"{len(labels)} labels; needed: a label for each image; give arrays of one "
            "length"
        )
    return Split(images, labels)


def _as_array(what: str, values) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UserError(
            f"{what} is no array ({error}); allowed: what numpy.asarray takes, all "
            "images of one shape; stack it first"
        ) from error


def _images(what: str, images) -> np.ndarray:
    images = _as_array(what, images)
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise UserError(
            f"{what} is of type {images.dtype}; allowed: uint8 or floats; convert it, "
            "as in x.astype('uint8') for whole numbers from 0 to 255"
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    sides, channels = images.shape[1:3], images.shape[3:]
    right = len(channels) == 1 and 1 <= channels[0] <= MAX_CHANNELS
    if not right or min(sides) < dataset_flags.MIN_SIDE or not len(images):
        raise UserError(
            f"{what} has shape {images.shape}; allowed: [N, H, W] or [N, H, W, C] with "
            f"one image or more, sides of {dataset_flags.MIN_SIDE} pixels or more and "
            f"1 to {MAX_CHANNELS} channels, the channels last; reshape it"
        )
    if images.dtype == np.uint8:
        return images
    with np.errstate(over="ignore"):  # what is too large for float32 is found below
        images = images.astype(np.float32)
    for start in range(0, len(images), _NUM_CHECKED):
        finite = np.isfinite(images[start : start + _NUM_CHECKED]).all(axis=(1, 2, 3))
        if not finite.all():
            raise UserError(
                f"{what} has NaN or infinite numbers, first in image "
                f"{start + int(np.argmin(finite))}; allowed: finite float32; replace "
                "them or leave such images out"
            )
    return images


def _labels(what: str, labels) -> np.ndarray:
    labels = _as_array(what, labels)
    if labels.dtype.kind not in "iu":
        raise UserError(
            f"{what} is of type {labels.dtype}; allowed: integers; give label ids from "
            "0, as in y.astype('int64')"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # as keras.datasets.cifar10 has them
    if labels.ndim != 1:
        raise UserError(
            f"{what} has shape {labels.shape}; allowed: [N] or [N, 1]; give a label id "
            "for each image, as in y.argmax(-1) for one-hot vectors"
        )
    outside = labels[(labels < 0) | (labels > np.iinfo(np.int32).max)]
    if outside.size:
        raise UserError(
            f"{what} has the label {outside[0]}; allowed: ids from 0; number the "
            "classes from 0"
        )
    return labels.astype(np.int32)


def check_alike(name: str, splits: dict[str, Split]) -> None:
    """Refuses splits whose images differ in shape or in type.

    Raises:
      UserError: the same.
    """
    train = splits["train"].images
    for split in splits:
        images = splits[split].images
        if (images.shape[1:], images.dtype) != (train.shape[1:], train.dtype):
            raise UserError(
                f"dataset {name!r}: x_train has images of {_described(train)}, "
                f"x_{split} of {_described(images)}; allowed: one shape and one type; "
                "convert one of them"
            )


def _described(images: np.ndarray) -> str:
    return f"{'x'.join(map(str, images.shape[1:]))} {images.dtype}"


def check_classes(
    name: str, splits: dict[str, Split], class_names: Sequence[str] | None
) -> tuple[str, ...]:
    """The class names; where none are given, the ids up to the largest in training.

    Raises:
      UserError: fewer than two classes, names that are not one for each class, or
        labels that are none of the classes.
    """
    if class_names is None:
        # Not more than there can be: a label of a billion makes no billion names.
        labels = np.unique(splits["train"].labels)
        num_classes = int(labels[-1]) + 1
        if num_classes > len(labels):
            gap = int(np.flatnonzero(labels != np.arange(len(labels)))[0])
            raise UserError(
                f"dataset {name!r}: y_train has labels up to {labels[-1]} and none is "
                f"{gap}; allowed: ids from 0 without gaps; number the classes anew"
            )
        class_names = [str(label) for label in range(num_classes)]
    class_names = tuple(map(str, class_names))
    num_classes = len(class_names)
    if num_classes < 2 or len(set(class_names)) < num_classes:
        raise UserError(
            f"dataset {name!r} has the classes {', '.join(class_names) or 'none'}; "
            "needed: two or more, each once; give images of another class"
        )
    for split in splits:
        largest = int(splits[split].labels.max())
        if largest >= num_classes:
            raise UserError(
                f"dataset {name!r}: y_{split} has the label {largest}; allowed: 0 to "
                f"{num_classes - 1}, the {num_classes} classes of the training images "
                "or of class_names; correct the labels"
            )
    return class_names
