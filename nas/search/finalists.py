"""The best trials of a search, trained on real data."""

from __future__ import annotations

from pathlib import Path

from keras_tuner.engine.trial import Trial

from gtn_tf.errors import UserError
from nas.search import halving, real_epochs
from nas.search.real_epochs import Finalist, RealEpochs
from nas.search.resumable_tuner import ResumableTuner


class FinalistsTuner(ResumableTuner):
    """Has its best trials trained on real data, when the search is over."""

    def train_best(
        self, x, y, x_val, y_val, count: int = 3, **fit_arguments
    ) -> list[Finalist]:
        """Trains the best of the search on real data, from fresh weights.

        By the hypermodel's own `fit`, which is `model.fit` unless it says otherwise;
        and then needs models that are compiled.

        Args:
          x: raw training images [N, H, W, C].
          y: their labels, as the models' loss takes them.
          x_val: raw images [N, H, W, C] for the accuracy.
          y_val: their label ids [N].
          count: of models; fewer where fewer trials have come to their end.
          fit_arguments: epochs and others of `model.fit`.

        Returns:
          The finalists, most accurate first; none in a worker.

        Raises:
          UserError: models that are not compiled, or data that do not suit the teacher.
        """
        training = self._real_epochs(x, y, (x_val, y_val), fit_arguments)
        trained = [training.from_fresh_weights(trial) for trial in self._best(count)]
        return sorted(trained, key=lambda finalist: -finalist.accuracy)

    def halve(
        self,
        x,
        y,
        x_val,
        y_val,
        count: int = 9,
        epochs: int = 1,
        factor: int = 3,
        **fit_arguments,
    ) -> list[Finalist]:
        """Trains the best of the search on real data, by successive halving.

        The best by the teacher train for `epochs`, the best of these until `factor`
        times as many, and so on to the last one: by default nine train for 1 epoch,
        three until 3 and one until 9. Each goes on from its own weights and its
        optimizer's state, by the hypermodel's `fit`, which is asked for `epochs` and
        `initial_epoch` as by keras-tuner's Hyperband.

        Hyperband itself is not used: how many models begin follows from its epochs,
        so that the teacher could not see many times more than will train; and it
        orders by one objective what are two, teacher's scores and real accuracies.

        The project's folder keeps halving.json and the weights; the same call goes on
        there after a kill, and trains only what is new after more trials. Batch norm's
        statistics are those of training images before an accuracy is measured, and in
        the models that are returned.

        Args:
          x: raw training images [N, H, W, C].
          y: their labels, as the models' loss takes them.
          x_val: raw images [N, H, W, C] for the accuracy.
          y_val: their label ids [N].
          count: of trials that train; fewer where fewer have come to their end.
          epochs: of each of these.
          factor: one in so many goes on.
          fit_arguments: others of `model.fit`.

        Returns:
          All that trained; those who did for longest first, of these the most accurate
          first. None in a worker: the chief trains.

        Raises:
          UserError: no trial to train, numbers that make no rungs, models that are not
            compiled, or a folder with trainings that do not compare with these.
        """
        if self._is_worker():
            return []
        halving.check(count, epochs, factor)
        trials = self._best(count)
        if not trials:
            raise UserError("no trial has come to its end: search first")
        training = self._real_epochs(x, y, (x_val, y_val), fit_arguments)
        return _halve(training, trials, epochs, factor, Path(self.project_dir))

    def check_compiled(self) -> None:
        """Refuses a hypermodel whose default model `train_best` would not train.

        Raises:
          UserError: it is not compiled, and the hypermodel has no `fit` of its own.
        """
        model = self.hypermodel.build(self.oracle.get_space())
        real_epochs.check_compiled(self.hypermodel, model)

    def _best(self, count: int) -> list[Trial]:
        """Trials that have come to their end, best first."""
        if self._is_worker():
            return []
        trials = self.oracle.get_best_trials(count)
        return [trial for trial in trials if trial.status == "COMPLETED"]

    def _real_epochs(self, x, y, validation, fit_arguments) -> RealEpochs:
        return RealEpochs(
            hypermodel=self.hypermodel,
            build=self.fresh_model,
            teacher=self.teacher,
            seed=self.seed,
            images=self.teacher.preprocess(x),
            labels=y,
            validation=validation,
            fit_arguments=fit_arguments,
        )


def _halve(
    training: RealEpochs, trials: list[Trial], epochs: int, factor: int, folder: Path
) -> list[Finalist]:
    """FOLDER/halving.json is the record, FOLDER/halving/ has the weights."""
    asked = {"epochs": epochs, "factor": factor} | training.compared()
    record = halving.Record(folder / halving.FILE, asked)
    plan = halving.rungs(len(trials), epochs, factor)
    weights = folder / "halving"
    by_id = {trial.trial_id: trial for trial in trials}

    def train(trial_id: str, before: int, epochs: int) -> float:
        return training.go_on(by_id[trial_id], weights, before, epochs)

    return [
        training.reached(by_id[each.trial_id], weights, each.epochs, each.accuracy)
        for each in halving.climb(list(by_id), plan, record, train)
    ]
