"""keras-tuner's search, with a teacher's few steps in place of training.

    tuner = nas.TeacherTuner(build, "digits", max_trials=50, directory="searches")
    tuner.search(images, labels)
    (best,) = tuner.get_best_models()

Oracles, folders, going on after a kill, chief and workers are keras-tuner's own.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import keras_tuner
import tensorflow as tf
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import Trial
from keras_tuner.errors import FailedTrialError, FatalError

from gtn_tf.errors import UserError
from gtn_tf.teaching import classifiers
from gtn_tf.teaching.loaded_teacher import LoadedTeacher, load_teacher

SECONDS = "seconds"  # a trial's other metric
_OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")
ORACLES = {
    "random": keras_tuner.oracles.RandomSearchOracle,
    "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
}
# Where some architectures cannot be built, keras-tuner's 3 fail in a row by chance.
_MAX_FAILURES_IN_A_ROW = 20


class Finalist(NamedTuple):
    """One of the best, trained on real data."""

    hyperparameters: keras_tuner.HyperParameters
    model: keras.Model
    score: float  # of the search
    accuracy: float  # after real training


class _Refused(UserError, FatalError):
    """A user's mistake that ends the search; others only fail their trial."""


def build_oracle(name: str, max_trials: int, seed: int) -> keras_tuner.Oracle:
    """One of keras-tuner's oracles, which asks for the largest accuracy.

    Raises:
      UserError: no such name.
    """
    if name not in ORACLES:
        raise UserError(
            f"oracle {name!r} is unknown: give {' or '.join(ORACLES)}, or a "
            "keras_tuner.Oracle"
        )
    return ORACLES[name](
        objective=_OBJECTIVE,
        max_trials=max_trials,
        seed=seed + 1,  # keras-tuner takes 0 for no seed
        max_consecutive_failed_trials=_MAX_FAILURES_IN_A_ROW,
    )


