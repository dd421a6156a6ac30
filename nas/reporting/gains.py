"""What a search gains by each judge, beside published accuracies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nas.reporting import plots, regret, tables
from nas.reporting.correlation import Scores


def sections(
    judges: dict[str, Scores], truth: Scores, best: float, name: str, output: Path
) -> Iterable[str]:
    """Markdown: a table at a few times and a figure, which goes to the output folder.

    A judge whose time is not known is named and left out.

    Args:
      judges: by name; each has scores of all that `truth` has.
      truth: accuracies in percent.
      best: accuracy from which the regret counts.
      name: of the space and the data set.
    """
    keys = sorted(truth.scores)
    accuracies = np.array([truth.scores[key] for key in keys])
    gains, untimed = {}, []
    for judge, own in judges.items():
        seconds = own.mean_seconds(keys)
        if seconds > 0:
            scores = np.array([own.scores[key] for key in keys])
            gains[judge] = seconds, regret.after_architectures(scores, accuracies)
        else:
            untimed.append(judge)
    text = (
        f"## What a search gains ({name})\n\nThe published accuracy of the "
        "architecture that a search has chosen after so much time, mean and 95 % of "
        f"{regret.NUM_SEARCHES:,} searches that see these {len(keys)} architectures in "
        "random order and choose by their judge's score; and the regret, which is what "
        f"is missing to the best in the file, {best:.2f} %. The best of these "
        f"architectures has {accuracies.max():.2f} %, a random one "
        f"{accuracies.mean():.2f} % on average. Seconds are those of the journals and "
        "the file, whatever the machines."
    )
    if untimed:
        text += f" Left out, since their time is not known: {', '.join(untimed)}."
    yield text
    if gains:
        figure = output / plots.file_name(f"search_gain {name}")
        plots.search_gains(figure, gains, best)
        yield tables.gains_table(gains, best)
        yield f"![true accuracy of the choice by seconds]({figure.name})"
