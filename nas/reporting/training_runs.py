"""Training runs in the report: what their folders hold, and their tables."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gtn_tf.errors import UserError
from gtn_tf.evaluation import tables
from gtn_tf.evaluation.measures import Row
from gtn_tf.runs import workdirs
from gtn_tf.runs.config import TrainingConfig
from nas.reporting import plots
from nas.reporting.comparisons import REAL, TEACHER


class TrainingRun(NamedTuple):
    """The folder of one run of bin/train.

    Attributes:
      flags: name -> value as written; {} where nobody has kept them.
      results: results.json, or {} of a run that is not finished.
      validations: TEACHER or REAL -> (outer step, validation accuracy), [points, 2].
      meta_losses: (outer step, meta-loss) of every outer step, [steps, 2].
      seconds: until the last outer step so far.
      inner_steps: what bin/evaluate has found after each inner step.
    """

    folder: Path
    flags: dict[str, str]
    results: dict
    validations: dict[str, np.ndarray]
    meta_losses: np.ndarray
    seconds: float
    inner_steps: list[Row]

    @property
    def own_source(self) -> str:
        """TEACHER, or REAL of a run with --teacher=real."""
        return REAL if self.flags.get("teacher") == "real" else TEACHER

    @property
    def seed(self) -> str:
        """As written; "" where nobody has kept it."""
        return self.flags.get("seed", "")

    @property
    def settings(self) -> dict[str, str]:
        """The flags that runs of several seeds share."""
        may_differ = {
            field.name
            for field in dataclasses.fields(TrainingConfig)
            if field.metadata["may_change"]
        }
        return {
            name: value
            for name, value in self.flags.items()
            if name not in may_differ | {"seed"}
        }


def read(folder: Path) -> TrainingRun:
    """A run's folder, whether or not the run is finished.

    Raises:
      UserError: results.json, metrics.csv or evaluation.csv are none.
    """
    flagfile, real = folder / "flags.txt", folder / "real"
    lines = flagfile.read_text().splitlines() if flagfile.is_file() else []
    parts = (line.removeprefix("--").partition("=") for line in lines)
    flags = {name: value for name, _, value in parts}
    own = REAL if flags.get("teacher") == "real" else TEACHER
    validations = {own: workdirs.validations(folder)}
    if (real / "metrics.csv").is_file():
        validations[REAL] = workdirs.validations(real)
    losses = _columns(folder, ("outer_step", "meta_loss", "seconds"))
    return TrainingRun(
        folder,
        flags,
        _read_results(folder),
        {source: curve for source, curve in validations.items() if len(curve)},
        losses[:, :2],
        float(losses[-1, 2]) if len(losses) else 0.0,
        _inner_steps(folder),
    )


def _columns(folder: Path, names: tuple[str, ...]) -> np.ndarray:
    path = folder / "metrics.csv"
    try:
        with path.open(newline="") as file:
            rows = [[float(row[n]) for n in names] for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no metrics file of bin/train ({error!r}): run it again"
        ) from None
    return np.array(rows).reshape(-1, len(names))


def _read_results(folder: Path) -> dict:
    path = folder / "results.json"
    if not path.is_file():
        return {}
    try:
        results = json.loads(path.read_text())
        for source in filter(results.__contains__, ("teacher", "real")):
            own = results[source]
            for found in (own["test_accuracy"], *own.get("kinds", {}).values()):
                numbers = [found[key] for key in ("mean", "low", "high")]
                np.array([*numbers, *found["values"]], np.float64)
        int(results["num_outer_steps"]), float(results["seconds"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no results file of bin/train ({error!r}): run it again"
        ) from None
    return results


def _inner_steps(folder: Path) -> list[Row]:
    """Rows of bin/evaluate, which are beside it or in its folder of its own."""
    paths = (folder / "evaluation" / "evaluation.csv", folder / "evaluation.csv")
    path = next(filter(Path.is_file, paths), None)
    if path is None:
        return []
    try:
        with path.open(newline="") as file:
            rows = [Row(**row) for row in csv.DictReader(file)]
        return [
            row._replace(condition=int(row.condition), accuracy=float(row.accuracy))
            for row in rows
            if row.measure == "inner_steps"
        ]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no evaluation of bin/evaluate ({error!r}): run it again"
        ) from None


def sections(runs: list[TrainingRun], output: Path) -> Iterable[str]:
    """Markdown of each run; figures go to the output folder."""
    for number, run in enumerate(runs):
        yield f"## Training run {run.folder.name}\n\n{_results(run.results)}"
        curve = run.validations.get(run.own_source, ())
        if len(curve):
            name = f"run_{number}_accuracy.png"
            plots.learning_curve(output / name, curve[:, 0], curve[:, 1])
            yield f"![validation accuracy]({name})"
        samples = sorted((run.folder / "samples").glob("*.png"))
        if samples:
            name = f"run_{number}_samples.png"
            shutil.copyfile(samples[-1], output / name)
            yield f"![what the teacher shows]({name})"


def _results(results: dict) -> str:
    """A table of results.json; a run that is not finished has none."""
    if not results:
        return "Not finished."
    rows = []
    for source in filter(results.__contains__, ("teacher", "real")):
        found = results[source]["test_accuracy"]
        mean, low, high = (found[key] for key in ("mean", "low", "high"))
        rows.append([source, f"{mean:.2%}", f"{low:.2%} to {high:.2%}"])
    table = tables.markdown(rows, ["data", "few-step test accuracy", "95 % interval"])
    steps, seconds = results["num_outer_steps"], results["seconds"]
    return f"{table}\n\n{steps} outer steps in {seconds:.0f} s."
