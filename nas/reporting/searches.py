"""Searches in the report: correlations, best architectures, final evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas.evaluations.registry import EVALUATIONS
from nas.reporting import (
    benchmark,
    comparisons,
    correlation,
    judgements,
    plots,
    tables,
)
from nas.reporting.benchmark import Groups
from nas.reporting.comparisons import Comparison
from nas.reporting.correlation import Scores
from nas.reporting.judgements import Search


def judged(searches: list[Search]) -> list[Search]:
    """Those that are no final evaluations."""
    return [search for search in searches if search.config.evaluation != "final"]


def compare(
    searches: list[Search], reference: str, groups: Groups
) -> Iterable[Comparison | str]:
    """The judges of all searches beside each reference; Markdown where there is
    nothing to compare.

    Args:
      reference: the evaluation that the others are compared with, or a file of
        published accuracies.
      groups: evaluations whose ranks are averaged, where the reference is published.

    Raises:
      UserError: a file that is none of published accuracies, or has none of the
        searches' architectures.
    """
    own = judged(searches)
    if reference not in EVALUATIONS:
        return benchmark.compare(own, Path(reference), groups) if own else ()
    return _compare(judgements.by_name(own), reference)


def _compare(by_name: dict, reference: str) -> Iterable[Comparison | str]:
    scores = {
        name: correlation.scores_of(entries)
        for name, entries in by_name.items()
        if entries
    }
    references = [name for name in scores if name.split()[0] == reference]
    for name in references:
        singles = {other: scores[other] for other in scores if other not in references}
        yield comparisons.compare(
            f"Rank correlation with {name} evaluation",
            name,
            singles,
            scores[name],
            _with_teacher(singles),
            judgements.texts(by_name),
        )
    if by_name and not references:
        yield (
            "## Rank correlation\n\nNone: no search here has the evaluation "
            f"{reference}, which --reference names."
        )


def _with_teacher(singles: dict[str, Scores]) -> dict[str, Scores]:
    if "teacher" not in singles:
        return {}
    return {
        f"teacher and {name}": correlation.rank_average(singles["teacher"], own)
        for name, own in singles.items()
        if name != "teacher"
    }


def sections(
    searches: list[Search],
    compared: list[Comparison | str],
    reference: str,
    output: Path,
) -> Iterable[str]:
    """Markdown of all searches together; figures go to the output folder."""
    for each in compared:
        if isinstance(each, str):
            yield each
        elif each.is_published:
            yield from benchmark.sections(each, output)
        else:
            yield from _sections(each, output)
    for name, entries in judgements.by_name(judged(searches)).items():
        if name.split()[0] != reference:
            yield f"## Best by {name}\n\n" + tables.best_table(entries)
    finals = [search for search in searches if search.config.evaluation == "final"]
    if finals:
        yield "## Final evaluation (Table 1)\n\n" + tables.table_1(finals)


def _sections(comparison: Comparison, output: Path) -> Iterable[str]:
    yield f"## {comparison.title}\n\n{tables.correlation_table(comparison)}"
    if "teacher" in comparison.proxies:
        flags = " ".join(comparison.name.split()[1:])
        figure = output / plots.file_name(f"figure_3c {flags}")
        teacher = comparison.proxies["teacher"]
        if plots.scatter(figure, teacher, comparison.reference):
            yield f"![Figure 3c]({figure.name})"
