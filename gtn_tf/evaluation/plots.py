"""The paper's figures from the logged numbers of a study's runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# A source has one color in all figures; other names take the colors that follow.
_COLORS = {"gtn": "C0", "distillation": "C1", "real": "C2"}


def outer_curves(folder: Path, curves: dict[str, list[np.ndarray]]) -> None:
    """Few-step validation accuracy by outer step, mean and range over seeds
    (Figures 1c and 2a). Writes outer_loop.png.

    Args:
      curves: variant -> (outer step, accuracy) of each seed's run, [points, 2].
    """
    labels = ("outer step", "validation accuracy", "Few-step accuracy in meta-training")
    bands(folder / "outer_loop.png", labels, curves)


def bands(
    path: Path, labels: tuple[str, str, str], curves: dict[str, list[np.ndarray]]
) -> None:
    """The mean and range over seeds of each of several curves.

    Args:
      labels: of x, of y, and the title.
      curves: name -> (x, y) of each seed, [points, 2].
    """
    curves = {name: own for name, own in curves.items() if own}
    figure, axes = new_axes(*labels)
    for name, own in curves.items():
        length = min(map(len, own))  # a time limit may have cut one
        values = np.stack([curve[:length, 1] for curve in own])  # [seeds, points]
        _line(axes, own[0][:length, 0], values, name, color_of(name, curves))
    _finish(figure, axes, path)


def inner_curves(folder: Path, variants: Iterable[str], records: list[dict]) -> None:
    """Accuracy of fresh learners after each inner step (Figure 2b).
    Writes inner_loop.png."""
    splits = {record["split"] for record in records}
    figure, axes = new_axes(
        "inner step", f"{' '.join(splits)} accuracy", "Accuracy of fresh learners"
    )
    curves = {
        name: np.array([r["curve"] for r in records if r["variant"] == name])
        for name in variants
    }  # [seeds, T]
    curves = {name: values for name, values in curves.items() if len(values)}
    for name, values in curves.items():
        steps = 1 + np.arange(values.shape[1])
        _line(axes, steps, values, name, color_of(name, curves))
    _finish(figure, axes, folder / "inner_loop.png")


def image_modes(folder: Path, variants: Iterable[str], records: list[dict]) -> None:
    """Entropy of the images' classes and their distance from real ones by outer step,
    mean and range over seeds. Writes image_modes.png.

    Args:
      records: variant, and images: what `image_modes.by_outer_step` gives.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    titles = {"entropy": "entropy of classes (bits)", "distance": "Fréchet distance"}
    for place, (name, label) in enumerate(titles.items(), start=1):
        axes = figure.add_subplot(1, 2, place, xlabel="outer step", ylabel=label)
        axes.grid(alpha=0.3)
        for variant in variants:
            own = [r["images"] for r in records if r["variant"] == variant]
            length = min((len(images[name]) for images in own), default=0)
            if length:
                values = np.array([images[name][:length] for images in own])
                steps = np.array(own[0]["outer_step"][:length])
                _line(axes, steps, values, variant, color_of(variant, variants))
        if name == "distance" and records:
            axes.set_yscale("log")
            least = np.mean([r["images"]["real_distance"] for r in records])
            axes.axhline(least, color="0.3", linestyle=":", label="training images")
    _finish(figure, axes, folder / "image_modes.png")


def accuracy_lines(
    path: Path,
    x_label: str,
    lines: dict[str, dict[int, list[float]]],
    measured: str = "accuracy",
) -> None:
    """Accuracies by a number, mean and range over learners (Figures 2b, 5 and 7).

    Args:
      lines: name -> number -> accuracies.
    """
    figure, axes = new_axes(x_label, measured, f"{measured.capitalize()} by {x_label}")
    for name, points in lines.items():
        values = np.array([points[x] for x in sorted(points)]).T  # [learners, points]
        _line(axes, np.array(sorted(points)), values, name, color_of(name, lines))
    _finish(figure, axes, path)


def box_plot(path: Path, values: dict[str, list[float]], num_diverged: dict) -> None:
    """The distribution of final validation losses over trials (Figure 1b)."""
    figure, axes = new_axes("", "final validation loss", "Loss over trials")
    names = [f"{name}\n({num_diverged[name]} diverged)" for name in values]
    axes.boxplot(list(values.values()), tick_labels=names)
    for position, name in enumerate(values, start=1):
        axes.plot(np.full(len(values[name]), position), values[name], ".", alpha=0.4)
    axes.set_yscale("log")
    save(figure, path)


def color_of(name: str, names: Iterable[str]) -> str:
    """The color of one of a figure's names, that of its source where it is one."""
    others = [other for other in names if other not in _COLORS]
    return _COLORS.get(name) or f"C{len(_COLORS) + others.index(name)}"


def _line(axes, steps: np.ndarray, values: np.ndarray, name: str, color: str) -> None:
    """The mean of values [seeds, points], and their range."""
    axes.plot(steps, values.mean(0), label=name, color=color)
    if len(values) > 1:
        low, high = values.min(0), values.max(0)
        axes.fill_between(steps, low, high, color=color, alpha=0.15)


def new_axes(x_label: str, y_label: str, title: str = ""):
    """A figure, and its axes with labels and a grid; steps are whole numbers."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label, title=title)
    if "step" in x_label:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    return figure, axes


def new_pair(x_label: str, y_labels: tuple[str, str]):
    """A figure with two axes side by side, with labels and grids."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    both = figure.subplots(1, 2)
    for axes, y_label in zip(both, y_labels, strict=True):
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(alpha=0.3)
    return figure, both


def _finish(figure: Figure, axes, path: Path) -> None:
    """Saves it with a legend, where anything is drawn; an empty one is none."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(fontsize="small")
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """As a PNG file."""
    FigureCanvasAgg(figure).print_png(str(path))
