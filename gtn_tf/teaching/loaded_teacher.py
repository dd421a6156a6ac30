"""An exported teacher, and any Keras model taught by it.

    teacher = gtn_tf.load_teacher("runs/.../teacher")
    model = teacher.teach(model)

Only the exported files are read: what trains a user's model is the learned data and
the learned rates, with the inner optimizer of `inner_optimizers`.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.teaching import (
    batch_statistics,
    classifiers,
    keras_training,
    learned_schedule,
    saved_teachers,
)
from gtn_tf.teaching.learned_schedule import Plan
from gtn_tf.teaching.lessons import ClosedLessons, OpenLessons

_EVALUATION_BATCH_SIZE = 256


def load_teacher(path: str | Path) -> LoadedTeacher:
    """The teacher in a folder, or one that comes with the package.

    Args:
      path: an exported folder, the folder of a finished run, or the name of a teacher
        that comes with the package, as in load_teacher("digits").

    Raises:
      UserError: no such folder or name, files that are damaged, or no teacher of
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
        self,
        model: keras.Model,
        seed: int = 0,
        verbose=0,
        callbacks=None,
        rate_scale: float | None = None,
    ) -> keras.Model:
        """Trains a classifier for T steps from the weights it has, and returns it.

        Any Keras model, x [N, H, W, C] -> logits or probabilities [N, K], compiled or
        not, of any precision; frozen layers stay as they are. Batch norm ends with the
        mean of its statistics over the T batches with the final weights: moving
        averages would hardly have moved in T steps. Regularization losses of layers
        are not added.

        Warns where the loss has not fallen.

        Args:
          seed: of the order of presentation, where the curriculum shuffles.
          verbose: 0 for silence, 1 for a progress bar, as for `model.fit`.
          callbacks: of Keras; one epoch of T batches, the logs of each batch have its
            "loss" before the step, those of the epoch the mean.
          rate_scale: what the learned rates are multiplied by; None: chosen for this
            model by a few trials on the teacher's own batches (see `rate_scale`), which
            take three to five times as long as teaching.

        Raises:
          UserError: a model that does not take the teacher's images, that does not
            have its number of classes, or in which nothing can be taught.
        """
        trainer = self.trainer(model, seed)
        scale = trainer.choose_rate_scale() if rate_scale is None else rate_scale
        losses = trainer.train(scale, verbose, callbacks)
        _warn_unless_fallen(model, losses)
        return model

    def choose_rate_scale(self, model: keras.Model, seed: int = 0) -> float:
        """What `teach` would multiply the learned rates by; the model stays as it is.

        Raises:
          UserError: as `teach`.
        """
        return self.trainer(model, seed).choose_rate_scale()

    def trainer(self, model: keras.Model, seed: int = 0) -> keras_training.Trainer:
        """What trains a model on the T batches as often as asked, compiled once.

        Args:
          seed: as for `teach`.

        Raises:
          UserError: as `teach`.
        """
        images = self.batch(0)[0]
        outputs = classifiers.check_shapes(model, images, len(self.class_names))
        classifiers.check_teachable(model, images, outputs)
        has_softmax = classifiers.are_probabilities(model, outputs)
        loss = keras_training.inner_loss(
            self.description["flags"]["inner_loss"], self.loss_weights, has_softmax
        )
        lessons = OpenLessons(self.batches(seed))
        if self.is_closed_loop:
            signatures, num_steps = self._signatures, self.num_inner_steps
            lessons = ClosedLessons(signatures, num_steps, seed, has_softmax)
        return keras_training.Trainer(model, lessons, self._plan, loss)

    def evaluate(self, model: keras.Model, images, labels) -> float:
        """The share of images for which the model's largest output is the label's.

        Args:
          model: of logits or probabilities [N, K], taught or not.
          images: raw pixels [N, H, W, C], as `preprocess` takes them.
          labels: label ids [N].

        Raises:
          UserError: a model, images or labels that do not suit the teacher; no images.
        """
        self._check_images(images)
        num_images, num_classes = len(images), len(self.class_names)
        if not num_images:
            raise UserError(
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

    def fit_arguments(self, seed: int = 0, rate_scale: float = 1.0) -> dict:
        """What `model.fit` needs to take the learned steps on the teacher's batches.

            model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
            model.fit(**teacher.fit_arguments())

        One epoch, with a callback that has each step follow its learned rates and
        momenta in place of the model's own optimizer, which is there again afterwards.
        The loss is that of the model, layers' regularization losses included. Batch
        norm's statistics are set at the end of the epoch, with the final weights.

        Args:
          seed: as for `teach`.
          rate_scale: of the learned rates, as `choose_rate_scale` gives it.

        Returns:
          x, epochs, shuffle and callbacks.

        Raises:
          UserError: a closed-loop teacher.
        """
        if self.is_closed_loop:
            raise UserError(
                "this teacher is closed-loop, and model.fit does not tell it how the "
                "model does: use teach(model), or dataset() for its stored curriculum"
            )

        def settle(model):
            batch_statistics.average(model, self.batches(seed))

        schedule = learned_schedule.LearnedSchedule(
            self._plan.scaled(rate_scale), settle
        )
        return {
            "x": self.dataset(seed),
            "epochs": 1,
            "shuffle": False,
            "callbacks": [schedule],
        }

    @property
    def _plan(self) -> Plan:
        """The learned optimizer and rates."""
        rule = self.description["flags"]["inner_optimizer"]
        return Plan.of(rule, self.hyperparameters)


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
