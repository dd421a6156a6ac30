"""Tables of what searches found, in Markdown."""

from __future__ import annotations

import numpy as np

from gtn_tf.evaluation import tables
from nas.reporting import regret
from nas.reporting.comparisons import Comparison
from nas.reporting.regret import Gain
from nas.search.config import SearchConfig
from nas.search.journal import Entry

# Table 1: model, error in percent, parameters, GPU days.
PAPER = (
    ("Random Search + GHN", "4.3 ± 0.1", "5.1M", "0.42"),
    ("Random Search + Weight Sharing", "3.92", "3.9M", "0.25"),
    ("Random Search + Real Data", "3.88 ± 0.08", "12.4M", "10"),
    ("Random Search + GTN", "3.84 ± 0.06", "8.2M", "0.67"),
    ("Random Search + Real Data + Cutout", "3.02 ± 0.03", "12.4M", "10"),
    ("Random Search + GTN + Cutout", "2.92 ± 0.06", "8.2M", "0.67"),
    (
        "Random Search + Real Data + Cutout, F=128",
        "2.51 ± 0.13",
        "151.7M",
        "10",
    ),
    ("Random Search + GTN + Cutout, F=128", "2.42 ± 0.03", "97.9M", "0.67"),
)

_GAIN_SECONDS = (60, 300, 1200)  # in the table of what a search gains
TERMS = (
    "The better half are those architectures that the row's own score puts above the "
    "others. Precision is how many of the row's top tenth are among the reference's "
    "top tenth."
)


def correlation_table(comparison: Comparison) -> str:
    """Markdown: a row for each proxy, 95 % bootstrap intervals in brackets; below it
    what its columns are."""
    headers = ["proxy", "architectures", "Spearman", "Kendall"]
    headers += ["Spearman, better half", "Kendall, better half", "precision, top 10 %"]
    headers += ["seconds", "diverged"]
    rows: list[list] = []
    for name, found in comparison.agreements.items():
        cells = [
            *(f"{v:.2f} ({low:.2f} to {high:.2f})" for v, low, high in found[1:5]),
            f"{found.precision:.0%}",
            _seconds(found.seconds),
            comparison.proxies[name].num_diverged,
        ]
        rows.append([name, found.num_architectures, *cells])
    reference = comparison.reference
    seconds = _seconds(reference.mean_seconds(reference.scores))
    own = [len(reference.scores), *[""] * 5, seconds, reference.num_diverged]
    rows.append(["(reference)", *own])
    return f"{tables.markdown(rows, headers)}\n\n{TERMS}"


def gains_table(gains: dict[str, tuple[float, Gain]], best: float) -> str:
    """Markdown: what each judge's search has after some times, in percent.

    Args:
      gains: judge -> seconds for an architecture, and what its choice is worth.
      best: accuracy from which the regret counts.
    """
    times = {f"after {seconds / 60:g} min": seconds for seconds in _GAIN_SECONDS}
    rows = []
    for name, (seconds_each, gain) in gains.items():
        row = [name, f"{seconds_each:.1f}"]
        for seconds in (*times.values(), np.inf):
            mean, low, high = regret.at(gain, seconds_each, seconds)
            text = f"{mean:.2f} ({low:.2f} to {high:.2f}), regret {best - mean:.2f}"
            row.append("" if np.isnan(mean) else text)
        rows.append(row)
    headers = ["judge", "seconds each", *times, "after all"]
    return tables.markdown(rows, headers)


def _seconds(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def best_table(entries: list[Entry], count: int = 10) -> str:
    """Markdown: the best architectures, best first."""
    rows = []
    for entry in sorted(entries, key=lambda e: -e.score)[:count]:
        told = " (diverged)" if entry.diverged else ""
        told += " (dismissed)" if entry.dismissed else ""
        score = f"{entry.score:.4g}{told}"
        rows.append([score, f"{entry.seconds:.1f}", entry.architecture])
    return tables.markdown(rows, ["score", "seconds", "architecture"])


def table_1(finals: list[tuple[SearchConfig, list[Entry]]]) -> str:
    """Markdown: ours and the paper's; a row for each architecture and setting.

    Args:
      finals: configuration and entries of searches by the final evaluation.
    """
    found: dict[tuple, list[Entry]] = {}
    for config, entries in finals:
        setting = f"{config.dataset}, N={config.num_cells}, F={config.num_filters}, "
        setting += f"{config.num_epochs:g} epochs"
        setting += f", cutout {config.cutout}" if config.cutout else ""
        for entry in entries:
            found.setdefault((setting, entry.architecture), []).append(entry)
    ours = []
    for (setting, architecture), entries in found.items():
        errors = [100 * (1 - entry.score) for entry in entries]
        deviation = f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else ""
        hours = np.mean([entry.seconds for entry in entries]) / 3600
        ours.append(
            [
                f"{architecture} ({setting})",
                f"{np.mean(errors):.2f}{deviation}",
                len(errors),
                f"{entries[0].num_params:,}",
                f"{hours:.2f}",
            ]
        )
    headers = ["model", "test error in %, mean ± SD", "repeats", "parameters"]
    return (
        tables.markdown(ours, [*headers, "hours each"])
        + "\n\nThe paper's rows (CIFAR-10):\n\n"
        + tables.markdown(PAPER, ["model", "error in %", "parameters", "GPU days"])
    )
