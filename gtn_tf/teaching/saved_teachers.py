"""An exported teacher read again: what it shows, and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.teaching import ready_teachers


def find(path: str | Path) -> Path:
    """The folder of the SavedModel that a path or a name stands for.

    A folder's name goes before the name of a teacher that comes with the package.

    Raises:
      UserError: neither the one nor the other.
    """
    folder = Path(path).expanduser()
    if (folder / "teacher").is_dir():
        return folder / "teacher"
    if folder.is_dir():
        return folder
    ready = ready_teachers.folder(str(path))
    if ready is None:
        names = ", ".join(ready_teachers.names()) or "none is installed"
        raise UserError(
            f"{path} is no folder: give the folder of a finished run, its teacher/, or "
            f"the name of a teacher that comes with the package ({names})"
        )
    return ready


def load(folder: Path) -> Any:
    """The SavedModel of a teacher.

    Raises:
      UserError: files that are damaged, or no teacher of generated or distilled data.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # what is raised depends on which bytes are damaged
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{folder} cannot be loaded as a SavedModel ({first_line}): give the "
            "folder of a finished run, or export its teacher again"
        ) from error
    missing = {"batch", "preprocess", "hyperparameters", "description"} - set(
        loaded.signatures
    )
    if missing:
        raise UserError(
            f"{folder} is no teacher that can be used (signatures "
            f"{', '.join(sorted(missing))} are missing): give what was exported from a "
            "run with --teacher=gtn or --teacher=distillation"
        )
    return loaded


def label_ids(labels, num_images: int, num_classes: int) -> np.ndarray:
    """Label ids as an array [N].

    Raises:
      UserError: not one integer for each image, or none of the classes.
    """
    ids = np.asarray(labels)
    if ids.shape != (num_images,):
        raise UserError(
            f"labels of shape {ids.shape} do not suit {num_images} images: give a "
            f"label id for each, shape ({num_images},)"
        )
    if ids.size and ids.dtype.kind not in "iu":
        raise UserError(
            f"labels of type {ids.dtype} are no label ids: give integers from 0 to "
            f"{num_classes - 1}"
        )
    outside = ids[(ids < 0) | (ids >= num_classes)]
    if outside.size:
        raise UserError(
            f"label {outside[0]} is none of the teacher's {num_classes} classes: give "
            f"label ids from 0 to {num_classes - 1}"
        )
    return ids.astype(np.int64)


