"""Comparisons: variants of one run, several seeds each, in a table and figures.

Each run has its own folder, VARIANT/seed_N, with a `record.json` once it is done: a
comparison that is started again goes on where it was, also inside a run.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
from tabulate import tabulate

from gtn_tf.data.dataset import Split
from gtn_tf.evaluation import few_step, measures, plots, tables
from gtn_tf.networks.families import FAMILIES
from gtn_tf.runs import files, recording, run_setup, workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.locks import locked
from gtn_tf.runs.meta_training import Trained
from gtn_tf.studies import feedback, image_modes, kinds, paired, records
from gtn_tf.studies.catalog import Comparison

# Header -> name in a record's images, how it is written.
_OF_IMAGES = {
    "classes covered": ("num_classes", ".1f"),
    "entropy (bits)": ("entropy", ".2f"),
    "Fréchet distance": ("distance", ".3g"),
}


def run(
    comparison: Comparison, config: TrainingConfig, folder: Path, num_seeds: int
) -> str:
    """Runs what has not been run; writes table.md, results.csv and figures.

    Args:
      config: the base run; its seed gives way to 0, 1, ... num_seeds - 1.

    Returns:
      The table.

    Raises:
      UserError: a run that cannot be, before the first has begun; a folder that
        another process has.
    """
    runs = [
        (
            name,
            dataclasses.replace(
                config,
                **changes,
                seed=seed,
                workdir=str(_folder_of(folder, name, seed)),
            ),
        )
        for seed in range(num_seeds)
        for name, changes in comparison.variants.items()
    ]
    found = []
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        for name, run_config in runs:
            found.append(_measured(name, run_config, comparison))
            _report(folder, comparison, found)
    return format_table(comparison, found)


def _folder_of(folder: Path, variant: str, seed: int) -> Path:
    return folder / variant.replace(" ", "_") / f"seed_{seed}"


def _measured(name: str, config: TrainingConfig, comparison: Comparison) -> dict:
    """The record of a run: accuracy of fresh learners, after each inner step too."""

    def measure(trained: Trained) -> dict:
        scores = _scores(trained, comparison)
        if comparison.reference:
            split = getattr(trained.setup.dataset, comparison.split)
            scores["without_feedback"] = feedback.accuracies_without(trained, split)
        if comparison.sees_images:
            scores["images"] = image_modes.by_outer_step(trained)
        return scores

    observe = image_modes.keep if comparison.sees_images else None
    label = {"variant": name, "seed": config.seed}
    return records.once(config, label, measure, observe)


def _scores(trained: Trained, comparison: Comparison) -> dict:
    config = trained.setup.config
    split = getattr(trained.setup.dataset, comparison.split)
    curves = [
        trained.evaluator.curve(split, index, config.seed)
        for index in range(config.num_test_learners)
    ]
    unseen = _held_out(trained, comparison, split)
    accuracies = [curve[-1].accuracy for curve in curves]
    if comparison.split == "test":
        mean, workdir = float(np.mean(accuracies)), Path(config.workdir)
        recording.write_test_accuracy(workdir, trained.progress, mean)
    return {
        "num_outer_steps": trained.progress.outer_step,
        "seconds": trained.progress.seconds,
        "split": comparison.split,
        "accuracy": accuracies,
        "loss": [curve[-1].loss for curve in curves],
        "curve": np.mean([[s.accuracy for s in c] for c in curves], axis=0).tolist(),
        "held_out": [value for own in unseen.values() for value in own],
        "kinds": unseen,
    }


def _held_out(
    trained: Trained, comparison: Comparison, split: Split
) -> dict[str, list[float]]:
    """Family -> accuracies of architectures that the teacher was not trained with."""
    setup, config = trained.setup, trained.setup.config
    families = comparison.unseen or config.left_out
    specs = {f: kinds.unseen_specs(setup, f) for f in families}
    if not families:
        family = setup.specs[0].family
        unseen = dataclasses.replace(
            config, learner=family, num_learners=8, seed=2**31 - 1
        )
        drawn = run_setup.build_learner_specs(unseen, setup.dataset)
        specs = {family: [spec for spec in drawn if spec not in setup.specs]}
    return kinds.accuracies(trained, specs, split)


def _report(folder: Path, comparison: Comparison, records: list[dict]) -> None:
    """Table, CSV and figures of the runs so far."""
    done = [record for record in records if not record["diverged"]]
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["variant", "seed", "learner", "accuracy", "loss"])
        for record in done:
            values = zip(record["accuracy"], record["loss"], strict=True)
            for index, value in enumerate(values):
                writer.writerow([record["variant"], record["seed"], index, *value])
    files.write_text_atomically(folder / "table.md", format_table(comparison, records))
    plots.outer_curves(
        folder,
        {
            name: [
                workdirs.validations(_folder_of(folder, name, record["seed"]))
                for record in done
                if record["variant"] == name
            ]
            for name in comparison.variants
        },
    )
    plots.inner_curves(folder, comparison.variants, done)
    if comparison.sees_images:
        plots.image_modes(folder, comparison.variants, done)


def format_table(comparison: Comparison, records: list[dict]) -> str:
    """A Markdown table: mean over seeds with its 95 % bootstrap interval."""
    if comparison.by_kind:
        return _format_by_kind(comparison, records)
    headers = [
        "variant",
        f"{comparison.split} accuracy",
        "95 % interval",
        *paired.headers(comparison.reference, records),
        "other architectures",
        *(["p"] if comparison.against else []),
        *(_OF_IMAGES if comparison.sees_images else []),
        "seeds",
        "diverged",
        "outer steps",
        "seconds",
    ]
    rows = []
    for name in comparison.variants:
        runs = [record for record in records if record["variant"] == name]
        done = [record for record in runs if not record["diverged"]]
        cells = dict.fromkeys(headers, "") | {"variant": name}
        cells |= {"seeds": len(runs), "diverged": len(runs) - len(done)}
        if done:
            cells |= _cells(comparison, done, records)
        if runs:
            rows.append([cells[header] for header in headers])
    return tables.markdown(rows, headers) + "\n"


def _cells(comparison: Comparison, done: list[dict], records: list[dict]) -> dict:
    values = [float(np.mean(record["accuracy"])) for record in done]
    # One seed: the interval is over its fresh learners.
    if len(values) == 1:
        values = done[0]["accuracy"]
    summary = few_step.summarize(values, 0)
    cells = {
        f"{comparison.split} accuracy": f"{summary['mean']:.2%}",
        "95 % interval": f"{summary['low']:.2%} to {summary['high']:.2%}",
        "other architectures": f"{_mean(done, 'held_out'):.2%}",
        "outer steps": f"{_mean(done, 'num_outer_steps'):.0f}",
        "seconds": f"{_mean(done, 'seconds'):.0f}",
    }
    if comparison.sees_images:
        for header, (name, style) in _OF_IMAGES.items():
            last = [record["images"][name][-1] for record in done]
            cells[header] = f"{np.mean(last):{style}}"
    if comparison.reference:
        cells |= paired.cells(comparison.reference, done, records)
    rival = comparison.against.get(done[0]["variant"])
    others = {
        record["seed"]: record["held_out"]
        for record in records
        if record["variant"] == rival and not record["diverged"]
    }
    both = [record for record in done if record["seed"] in others]
    if both:
        own = [a for record in both for a in record["held_out"]]
        p = measures.p_value(own, [a for r in both for a in others[r["seed"]]])
        cells["p"] = f"{p:.2g}"
    return cells


def _mean(records: list[dict], name: str) -> float:
    return float(np.mean([record[name] for record in records]))


def _format_by_kind(comparison: Comparison, records: list[dict]) -> str:
    """Kinds that were left out: a teacher beside its rival, learner by learner."""
    lines = []
    for family in FAMILIES:
        name = next(
            (
                record["variant"]
                for variant in comparison.against
                for record in records
                if record["variant"] == variant and family in record.get("kinds", ())
            ),
            None,
        )
        own, others = (
            {
                record["seed"]: record["kinds"][family]
                for record in records
                if record["variant"] == variant and not record["diverged"]
            }
            for variant in (name, comparison.against.get(name))
        )
        seeds = sorted(own.keys() & others.keys())
        if seeds:
            values = [
                [a for seed in seeds for a in found[seed]] for found in (own, others)
            ]
            cells = [few_step.interval(v) for v in values]
            p = f"{measures.p_value(*values):.2g}"
            lines.append([family, name, *cells, p, len(seeds)])
    headers = ["left out", "variant", "teacher", "rival", "p", "seeds"]
    return tabulate(lines, headers, "github", disable_numparse=True) + "\n"
