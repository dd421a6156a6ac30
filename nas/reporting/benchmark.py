"""Searches beside published accuracies: correlations, and what a search gains."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas.reporting import (
    comparisons,
    correlation,
    gains,
    judgements,
    plots,
    published,
    tables,
)
from nas.reporting.comparisons import Comparison
from nas.reporting.correlation import Scores
from nas.reporting.judgements import Search
from nas.search.journal import Entry
from nas.spaces.base import SearchSpace

# Evaluations whose ranks are averaged; one that begins with - the other way round.
Groups = tuple[tuple[str, ...], ...]

# Where a published proxy is called otherwise than ours.
_PUBLISHED_NAMES = {"naswot": "nwot"}


def compare(
    searches: list[Search], path: Path, groups: Groups
) -> Iterable[Comparison | str]:
    """The judges of each data set of a file; Markdown where there is nothing to
    compare.

    Searches of another space or data set are named and put aside.

    Args:
      path: a file of published accuracies; `nas.reporting.published` has its layout.
      groups: evaluations whose ranks are averaged, beside each with a teacher; where
        there are none, the space's own.

    Raises:
      UserError: the file is none, or none of the searches' spaces is its space.
    """
    path = path.expanduser()
    content = published.read(path)
    spaces = {each.config.space: each.config.search_space() for each in searches}
    space = published.space_of(content, path, list(spaces.values()))
    groups = groups or (space.cheap_evaluations,)
    kept, aside = [], []
    for search in searches:
        is_of_it = (
            spaces[search.config.space] is space and search.config.dataset in content
        )
        (kept if is_of_it else aside).append(search)
    if aside:
        yield _put_aside(aside, path, space, content)
    for dataset in dict.fromkeys(search.config.dataset for search in kept):
        own = [search for search in kept if search.config.dataset == dataset]
        by_name = {
            judge: entries
            for judge, entries in judgements.by_name(own).items()
            if entries
        }
        keys = published.keys_of(content[dataset], path, space)
        name = f"{space.name}, {dataset}"
        yield _compare(by_name, content[dataset], keys, name, groups)


def _put_aside(searches, path: Path, space: SearchSpace, content: dict) -> str:
    configs = [search.config for search in searches]
    names = dict.fromkeys(f"{c.evaluation} ({c.space}, {c.dataset})" for c in configs)
    return (
        f"Not compared with {path.name}, which has {space.name} on "
        f"{' and '.join(content)}: {', '.join(names)}."
    )


def _compare(
    by_name: dict[str, list[Entry]],
    architectures: dict[str, dict[str, Any]],
    keys: dict[str, str],
    name: str,
    groups: Groups,
) -> Comparison | str:
    title = f"Rank correlation with published accuracies ({name})"
    judged = {judge: {e.key for e in own} for judge, own in by_name.items()}
    common = set(keys.values()).intersection(*judged.values())
    if len(common) < 4:
        counts = ", ".join(f"{judge} {len(own)}" for judge, own in judged.items())
        return (
            f"## {title}\n\nNone: the file and all evaluations have {len(common)} "
            f"architectures in common (file {len(set(keys.values()))}, {counts})."
        )
    singles, truth = _singles(by_name, architectures, keys, common)
    several = _cheap(singles, groups)
    return comparisons.compare(
        title,
        name,
        singles | several,
        truth,
        _with_teachers(singles),
        judgements.texts(by_name),
        max(each[published.TRUTH] for each in architectures.values()),
    )


def sections(comparison: Comparison, output: Path) -> Iterable[str]:
    """Markdown of a comparison with published accuracies; figures go to the output
    folder."""
    yield (
        f"## {comparison.title}\n\nOver the {len(comparison.reference.scores)} "
        "architectures that every evaluation has judged and the file has.\n\n"
        + tables.correlation_table(comparison)
    )
    for teacher in comparison.shown:
        if comparisons.source_of(teacher) == comparisons.TEACHER:
            flags = " ".join(teacher.split()[1:])
            figure = output / plots.file_name(f"figure_3c {comparison.name} {flags}")
            own, truth = comparison.proxies[teacher], comparison.reference
            plots.scatter(figure, own, truth)
            yield f"![Figure 3c: {teacher}]({figure.name})"
    yield from gains.sections(comparison, output)


def _singles(
    by_name: dict[str, list[Entry]],
    architectures: dict[str, dict[str, Any]],
    keys: dict[str, str],
    common: set[str],
) -> tuple[dict[str, Scores], Scores]:
    """Our and the published judges' scores of the common architectures, and the
    truth, in percent."""
    ours = {
        judge: correlation.scores_of([entry for entry in own if entry.key in common])
        for judge, own in by_name.items()
    }
    shared = {text: v for text, v in architectures.items() if keys[text] in common}
    theirs = published.scores(shared, keys)
    truth = theirs.pop(published.TRUTH)
    return ours | {f"{name} (published)": s for name, s in theirs.items()}, truth


def _of(evaluation: str, proxies: dict[str, Scores]) -> list[str]:
    return [name for name in proxies if name.split()[0] == evaluation]


def _with_teachers(proxies: dict[str, Scores]) -> dict[str, Scores]:
    """The rank average of every teacher and every other judge."""
    teachers = _of("teacher", proxies)
    others = [name for name in proxies if name not in teachers]
    return dict(_averaged(proxies, t, name) for t in teachers for name in others)


def _cheap(proxies: dict[str, Scores], groups: Groups) -> dict[str, Scores]:
    """The rank average of each group, without and with each teacher: what the teacher
    adds to what costs nothing. A group of which there is no score is left out.

    Args:
      groups: names of evaluations; ours are taken before published ones.
    """
    teachers = [(), *((name,) for name in _of("teacher", proxies))]
    turned = proxies | {
        f"-{name}": correlation.turned(s) for name, s in proxies.items()
    }
    members = [[_of_name(name, turned) for name in group] for group in groups]
    return dict(
        _averaged(turned, *teacher, *cheap)
        for cheap, teacher in itertools.product(filter(all, members), teachers)
    )


def _of_name(name: str, proxies: dict[str, Scores]) -> str | None:
    bare = name.removeprefix("-")
    published_name = name.replace(bare, _PUBLISHED_NAMES.get(bare, bare))
    found = [*_of(name, proxies), *_of(published_name, proxies)]
    return found[0] if found else None


def _averaged(proxies: dict[str, Scores], *names: str) -> tuple[str, Scores]:
    """Name and rank average, all with equal weights."""
    name = f"{', '.join(names[:-1])} and {names[-1]}"
    return name, correlation.rank_average(*(proxies[name] for name in names))
