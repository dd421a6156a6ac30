"""Searches in the report: correlations, the best architectures, Table 1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gtn_tf.runs import workdirs
from nas.reporting import correlation, plots, tables
from nas.reporting.correlation import Scores
from nas.search.config import SearchConfig
from nas.search.journal import Entry, Journal


class Search(NamedTuple):
    """One search folder."""

    config: SearchConfig
    entries: list[Entry]


def read(folder: Path) -> Search:
    """Configuration and journal of a search folder.

    Raises:
      UserError: files that are no search's.
    """
    config = workdirs.read(SearchConfig, folder)
    journal = Journal(folder / "journal.jsonl", config.search_space())
    return Search(config, journal.entries)


def sections(searches: list[Search], reference: str, output: Path) -> Iterable[str]:
    """Markdown of all searches together; figures go to the output folder.

    Args:
      reference: the evaluation that the others are compared with.
    """
    finals = [search for search in searches if search.config.evaluation == "final"]
    by_name = _by_name([search for search in searches if search not in finals])
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
    for name, entries in by_name.items():
        if name not in references:
            yield f"## Best by {name}\n\n" + tables.best_table(entries)
    if finals:
        yield "## Final evaluation (Table 1)\n\n" + tables.table_1(finals)


def _by_name(searches: list[Search]) -> dict[str, list[Entry]]:
    """Entries by evaluation; where its searches differ in a flag, by that as well.

    Other seeds of an evaluation are more of the same, and so are other proposals.
    """
    ways = [search.config.fixed() for search in searches]
    for way in ways:
        for name in ("seed", "evaluation_seed", "oracle"):
            del way[name]
    found: dict[str, list[Entry]] = {}
    for search, way in zip(searches, ways, strict=True):
        rivals = [w for w in ways if w["evaluation"] == way["evaluation"]]
        changes = [
            f"--{name}={value}"
            for name, value in way.items()
            if any(rival[name] != value for rival in rivals)
        ]
        name = " ".join([search.config.evaluation, *changes])
        found.setdefault(name, []).extend(search.entries)
    return found


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
        flags = re.sub(r"\W+", "_", " ".join(name_of_reference.split()[1:]))
        figure = output / f"figure_3c{flags}.png"
        if plots.scatter(figure, proxies["teacher"], reference):
            yield f"![Figure 3c]({figure.name})"
