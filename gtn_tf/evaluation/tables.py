"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import DataRow, TableFormat, tabulate

# Without padding: a longer cell changes its own row of a table that is kept, no other.
_COMPACT = TableFormat(
    lineabove=None,
    linebelowheader=lambda widths, _: "|---" * len(widths) + "|",
    linebetweenrows=None,
    linebelow=None,
    headerrow=DataRow("|", "|", "|"),
    datarow=DataRow("|", "|", "|"),
    padding=1,
    with_header_hide=None,
)


def markdown(rows: Iterable[Sequence], headers: Sequence[str]) -> str:
    """A Markdown table without a newline at its end; a cell may have the sign that
    ends one."""
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    return tabulate(rows, headers, _COMPACT, disable_numparse=True, stralign=None)
