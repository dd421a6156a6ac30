"""What searches have judged, by the way they judged it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gtn_tf.runs import workdirs
from nas.search.config import SearchConfig
from nas.search.journal import Entry, Journal

_OF_SEEDS = ("seed", "evaluation_seed", "oracle")
# Of a teacher's evaluation alone; journals from before there were such flags have other
# values.
_OF_TEACHERS = (
    "num_networks",
    "early_loss_weight",
    "dismiss_after",
    "num_shared",
    "shared",
)


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


def by_name(searches: list[Search]) -> dict[str, list[Entry]]:
    """Entries by evaluation; where its searches differ in a flag, by that as well.

    Other seeds of an evaluation are more of the same, and so are other proposals. What
    is asked of a teacher alone tells nothing else apart.
    """
    ways = [search.config.fixed() for search in searches]
    for way in ways:
        of_teachers = () if way["evaluation"] == "teacher" else _OF_TEACHERS
        for name in (*_OF_SEEDS, *of_teachers):
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


def texts(found: dict[str, list[Entry]]) -> dict[str, str]:
    """Key -> architecture as its space writes it, of entries by evaluation."""
    return {entry.key: entry.architecture for own in found.values() for entry in own}
