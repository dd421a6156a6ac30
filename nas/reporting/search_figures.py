"""Figures of searches: how judges agree with a reference, what they gain and cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nas.reporting import charts, gains, regret
from nas.reporting.comparisons import Comparison, source_of
from nas.reporting.content import Figure, Table

_MEASURES = {  # field of RankAgreement -> what it is
    "spearman": "Spearman correlation",
    "best_half_spearman": "Spearman correlation, better half",
}
_MOST_POINTS = 60  # of one line in the figure of gains


def reference_of(comparison: Comparison) -> str:
    """What the reference's scores are."""
    if comparison.is_published:
        return "published accuracy"
    return f"accuracy by {comparison.name}"


def _axis_of(comparison: Comparison) -> str:
    return reference_of(comparison) + (", %" if comparison.is_published else "")


def figures(
    number: int, comparison: Comparison, commands: tuple[str, ...]
) -> Iterator[Figure]:
    """Those for which there is something to draw.

    Args:
      number: tells the comparisons of a page apart.
      commands: what made the searches.
    """
    ranked = _ranked(comparison)
    if not ranked:
        return
    for field, measure in _MEASURES.items():
        yield _agreement(number, comparison, field, measure, commands)
    yield _scatter(number, comparison, ranked, commands)
    if comparison.is_published:
        yield from _gains(number, comparison, commands)
    yield from _seconds(number, comparison, commands)


def _ranked(comparison: Comparison) -> list[str]:
    """Judges that are shown: teachers first, then by their correlation."""
    shown = [judge for judge in comparison.shown if judge in comparison.agreements]

    def place(judge: str) -> tuple[bool, float]:
        value = comparison.agreements[judge].spearman[0]
        return source_of(judge) != "teacher", -np.nan_to_num(value, nan=-2)

    return sorted(shown, key=place)


def _agreement(
    number: int, comparison: Comparison, field: str, measure: str, commands
) -> Figure:
    found = {
        judge: getattr(comparison.agreements[judge], field)
        for judge in _ranked(comparison)
    }
    known = {j: values for j, values in found.items() if not np.isnan(values[0])}
    order = sorted(known, key=lambda judge: -known[judge][0])
    rows = [
        {"label": judge, "source": source_of(judge)}
        | dict(zip(("value", "low", "high"), known[judge], strict=True))
        for judge in order
    ]
    headers = ("judge", "source", measure, "low", "high")
    table = Table(headers, [tuple(row.values()) for row in rows])
    text = (
        f"{measure} of each judge's scores with the {reference_of(comparison)}: 1 is "
        "the same order, 0 none. Lines are 95 % bootstrap intervals over the "
        "architectures; one that reaches the line at 0 shows no agreement."
    )
    if "half" in field:
        text += (
            " The better half are the architectures that the judge itself puts above "
            "the others: among them a search has to choose."
        )
    spec = charts.intervals(rows, measure, percent=False, marks=[(0, "no agreement")])
    key = f"{field.replace('_', '-')}-{number}"
    return Figure(key, f"{measure} ({comparison.name})", text, table, commands, spec)


def _scatter(
    number: int, comparison: Comparison, judges: list[str], commands
) -> Figure:
    truth = comparison.reference.scores
    keys = sorted({k for judge in judges for k in comparison.architectures(judge)})
    rows = [
        {"architecture": comparison.texts.get(key, key), "truth": truth[key]}
        | {judge: comparison.proxies[judge].scores.get(key) for judge in judges}
        for key in keys
    ]
    reference = reference_of(comparison)
    table = Table(
        ("architecture", _axis_of(comparison), *judges),
        [
            (row["architecture"], row["truth"])
            + tuple(np.nan if row[j] is None else row[j] for j in judges)
            for row in rows
        ],
    )
    text = (
        f"A point for each of {len(rows)} architectures: a judge's score across, the "
        f"{reference} up. A point tells its architecture and both values. The judge is "
        f"{judges[0]}"
        + (", until another is chosen below." if len(judges) > 1 else ".")
    )
    by_source = {judge: source_of(judge) for judge in judges}
    spec = charts.choice(rows, by_source, _axis_of(comparison), comparison.is_published)
    title = f"Scores beside the reference ({comparison.name})"
    return Figure(f"scatter-{number}", title, text, table, commands, spec)


def _gains(number: int, comparison: Comparison, commands) -> Iterator[Figure]:
    found = gains.of(comparison)
    judges = [judge for judge in _ranked(comparison) if judge in found.by_judge]
    if not judges:
        return
    rows = []
    for place, judge in enumerate(judges):
        seconds_each, gain = found.by_judge[judge]
        count = len(gain.mean)
        seen = np.unique(np.geomspace(1, count, _MOST_POINTS).round().astype(int))
        for many in seen.tolist():
            values = regret.at(gain, seconds_each, many * seconds_each)
            row = {"judge": place, "name": judge, "source": source_of(judge)}
            row |= {"seconds": many * seconds_each}
            rows.append(row | dict(zip(("mean", "low", "high"), values, strict=True)))
    columns = ("name", "seconds", "mean", "low", "high")
    headers = ("judge", "seconds of search", "accuracy, %", "low", "high")
    table = Table(headers, [tuple(row[c] for c in columns) for row in rows])
    text = gains.text(found, comparison.best)
    if len(judges) > 1:
        text += f" Beside {judges[0]} stands the judge that is chosen below the figure."
    spec = charts.gains(rows, judges, comparison.best)
    title = f"What a search gains ({comparison.name})"
    yield Figure(f"gains-{number}", title, text, table, commands, spec)


def _seconds(number: int, comparison: Comparison, commands) -> Iterator[Figure]:
    keys = comparison.reference.scores
    found = {
        judge: comparison.proxies[judge].mean_seconds(keys)
        for judge in _ranked(comparison)
    }
    rows = [
        {"label": judge, "source": source_of(judge), "seconds": seconds}
        for judge, seconds in sorted(found.items(), key=lambda item: item[1])
        if seconds > 0
    ]
    if len(rows) > 1:
        headers = ("judge", "source", "seconds for an architecture")
        table = Table(headers, [tuple(row.values()) for row in rows])
        text = (
            "What a judge takes for one architecture, on average, as the journals and "
            "the file have it; machines may differ. What trained the teacher is not "
            "in it, but in the table of costs."
        )
        title = f"Cost of an architecture ({comparison.name})"
        spec = charts.seconds(rows)
        yield Figure(f"seconds-{number}", title, text, table, commands, spec)
