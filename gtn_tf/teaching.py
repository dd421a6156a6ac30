"""An exported teacher, and any Keras model taught by it.

    teacher = gtn_tf.load_teacher("runs/.../teacher")
    model = teacher.teach(model)

Only the exported files are read: what trains a user's model is the learned data and
the learned rates, with the inner optimizer of `inner_optimizers`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gtn_tf import inner_loop, inner_optimizers, stateless


def load_teacher(path: str | Path) -> LoadedTeacher:
    """The teacher in an exported folder, or in the folder of a finished run.

    Raises:
      ValueError: no such folder, files that are damaged, or no teacher of generated
        or distilled data in them.
    """
    folder = Path(path).expanduser()
    if (folder / "teacher").is_dir():
        folder = folder / "teacher"
    if not folder.is_dir():
        raise ValueError(
            f"{path} is no folder: give the folder of a finished run, or its teacher/"
        )
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # what is raised depends on which bytes are damaged
        first_line = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{folder} cannot be loaded as a SavedModel ({first_line}): give the "
            "folder of a finished run, or export its teacher again"
        ) from error
    missing = {"batch", "preprocess", "hyperparameters", "description"} - set(
        loaded.signatures
    )
    if missing:
        raise ValueError(
            f"{folder} is no teacher that can be used (signatures "
            f"{', '.join(sorted(missing))} are missing): give what was exported from a "
            "run with --teacher=gtn or --teacher=distillation"
        )
    return LoadedTeacher(loaded)


class LoadedTeacher:
    """What was taught to teach: T batches, and a learning rate and momentum for each.

    Attributes:
      description: data set, class names, shapes and how the teacher came about.
      hyperparameters: name -> learned values [T].
    """

    def __init__(self, loaded):
        self._loaded = loaded  # keeps the variables alive
        self._signatures = loaded.signatures
        text = self._signatures["description"]()["description"].numpy().decode()
        self.description: dict = json.loads(text)
        self.hyperparameters: dict[str, np.ndarray] = {
            name: values.numpy()
            for name, values in self._signatures["hyperparameters"]().items()
        }
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

    def preprocess(self, raw_images) -> tf.Tensor:
        """Raw pixels [N, H, W, C] -> x [N, H, W, C], as taught models take it.

        Raises:
          ValueError: images of another shape.
        """
        shape = np.shape(raw_images)
        if shape[1:] != self.image_shape:
            raise ValueError(
                f"images of shape {tuple(shape)} do not suit the teacher: give "
                f"(N, {', '.join(map(str, self.image_shape))})"
            )
        images = tf.cast(raw_images, tf.float32)
        return self._signatures["preprocess"](images=images)["images"]

    def batch(self, step: int, seed: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """x [B, H, W, C] and targets [B, K] of inner step `step`, from 0."""
        step, seeds = tf.cast(step, tf.int32), tf.stack([seed, 0])
        shown = self._signatures["batch"](step=step, seed=seeds)
        return shown["images"], shown["targets"]

    def dataset(self, seed: int = 0) -> tf.data.Dataset:
        """The T batches in order, as `model.fit` takes them."""
        steps = tf.data.Dataset.range(self.num_inner_steps)
        options = tf.data.Options()
        # Its thread can hold back the iterator's end for as long as it has run.
        options.autotune.enabled = False
        return steps.map(lambda step: self.batch(step, seed)).with_options(options)

    def _batches(self, seed: int) -> list:
        """The T batches, kept for the next model that is taught with the same seed."""
        if seed not in self._kept:
            self._kept = {seed: list(self.dataset(seed))}
        return self._kept[seed]

    def images(self, latents, labels) -> tf.Tensor:
        """x [N, H, W, C] generated from latents [N, Z] and label ids [N].

        Raises:
          ValueError: the teacher stores pixels and has no generator; latents or
            labels of another shape.
        """
        if "images" not in self._signatures:
            raise ValueError(
                "this teacher has no generator, its pixels are stored: use batch(step)"
            )
        generate = self._signatures["images"]
        size = generate.structured_input_signature[1]["latents"].shape[1]
        targets = tf.one_hot(labels, len(self.class_names))
        if np.shape(latents) != (len(targets), size):
            raise ValueError(
                f"latents of shape {np.shape(latents)} and labels of shape "
                f"{np.shape(labels)} do not suit the generator: give (N, {size}) and "
                "(N,)"
            )
        return generate(latents=tf.cast(latents, tf.float32), targets=targets)["images"]

    def teach(self, model: keras.Model, seed: int = 0) -> keras.Model:
        """Trains a classifier for T steps from the weights it has, and returns it.

        Any Keras model, x [N, H, W, C] -> logits or probabilities [N, K], compiled or
        not. Batch norm keeps the statistics of the last batch, as the teacher's
        learners do (A.1): moving averages would hardly have moved in T steps.
        Regularisation losses of layers are not added.

        Args:
          seed: of the order of presentation, where the curriculum shuffles.

        Raises:
          ValueError: a model that does not take the teacher's images, or that does not
            have its number of classes.
        """
        loss = self._inner_loss(self._check(model))
        flags = self.description["flags"]
        optimizer = inner_optimizers.INNER_OPTIMIZERS[flags["inner_optimizer"]]
        rates = tf.stack([self.hyperparameters[n] for n in optimizer.names], axis=1)
        variables = model.trainable_variables
        layout = stateless.layout(variables)
        slots = optimizer.init(_flat(variables), layout)
        with _last_batch_statistics(model):
            inner_step = tf.function(
                _inner_step(model, optimizer, loss), autograph=False
            )
            for step, batch in enumerate(self._batches(seed)):
                slots = inner_step(slots, *batch, tf.unstack(rates[step]))
        return model

    def _check(self, model: keras.Model) -> tf.Tensor:
        """The model's outputs for a first look; refuses what cannot be taught."""
        wanted = f"images {self.image_shape} and {len(self.class_names)} classes"
        if not isinstance(model, keras.Model):
            raise ValueError(
                f"a {type(model).__name__} cannot be taught: give a keras.Model for "
                f"{wanted}"
            )
        try:
            outputs = model(self.batch(0)[0], training=False)
        except Exception as error:  # a model's own code may raise anything
            first_line = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"model {model.name!r} does not take the teacher's images: its input "
                f"is {getattr(model, 'input_shape', 'unknown')}, the teacher is for "
                f"{wanted} ({first_line})"
            ) from error
        shape = getattr(outputs, "shape", None)
        if shape is None or tuple(shape[1:]) != (len(self.class_names),):
            raise ValueError(
                f"model {model.name!r} has outputs of shape {shape}, the teacher is "
                f"for {wanted}: give a model with outputs (N, {len(self.class_names)})"
            )
        return tf.cast(outputs, tf.float32)

    def _inner_loss(self, outputs: tf.Tensor) -> Callable:
        name = self.description["flags"]["inner_loss"]
        sums = tf.reduce_sum(outputs, -1)
        are_probabilities = tf.reduce_min(outputs) >= 0 and bool(
            tf.reduce_all(tf.abs(sums - 1) < 1e-3)
        )
        if name == "cross_entropy" and are_probabilities:
            return lambda targets, outputs: tf.reduce_mean(
                keras.losses.categorical_crossentropy(targets, outputs)
            )
        return inner_loop.INNER_LOSSES[name]


