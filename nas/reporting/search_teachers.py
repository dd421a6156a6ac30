"""The teachers that judged, on the page of a report on searches."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from nas.reporting import teacher_figures
from nas.reporting.content import Section
from nas.reporting.judgements import Search
from nas.reporting.teacher_figures import NamedTeacher
from nas.search.context import teacher_of


def records(found: list[Search]) -> list[dict]:
    """The descriptions of the teachers that judged, each once."""
    texts = (_record(search) for search in found)
    return [json.loads(text) for text in dict.fromkeys(filter(None, texts))]


def section(found: list[Search], elsewhere: Iterable[Path]) -> Section:
    """What they show, as far as they can be read and are those that judged.

    Args:
      elsewhere: folders of runs whose teachers another section of the page shows.
    """
    shown = {run.resolve() / "teacher" for run in elsewhere}
    teachers = {}
    for search in found:
        each = _load(search)
        if each and each.teacher.folder.resolve() not in shown:
            teachers.setdefault(each.teacher.folder, each)
    return teacher_figures.section("judges-teacher", [*teachers.values()])


def _load(search: Search) -> NamedTeacher | None:
    record = _record(search)
    if not record:
        return None
    path = teacher_of(search.config)
    name = f"the teacher of {Path(search.config.workdir).name}"
    flagfile = shlex.quote(f"{search.config.workdir}/flags.txt")
    found = teacher_figures.load(name, path, (f"bin/search --flagfile={flagfile}",))
    if found is None or found.teacher.description != json.loads(record):
        return None  # the folder holds another one by now
    return found


def _record(search: Search) -> str:
    path = Path(search.config.workdir) / "teacher.json"
    return path.read_text() if path.is_file() else ""
