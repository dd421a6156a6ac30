"""Estimators of the meta-gradient as inner loops lengthen.

    bin/study --study=estimators --flagfile=estimators.flags --num_seeds=1

For each T, with weight norm and without: how every estimator's samples at one fixed
point, the run's start, compare with those of backpropagation from the same learners and
data; and the accuracy that it reaches in equal time. Equal time is a number of outer
steps, by the processor seconds that one estimate took, so that other programs on the
machine do not count.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gtn_tf.evaluation import few_step, plots, tables
from gtn_tf.meta import outer_loop
from gtn_tf.meta.registry import ESTIMATORS
from gtn_tf.runs import files, run_setup
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.locks import locked
from gtn_tf.studies import gradient_statistics, records

LENGTHS = (10, 50, 200)  # T
_REFERENCE = "backpropagation"
_FASTEST = 1e-4  # processor seconds, below which a clock says nothing


class Cell(NamedTuple):
    """A setting in which estimators are compared."""

    num_inner_steps: int
    weight_norm: bool

    @property
    def name(self) -> str:
        """As it is shown, and as files are called."""
        suffix = "" if self.weight_norm else "_without_weight_norm"
        return f"T_{self.num_inner_steps}{suffix}"


CELLS = [Cell(length, norm) for norm in (True, False) for length in LENGTHS]


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
      num_estimates: of each estimator at the fixed point.
      seconds: of a processor, in outer steps of each training.
      num_seeds: trainings of each estimator.
    """

    num_estimates: int
    seconds: float
    num_seeds: int


def run(config: TrainingConfig, folder: Path, budget: Budget) -> str:
    """Measures what has not been measured; writes gradients/CELL.json, a record of each
    training, table.md and estimators.png.

    Args:
      config: the base run; T, weight norm, estimator and seed are varied.

    Returns:
      The tables.

    Raises:
      UserError: a run that cannot be; a folder that another process has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        gradients = {cell: _gradients(config, folder, cell, budget) for cell in CELLS}
        found = []
        for run_config, label in _trainings(config, folder, gradients, budget):
            found.append(records.once(run_config, label, _accuracies))
            text = f"{gradient_table(gradients)}\n{accuracy_table(found)}"
            files.write_text_atomically(folder / "table.md", text)
            figure(folder / "estimators.png", gradients, found)
    return text


def _of_cell(config: TrainingConfig, cell: Cell, estimator: str) -> TrainingConfig:
    return dataclasses.replace(config, **cell._asdict(), estimator=estimator)


def _gradients(
    config: TrainingConfig, folder: Path, cell: Cell, budget: Budget
) -> dict[str, dict]:
    """Estimator -> its statistics in a cell, read where they have been measured."""
    path = folder / "gradients" / f"{cell.name}.json"
    asked = budget.num_estimates
    if path.is_file():
        found = json.loads(path.read_text())
        if found["num_estimates"] == asked:
            return found["estimators"]
    samples, seconds = {}, {}
    for name in ESTIMATORS:
        own = _of_cell(config, cell, name)
        samples[name], seconds[name] = estimates(own, budget.num_estimates)
    reference = samples[_REFERENCE]
    found = {
        name: gradient_statistics.describe(samples[name], reference)
        | {"seconds": seconds[name]}
        for name in ESTIMATORS
    }
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"num_estimates": asked, "estimators": found}, indent=1)
    files.write_text_atomically(path, f"{text}\n")
    return found


def estimates(config: TrainingConfig, count: int) -> tuple[np.ndarray, float]:
    """Estimates at the run's start, not clipped, [count, number of variables], and the
    processor seconds of one. The i-th has the learner and data of the i-th of every
    other estimator."""
    setup = run_setup.prepare(config)
    program = outer_loop.trace(
        setup.problem,
        setup.specs[0],
        0.0,
        setup.memory_plan.policy,
        ESTIMATORS[config.estimator].of_run(config),
    )
    program(tf.constant([config.seed, count]))  # the first call takes longer
    began, found = time.process_time(), []
    for index in range(count):
        _, gradients = program(tf.constant([config.seed, index]))
        found.append(np.concatenate([g.numpy().ravel() for g in gradients]))
    return np.stack(found), (time.process_time() - began) / count


def _trainings(
    config: TrainingConfig, folder: Path, gradients: dict, budget: Budget
) -> Iterator[tuple[TrainingConfig, dict]]:
    """Configuration and label of each training."""
    for seed in range(budget.num_seeds):
        for cell in CELLS:
            for name in ESTIMATORS:
                seconds = max(_FASTEST, gradients[cell][name]["seconds"])
                seconds *= config.learners_per_step
                own = dataclasses.replace(
                    _of_cell(config, cell, name),
                    seed=seed,
                    num_outer_steps=max(1, round(budget.seconds / seconds)),
                    workdir=str(folder / cell.name / name / f"seed_{seed}"),
                )
                yield own, {"estimator": name, "seed": seed} | cell._asdict()


def _accuracies(trained) -> dict:
    """What is recorded of a training: test accuracy of fresh learners."""
    config = trained.setup.config
    accuracies = trained.evaluator.accuracies(
        trained.setup.dataset.test, config.num_test_learners, config.seed
    )
    return {
        "num_outer_steps": trained.progress.outer_step,
        "seconds": trained.progress.seconds,
        "accuracy": list(map(float, accuracies)),
    }


def gradient_table(gradients: dict[Cell, dict[str, dict]]) -> str:
    """Statistics of all cells in Markdown; in each cell the largest variance first."""

    def interval(value):
        if value is None:
            return "not resolved"
        return f"{value['value']:.2f} ({value['low']:.2f} to {value['high']:.2f})"

    rows = []
    for cell, found in gradients.items():
        for name in sorted(found, key=lambda n: -found[n]["relative_variance"]):
            own = found[name]
            rows.append(
                [
                    cell.num_inner_steps,
                    "yes" if cell.weight_norm else "no",
                    name,
                    f"{own['relative_variance']:.2g}",
                    f"{own['median_norm']:.3g}",
                    *(interval(own[k]) for k in ("projection", "cosine", "norm_ratio")),
                    f"{own['seconds']:.3f}",
                ]
            )
    headers = ["T", "weight norm", "estimator", "variance", "norm", "projection"]
    headers += ["cosine", "norm ratio", "processor seconds"]
    return tables.markdown(rows, headers) + "\n"


def _groups(found: list[dict]) -> Iterator[tuple[Cell, dict[str, list[dict]]]]:
    """Each cell's records that did not diverge, by estimator."""
    for cell in CELLS:
        own = [r for r in found if all(r[k] == v for k, v in cell._asdict().items())]
        groups = {n: [r for r in own if r["estimator"] == n] for n in ESTIMATORS}
        yield cell, {name: group for name, group in groups.items() if group}


