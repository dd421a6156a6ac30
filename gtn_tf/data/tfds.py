"""Image classification sets from tensorflow_datasets: bounded waits, short errors.

tensorflow_datasets is imported inside the functions: it takes seconds, and most runs
read original files or digits and never need it.
"""

from __future__ import annotations

import numpy as np

from gtn_tf.data.dataset import Split
from gtn_tf.errors import UserError

_PREPARED_HOST = "https://storage.googleapis.com"  # where tfds keeps prepared sets
_PROBE_SECONDS = 10


def read_tfds(
    name: str, data_dir: str | None, instead: str
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Reads those of the splits "train", "validation" and "test" that a set has.

    Args:
      name: as tfds.builder takes it: "svhn_cropped", "emnist/letters", ...
      data_dir: where prepared sets are kept; None: the default of tfds.
      instead: what to do where the set cannot be downloaded; ends the error's line.
    Returns:
      Splits by name, and the class names.
    Raises:
      UserError: no such set, not images of one shape with a label each, or no way to
        get it.
    """
    builder = _builder(name, data_dir)
    shape, class_names = _image_classification(name, builder)
    _prepare(name, builder, instead)
    if "train" not in builder.info.splits:
        raise UserError(
            f"dataset {name!r} has the splits {sorted(builder.info.splits)}; "
            f"needed: train; choose another dataset"
        )
    splits = {
        split: _read_split(name, builder, split, shape, len(class_names))
        for split in ("train", "validation", "test")
        if split in builder.info.splits
    }
    return splits, class_names


def _builder(name: str, data_dir: str | None):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # its kinds differ: parsing, look-up, construction
        listed = isinstance(error, tfds.core.DatasetNotFoundError)  # lists every name
        reason = "unknown" if listed else f"refused ({_one_line(error)})"
        raise UserError(
            f"dataset {name!r} is {reason}; allowed: digits, mnist, fashion_mnist, "
            f"cifar10 and any image classification set of tensorflow_datasets; "
            f"check the spelling"
        ) from error


def _image_classification(name: str, builder) -> tuple[tuple[int, ...], tuple]:
    """Image shape (H, W, C) and class names, from the features of a builder."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    features = dict(features.items()) if hasattr(features, "items") else {}
    image, label = features.get("image"), features.get("label")
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise UserError(
            f"dataset {name!r} has the features {sorted(features)}; needed: 'image' "
            f"(an image) and 'label' (a class); choose an image classification set"
        )
    if None in image.shape or image.np_dtype != np.uint8:
        raise UserError(
            f"dataset {name!r} has images of shape {image.shape} and type "
            f"{np.dtype(image.np_dtype)}; allowed: one shape (H, W, C) for all, uint8; "
            f"choose another set, or make a tensorflow_datasets set of resized images"
        )
    if label.num_classes is None:
        raise UserError(
            f"dataset {name!r} does not say how many classes it has; needed: a "
            f"ClassLabel with names or a number; choose another dataset"
        )
    return tuple(image.shape), tuple(label.names)


def _prepare(name: str, builder, instead: str) -> None:
    """Downloads the set unless it is there already."""
    if builder.is_prepared():
        return
    try:
        _require_network(builder)
        builder.download_and_prepare()
    except Exception as error:  # network, disk, missing packages, manual downloads
        raise UserError(
            f"dataset {name!r}: tensorflow_datasets could not get it "
            f"({_one_line(error)}); needed: network access, or {instead}"
        ) from error


def _require_network(builder) -> None:
    """Fails soon where nothing answers; tfds itself retries for minutes."""
    import requests

    urls = [url for url in builder.url_infos or {} if url.startswith("http")]
    if not urls:
        return
    for url in (urls[0], _PREPARED_HOST):
        try:
            # Any answer will do, an error's too: this asks for the way, not the file.
            requests.head(url, timeout=_PROBE_SECONDS)
            return
        except requests.RequestException as error:
            reason = type(error).__name__
    raise ConnectionError(f"no answer from {urls[0]}, {reason}")


def _read_split(
    name: str, builder, split: str, shape: tuple[int, ...], num_classes: int
) -> Split:
    import tensorflow_datasets as tfds

    wanted = tfds.decode.PartialDecoding({"image": True, "label": True})
    try:
        examples = tfds.as_numpy(
            builder.as_dataset(split=split, batch_size=-1, decoders=wanted)
        )
    except Exception as error:  # damaged records come as many kinds
        raise UserError(
            f"dataset {name!r}: {builder.data_path} cannot be read "
            f"({_one_line(error)}); allowed: what tensorflow_datasets has written; "
            f"delete it, so that it is prepared again"
        ) from error
    labels = examples["label"].astype(np.int32)
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise UserError(
            f"dataset {name!r} has the label {wrong[0]} in its {split} split; allowed: "
            f"0 to {num_classes - 1}; choose a set with labels in every split"
        )
    return Split(examples["image"].reshape(-1, *shape), labels)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
