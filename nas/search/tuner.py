"""keras-tuner's search, with a teacher's few steps in place of training.

    tuner = nas.TeacherTuner(build, "digits", max_trials=50, directory="searches")
    tuner.search(images, labels)
    (best,) = tuner.get_best_models()

Oracles, folders, going on after a kill, chief and workers are keras-tuner's own.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import keras_tuner
import tensorflow as tf
from keras_tuner.engine.trial import Trial
from keras_tuner.errors import FailedTrialError, FatalError

from gtn_tf.errors import UserError
from gtn_tf.teaching import classifiers
from gtn_tf.teaching.loaded_teacher import LoadedTeacher, load_teacher
from nas.search import tuner_oracles
from nas.search.finalists import FinalistsTuner
from nas.search.tuner_oracles import OBJECTIVE, SECONDS


class _Refused(UserError, FatalError):
    """A user's mistake that ends the search; others only fail their trial."""


class TeacherTuner(FinalistsTuner):
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
            oracle = tuner_oracles.build_oracle(oracle, max_trials, seed)
        tuner_oracles.check_objective(oracle)
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
        classifiers.check_shapes(model, self.first_images, num_classes)

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
        return {OBJECTIVE.name: accuracy, SECONDS: time.perf_counter() - began}

    def load_model(self, trial: Trial) -> keras.Model:
        """The trial's model as it was scored.

        It is built and taught again from the same seed: seconds, and no file of
        weights that workers would have to share.

        Raises:
          UserError: a model that does not suit the teacher.
          FailedTrialError: its outputs are not finite.
        """
        model = self.fresh_model(trial)
        with _ending_the_search(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "model .* has hardly been taught")
            self.teacher.teach(model, self.seed, rate_scale=self.rate_scale)
        outputs = model(self.first_images, training=False)
        if not tf.reduce_all(tf.math.is_finite(outputs)):
            raise FailedTrialError("the taught model's outputs are not finite")
        return model


@contextlib.contextmanager
def _ending_the_search() -> Iterator[None]:
    """Within, what the teacher refuses ends the search."""
    try:
        yield
    except UserError as error:
        raise _Refused(str(error)) from error
