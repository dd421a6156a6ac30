"""How sensitive meta-training is to hyperparameters (section 3.1, Figure 1b).

    bin/study --study=weight_norm

The same Bayesian optimization (keras-tuner) of outer and inner hyperparameters with
weight normalization and without; what is compared is the distribution over trials.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import keras_tuner
import numpy as np
from tabulate import tabulate

from gtn_tf.evaluation import plots
from gtn_tf.runs import files
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.locks import locked
from gtn_tf.studies import records


def suggest(hyperparameters: keras_tuner.HyperParameters) -> dict:
    """The fields of `TrainingConfig` that are optimized, and their ranges."""
    return {
        "outer_learning_rate": hyperparameters.Float(
            "outer_learning_rate", 1e-4, 0.1, sampling="log"
        ),
        "outer_beta_1": hyperparameters.Float("outer_beta_1", 0.0, 0.99),
        "outer_beta_2": hyperparameters.Float("outer_beta_2", 0.9, 0.9999),
        "inner_learning_rate": hyperparameters.Float(
            "inner_learning_rate", 1e-3, 1.0, sampling="log"
        ),
        "inner_momentum": hyperparameters.Float("inner_momentum", 0.1, 0.95),
    }


class _Tuner(keras_tuner.BayesianOptimization):
    """Each trial is one meta-training; its objective the final validation loss."""

    def __init__(self, config: TrainingConfig, folder: Path, num_trials: int):
        self._config = config
        self._folder = folder
        super().__init__(
            objective=keras_tuner.Objective("validation_loss", "min"),
            max_trials=num_trials,
            seed=config.seed + 1,  # keras-tuner takes 0 for no seed
            # Divergence is a result here, even if every trial diverges.
            max_consecutive_failed_trials=num_trials + 1,
            directory=str(folder),
            project_name="tuner",
        )

    def run_trial(self, trial, *args, **kwargs) -> dict:
        folder = self._folder / f"trial_{trial.trial_id}"
        changes = suggest(trial.hyperparameters) | {"workdir": str(folder)}
        loss = _validation_loss(dataclasses.replace(self._config, **changes))
        if not math.isfinite(loss):
            raise keras_tuner.errors.FailedTrialError("training diverged")
        return {"validation_loss": loss}


def _validation_loss(config: TrainingConfig) -> float:
    """Mean over fresh learners after a training; infinite where it diverged."""

    def measure(trained) -> dict:
        validation = trained.setup.dataset.validation
        scores = [
            trained.evaluator.score(validation, index, config.seed)
            for index in range(config.num_test_learners)
        ]
        loss = float(np.mean([score.loss for score in scores]))
        return {
            "loss": loss if math.isfinite(loss) else None,
            "accuracy": float(np.mean([score.accuracy for score in scores])),
        }

    label = {"run": Path(config.workdir).name}
    loss = records.once(config, label, measure).get("loss")
    return math.inf if loss is None else loss


def run(config: TrainingConfig, folder: Path, num_trials: int) -> str:
    """Both optimizations; writes figure_1b.png and table.md and returns the table.

    Interrupted, the same call goes on.

    Raises:
      UserError: a folder that another process has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    losses, num_diverged = {}, {}
    for weight_norm in (True, False):
        name = "weight norm" if weight_norm else "no weight norm"
        own = dataclasses.replace(config, weight_norm=weight_norm)
        # Trials of other budgets are others: keras-tuner would take them for these.
        budget = "_".join(map(str, records.what_is_asked(own)))
        trials = folder / name.replace(" ", "_") / budget
        with locked(folder):
            _Tuner(own, trials, num_trials).search()
        values = [
            json.loads(path.read_text()).get("loss")
            for path in sorted(trials.glob("trial_*/record.json"))
        ]
        losses[name] = [value for value in values if value is not None]
        num_diverged[name] = len(values) - len(losses[name])
    plots.box_plot(folder / "figure_1b.png", losses, num_diverged)
    table = format_table(losses, num_diverged)
    files.write_text_atomically(folder / "table.md", table)
    return table


def format_table(losses: dict[str, list[float]], num_diverged: dict[str, int]) -> str:
    """Quartiles of the final validation losses, in Markdown."""
    lines = []
    for name, values in losses.items():
        quartiles = np.quantile(values, [0, 0.25, 0.5, 0.75]) if values else []
        cells = [name, len(values) + num_diverged[name], num_diverged[name]]
        lines.append([*cells, *(f"{q:.3f}" for q in quartiles)])
    headers = ["", "trials", "diverged", "best"]
    headers += ["lower quartile", "median", "upper quartile"]
    return tabulate(lines, headers, "pipe", disable_numparse=True) + "\n"