class SavedTeacher:
    """T batches, and a learning rate and momentum for each.

    Attributes:
      folder: where it was loaded from.
      description: data set, class names, shapes and how the teacher came about.
      hyperparameters: name -> learned values [T].
      loss_weights: name -> values of a learned inner loss; empty for one that is given.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._loaded = load(folder)  # keeps the variables alive
        self._signatures = self._loaded.signatures
        text = self._signatures["description"]()["description"].numpy().decode()
        self.description: dict = json.loads(text)
        self.hyperparameters: dict[str, np.ndarray] = {
            name: values.numpy()
            for name, values in self._signatures["hyperparameters"]().items()
        }
        learned = self._signatures.get("inner_loss", dict)()
        self.loss_weights = {name: value.numpy() for name, value in learned.items()}
        self._kept: dict[int, list] = {}  # seed -> batches, of one seed

    @property
    def num_inner_steps(self) -> int:
        """T."""
        return self.description["num_inner_steps"]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return tuple(self.description["image_shape"])

    @property
    def class_names(self) -> list[str]:
        """K names, in the order of labels."""
        return self.description["class_names"]

    @property
    def card(self) -> str:
        """What is written of it in the card.md beside its folder; "" without one."""
        path = self.folder.resolve().parent / "card.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @property
    def is_closed_loop(self) -> bool:
        """Whether what is shown depends on how the learner does."""
        return "respond" in self._signatures

    def preprocess(self, raw_images) -> tf.Tensor:
        """Raw pixels [N, H, W, C] -> x [N, H, W, C], as taught models take it.

        Raises:
          UserError: images of another shape.
        """
        self._check_images(raw_images)
        images = tf.cast(raw_images, tf.float32)
        return self._signatures["preprocess"](images=images)["images"]

    def _check_images(self, raw_images) -> None:
        shape = np.shape(raw_images)
        if not shape or shape[1:] != self.image_shape:
            raise UserError(
                f"images of shape {tuple(shape)} do not suit the teacher: give "
                f"(N, {', '.join(map(str, self.image_shape))})"
            )

    def batch(self, step: int, seed: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """x [B, H, W, C] and targets [B, K] of inner step `step`, from 0.

        Of a closed-loop teacher it is the stored curriculum, as it is shown to a
        learner that has said nothing; `teach` alone responds to one.

        Raises:
          UserError: no such step, where its value is known (not inside a graph).
        """
        self._check_step(tf.get_static_value(tf.convert_to_tensor(step)))
        step, seeds = tf.cast(step, tf.int32), tf.stack([seed, 0])
        shown = self._signatures["batch"](step=step, seed=seeds)
        return shown["images"], shown["targets"]

    def _check_step(self, step) -> None:
        if step is None:  # inside a graph, as of a data set
            return
        value, num_steps = np.asarray(step), self.num_inner_steps
        is_integer = value.ndim == 0 and value.dtype.kind in "iu"
        if not (is_integer and 0 <= value < num_steps):
            raise UserError(
                f"step {value} is none of the teacher's {num_steps}: give an integer "
                f"from 0 to {num_steps - 1}"
            )

    def dataset(self, seed: int = 0) -> tf.data.Dataset:
        """The T batches in order, as `model.fit` takes them; see `batch`."""
        steps = tf.data.Dataset.range(self.num_inner_steps)
        options = tf.data.Options()
        # Its thread can hold back the iterator's end for as long as it has run.
        options.autotune.enabled = False
        return steps.map(lambda step: self.batch(step, seed)).with_options(options)

    def batches(self, seed: int = 0) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The T batches in order; those of the last seed are kept in memory."""
        if seed not in self._kept:
            self._kept = {seed: list(self.dataset(seed))}
        return self._kept[seed]

    def images(self, latents, labels=None) -> tf.Tensor:
        """x [N, H, W, C] generated from latents [N, Z] and label ids [N].

        Args:
          labels: None where the teacher generates them (see `samples`).

        Raises:
          UserError: as `samples`.
        """
        return self.samples(latents, labels)[0]

    def samples(self, latents, labels=None) -> tuple[tf.Tensor, tf.Tensor]:
        """x [N, H, W, C] generated from latents [N, Z] and label ids [N], with their
        targets [N, K].

        Each image depends on its own latents and label only.

        Args:
          labels: None where the teacher generates them, whose targets are then
            distributions over the classes.

        Raises:
          UserError: the teacher stores pixels and has no generator; latents or
            labels of another shape; a label that is none of its classes; labels for a
            teacher that generates them, or none for another.
        """
        if "images" not in self._signatures:
            raise UserError(
                "this teacher has no generator, its pixels are stored: use batch(step)"
            )
        generate = self._signatures["images"]
        inputs = generate.structured_input_signature[1]
        self._check_samples(inputs, np.shape(latents), labels)
        given = {"latents": tf.cast(latents, tf.float32)}
        if labels is None:
            made = generate(**given)
            return made["images"], made["targets"]
        ids = label_ids(labels, len(latents), len(self.class_names))
        targets = tf.one_hot(ids, len(self.class_names))
        return generate(**given, targets=targets)["images"], targets

    def _check_samples(self, inputs, shape: tuple[int, ...], labels) -> None:
        takes_labels, size = "targets" in inputs, inputs["latents"].shape[1]
        if takes_labels and labels is None:
            raise UserError(
                "there are no labels: give label ids, one for each of the latents"
            )
        if labels is not None and not takes_labels:
            raise UserError(
                "this teacher generates labels with its images: give latents alone"
            )
        same = shape[:1] if labels is None else np.shape(labels)
        if len(same) != 1 or shape != (*same, size):
            told = "" if labels is None else f" and labels of shape {same}"
            wanted = f"(N, {size})" + ("" if labels is None else " and (N,)")
            raise UserError(
                f"latents of shape {shape}{told} do not suit the generator: give "
                f"{wanted}"
            )
