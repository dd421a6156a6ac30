"""What searches contribute to the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from markupsafe import Markup

from gtn_tf.data.dataset_flags import short_name
from nas.reporting import (
    cell_drawing,
    judgements,
    search_figures,
    search_teachers,
    searches,
)
from nas.reporting.comparisons import TEACHER, Comparison, source_of
from nas.reporting.content import Figure, Part, Section, Table
from nas.reporting.judgements import Search
from nas.search.journal import Entry

_NUM_DRAWN = 3  # best architectures of a judge, as graphs
_FEW, _WIDE = 20, 0.5  # architectures, and width of an interval of correlations
_NEAR_CHANCE = 0.1  # of the way from chance to all right
# Evaluations whose scores are accuracies.
_ACCURACIES = ("teacher", "real_steps", "early_stopped", "search")


def part(
    found: list[Search], compared: list[Comparison | str], runs: Iterable[Path]
) -> Part:
    """The page's part on searches; its sections may be none.

    Args:
      runs: folders of the training runs that the page has too.
    """
    own = [each for each in compared if isinstance(each, Comparison)]
    commands = tuple(
        f"bin/search --flagfile={shlex.quote(f'{search.config.workdir}/flags.txt')}"
        for search in found
    )
    judged = judgements.by_name(searches.judged(found))
    sections = [
        Section(
            "agreement",
            "How well judges order architectures",
            "A judge is a cheap way to score an architecture; the reference is what it "
            "stands in for.",
            tuple((each.title, _headline(each)) for each in own),
            tuple(
                figure
                for number, each in enumerate(own)
                for figure in search_figures.figures(number, each, commands)
            ),
        ),
        Section(
            "cells",
            "The best architectures",
            figures=tuple(_drawings(found, judged, own, commands)),
        ),
        search_teachers.section(found, runs),
        Section("search-cost", "Cost of the searches", tables=_costs(found)),
    ]
    return Part(
        tuple(dict.fromkeys(short_name(search.config.dataset) for search in found)),
        commands,
        tuple(_conclusions(own, judged)),
        tuple(_warnings(own, judged, _num_classes(found))),
        tuple(s for s in sections if s.figures or any(t.rows for _, t in s.tables)),
    )


def _headline(comparison: Comparison) -> Table:
    headers = ("judge", "architectures", "Spearman", "Spearman, better half")
    headers += ("precision, top 10 %", "seconds each")
    rows = []
    for judge, found in comparison.agreements.items():
        if judge in comparison.shown:
            correlations = (
                f"{value:.2f} ({low:.2f} to {high:.2f})"
                for value, low, high in (found.spearman, found.best_half_spearman)
            )
            seconds = "" if np.isnan(found.seconds) else f"{found.seconds:.2g}"
            count, precision = found.num_architectures, f"{found.precision:.0%}"
            rows.append((judge, count, *correlations, precision, seconds))
    return Table(headers, rows)


def _main_judge(comparison: Comparison) -> str | None:
    """The first teacher, or else the first judge."""
    judges = [judge for judge in comparison.shown if judge in comparison.agreements]
    return min(judges, key=lambda j: source_of(j) != TEACHER, default=None)


def _conclusions(own: list[Comparison], judged: dict) -> Iterator[str]:
    for comparison in own:
        judge = _main_judge(comparison)
        if judge is None:
            continue
        found = comparison.agreements[judge]
        value, low, high = found.spearman
        half, half_low, half_high = found.best_half_spearman
        reference = (
            f"that of their published accuracies ({comparison.name})"
            if comparison.is_published
            else f"that by {comparison.name}"
        )
        agrees = "agrees" if low > 0 else "is not shown to agree"
        sentence = (
            f"The order that {judge} gives {found.num_architectures} architectures "
            f"{agrees} with {reference}: its Spearman correlation is {value:.2f} (95 % "
            f"interval {low:.2f} to {high:.2f}), over its better half {half:.2f} "
            f"({half_low:.2f} to {half_high:.2f})"
        )
        others = {
            other: comparison.agreements[other].spearman
            for other in comparison.shown
            if other in comparison.agreements
            and " and " not in other
            and source_of(other) != TEACHER
        }
        known = {j: s for j, s in others.items() if not np.isnan(s[0]) and j != judge}
        if known:
            best = max(known, key=lambda other: known[other][0])
            value, low, high = known[best]
            sentence += (
                f"; the best single judge without a teacher, {best}, has {value:.2f} "
                f"({low:.2f} to {high:.2f})"
            )
        yield f"{sentence}."
    if not own:
        for judge, entries in judged.items():
            if entries:
                best = max(entries, key=lambda entry: entry.score)
                yield (
                    f"Of {len({e.key for e in entries})} architectures {judge} scores "
                    f"one best, with {best.score:.4g}; without a reference nothing "
                    "says how right its order is."
                )


def _warnings(
    own: list[Comparison], judged: dict, num_classes: int | None
) -> Iterator[str]:
    for comparison in own:
        judge = _main_judge(comparison)
        if judge is None:
            continue
        found = comparison.agreements[judge]
        if found.num_architectures < _FEW:
            yield (
                f"Only {found.num_architectures} architectures are compared "
                f"({comparison.name}): correlations over so few say little."
            )
        fields = {
            "over all": found.spearman,
            "over its better half": (found.best_half_spearman),
        }
        for where, (value, low, high) in fields.items():
            if np.isnan(value):
                yield f"{judge} gives all architectures one score {where}."
            elif low <= 0 <= high:
                yield (
                    f"The interval of {judge} {where} ({low:.2f} to {high:.2f}) has "
                    "zero in it: no agreement is shown."
                )
            elif high - low > _WIDE:
                yield (
                    f"The interval of {judge} {where} ({low:.2f} to {high:.2f}) is too "
                    "wide to conclude from: judge more architectures."
                )
    for judge, entries in judged.items():
        yield from _weak_scores(judge, entries, num_classes)


def _weak_scores(
    judge: str, entries: list[Entry], num_classes: int | None
) -> Iterator[str]:
    diverged = sum(entry.diverged for entry in entries)
    if diverged:
        yield f"{diverged} of {len(entries)} evaluations by {judge} have diverged."
    entries = [entry for entry in entries if not entry.dismissed]
    if not (num_classes and entries and judge.split()[0] in _ACCURACIES):
        return
    chance = 1 / num_classes
    limit = chance + _NEAR_CHANCE * (1 - chance)
    weak = sum(
        (entry.score if entry.accuracy is None else entry.accuracy) < limit
        for entry in entries
    )
    if weak > len(entries) / 2:
        yield (
            f"{weak} of {len(entries)} scores by {judge} are near chance "
            f"({chance:.0%}): their order is mostly luck."
        )


def _num_classes(found: list[Search]) -> int | None:
    records = search_teachers.records(found)
    return len(records[0]["class_names"]) if records else None


def _drawings(
    found: list[Search], judged: dict, own: list[Comparison], commands
) -> Iterator[Figure]:
    """The best by the main judge, and the best by each reference."""
    spaces = {entry.key: s.config.search_space() for s in found for entry in s.entries}
    judge = min(judged, key=lambda j: source_of(j) != TEACHER, default=None)
    best: dict[str, dict[str, float]] = {}
    if judge and judged[judge]:
        best[judge] = {entry.key: entry.score for entry in judged[judge]}
    for comparison in own:
        best[search_figures.reference_of(comparison)] = comparison.reference.scores
    texts = {entry.key: entry.architecture for s in found for entry in s.entries}
    for number, (name, scores) in enumerate(best.items()):
        keys = sorted(scores.keys() & texts.keys(), key=lambda key: -scores[key])
        rows, parts = [], []
        for rank, key in enumerate(keys[:_NUM_DRAWN], start=1):
            space = spaces[key]
            graphs = space.graphs(space.decode(texts[key]))
            rows.append((rank, scores[key], texts[key]))
            cells = Markup("").join(
                Markup("<div><h5>{}</h5>{}</div>").format(g.name, cell_drawing.svg(g))
                for g in graphs
            )
            if graphs:
                parts.append(
                    Markup(
                        '<div class="architecture"><h4>{}. score {:.4g}</h4>'
                        '<div class="cells">{}</div></div>'
                    ).format(rank, scores[key], cells)
                )
        if parts:
            yield Figure(
                f"cells-{number}",
                f"Best by {name}",
                "Each cell from its inputs, at the top, to its output. A rounded box "
                "is the sum of what leads to it, a square one an operation.",
                Table(("rank", "score", "architecture"), rows),
                commands,
                None,
                Markup('<div class="architectures">{}</div>').format(
                    Markup("").join(parts)
                ),
            )


def _costs(found: list[Search]) -> tuple[tuple[str, Table], ...]:
    rows = []
    for judge, entries in judgements.by_name(found).items():
        total = sum(entry.seconds for entry in entries)
        if entries:
            each = f"{total / len(entries):.2g}"
            rows.append((judge, len(entries), each, f"{total:.0f}"))
    for record in search_teachers.records(found):
        if "seconds" in record:
            steps = record.get("num_outer_steps", "")
            name = f"meta-training of the teacher of {record['dataset']}, outer steps"
            each = f"{record['seconds'] / steps:.2g}" if steps else ""
            rows.append((name, steps, each, f"{record['seconds']:.0f}"))
    headers = ("what", "how many", "seconds each", "seconds")
    return (("Seconds of the searches and of their teacher", Table(headers, rows)),)
