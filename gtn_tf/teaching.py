"""An exported teacher, and any Keras model taught by it.

    teacher = gtn_tf.load_teacher("runs/.../teacher")
    model = teacher.teach(model)

Only the exported files are read: what trains a user's model is the learned data and
the learned rates, with the inner optimizer of `inner_optimizers`.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gtn_tf import (
    batch_statistics,
    classifiers,
    inner_loop,
    inner_optimizers,
    learned_schedule,
    saved_teachers,
)

# What Keras' batch norms keep: the "last" batch's statistics, or the mean over "all".
_BATCH_NORM_STATISTICS = "last"
_EVALUATION_BATCH_SIZE = 256
_FIRST_LOSS_SCALE = 2.0**15  # as of Keras' LossScaleOptimizer


def load_teacher(path: str | Path) -> LoadedTeacher:
    """The teacher in a folder, or one that comes with the package.

    Args:
      path: an exported folder, the folder of a finished run, or the name of a teacher
        that comes with the package, as in load_teacher("digits").

    Raises:
      ValueError: no such folder or name, files that are damaged, or no teacher of
        generated or distilled data in them.
    """
    return LoadedTeacher(saved_teachers.find(path))


class LoadedTeacher(saved_teachers.SavedTeacher):
    """What was taught to teach: T batches, and a learning rate and momentum for each.

    Attributes:
      folder: where it was loaded from.
      description: data set, class names, shapes and how the teacher came about.
      hyperparameters: name -> learned values [T].
    """

    def teach(
        self, model: keras.Model, seed: int = 0, verbose=0, callbacks=None
    ) -> keras.Model:
        """Trains a classifier for T steps from the weights it has, and returns it.

        Any Keras model, x [N, H, W, C] -> logits or probabilities [N, K], compiled or
        not, of any precision; frozen layers stay as they are. Batch norm keeps the
        statistics of the last batch, as the teacher's learners do (A.1): moving
        averages would hardly have moved in T steps. Regularization losses of layers
        are not added.

        Warns where the loss has not fallen.

        Args:
          seed: of the order of presentation, where the curriculum shuffles.
          verbose: 0 for silence, 1 for a progress bar, as for `model.fit`.
          callbacks: of Keras; one epoch of T batches, the logs of each batch have its
            "loss" before the step, those of the epoch the mean.

        Raises:
          ValueError: a model that does not take the teacher's images, that does not
            have its number of classes, or in which nothing can be taught.
        """
        images = self.batch(0)[0]
        outputs = classifiers.check_shapes(model, images, len(self.class_names))
        classifiers.check_teachable(model, images, outputs)
        loss = self._inner_loss(classifiers.are_probabilities(model, outputs))
        batches = self.batches(seed)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = keras.callbacks.CallbackList(
                callbacks,
                add_progbar=verbose != 0,
                model=model,
                verbose=verbose,
                epochs=1,
                steps=len(batches),
            )
        step = _compiled_step(model, self._optimizer, loss)
        steps = zip(batches, self._rates, strict=True)
        with _one_epoch(callbacks) as losses:
            model.stop_training = False
            for index, ((x, targets), rates) in enumerate(steps):
                callbacks.on_train_batch_begin(index)
                losses.append(float(step(x, targets, tf.unstack(rates))))
                callbacks.on_train_batch_end(index, {"loss": losses[-1]})
                if model.stop_training:
                    break
            if _BATCH_NORM_STATISTICS == "all":
                batch_statistics.average(model, batches)
        _warn_unless_fallen(model, losses)
        return model

    def evaluate(self, model: keras.Model, images, labels) -> float:
        """The share of images for which the model's largest output is the label's.

        Args:
          model: of logits or probabilities [N, K], taught or not.
          images: raw pixels [N, H, W, C], as `preprocess` takes them.
          labels: label ids [N].

        Raises:
          ValueError: a model, images or labels that do not suit the teacher; no images.
        """
        self._check_images(images)
        num_images, num_classes = len(images), len(self.class_names)
        if not num_images:
            raise ValueError(
                "there are no images to evaluate the model on: give one or more"
            )
        classifiers.check_shapes(model, self.batch(0)[0], num_classes)
        ids = saved_teachers.label_ids(labels, num_images, num_classes)
        num_right = 0
        for start in range(0, num_images, _EVALUATION_BATCH_SIZE):
            part = slice(start, start + _EVALUATION_BATCH_SIZE)
            outputs = model(self.preprocess(images[part]), training=False)
            num_right += np.sum(tf.argmax(outputs, -1).numpy() == ids[part])
        return float(num_right / num_images)

    def fit_arguments(self, seed: int = 0) -> dict:
        """What `model.fit` needs to take the learned steps on the teacher's batches.

            model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
            model.fit(**teacher.fit_arguments())

        One epoch, with a callback that has each step follow its learned rates and
        momenta in place of the model's own optimizer, which is there again afterwards.
        The loss is that of the model, layers' regularization losses included. Batch
        norm's statistics are set at the end of the epoch, with the final weights.

        Returns:
          x, epochs, shuffle and callbacks.
        """

        def settle(model):
            shown = self.batches(seed)
            kept = shown if _BATCH_NORM_STATISTICS == "all" else shown[-1:]
            batch_statistics.average(model, kept)

        rule = self.description["flags"]["inner_optimizer"]
        schedule = learned_schedule.LearnedSchedule(rule, self._rates, settle)
        return {
            "x": self.dataset(seed),
            "epochs": 1,
            "shuffle": False,
            "callbacks": [schedule],
        }

    @property
    def _optimizer(self) -> inner_optimizers.InnerOptimizer:
        name = self.description["flags"]["inner_optimizer"]
        return inner_optimizers.INNER_OPTIMIZERS[name]

    @property
    def _rates(self) -> tf.Tensor:
        """[T, R], in the order of the optimizer's names."""
        return tf.stack(
            [self.hyperparameters[name] for name in self._optimizer.names], axis=1
        )

    def _inner_loss(self, for_probabilities: bool) -> Callable:
        """(targets, outputs) -> mean, at least in float32."""
        name = self.description["flags"]["inner_loss"]
        if name == "cross_entropy" and for_probabilities:
            return _cross_entropy_of_probabilities

        def loss(targets, outputs):
            outputs = _widened(outputs)
            return inner_loop.INNER_LOSSES[name](
                tf.cast(targets, outputs.dtype), outputs
            )

        return loss


