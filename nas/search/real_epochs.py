"""A trial trained on real data: at once, or a rung of halving at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.engine.trial import Trial

from gtn_tf.errors import UserError
from gtn_tf.teaching.loaded_teacher import LoadedTeacher
from nas.search import trained_weights


class Finalist(NamedTuple):
    """One of the best, trained on real data."""

    hyperparameters: keras_tuner.HyperParameters
    model: keras.Model
    score: float  # of the search
    accuracy: float  # after real training
    epochs: int | None = None  # that it trained for, where halving has decided


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RealEpochs:
    """What trials are trained with: the hypermodel's own `fit`, and data.

    Attributes:
      build: trial -> its model with fresh weights, the same ones each time.
      seed: of what training draws.
      images: preprocessed training images [N, H, W, C].
      labels: theirs, as the models' loss takes them.
      validation: raw images [N, H, W, C] and label ids [N] for the accuracy.
      fit_arguments: of `model.fit`.
    """

    hypermodel: keras_tuner.HyperModel
    build: Callable[[Trial], keras.Model]
    teacher: LoadedTeacher
    seed: int
    images: tf.Tensor
    labels: Any
    validation: tuple[Any, Any]
    fit_arguments: dict[str, Any]

    def from_fresh_weights(self, trial: Trial) -> Finalist:
        """Trains a trial's model in one go.

        Raises:
          UserError: a model that is not compiled.
        """
        model = self.build(trial)
        self._fit(trial, model)
        accuracy = self._accuracy(model)
        return Finalist(trial.hyperparameters, model, trial.score, accuracy)

    def go_on(self, trial: Trial, folder: Path, before: int, epochs: int) -> float:
        """Trains a trial's model for a rung, and returns its accuracy.

        What it draws depends on the seed and the rung alone, and its weights go
        through a file: after a kill the rung is as it would have been.

        Args:
          folder: of the weights.
          before: epochs that it has trained for.
          epochs: that it will have trained for.

        Raises:
          UserError: a model that is not compiled.
          OSError: the weights cannot be written or read.
        """
        model = self.build(trial)
        if before:
            path = trained_weights.path_of(folder, trial.trial_id, before)
            trained_weights.load(model, path)
        keras.utils.set_random_seed(self.seed + before)
        self._fit(trial, model, initial_epoch=before, epochs=epochs)
        path = trained_weights.path_of(folder, trial.trial_id, epochs)
        trained_weights.save(model, path)
        trained_weights.settle(model, self.images)
        return self._accuracy(model)

    def reached(
        self, trial: Trial, folder: Path, epochs: int, accuracy: float
    ) -> Finalist:
        """The finalist that `go_on` has left in the folder."""
        model = self.build(trial)
        path = trained_weights.path_of(folder, trial.trial_id, epochs)
        trained_weights.load(model, path)
        trained_weights.settle(model, self.images)
        return Finalist(trial.hyperparameters, model, trial.score, accuracy, epochs)

    def compared(self) -> dict:
        """What trainings must have in common to be compared, in JSON's own types."""
        plain = {
            name: value
            for name, value in self.fit_arguments.items()
            if isinstance(value, (bool, int, float, str)) and name != "verbose"
        }
        return {
            "images": list(np.shape(self.images)),
            "validation_images": list(np.shape(self.validation[0])),
            **plain,
        }

    def _fit(self, trial: Trial, model: keras.Model, **epochs) -> None:
        check_compiled(self.hypermodel, model)
        values = trial.hyperparameters.copy()  # fit may ask for more of them
        arguments = self.fit_arguments | epochs
        self.hypermodel.fit(values, model, self.images, self.labels, **arguments)

    def _accuracy(self, model: keras.Model) -> float:
        return self.teacher.evaluate(model, *self.validation)


def check_compiled(hypermodel: keras_tuner.HyperModel, model: keras.Model) -> None:
    """Refuses a model that `model.fit` would not train.

    Raises:
      UserError: it is not compiled, and the hypermodel has no `fit` of its own.
    """
    own_fit = type(hypermodel).fit is not keras_tuner.HyperModel.fit
    if not own_fit and not model.compiled:
        raise UserError(
            "the hypermodel's model is not compiled: compile it in build, or give the "
            "HyperModel a fit of its own"
        )