def _accuracy(group: list[dict]) -> list[float]:
    """Of all fresh learners of a group's runs."""
    return [value for record in group for value in record.get("accuracy", ())]


def accuracy_table(found: list[dict]) -> str:
    """Test accuracy at equal time in Markdown; in each cell the lowest first."""
    rows = []
    for cell, groups in _groups(found):
        means = {n: np.mean(_accuracy(g) or [0.0]) for n, g in groups.items()}
        for name in sorted(means, key=means.get):
            group, values = groups[name], _accuracy(groups[name])
            steps = [record.get("num_outer_steps", 0) for record in group]
            rows.append(
                [
                    cell.num_inner_steps,
                    "yes" if cell.weight_norm else "no",
                    name,
                    few_step.interval(values) if values else "",
                    f"{np.mean(steps):.0f}",
                    len(group),
                    sum(record["diverged"] for record in group),
                ]
            )
    headers = ["T", "weight norm", "estimator", "test accuracy", "outer steps"]
    return tables.markdown(rows, [*headers, "seeds", "diverged"]) + "\n"


def figure(path: Path, gradients: dict, found: list[dict]) -> None:
    """Variance and accuracy by T, with weight norm (lines) and without (dashed)."""
    variance = {
        cell: {name: own["relative_variance"] for name, own in by_name.items()}
        for cell, by_name in gradients.items()
    }
    accuracy = {
        cell: {n: np.mean(_accuracy(g)) for n, g in groups.items() if _accuracy(g)}
        for cell, groups in _groups(found)
    }
    drawn, (left, right) = plots.new_pair(
        "inner steps T",
        ("variance of one estimate / squared norm of the mean", "test accuracy"),
    )
    left.set_yscale("log")
    for axes, values in ((left, variance), (right, accuracy)):
        axes.set_xscale("log")
        axes.set_xticks(LENGTHS, map(str, LENGTHS))
        for index, name in enumerate(ESTIMATORS):
            for norm, style in ((True, "o-"), (False, "o--")):
                line = [
                    (cell.num_inner_steps, own[name])
                    for cell, own in values.items()
                    if cell.weight_norm == norm and name in own
                ]
                label = f"{name}{'' if norm else ', no weight norm'}"
                axes.plot(
                    *np.array(line).reshape(-1, 2).T,
                    style,
                    color=f"C{index}",
                    label=label,
                )
    right.legend(fontsize="x-small")
    plots.save(drawn, path)
