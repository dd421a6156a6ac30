"""What the report's page is made of; `page` writes it as HTML."""

from __future__ import annotations

import csv
import io
import urllib.parse
from typing import Any, NamedTuple

from markupsafe import Markup

_MOST_ROWS = 60  # of a table in the page; the file of it has all


class Table(NamedTuple):
    """Rows of cells, which are text or numbers; NaN is an empty cell."""

    headers: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    @property
    def is_long(self) -> bool:
        """Whether the page has it as a file alone."""
        return len(self.rows) > _MOST_ROWS

    @property
    def cells(self) -> list[list[str]]:
        """All rows as text, numbers rounded to four digits."""
        return [[_as_text(cell, ".4g") for cell in row] for row in self.rows]

    @property
    def csv_address(self) -> str:
        """The table as a CSV file inside an address, numbers in full."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.headers)
        writer.writerows([[_as_text(cell, "") for cell in row] for row in self.rows])
        return f"data:text/csv;charset=utf-8,{urllib.parse.quote(text.getvalue())}"


def _as_text(cell: Any, spec: str) -> str:
    if isinstance(cell, float):
        return "" if cell != cell else format(cell, spec)
    return str(cell)


class Figure(NamedTuple):
    """One figure of the page.

    Attributes:
      key: a name for files and links, letters and hyphens.
      text: what is seen, in words; also the alternative for those who do not see it.
      data: what it is drawn from.
      spec: Vega-Lite; none where there is `body`.
      body: HTML in place of a chart.
      commands: what made the data, a line each.
    """

    key: str
    title: str
    text: str
    data: Table
    commands: tuple[str, ...]
    spec: dict | None = None
    body: Markup = Markup("")


class Section(NamedTuple):
    """A heading with what stands below it."""

    key: str
    title: str
    text: str = ""
    tables: tuple[tuple[str, Table], ...] = ()  # caption and table
    figures: tuple[Figure, ...] = ()


class Part(NamedTuple):
    """What one kind of runs contributes to the page.

    Attributes:
      datasets: names of data sets, each once.
      commands: what made the runs.
      conclusions: a sentence each, with its uncertainty.
      warnings: what forbids or weakens a conclusion.
    """

    datasets: tuple[str, ...]
    commands: tuple[str, ...]
    conclusions: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
