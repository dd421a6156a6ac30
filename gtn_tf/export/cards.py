"""The card of a ready teacher: how it came about, what it teaches, what it fails at."""

from __future__ import annotations

import csv
import json
import os
import platform
from pathlib import Path

import numpy as np
from tabulate import tabulate

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.evaluation import few_step, measures
from gtn_tf.runs.config import TrainingConfig

_CLEAR = 0.05  # of p-values
_POOR = 0.8


def card(folder: Path, config: TrainingConfig) -> str:
    """Markdown, from a run's results.json and evaluation/evaluation.csv.

    Raises:
      UserError: the run has not ended, or has not been evaluated.
    """
    results = _read(folder / "results.json", "bin/train", folder)
    rows = _read(folder / "evaluation" / "evaluation.csv", "bin/evaluate", folder)
    results, rows = json.loads(results), list(csv.DictReader(rows.splitlines()))
    stock = _stock(rows)
    return "\n".join(
        [
            f"# Teacher: {dataset_flags.without_folders(config.dataset)}",
            "",
            f"{config.num_inner_steps} steps of {config.inner_batch_size} images. "
            f"{results['num_outer_steps']} outer steps, {results['seconds']:,.0f} s on "
            f"a machine of {os.cpu_count()} cores ({platform.machine()}).",
            "Accuracies are of test images, with 95 % bootstrap intervals over fresh "
            "networks. Real data: as many steps on as many real images, with rates "
            "learned for the same kinds of networks; p of Wilcoxon's signed-rank test.",
            "",
            "## Kinds of networks that it was meta-trained with",
            "",
            tabulate(_kinds(results), ["kind", "this teacher", "real data"], "github"),
            "",
            "## Models of Keras' own layers, which it has never seen",
            "",
            tabulate(
                stock,
                ["model", "this teacher", "real data", "p"],
                "github",
                disable_numparse=True,
            ),
            "",
            "## What it fails at",
            "",
            _failures(rows),
            "",
            "## Made by",
            "",
            "    bin/train --flagfile=FILE --workdir=RUN    # with the flags below",
            "    bin/evaluate --workdir=RUN",
            "    bin/export --workdir=RUN --ready --output=FOLDER",
            "",
            *(f"    --{name}={value}" for name, value in config.fixed().items()),
            "",
        ]
    )


def _read(path: Path, command: str, folder: Path) -> str:
    if not path.is_file():
        raise UserError(
            f"{path} is not there, and a card quotes it: run {command} on {folder} "
            "to its end first"
        )
    return path.read_text()


def _kinds(results: dict) -> list[list[str]]:
    real = results.get("real", {}).get("kinds", {})
    return [
        [
            f"{family} (unseen)" if own["unseen"] else family,
            _interval(own),
            _interval(real[family]) if family in real else "",
        ]
        for family, own in results["teacher"]["kinds"].items()
    ]


def _by_model(rows: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Model -> source -> accuracies of the stock models, in the order measured."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row["measure"] == "stock_models":
            sources = found.setdefault(row["condition"], {})
            sources.setdefault(row["source"], []).append(float(row["accuracy"]))
    return found


def _stock(rows: list[dict]) -> list[list[str]]:
    lines = []
    for model, sources in _by_model(rows).items():
        own, *others = sources.values()
        cells = [_interval(few_step.summarize(values, 0)) for values in (own, *others)]
        p = f"{measures.p_value(own, others[0]):.2g}" if others else ""
        lines.append([model, *cells[:2], *([""] if not others else []), p])
    return lines


def _failures(rows: list[dict]) -> str:
    """Models on which it is poor, or not clearly better than real data."""
    found = _by_model(rows)
    poor = [name for name, own in found.items() if np.mean([*own.values()][0]) < _POOR]
    equal = [
        name
        for name, own in found.items()
        if len(own) > 1 and not _is_better(*list(own.values())[:2])
    ]
    sentences = []
    if poor:
        sentences.append(f"Less than {_POOR:.0%} right: {', '.join(poor)}.")
    if equal:
        sentences.append(
            f"Not clearly better than real data (p < {_CLEAR}): {', '.join(equal)}."
        )
    return " ".join(sentences) or "None of these models is taught badly."


def _is_better(own: list[float], real: list[float]) -> bool:
    return sum(own) > sum(real) and measures.p_value(own, real) < _CLEAR


def _interval(summary: dict) -> str:
    mean, low, high = (100 * summary[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})"