def _cross_entropy_of_probabilities(targets, outputs):
    # Keras finds the logits behind a softmax, but not behind a cast.
    targets = tf.cast(targets, outputs.dtype)
    losses = keras.losses.categorical_crossentropy(targets, outputs)
    return tf.reduce_mean(_widened(losses))


def _widened(values: tf.Tensor) -> tf.Tensor:
    return values if values.dtype == tf.float64 else tf.cast(values, tf.float32)


@contextlib.contextmanager
def _one_epoch(callbacks: keras.callbacks.CallbackList):
    """Around the batches of an epoch, as in `model.fit`; yields a list for losses."""
    losses: list[float] = []
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    yield losses
    logs = {"loss": float(np.mean(losses))}
    callbacks.on_epoch_end(0, logs)
    callbacks.on_train_end(logs)


def _compiled_step(model: keras.Model, optimizer, loss: Callable) -> Callable:
    """(x, targets, rates) -> loss; moves the model's weights.

    Models that compute in float16 have their loss scaled, since gradients would
    vanish, by less from then on where they overflow. No step is left out.
    """
    slots = [learned_schedule.slots(optimizer, v) for v in model.trainable_variables]
    dtypes = {layer.compute_dtype for layer in model._flatten_layers()}
    scale = _FIRST_LOSS_SCALE if "float16" in dtypes else 1.0
    inner_step = tf.function(_inner_step(model, optimizer, loss), autograph=False)

    def step(x, targets, rates):
        nonlocal slots, scale
        while True:
            with batch_statistics.of_last_batch(model):  # not while callbacks look
                value, has_moved, new_slots = inner_step(
                    slots, x, targets, rates, tf.constant(scale)
                )
            if scale <= 1 or has_moved:
                slots = new_slots
                return value
            scale /= 2

    return step


def _inner_step(model: keras.Model, optimizer, loss: Callable) -> Callable:
    """(slots, x, targets, rates, scale) -> loss, whether it has moved, slots.

    Moves the model's weights (Equation 1); not if the gradient of the scaled loss
    overflows.
    """

    def inner_step(slots, x, targets, rates, scale):
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            value = loss(targets, model(x, training=True))
            scaled = value * tf.cast(scale, value.dtype)
        gradients = tape.gradient(
            scaled,
            [v.value for v in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradients = [
            tf.convert_to_tensor(g) / tf.cast(scale, g.dtype) for g in gradients
        ]
        finite = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]
        moves = (scale <= 1) | tf.reduce_all(finite)
        new_slots = []
        for variable, gradient, slot in zip(variables, gradients, slots, strict=True):
            moved, slot = learned_schedule.update(
                optimizer, variable, gradient, slot, rates
            )
            if variable.constraint is not None:
                moved = variable.constraint(moved)
            variable.assign(tf.where(moves, moved, variable.value))
            new_slots.append(slot)
        return value, moves, new_slots

    return inner_step


def _warn_unless_fallen(model: keras.Model, losses: list[float]) -> None:
    """Compares the loss before any step with the mean of the last third."""
    if len(losses) < 2:
        return
    num_last = math.ceil(len(losses) / 3)
    last = np.mean(losses[-num_last:])
    if not last < losses[0]:
        warnings.warn(
            f"model {model.name!r} has hardly been taught: its loss was "
            f"{losses[0]:.4g} on the first batch, before any step, and {last:.4g} on "
            f"average on the last {num_last}; try fresh weights, batch norm after "
            "hidden layers, or a teacher trained with learners more like it",
            stacklevel=3,
        )
