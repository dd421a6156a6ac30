"""A teacher and a learner as files that load without this library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from gtn_tf.data.dataset import Dataset, normalize
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.networks import layers
from gtn_tf.runs import files
from gtn_tf.teachers.base import Teacher
from gtn_tf.teachers.gtn import GTN


def export_teacher(
    folder: Path,
    problem: MetaProblem,
    dataset: Dataset,
    provenance: dict,
    half: bool = False,
) -> None:
    """Writes a SavedModel with these signatures; names are those of the outputs.

    hyperparameters() -> learning_rate [T], momentum [T], ...
    preprocess(images [N, H, W, C], raw pixels) -> images [N, H, W, C]
    description() -> description, JSON: data set, class names, shapes, provenance
    batch(step, seed [2]) -> images [B, H, W, C], targets [B, K]   not for real data
    images(latents [N, Z], targets [N, K]) -> images [N, H, W, C]  for a GTN, or
    images(latents [N, Z]) -> images [N, H, W, C], targets [N, K]  if it makes labels
    inner_loss() -> a learned inner loss's weights, by name
    respond(step, seed [2], feedback [K, F]) -> images, targets    for a closed loop
    feedback(targets [B, K], outputs [B, K], logits) -> feedback   for a closed loop

    Of a closed-loop teacher, `batch` is the stored curriculum, which `respond` changes.
    An image of the last one depends on its own latents and targets only: the
    generator's batch norm uses statistics of the batches that it teaches with.

    Args:
      provenance: how the teacher came about; goes into the description as it is.
      half: keep the teacher's weights, latents or pixels as float16, which halves the
        files; signatures take and give float32 as before.
    """
    teacher = problem.teacher.stored_in("float16") if half else problem.teacher
    module = tf.Module()
    loss = problem.inner_loss
    module.state = [teacher.variables, problem.hyperparameters.variables]
    module.loss = loss.variables
    signatures = {
        "hyperparameters": _trace(problem.hyperparameters.values),
        "preprocess": _preprocess_signature(dataset),
        "description": _description_signature(teacher, dataset, provenance),
    }
    if teacher.learns:
        signatures |= _batch_signatures(teacher)
    if loss.variables:
        signatures["inner_loss"] = _trace(
            lambda: dict(zip(loss.names, loss.weights(), strict=True))
        )
    if teacher.generator is not None:
        statistics = teacher.statistics(tf.constant([0, 0]))
        module.statistics = [tf.Variable(value) for value in statistics]
        signatures["images"] = _images_signature(teacher, module.statistics)
    files.write_atomically(
        folder,
        lambda path: tf.saved_model.save(module, str(path), signatures=signatures),
    )


def _preprocess_signature(dataset: Dataset):
    def preprocess(images):
        return {"images": normalize(images, dataset.mean, dataset.std)}

    return _trace(preprocess, _raw_images(dataset))


def _description_signature(teacher: Teacher, dataset: Dataset, provenance: dict):
    spec = teacher.spec
    text = json.dumps(
        {
            "dataset": dataset.name,
            "data_digest": dataset.digest,
            "class_names": list(dataset.class_names),
            "mean": dataset.mean.tolist(),
            "std": dataset.std.tolist(),
            "image_shape": list(spec.image_shape),
            "num_inner_steps": spec.num_inner_steps,
            "inner_batch_size": spec.inner_batch_size,
        }
        | provenance
    )
    return _trace(lambda: {"description": tf.constant(text)})


def _batch_signatures(teacher: Teacher) -> dict:
    def batch(step, seed, *feedback):
        images, targets = teacher.batch(step, seed, feedback or None)
        return {"images": images, "targets": targets}

    def feedback(targets, outputs):
        (told,) = teacher.feedback(targets, outputs)
        return {"feedback": told}

    dtype = teacher.spec.dtype
    step = tf.TensorSpec([], tf.int32, "step")
    seed = tf.TensorSpec([2], tf.int32, "seed")
    signatures = {"batch": _trace(batch, step, seed)}
    for told in teacher.no_feedback():
        spec = tf.TensorSpec(told.shape, told.dtype, "feedback")
        shape = [None, teacher.spec.num_classes]
        both = [tf.TensorSpec(shape, dtype, name) for name in ("targets", "outputs")]
        signatures["respond"] = _trace(batch, step, seed, spec)
        signatures["feedback"] = _trace(feedback, *both)
    return signatures


def _images_signature(teacher: GTN, statistics: list[tf.Variable]):
    def images(latents, targets=None):
        values = [tf.convert_to_tensor(v) for v in statistics]
        given = [latents] if targets is None else [latents, targets]
        made, labels = teacher.generate(teacher.weights(), values, *given)
        return {"images": made} | ({"targets": labels} if targets is None else {})

    specs = [
        tf.TensorSpec([None, value.shape[-1]], teacher.spec.dtype, value.name)
        for value in teacher.generator.inputs
    ]
    return _trace(images, *specs)


def export_learner(folder: Path, model: keras.Model, dataset: Dataset) -> None:
    """Writes a trained learner that takes raw pixels; normalization is inside.

    serving_default(images [N, H, W, C]) -> logits [N, K], probabilities [N, K]
    class_names() -> class_names [K]
    """

    def serve(images):
        x = normalize(images, dataset.mean, dataset.std)
        logits = model(x, training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def class_names():
        return {"class_names": tf.constant(dataset.class_names)}

    module = tf.Module()
    module.model = model
    signatures = {
        "serving_default": _trace(serve, _raw_images(dataset)),
        "class_names": _trace(class_names),
    }
    files.write_atomically(
        folder,
        lambda path: tf.saved_model.save(module, str(path), signatures=signatures),
    )


def _trace(function: Callable, *specs: tf.TensorSpec):
    """A signature of tensors like these; AutoGraph would only take its time."""
    return tf.function(function, specs, autograph=False)


def _raw_images(dataset: Dataset) -> tf.TensorSpec:
    return tf.TensorSpec([None, *dataset.image_shape], tf.float32, "images")


def export_keras(path: Path, model: keras.Model, dataset: Dataset) -> None:
    """Writes a trained learner as a .keras file of Keras' own layers, compiled.

    Raw pixels [N, H, W, C] -> logits [N, K]; normalization is its first layer.
    """
    images = keras.Input(dataset.image_shape, name="images")
    variance = dataset.std.astype("float64") ** 2
    x = keras.layers.Normalization(mean=dataset.mean, variance=variance)(images)
    plain = keras.Model(images, plain_model(model)(x), name=model.name)
    plain.compile(
        optimizer="sgd",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    files.write_atomically(path, plain.save)


def plain_model(model: keras.Model) -> keras.Model:
    """The same function as a trained learner of `layers`, of Keras' own layers.

    Normalized weights g V / ||V|| become plain ones.
    """
    plain = keras.models.clone_model(model, clone_function=_plain_layer)
    for source, target in zip(model.layers, plain.layers, strict=True):
        target.set_weights(_plain_weights(source))
    return plain


_PLAIN = {
    layers.WeightNormDense: keras.layers.Dense,
    layers.WeightNormConv2D: keras.layers.Conv2D,
}
_KERAS = {**_PLAIN, layers.LayerNorm: keras.layers.LayerNormalization}


def _plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, layers.BatchNorm):
        return keras.layers.BatchNormalization(
            momentum=0.0,
            epsilon=layer.epsilon,
            scale=not layer.center_only,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
    if isinstance(layer, layers.PositionEmbedding):
        # Adds its bias to once what it gets.
        return keras.layers.EinsumDense(
            "btd,td->btd",
            layer.embeddings.shape,
            bias_axes="td",
            kernel_initializer="ones",
            name=layer.name,
            dtype=layer.dtype_policy,
        )
    return _KERAS.get(type(layer), type(layer)).from_config(layer.get_config())


def _plain_weights(layer: keras.layers.Layer) -> list:
    if isinstance(layer, layers.BatchNorm):
        if layer.center_only:  # Keras divides by sqrt(variance + epsilon): make it 1
            return [layer.beta, layer.mean, 1 - layer.epsilon + 0 * layer.mean]
        return [layer.gamma, layer.beta, layer.mean, layer.variance]
    if isinstance(layer, layers.PositionEmbedding):
        return [1 + 0 * layer.embeddings, layer.embeddings]
    if type(layer) in _PLAIN:
        return [layer.kernel] + ([layer.bias] if layer.use_bias else [])
    return layer.get_weights()
