"""SavedModels of a teacher and of a learner, which load without this library."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import tensorflow as tf

from gtn_tf.data import Dataset, normalise
from gtn_tf.inner_optimizers import InnerHyperparameters
from gtn_tf.teachers import GTN, Real, Teacher


def export_teacher(
    folder: Path, teacher: Teacher, hyperparameters: InnerHyperparameters
) -> None:
    """Writes a SavedModel with these signatures; names are those of the outputs.

    hyperparameters() -> learning_rate [T], momentum [T], ...
    batch(step, seed [2]) -> images [B, H, W, C], targets [B, K]   not for real data
    images(latents [B, Z], targets [B, K]) -> images [B, H, W, C]  for a GTN
    """
    module = tf.Module()
    module.state = [teacher.variables, hyperparameters.variables]
    signatures = {"hyperparameters": tf.function(hyperparameters.values, [])}
    if not isinstance(teacher, Real):
        signatures["batch"] = _batch_signature(teacher)
    if isinstance(teacher, GTN):
        signatures["images"] = _images_signature(teacher)
    _save(folder, module, signatures)


def _batch_signature(teacher: Teacher):
    def batch(step, seed):
        images, targets = teacher.batch(step, seed)
        return {"images": images, "targets": targets}

    step = tf.TensorSpec([], tf.int32, "step")
    return tf.function(batch, [step, tf.TensorSpec([2], tf.int32, "seed")])


def _images_signature(teacher: GTN):
    def images(latents, targets):
        x, _ = teacher.show(teacher.weights(), latents, targets)
        return {"images": x}

    spec = teacher.spec
    latents = tf.TensorSpec([None, teacher.latent_size], spec.dtype, "latents")
    targets = tf.TensorSpec([None, spec.num_classes], spec.dtype, "targets")
    return tf.function(images, [latents, targets])


def export_learner(folder: Path, model: keras.Model, dataset: Dataset) -> None:
    """Writes a trained learner that takes raw pixels; normalisation is inside.

    serving_default(images [B, H, W, C]) -> logits [B, K], probabilities [B, K]
    class_names() -> class_names [K]
    """

    def serve(images):
        x = normalise(images, dataset.mean, dataset.std)
        logits = model(x, training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def class_names():
        return {"class_names": tf.constant(dataset.class_names)}

    module = tf.Module()
    module.model = model
    images = tf.TensorSpec([None, *dataset.image_shape], tf.float32, "images")
    signatures = {
        "serving_default": tf.function(serve, [images]),
        "class_names": tf.function(class_names, []),
    }
    _save(folder, module, signatures)


def _save(folder: Path, module: tf.Module, signatures: dict) -> None:
    """Writes beside and renames, so that an interrupted export leaves no half."""
    beside = folder.with_name(folder.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    tf.saved_model.save(module, str(beside), signatures=signatures)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
