"""Figures of the report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gtn_tf.evaluation.plots import new_axes, save
from nas.reporting.correlation import Scores
from nas.reporting.regret import Gain


def file_name(text: str) -> str:
    """The name of a figure's file, with nothing but letters, digits and _ in it."""
    return re.sub(r"\W+", "_", text).strip("_") + ".png"


def scatter(path: Path, proxy: Scores, reference: Scores) -> bool:
    """Figure 3c: a point for each architecture, the proxy's top tenth marked.

    Returns:
      Whether there was anything to draw.
    """
    common = sorted(set(proxy.scores) & set(reference.scores))
    if not common:
        return False
    x = np.array([proxy.scores[key] for key in common])
    y = np.array([reference.scores[key] for key in common])
    best = np.argsort(-x, kind="stable")
    top, half = best[: max(1, round(len(x) / 10))], best[: (len(x) + 1) // 2]
    figure, axes = new_axes("teacher's score", "accuracy after real training")
    axes.plot(x, y, ".", color="0.6", label="all")
    axes.plot(x[half], y[half], ".", color="tab:green", label="better half")
    axes.plot(x[top], y[top], "s", color="tab:blue", label="top 10 %")
    axes.legend()
    save(figure, path)
    return True


def search_gains(path: Path, gains: dict[str, tuple[float, Gain]], best: float) -> None:
    """True accuracy of what a search has chosen, by seconds and judge; mean and 95 %.

    Args:
      gains: judge -> seconds for an architecture, and what its choice is worth.
      best: accuracy of the best that could be chosen.
    """
    figure, axes = new_axes("seconds of search", "true accuracy of its choice, %")
    end = max(seconds * len(gain.mean) for seconds, gain in gains.values())
    for name, (seconds, gain) in gains.items():
        x = seconds * np.arange(1, len(gain.mean) + 1)
        x = np.append(x, end)  # after the last architecture the choice stays
        mean, low, high = (np.append(values, values[-1]) for values in gain)
        (line,) = axes.step(x, mean, where="post", label=name)
        color = line.get_color()
        axes.fill_between(x, low, high, step="post", color=color, alpha=0.1)
    axes.axhline(best, color="0.3", linestyle=":", label="best in the file")
    axes.set_xscale("log")
    axes.legend(fontsize="small")
    save(figure, path)


def learning_curve(path: Path, steps: np.ndarray, accuracies: np.ndarray) -> None:
    """Few-step validation accuracy by outer step."""
    figure, axes = new_axes("outer step", "few-step validation accuracy")
    axes.plot(steps, accuracies)
    save(figure, path)
