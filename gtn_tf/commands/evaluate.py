"""One evaluation of a finished run, alone or beside others: what bin/evaluate writes.

WORKDIR/evaluation/  evaluation.csv  table.md  figure_2b.png  figure_5a.png  ...
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.commands import command_line
from gtn_tf.errors import UserError
from gtn_tf.evaluation import few_step, measures, plots, tables
from gtn_tf.evaluation.measures import Row, Setting
from gtn_tf.runs import files, meta_training, run_setup, workdirs
from gtn_tf.runs.fields import check, field

_FIGURES = {
    "inner_steps": ("figure_2b.png", "inner step"),
    "ensembles": ("figure_7.png", "learners in the ensemble"),
    "batch_sizes": ("figure_5a.png", "inner batch size"),
    "more_steps": ("figure_5b.png", "inner steps"),
}


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Which runs are evaluated, and how."""

    workdir: str = field(
        "", "The folder of the run. Its last checkpoint is evaluated.", group="runs"
    )
    compare: str = field(
        "",
        "Folders of other runs of the same data set and T, joined by commas, to stand "
        "beside it. WORKDIR/real always does where it is there.",
        group="runs",
    )
    data_dir: str = field(
        "",
        "The folder with the original files. By default it is that of the run.",
        group="runs",
    )
    split: str = field(
        "test",
        "The images on which accuracy is measured.",
        group="measures",
        choices=("validation", "test"),
    )
    measures: str = field(
        "all",
        f"What is measured, joined by commas: {', '.join(measures.MEASURES)}; or all.",
        group="measures",
    )
    num_learners: int = field(
        10, "Fresh learners for each mean.", group="measures", low=2, high=10_000
    )
    num_ensemble: int = field(
        32,
        "Learners in the largest ensemble. Figure 7 has 32.",
        group="measures",
        low=1,
        high=10_000,
    )
    seed: int = field(
        0,
        "The seed of the learners' weights and of the data order.",
        group="measures",
        low=0,
        high=2**31 - 1,
    )

    def __post_init__(self):
        check(self)
        if not self.workdir:
            raise UserError(
                "--workdir is not given: give the folder of a run of bin/train"
            )
        unknown = set(self.measured) - set(measures.MEASURES)
        if unknown:
            raise UserError(
                f"--measures={self.measures} names {', '.join(sorted(unknown))}: give "
                f"some of {', '.join(measures.MEASURES)}, or all"
            )

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of what is measured."""
        names = (
            measures.MEASURES if self.measures == "all" else self.measures.split(",")
        )
        return tuple(names)


def run(config: EvaluationConfig) -> None:
    """Measures, writes the folder, and prints the table.

    Raises:
      UserError: folders that hold no run, or runs that cannot stand side by side.
    """
    setting = _setting(config)
    folder = Path(config.workdir).expanduser() / "evaluation"
    folder.mkdir(exist_ok=True)
    rows: list[Row] = []
    parts = [part for m in config.measured for part in measures.MEASURES[m](setting)]

    def measure_all(path: Path) -> None:
        with path.open("w", newline="", buffering=1) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Row._fields)
            for part in tqdm(parts, desc="evaluation", unit="part", file=sys.stderr):
                for row in part:
                    writer.writerow(row)
                    rows.append(row)

    files.write_atomically(folder / "evaluation.csv", measure_all)
    for measure, (name, x_label) in _FIGURES.items():
        lines = _lines(rows, measure)
        if lines:
            plots.accuracy_lines(folder / name, x_label, lines)
    table = format_table(rows, list(setting.sources))
    files.write_text_atomically(folder / "table.md", table)
    _summarize(folder, rows, table)
    print(table)


def _setting(config: EvaluationConfig) -> Setting:
    """The runs' teachers, side by side."""
    folder = Path(config.workdir).expanduser()
    others = [Path(path).expanduser() for path in config.compare.split(",") if path]
    if (folder / "real" / "flags.txt").is_file():
        others.append(folder / "real")
    first = workdirs.read_config(folder, config.data_dir)
    dataset = run_setup.load_dataset(first)
    setups = {}
    for path in [folder, *others]:
        own = workdirs.read_config(path, config.data_dir)
        for name in ("dataset", "image_size", "seed", "num_inner_steps"):
            if getattr(own, name) != getattr(first, name):
                raise UserError(
                    f"{path} has --{name}={getattr(own, name)} and {folder} "
                    f"--{name}={getattr(first, name)}: --compare takes runs in which "
                    "they are equal"
                )
        names = (own.teacher, f"{own.teacher}, {own.curriculum}", str(path))
        name = next(name for name in names if name not in setups)
        setups[name] = meta_training.restore(run_setup.build(own, dataset), path).setup
    return Setting(
        {name: setup.problem for name, setup in setups.items()},
        next(iter(setups.values())).specs,
        getattr(dataset, config.split),
        config.num_learners,
        config.num_ensemble,
        config.seed,
    )


def _accuracies(rows: list[Row], measure: str) -> dict[tuple[str, str], list[float]]:
    """(source, condition) -> accuracies of one measure, in the order measured."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.measure == measure:
            found.setdefault((row.source, row.condition), []).append(row.accuracy)
    return found


def _lines(rows: list[Row], measure: str) -> dict[str, dict[int, list[float]]]:
    lines: dict[str, dict[int, list[float]]] = {}
    for (source, condition), values in _accuracies(rows, measure).items():
        if condition.isdecimal():
            lines.setdefault(source, {})[int(condition)] = values
    return lines


def format_table(rows: list[Row], sources: list[str]) -> str:
    """Markdown: a row for each condition, a column for each source.

    Means with 95 % bootstrap intervals, and the p-value of Wilcoxon's signed-rank test
    of the first source against each other one, learner by learner.
    """
    by_measure = []
    for measure in measures.MEASURES:
        found = _accuracies(rows, measure)
        conditions = list(dict.fromkeys(condition for _, condition in found))
        if measure == "inner_steps":
            conditions = conditions[-1:]
        if not conditions:
            continue
        lines = []
        for condition in conditions:
            values = [found.get((source, condition)) for source in sources]
            cells = [_cell(own, values[0]) if own else "" for own in values]
            lines.append([condition, *cells])
        headers = [measure.replace("_", " "), *sources]
        by_measure.append(tables.markdown(lines, headers))
    return "\n\n".join(by_measure) + "\n"


def _cell(values: list[float], first: list[float] | None) -> str:
    summary = few_step.summarize(values, 0)
    text = f"{summary['mean']:.2%}"
    if len(values) > 1:
        text += f" ({summary['low']:.2%} to {summary['high']:.2%})"
    if first is not None and first is not values and len(first) == len(values) > 1:
        text += f", p = {measures.p_value(first, values):.3f}"
    return text


def _summarize(folder: Path, rows: list[Row], table: str) -> None:
    """The same for TensorBoard: a curve for each source, and the table."""
    lines = {measure: _lines(rows, measure) for measure in _FIGURES}
    sources = {source for by_source in lines.values() for source in by_source}
    for source in sorted(sources):
        writer = tf.summary.create_file_writer(str(folder / source))
        with files.file_errors(), writer.as_default():
            for measure, by_source in lines.items():
                for step, values in by_source.get(source, {}).items():
                    tf.summary.scalar(f"accuracy/{measure}", np.mean(values), step)
            tf.summary.text("table", table, 0)
        writer.close()


def main() -> int:
    """The command line's exit code."""
    return command_line.run(EvaluationConfig, run, sys.argv)
