"""The paper's figures from the logged numbers of a study's runs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def outer_curves(folder: Path, variants: Iterable[str], records: list[dict]) -> None:
    """Few-step validation accuracy by outer step, mean and range over seeds
    (Figures 1c and 2a). Writes outer_loop.png."""
    figure, axes = _axes("outer step", "validation accuracy")
    for name in variants:
        curves = [
            _validations(folder / name.replace(" ", "_") / f"seed_{record['seed']}")
            for record in records
            if record["variant"] == name
        ]
        if not curves:
            continue
        length = min(map(len, curves))  # a time limit may have cut one
        steps = curves[0][:length, 0]
        values = np.stack([curve[:length, 1] for curve in curves])  # [seeds, points]
        _line(axes, steps, values, name)
    _finish(figure, axes, folder / "outer_loop.png")


def inner_curves(folder: Path, variants: Iterable[str], records: list[dict]) -> None:
    """Accuracy of fresh learners after each inner step (Figure 2b).
    Writes inner_loop.png."""
    splits = {record["split"] for record in records}
    figure, axes = _axes("inner step", f"{' '.join(splits)} accuracy")
    for name in variants:
        curves = [r["curve"] for r in records if r["variant"] == name]
        if curves:
            values = np.array(curves)  # [seeds, T]
            _line(axes, 1 + np.arange(values.shape[1]), values, name)
    _finish(figure, axes, folder / "inner_loop.png")


def accuracy_lines(
    path: Path, x_label: str, lines: dict[str, dict[int, list[float]]]
) -> None:
    """Accuracies by a number, mean and range over learners (Figures 2b, 5 and 7).

    Args:
      lines: name -> number -> accuracies.
    """
    figure, axes = _axes(x_label, "accuracy")
    for name, points in lines.items():
        values = np.array([points[x] for x in sorted(points)]).T  # [learners, points]
        _line(axes, np.array(sorted(points)), values, name)
    _finish(figure, axes, path)


def box_plot(path: Path, values: dict[str, list[float]], num_diverged: dict) -> None:
    """The distribution of final validation losses over trials (Figure 1b)."""
    figure, axes = _axes("", "final validation loss")
    names = [f"{name}\n({num_diverged[name]} diverged)" for name in values]
    axes.boxplot(list(values.values()), tick_labels=names)
    for position, name in enumerate(values, start=1):
        axes.plot(np.full(len(values[name]), position), values[name], ".", alpha=0.4)
    axes.set_yscale("log")
    _save(figure, path)


def _validations(run_folder: Path) -> np.ndarray:
    """(outer step, validation accuracy) of a run's metrics, [points, 2]."""
    with (run_folder / "metrics.csv").open(newline="") as file:
        rows = [
            (float(row["outer_step"]), float(row["validation_accuracy"]))
            for row in csv.DictReader(file)
            if row["validation_accuracy"]
        ]
    return np.array(rows).reshape(-1, 2)


def _line(axes, steps: np.ndarray, values: np.ndarray, name: str) -> None:
    """The mean of values [seeds, points], and their range."""
    (line,) = axes.plot(steps, values.mean(0), label=name)
    if len(values) > 1:
        axes.fill_between(
            steps, values.min(0), values.max(0), color=line.get_color(), alpha=0.15
        )


def _axes(x_label: str, y_label: str):
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    return figure, axes


def _finish(figure: Figure, axes, path: Path) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(fontsize="small")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure).print_png(str(path))
