"""A tuner of keras-tuner whose folder takes no scores that do not compare."""

from __future__ import annotations

import json

import keras
import tensorflow as tf
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import Trial

from gtn_tf.errors import UserError
from gtn_tf.teaching.loaded_teacher import LoadedTeacher
from nas.search import whole_files

whole_files.install()


class ResumableTuner(base_tuner.BaseTuner):
    """Goes on from its files after a kill, with the same teacher, seed and rates.

    Attributes:
      teacher: whose steps the scores are of.
      seed: of proposals and models.
      rate_scale: what the learned rates are multiplied by, or None.
    """

    teacher: LoadedTeacher
    seed: int
    rate_scale: float | None

    @property
    def first_images(self) -> tf.Tensor:
        """Of the teacher's first batch [B, H, W, C], as models take them."""
        return self.teacher.batches(self.seed)[0][0]

    def fresh_model(self, trial: Trial) -> keras.Model:
        """A trial's model before any step, with the same weights each time."""
        policy = keras.config.dtype_policy()
        keras.backend.clear_session()  # Keras keeps every model that was built
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(self.seed)
        model = self.hypermodel.build(trial.hyperparameters)
        if isinstance(model, keras.Model) and not model.built:
            model(self.first_images)  # what its own code raises fails the trial
        return model

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
          UserError: files that are damaged, or of a search that does not compare.
        """
        try:
            super().reload()
        except json.JSONDecodeError as error:
            raise UserError(
                f"a file in {self.project_dir} is damaged ({error}): give another "
                "project_name, or overwrite=True"
            ) from None
        # A trial that was killed at its start has a file and no more: it is
        # proposed again.
        trials = self.oracle.trials
        self.oracle.trials = {name: trials[name] for name in self.oracle.start_order}
