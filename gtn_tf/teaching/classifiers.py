"""Which Keras models can be taught, and what their outputs are."""

from __future__ import annotations

import keras
import tensorflow as tf

from gtn_tf.errors import UserError

_SIGMOIDS = ("sigmoid", "hard_sigmoid")
# Sums of so many rounded probabilities differ from one by less.
_TOLERANCE = {"bfloat16": 0.05, "float16": 0.01}


def check_shapes(model, images: tf.Tensor, num_classes: int) -> tf.Tensor:
    """The outputs [B, K] for images [B, H, W, C], at a first look.

    A model that has no weights yet has them afterwards.

    Raises:
      UserError: no Keras model, one that does not take the images, or outputs that
        are not one number for each class.
    """
    wanted = f"images {tuple(images.shape[1:])} and {num_classes} classes"
    if not isinstance(model, keras.Model):
        raise UserError(
            f"a {type(model).__name__} cannot be taught: give a keras.Model for "
            f"{wanted}"
        )
    try:
        outputs = model(images, training=False)
    except Exception as error:  # a model's own code may raise anything
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(
            f"model {model.name!r} does not take the teacher's images: its input "
            f"is {getattr(model, 'input_shape', 'unknown')}, the teacher is for "
            f"{wanted} ({first_line})"
        ) from error
    if isinstance(outputs, (list, tuple, dict)):
        raise UserError(
            f"model {model.name!r} has a {type(outputs).__name__} of {len(outputs)} "
            f"outputs, the teacher is for {wanted}: give a model with one output, "
            f"(N, {num_classes})"
        )
    shape = getattr(outputs, "shape", None)
    if shape is None or tuple(shape[1:]) != (num_classes,):
        raise UserError(
            f"model {model.name!r} has outputs of shape {shape}, the teacher is "
            f"for {wanted}: give a model with outputs (N, {num_classes})"
        )
    return outputs


def check_teachable(model: keras.Model, images: tf.Tensor, outputs: tf.Tensor) -> None:
    """Refuses a model of the right shapes that no step could teach.

    Args:
      outputs: of the model for the images, as `check_shapes` returns them.

    Raises:
      UserError: no weights that may change, or a sigmoid for each class.
    """
    if not model.trainable_variables:
        raise UserError(
            f"model {model.name!r} has no trainable weights: all of its "
            f"{len(model.weights)} are frozen; set trainable = True where it is to "
            "learn"
        )
    if _is_multi_label(model, images, outputs):
        raise UserError(
            f"model {model.name!r} ends in a sigmoid for each class, whose outputs do "
            "not sum to one: give a model that ends in a softmax or in logits"
        )


def are_probabilities(model: keras.Model, outputs: tf.Tensor) -> bool:
    """Whether the outputs [B, K] are a softmax's; otherwise they are logits."""
    activation = _last_activation(model)
    return activation == "softmax" or (not activation and _sum_to_one(outputs))


def _sum_to_one(outputs: tf.Tensor) -> bool:
    tolerance = _TOLERANCE.get(outputs.dtype.name, 1e-3)
    values = tf.cast(outputs, tf.float32)
    sums = tf.reduce_sum(values, -1)
    return bool(
        (tf.reduce_min(values) >= 0) & tf.reduce_all(tf.abs(sums - 1) < tolerance)
    )


def _is_multi_label(model: keras.Model, images: tf.Tensor, outputs: tf.Tensor) -> bool:
    activation = _last_activation(model)
    if activation:
        return activation in _SIGMOIDS
    inside = (tf.reduce_min(outputs) > 0) & (tf.reduce_max(outputs) < 1)
    if not inside or _sum_to_one(outputs):
        return False
    # Logits may lie between 0 and 1 by chance: what was computed last decides.
    return _last_operation(model, images) in ("Sigmoid", "other function")


def _last_activation(model: keras.Model) -> str:
    """ "softmax", "sigmoid", "linear" and so on; "" where it cannot be told."""
    layer = model
    while isinstance(layer, keras.Model):
        if isinstance(layer, keras.Sequential):
            layer = layer.layers[-1]
        else:
            output = (getattr(layer, "outputs", None) or [None])[0]
            history = getattr(output, "_keras_history", None)
            layer = getattr(history, "operation", None)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, (keras.layers.Dense, keras.layers.Activation)):
        name = getattr(layer.activation, "__name__", "")
        return name if name in (*_SIGMOIDS, "softmax", "linear") else ""
    return ""


def _last_operation(model: keras.Model, images: tf.Tensor) -> str:
    """The type of the operation that computes the outputs, or "other function"."""

    @tf.function(autograph=False)
    def outputs(images):
        return model(images, training=False)

    operation = outputs.get_concrete_function(images).outputs[0].op
    while operation.type in ("Identity", "Cast", "Reshape", "StopGradient"):
        operation = operation.inputs[0].op
    is_call = operation.type.endswith("PartitionedCall")
    return "other function" if is_call else operation.type
