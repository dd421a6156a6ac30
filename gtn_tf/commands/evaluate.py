"""One evaluation of a finished run, alone or beside others: what bin/evaluate writes.

WORKDIR/evaluation/  evaluation.csv  table.md  figure_2b.png  figure_5a.png  ...
                     realism/ (table.md  images.csv  curriculum.png  ...)
"""

from __future__ import annotations

import csv
import shlex
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.commands.configs import EvaluationConfig
from gtn_tf.data import loaders
from gtn_tf.data.dataset import Dataset
from gtn_tf.errors import UserError
from gtn_tf.evaluation import few_step, measures, plots, tables
from gtn_tf.evaluation.measures import Row, Setting
from gtn_tf.evaluation.registry import IMAGE_MEASURES, MEASURES
from gtn_tf.export import synthetic_data
from gtn_tf.meta.objectives import ACCURACY, Measured
from gtn_tf.runs import fields, files, meta_training, run_setup, workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.teaching.loaded_teacher import load_teacher

_FIGURES = {
    "inner_steps": ("figure_2b.png", "inner step"),
    "ensembles": ("figure_7.png", "learners in the ensemble"),
    "batch_sizes": ("figure_5a.png", "inner batch size"),
    "more_steps": ("figure_5b.png", "inner steps"),
}


_OF_POLICIES = ("inner_steps", "architectures")  # measures that take no images


def run(config: EvaluationConfig) -> None:
    """Measures, writes the folder, and prints the table.

    Raises:
      UserError: folders that hold no run, or runs that cannot stand side by side.
    """
    if config.measured_of_images:
        _look_at_images(config)
    if config.measured:
        _measure(config)


def _look_at_images(config: EvaluationConfig) -> None:
    """What is measured of the teacher's images, in its folder or that of --output."""
    shown, dataset = _images(config)
    folder = _output(config)
    _make(folder)
    for name in config.measured_of_images:

        def write(new: Path, name: str = name) -> None:
            IMAGE_MEASURES[name](new, shown.images, shown.targets, dataset)

        files.write_atomically(folder / name, write)
        print((folder / name / "table.md").read_text())


def _images(config: EvaluationConfig) -> tuple[synthetic_data.SyntheticData, Dataset]:
    """What the teacher of a run, or an exported one, shows; and its data set."""
    path = Path(config.workdir).expanduser()
    if (path / "flags.txt").is_file():
        own = workdirs.read_config(path, config.data_dir)
        dataset = run_setup.load_dataset(own)
        setup = meta_training.restore(run_setup.build(own, dataset), path).setup
        return synthetic_data.collect(setup.problem.teacher, config.seed), dataset
    teacher = load_teacher(config.workdir)
    flags = teacher.description["flags"]
    if config.measured:
        raise UserError(
            f"--workdir={config.workdir} is no run but an exported teacher, and "
            f"--measures={config.measures} needs a run: give "
            f"{', '.join(IMAGE_MEASURES)}, or the folder of a run"
        )
    if not config.output:
        raise UserError(
            f"--workdir={config.workdir} is no folder of a run to write to: give "
            "--output=FOLDER"
        )
    dataset = loaders.load(
        teacher.description["dataset"],
        config.data_dir,
        flags["seed"],
        flags.get("image_size", ""),
    )
    x, targets = zip(*teacher.batches(config.seed), strict=True)
    return synthetic_data.SyntheticData(np.stack(x), np.stack(targets)), dataset


def _measure(config: EvaluationConfig) -> None:
    """What is measured of fresh learners of the run and of others."""
    setting = _setting(config)
    folder = _output(config)
    _make(folder)
    rows: list[Row] = []
    measured = next(iter(setting.sources.values())).objective.measured
    names = _measures(config, measured)
    parts = [part for name in names for part in MEASURES[name](setting)]

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
            plots.accuracy_lines(folder / name, x_label, lines, measured.name)
    table = format_table(rows, list(setting.sources), measured)
    files.write_text_atomically(folder / "table.md", table)
    _summarize(folder, rows, table)
    print(table)