class TeacherTuner(base_tuner.BaseTuner):
    """A tuner of keras-tuner whose trials are the steps of a teacher.

    A trial builds a model, has the teacher teach it, and scores its accuracy on real
    images, "val_accuracy". One seed gives one score. An architecture whose code raises
    something, or that ends with numbers that are not finite, is a failed trial.

    Args:
      hypermodel: a keras_tuner.HyperModel or a function build(hp), of any Keras
        classifiers that the teacher can teach.
      teacher: one that is loaded, or what `gtn_tf.load_teacher` takes.
      oracle: "random", "bayesian", or an oracle of keras-tuner that maximizes
        "val_accuracy"; then it has its own `max_trials` and seed. Hyperband's
        budgets are epochs, which there are none of here.
      max_trials: of an oracle given by its name.
      seed: of the proposals, the models' weights and the order of presentation.
      rate_scale: what the learned rates are multiplied by; None has it chosen for
        each model, which takes three to five times as long.
      options: directory, project_name and overwrite, as for keras_tuner.Tuner.

    Raises:
      UserError: a teacher or an oracle that cannot be used, a default model that does
        not suit the teacher, or a folder with a search by another teacher.
    """

    def __init__(
        self,
        hypermodel: keras_tuner.HyperModel | Callable,
        teacher: LoadedTeacher | str | Path,
        oracle: keras_tuner.Oracle | str = "random",
        max_trials: int = 20,
        seed: int = 0,
        rate_scale: float | None = 1.0,
        **options,
    ):
        if isinstance(teacher, (str, Path)):
            teacher = load_teacher(teacher)
        if isinstance(oracle, str):
            oracle = build_oracle(oracle, max_trials, seed)
        _check_objective(oracle)
        self.teacher = teacher
        self.seed = seed
        self.rate_scale = rate_scale
        self._check_default(hypermodel, oracle.get_space())
        super().__init__(oracle, hypermodel, **options)

    def _check_default(self, hypermodel, hp: keras_tuner.HyperParameters) -> None:
        """A wrong image shape is told before anything is written."""
        if isinstance(hypermodel, keras_tuner.HyperModel):
            hypermodel.declare_hyperparameters(hp)
            model = hypermodel.build(hp)
        elif callable(hypermodel):
            model = hypermodel(hp)
        else:
            raise UserError(
                f"{hypermodel!r} is no hypermodel: give a keras_tuner.HyperModel or a "
                "function build(hp)"
            )
        num_classes = len(self.teacher.class_names)
        classifiers.check_shapes(model, self._first_images, num_classes)

    @property
    def _first_images(self) -> tf.Tensor:
        return self.teacher.batches(self.seed)[0][0]

    def search(self, x, y, verbose: int | str = "auto") -> None:
        """Runs all trials, or those that an earlier process has left.

        Args:
          x: raw images [N, H, W, C] on which models are scored.
          y: their label ids [N].
          verbose: 0 for silence, as for keras-tuner.

        Raises:
          UserError: images, labels or a model that do not suit the teacher.
          RuntimeError: of keras-tuner, where many trials in a row have failed.
        """
        self.oracle.verbose = verbose
        super().search(x, y)

    def run_trial(self, trial: Trial, x, y) -> dict[str, float]:
        """The trial's accuracy on real images, and what it took."""
        began = time.perf_counter()
        model = self.load_model(trial)
        with _ending_the_search():
            accuracy = self.teacher.evaluate(model, x, y)
        return {_OBJECTIVE.name: accuracy, SECONDS: time.perf_counter() - began}

    def load_model(self, trial: Trial) -> keras.Model:
        """The trial's model as it was scored.

        It is built and taught again from the same seed: seconds, and no file of
        weights that workers would have to share.

        Raises:
          UserError: a model that does not suit the teacher.
          FailedTrialError: its outputs are not finite.
        """
        model = self._fresh_model(trial)
        if isinstance(model, keras.Model) and not model.built:
            model(self._first_images)  # what its own code raises fails the trial
        with _ending_the_search(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "model .* has hardly been taught")
            self.teacher.teach(model, self.seed, rate_scale=self.rate_scale)
        outputs = model(self._first_images, training=False)
        if not tf.reduce_all(tf.math.is_finite(outputs)):
            raise FailedTrialError("the taught model's outputs are not finite")
        return model

    def _fresh_model(self, trial: Trial) -> keras.Model:
        policy = keras.config.dtype_policy()
        keras.backend.clear_session()  # Keras keeps every model that was built
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(self.seed)
        return self.hypermodel.build(trial.hyperparameters)

    def train_best(
        self, x, y, x_val, y_val, count: int = 3, **fit_arguments
    ) -> list[Finalist]:
        """Trains the best of the search on real data, from fresh weights.

        By the hypermodel's own `fit`, which is `model.fit` unless it says otherwise;
        so its models must be compiled.

        Args:
          x: raw training images [N, H, W, C].
          y: their labels, as the models' loss takes them.
          x_val: raw images [N, H, W, C] for the accuracy.
          y_val: their label ids [N].
          count: of models; fewer where fewer trials have come to their end.
          fit_arguments: epochs and others of `model.fit`.

        Returns:
          The finalists, most accurate first.
        """
        images = self.teacher.preprocess(x)
        finalists = []
        for trial in self.oracle.get_best_trials(count):
            if trial.status == "COMPLETED":
                values, model = trial.hyperparameters, self._fresh_model(trial)
                self.hypermodel.fit(values, model, images, y, **fit_arguments)
                accuracy = self.teacher.evaluate(model, x_val, y_val)
                finalists.append(Finalist(values, model, trial.score, accuracy))
        return sorted(finalists, key=lambda finalist: -finalist.accuracy)

    def get_state(self) -> dict:
        """What all scores of a folder have in common; keras-tuner keeps it."""
        return {
            "teacher": self.teacher.description,
            "seed": self.seed,
            "rate_scale": self.rate_scale,
        }

    def set_state(self, state: dict) -> None:
        """Refuses a folder whose scores do not compare with those to come.

        Raises:
          UserError: another teacher, seed or scale of rates.
        """
        for name, value in self.get_state().items():
            if state.get(name) != value:
                raise UserError(
                    f"{self.project_dir} holds a search with another {name}: give "
                    "another project_name, or overwrite=True"
                )

    def reload(self) -> None:
        """Goes on from keras-tuner's files.

        Raises:
          UserError: files that a kill cut short, or of a search that does not compare.
        """
        try:
            super().reload()
        except json.JSONDecodeError as error:
            raise UserError(
                f"a file in {self.project_dir} is damaged ({error}): give another "
                "project_name, or overwrite=True"
            ) from None
        # A trial that was killed at its very start has a file and no more: it is
        # proposed again.
        trials = self.oracle.trials
        self.oracle.trials = {name: trials[name] for name in self.oracle.start_order}


def _check_objective(oracle: keras_tuner.Oracle) -> None:
    objective = oracle.objective
    wanted = (_OBJECTIVE.name, _OBJECTIVE.direction)
    if (objective.name, objective.direction) != wanted:
        raise UserError(
            f"the oracle has {objective}: give it objective=keras_tuner.Objective"
            f"{wanted}"
        )


@contextlib.contextmanager
def _ending_the_search() -> Iterator[None]:
    """Within, what the teacher refuses ends the search."""
    try:
        yield
    except UserError as error:
        raise _Refused(str(error)) from error
