"""What a search gains by each judge, beside published accuracies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nas.reporting import plots, regret, tables
from nas.reporting.comparisons import Comparison
from nas.reporting.regret import Gain


class Gains(NamedTuple):
    """What searches gain among the same architectures.

    Attributes:
      by_judge: judge -> seconds for an architecture, and what its choice is worth.
      untimed: judges left out, since nobody knows their time.
      mean, maximum: accuracy of these architectures in percent.
    """

    by_judge: dict[str, tuple[float, Gain]]
    untimed: tuple[str, ...]
    num_architectures: int
    mean: float
    maximum: float


def of(comparison: Comparison) -> Gains:
    """By each judge that is shown; the reference has accuracies in percent."""
    truth = comparison.reference
    keys = sorted(truth.scores)
    accuracies = np.array([truth.scores[key] for key in keys])
    by_judge, untimed = {}, []
    for judge in comparison.shown:
        own = comparison.proxies[judge]
        seconds = own.mean_seconds(keys)
        if seconds > 0:
            scores = np.array([own.scores[key] for key in keys])
            by_judge[judge] = seconds, regret.after_architectures(scores, accuracies)
        else:
            untimed.append(judge)
    mean, maximum = float(accuracies.mean()), float(accuracies.max())
    return Gains(by_judge, tuple(untimed), len(keys), mean, maximum)


def text(gains: Gains, best: float) -> str:
    """What the numbers are.

    Args:
      best: accuracy from which the regret counts.
    """
    told = (
        "The published accuracy of the architecture that a search has chosen after so "
        f"much time, mean and 95 % of {regret.NUM_SEARCHES:,} searches that see these "
        f"{gains.num_architectures} architectures in random order and choose by their "
        "judge's score; and the regret, which is what is missing to the best in the "
        f"file, {best:.2f} %. The best of these architectures has "
        f"{gains.maximum:.2f} %, a random one {gains.mean:.2f} % on average. Seconds "
        "are those of the journals and the file, whatever the machines."
    )
    if gains.untimed:
        untimed = ", ".join(gains.untimed)
        told += f" Left out, since their time is not known: {untimed}."
    return told


def sections(comparison: Comparison, output: Path) -> Iterable[str]:
    """Markdown: a table at a few times and a figure, which goes to the output folder.

    A judge whose time is not known is named and left out.
    """
    gains, best = of(comparison), comparison.best
    told = text(gains, best)
    yield f"## What a search gains ({comparison.name})\n\n{told}"
    if gains.by_judge:
        figure = output / plots.file_name(f"search_gain {comparison.name}")
        plots.search_gains(figure, gains.by_judge, best)
        yield tables.gains_table(gains.by_judge, best)
        yield f"![true accuracy of the choice by seconds]({figure.name})"
