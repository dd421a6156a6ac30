"""A run's folder: its flags, metrics, checkpoints and results.

workdir/  flags.txt  data.json  metrics.csv  checkpoints/  results.json  samples/
          events.out.tfevents.*  teacher/  learner/  real/ (the comparison's own)
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from gtn_tf.errors import UserError
from gtn_tf.meta.outer_loop import Progress
from gtn_tf.runs import files
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.fields import Config

COLUMNS = (
    "outer_step",
    "seconds",
    "meta_loss",
    "intermediate_loss",
    "gradient_norm",
    "validation_accuracy",
    "num_divergences",
)


def open_workdir(folder: Path, config: Config) -> None:
    """Makes a run's folder, or checks that it holds a run of this configuration.

    Raises:
      UserError: the folder cannot be written, holds something else, or a run of
        another configuration; what is there stays as it was.
    """
    flagfile = folder / "flags.txt"
    try:
        if flagfile.is_file():
            _check_same(flagfile, config)
        elif folder.is_dir() and set(folder.iterdir()) - {
            files.temporary_path(flagfile)
        }:
            raise UserError(
                f"--workdir={folder} is not empty and holds no run (no flags.txt): "
                "give a new or an empty folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text_atomically(flagfile, config.as_flagfile())
    except OSError as error:
        raise UserError(
            f"--workdir={folder} cannot be written ({error.strerror}): give a folder "
            "that you may write to"
        ) from None


def read_config(folder: Path, data_dir: str = "") -> TrainingConfig:
    """The configuration of the run in a folder.

    Args:
      data_dir: in place of the run's own, where given.

    Raises:
      UserError: the folder holds no run.
    """
    config = read(TrainingConfig, folder)
    return dataclasses.replace(config, data_dir=data_dir) if data_dir else config


def read(config_class: type[Config], folder: Path) -> Config:
    """The configuration recorded in a folder.

    Raises:
      UserError: the folder holds no run of this kind.
    """
    values = _read_flags(config_class, folder / "flags.txt")
    return config_class(**values | {"workdir": str(folder)})


def _read_flags(config_class: type[Config], flagfile: Path) -> dict:
    try:
        values = config_class.values_of(flagfile.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"--workdir={flagfile.parent} holds no run of this program (in flags.txt: "
            f"{error}): give another --workdir"
        ) from None
    missing = [f"--{n}" for n in config_class.fixed_names() if n not in values]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UserError(
            f"{flagfile} lacks {', '.join(missing[:3])}{more}: every run writes them, "
            "so that it was emptied, cut short, or written by another version; add "
            "what is missing, or give another --workdir"
        )
    return values


def _check_same(flagfile: Path, config: Config) -> None:
    there, written = _read_flags(type(config), flagfile), flagfile.read_text()
    different = {n: value for n, value in config.fixed().items() if there[n] != value}
    if different:
        told = [f"--{n}={there[n]} there, {now} now" for n, now in different.items()]
        # Flags that were added since have the values that such runs had.
        added = [f"--{n}={there[n]}" for n in different if f"--{n}=" not in written]
        raise UserError(
            f"--workdir={flagfile.parent} holds a run of another configuration "
            f"({'; '.join(told)}): go on with "
            f"{' '.join([f'--flagfile={flagfile}', *added])}, or give another --workdir"
        )


def write_results(folder: Path, results: dict) -> None:
    """Writes results.json."""
    files.write_text_atomically(
        folder / "results.json", json.dumps(results, indent=2) + "\n"
    )


def validations(folder: Path) -> np.ndarray:
    """(outer step, validation accuracy) of a run's metrics.csv, [points, 2].

    Raises:
      UserError: a file that is no metrics.csv.
    """
    path = folder / "metrics.csv"
    try:
        with path.open(newline="") as file:
            rows = [
                (float(row["outer_step"]), float(row["validation_accuracy"]))
                for row in csv.DictReader(file)
                if row["validation_accuracy"]
            ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is no metrics file of bin/train ({error!r}): run it again"
        ) from None
    return np.array(rows).reshape(-1, 2)


def _metrics_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.reader(file))[1:]
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is no metrics file of bin/train ({error}): it has a line of text "
            "for each outer step; restore it, or rename it, and the run goes on with "
            "the steps to come"
        ) from None


class Metrics:
    """metrics.csv: a header and one row for each outer step.

    Args:
      num_steps: rows to keep; those of steps that will be done again are dropped.

    Raises:
      UserError: what is there is no metrics.csv.
    """

    def __init__(self, folder: Path, num_steps: int):
        path = folder / "metrics.csv"
        rows = []
        if path.is_file():
            rows = _metrics_rows(path)[:num_steps]
        lines = [",".join(row) + "\n" for row in [COLUMNS, *rows]]
        files.write_text_atomically(path, "".join(lines))
        self._file = path.open("a", newline="", buffering=1)

    def write(
        self, progress: Progress, result, validation_accuracy, num_divergences: int = 0
    ) -> None:
        """Appends a row; `validation_accuracy` may be None."""
        row = [progress.outer_step, round(progress.seconds, 3), *result]
        row.append("" if validation_accuracy is None else validation_accuracy)
        row.append(num_divergences)
        csv.writer(self._file, lineterminator="\n").writerow(row)

    def sync(self) -> None:
        """What was written is on disk when this returns."""
        os.fsync(self._file.fileno())
