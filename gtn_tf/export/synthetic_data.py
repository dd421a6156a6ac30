"""The images that a teacher shows, as a data set for other programs."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from gtn_tf.runs import files
from gtn_tf.teachers.base import Teacher


class SyntheticData(NamedTuple):
    """What one learner is shown, in order."""

    images: np.ndarray  # float32 [T, B, H, W, C], normalized as learners see them
    targets: np.ndarray  # float32 [T, B, K]

    @property
    def labels(self) -> np.ndarray:
        """The likeliest class of each image, int64 [T, B]."""
        return self.targets.argmax(-1)


def collect(teacher: Teacher, seed: int) -> SyntheticData:
    """All T batches that a learner of this seed is shown."""
    steps = range(teacher.spec.num_inner_steps)
    batches = [teacher.batch(step, tf.constant([seed, 0])) for step in steps]
    images, targets = (np.stack(arrays) for arrays in zip(*batches, strict=True))
    return SyntheticData(images, targets)


def save_npz(path: Path, data: SyntheticData, hyperparameters: dict) -> None:
    """Writes images, targets, labels and the learned hyperparameters [T] as arrays."""
    arrays = {name: np.asarray(values) for name, values in hyperparameters.items()}
    arrays |= data._asdict() | {"labels": data.labels}

    def save(new: Path) -> None:
        with new.open("wb") as file:
            np.savez_compressed(file, **arrays)

    files.write_atomically(path, save)


def save_tfrecords(
    folder: Path, data: SyntheticData, name: str, class_names: tuple[str, ...]
) -> None:
    """Writes TFRecords, in the order shown, for tfds.load(name, data_dir=folder).

    They are in folder/name/1.0.0, as tfds.builder_from_directory takes it. One split,
    train, with the features image (float32 [H, W, C], normalized), label, targets
    (float32 [K]) and inner_step.

    Args:
      name: of the data set, in letters, digits and underscores.
    """
    num_steps, batch_size, *image_shape = data.images.shape
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Tensor(shape=image_shape, dtype=np.float32),
            "label": tfds.features.ClassLabel(names=class_names),
            "targets": tfds.features.Tensor(shape=[len(class_names)], dtype=np.float32),
            "inner_step": np.int64,
        }
    )
    examples = {
        "image": data.images.reshape(-1, *image_shape),
        "label": data.labels.reshape(-1),
        "targets": data.targets.reshape(-1, len(class_names)),
        "inner_step": np.repeat(np.arange(num_steps), batch_size),
    }

    def save(new: Path) -> None:
        tfds.disable_progress_bar()
        with _silence():
            tfds.dataset_builders.store_as_tfds_dataset(
                name=name,
                version="1.0.0",
                features=features,
                split_datasets={"train": tf.data.Dataset.from_tensor_slices(examples)},
                data_dir=str(new),
                description=f"A teacher's {num_steps} steps of {batch_size} images.",
                disable_shuffling=True,
            )
        shutil.rmtree(new / "downloads", ignore_errors=True)

    files.write_atomically(folder, save)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Within, tfds does not tell of a download that there is none of."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)