def _measures(config: EvaluationConfig, measured: Measured) -> tuple[str, ...]:
    """What is measured, of policies what does not take images.

    Raises:
      UserError: measures that policies do not have.
    """
    if measured == ACCURACY:
        return config.measured
    if config.measures == "all":
        return _OF_POLICIES
    unknown = [name for name in config.measured if name not in _OF_POLICIES]
    if unknown:
        raise UserError(
            f"--measures={config.measures} names {', '.join(unknown)}, which is of "
            f"images, and the run is of policies: give {', '.join(_OF_POLICIES)}, or "
            "all"
        )
    return config.measured


def _output(config: EvaluationConfig) -> Path:
    return Path(config.output or f"{config.workdir}/evaluation").expanduser()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}): give --output=FOLDER, a "
            "folder that you may write to"
        ) from None


def _setting(config: EvaluationConfig) -> Setting:
    """The runs' teachers, side by side."""
    folder = Path(config.workdir).expanduser()
    others = [Path(path).expanduser() for path in fields.split_names(config.compare)]
    if (folder / "real" / "flags.txt").is_file():
        others.append(folder / "real")
    first = workdirs.read_config(folder, config.data_dir)
    dataset = run_setup.load_dataset(first)
    setups, taken = {}, {}
    for path in [folder, *others]:
        own = workdirs.read_config(path, config.data_dir)
        for name in (
            "dataset",
            "image_size",
            "episode_frames",
            "seed",
            "num_inner_steps",
        ):
            if getattr(own, name) != getattr(first, name):
                raise UserError(
                    f"{path} has --{name}={getattr(own, name)} and {folder} "
                    f"--{name}={getattr(first, name)}: --compare takes runs in which "
                    "they are equal"
                )
        name = _name(path, own, taken)
        taken[name] = (own.teacher, own.curriculum)
        setups[name] = meta_training.restore(run_setup.build(own, dataset), path).setup
    return Setting(
        {name: setup.problem for name, setup in setups.items()},
        next(iter(setups.values())).specs,
        getattr(dataset, config.split),
        config.num_test_learners,
        config.num_ensemble,
        config.seed,
    )


def _name(path: Path, config: TrainingConfig, taken: dict[str, tuple]) -> str:
    """What tables and TensorBoard call a run: its teacher, with the curriculum where
    another has that teacher, or its folder where another has both.

    Args:
      taken: name -> teacher and curriculum of the runs before.
    """
    own = (config.teacher, config.curriculum)
    folder = path.resolve().name
    names = [folder, *(f"{folder} ({n})" for n in range(2, len(taken) + 3))]
    if own not in taken.values():
        names = [config.teacher, ", ".join(own), *names]
    return next(name for name in names if name not in taken)


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


def format_table(
    rows: list[Row], sources: list[str], measured: Measured = ACCURACY
) -> str:
    """Markdown: a row for each condition, a column for each source.

    Means with 95 % bootstrap intervals, and the p-value of Wilcoxon's signed-rank test
    of the first source against each other one, learner by learner.
    """
    by_measure = []
    for measure in MEASURES:
        found = _accuracies(rows, measure)
        conditions = list(dict.fromkeys(condition for _, condition in found))
        if measure == "inner_steps":
            conditions = conditions[-1:]
        if not conditions:
            continue
        lines = []
        for condition in conditions:
            values = [found.get((source, condition)) for source in sources]
            cells = [_cell(own, values[0], measured) if own else "" for own in values]
            lines.append([condition, *cells])
        headers = [measure.replace("_", " "), *sources]
        by_measure.append(tables.markdown(lines, headers))
    return "\n\n".join(by_measure) + "\n"


def _cell(values: list[float], first: list[float] | None, measured: Measured) -> str:
    summary = few_step.summarize(values, 0)
    form = ".2%" if measured == ACCURACY else ".1f"
    text = format(summary["mean"], form)
    if len(values) > 1:
        text += f" ({summary['low']:{form}} to {summary['high']:{form}})"
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


def next_steps(config: EvaluationConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    folder = shlex.quote(config.workdir)
    looked = f"look at the figures in {shlex.quote(str(_output(config)))}"
    is_run = (Path(config.workdir).expanduser() / "flags.txt").is_file()
    if not config.measured and not is_run:  # an exported teacher
        return [looked]
    return [
        looked,
        f"bin/export --workdir={folder}",
        f"bin/report {folder} --output=FOLDER",
    ]
