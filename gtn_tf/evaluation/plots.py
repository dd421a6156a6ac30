"""The paper's figures from the logged numbers of a study's runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def outer_curves(folder: Path, curves: dict[str, list[np.ndarray]]) -> None:
    """Few-step validation accuracy by outer step, mean and range over seeds
    (Figures 1c and 2a). Writes outer_loop.png.

    Args:
      curves: variant -> (outer step, accuracy) of each seed's run, [points, 2].
    """
    figure, axes = new_axes("outer step", "validation accuracy")
    for name, own in curves.items():
        if not own:
            continue
        length = min(map(len, own))  # a time limit may have cut one
        values = np.stack([curve[:length, 1] for curve in own])  # [seeds, points]
        _line(axes, own[0][:length, 0], values, name)
    _finish(figure, axes, folder / "outer_loop.png")


def inner_curves(folder: Path, variants: Iterable[str], records: list[dict]) -> None:
    """Accuracy of fresh learners after each inner step (Figure 2b).
    Writes inner_loop.png."""
    splits = {record["split"] for record in records}
    figure, axes = new_axes("inner step", f"{' '.join(splits)} accuracy")
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
    figure, axes = new_axes(x_label, "accuracy")
    for name, points in lines.items():
        values = np.array([points[x] for x in sorted(points)]).T  # [learners, points]
        _line(axes, np.array(sorted(points)), values, name)
    _finish(figure, axes, path)


def box_plot(path: Path, values: dict[str, list[float]], num_diverged: dict) -> None:
    """The distribution of final validation losses over trials (Figure 1b)."""
    figure, axes = new_axes("", "final validation loss")
    names = [f"{name}\n({num_diverged[name]} diverged)" for name in values]
    axes.boxplot(list(values.values()), tick_labels=names)
    for position, name in enumerate(values, start=1):
        axes.plot(np.full(len(values[name]), position), values[name], ".", alpha=0.4)
    axes.set_yscale("log")
    save(figure, path)


def _line(axes, steps: np.ndarray, values: np.ndarray, name: str) -> None:
    """The mean of values [seeds, points], and their range."""
    (line,) = axes.plot(steps, values.mean(0), label=name)
    if len(values) > 1:
        axes.fill_between(
            steps, values.min(0), values.max(0), color=line.get_color(), alpha=0.15
        )


def new_axes(x_label: str, y_label: str):
    """A figure, and its axes with labels and a grid."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    return figure, axes


def _finish(figure: Figure, axes, path: Path) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(fontsize="small")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """As a PNG file."""
    FigureCanvasAgg(figure).print_png(str(path))
