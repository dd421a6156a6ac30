"""Searches in the report: correlations, the best architectures, Table 1."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas.evaluations.registry import EVALUATIONS
from nas.reporting import benchmark, correlation, judgements, plots, tables
from nas.reporting.benchmark import Groups
from nas.reporting.correlation import Scores
from nas.reporting.judgements import Search
from nas.search.journal import Entry


def sections(
    searches: list[Search], reference: str, groups: Groups, output: Path
) -> Iterable[str]:
    """Markdown of all searches together; figures go to the output folder.

    Args:
      reference: the evaluation that the others are compared with, or a file of
        published accuracies.
      groups: evaluations whose ranks are averaged, where the reference is published.

    Raises:
      UserError: a file that is none of published accuracies, or has none of the
        searches' architectures.
    """
    finals = [search for search in searches if search.config.evaluation == "final"]
    judged = [search for search in searches if search not in finals]
    by_name = judgements.by_name(judged)
    if reference in EVALUATIONS:
        yield from _correlations(by_name, reference, output)
    elif judged:
        yield from benchmark.sections(judged, Path(reference), groups, output)
    for name, entries in by_name.items():
        if name.split()[0] != reference:
            yield f"## Best by {name}\n\n" + tables.best_table(entries)
    if finals:
        yield "## Final evaluation (Table 1)\n\n" + tables.table_1(finals)


def _correlations(
    by_name: dict[str, list[Entry]], reference: str, output: Path
) -> Iterable[str]:
    scores = {
        name: correlation.scores_of(entries)
        for name, entries in by_name.items()
        if entries
    }
    references = [name for name in scores if name.split()[0] == reference]
    for name in references:
        proxies = {other: scores[other] for other in scores if other not in references}
        yield from _correlation_sections(proxies, name, scores[name], output)
    if by_name and not references:
        yield (
            "## Rank correlation\n\nNone: no search here has the evaluation "
            f"{reference}, which --reference names."
        )


def _correlation_sections(
    proxies: dict[str, Scores], name_of_reference: str, reference: Scores, output: Path
) -> Iterable[str]:
    proxies = dict(proxies)
    if "teacher" in proxies:
        for name in list(proxies):
            if name != "teacher":
                both = correlation.rank_average(proxies["teacher"], proxies[name])
                proxies[f"teacher and {name}"] = both
    yield (
        f"## Rank correlation with {name_of_reference} evaluation\n\n"
        + tables.correlation_table(proxies, reference)
    )
    if "teacher" in proxies:
        flags = " ".join(name_of_reference.split()[1:])
        figure = output / plots.file_name(f"figure_3c {flags}")
        if plots.scatter(figure, proxies["teacher"], reference):
            yield f"![Figure 3c]({figure.name})"