def _inner_step(model: keras.Model, optimizer, loss: Callable) -> Callable:
    """(slots, x, targets, rates) -> slots; moves the model's weights (Equation 1)."""
    layout = stateless.layout(model.trainable_variables)

    def inner_step(slots, x, targets, rates):
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = tf.cast(model(x, training=True), targets.dtype)
            value = loss(targets, outputs)
        gradients = tape.gradient(
            value,
            [v.value for v in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradient = stateless.flatten(
            [tf.cast(g, _DTYPE) for g in map(tf.convert_to_tensor, gradients)], _DTYPE
        )
        params, slots = optimizer.update(
            gradient, slots, _flat(variables), rates, layout
        )
        moved = stateless.unflatten(params, layout.shapes)
        for variable, tensor in zip(variables, moved, strict=True):
            variable.assign(tf.cast(tensor, variable.dtype))
        return slots

    return inner_step


_DTYPE = "float32"


def _flat(variables) -> tf.Tensor:
    """All weights as one vector [P]."""
    return stateless.flatten([tf.cast(v.value, _DTYPE) for v in variables], _DTYPE)


@contextlib.contextmanager
def _last_batch_statistics(model: keras.Model):
    """Within, Keras' batch norms keep the last batch's statistics, not an average."""
    found = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(found, momenta, strict=True):
            layer.momentum = momentum
