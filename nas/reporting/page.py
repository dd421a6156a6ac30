"""The report as one page of HTML that needs nothing beside it and asks for nothing."""

from __future__ import annotations

import functools
import html
import re
from typing import NamedTuple

import jinja2
import markdown
import vl_convert
from markupsafe import Markup

from nas.reporting.content import Part

_TEMPLATE = "report.html"
# What Markdown makes of marks inside a line; names and paths are to stay as they are.
_MARKS_KEPT = {"escape"}


class Head(NamedTuple):
    """What stands above everything.

    Attributes:
      date: when the page was made.
      version: of what made it, `provenance.version`.
      command: that made it.
      flags: name -> value of that command.
    """

    date: str
    version: str
    command: str
    flags: dict[str, str]


def render(head: Head, parts: list[Part], tables: str) -> str:
    """The page.

    Args:
      parts: of the kinds of runs there are, in the order of the page.
      tables: Markdown of all tables.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nas.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [section for part in parts for section in part.sections]
    charts = [f for s in sections for f in s.figures if f.spec is not None]
    return environment.get_template(_TEMPLATE).render(
        head=head,
        title=_title(parts),
        datasets=_all(parts, "datasets"),
        commands=_all(parts, "commands"),
        conclusions=_all(parts, "conclusions"),
        warnings=_all(parts, "warnings"),
        sections=sections,
        specs={figure.key: figure.spec for figure in charts},
        library=_library() if charts else Markup(""),
        tables=Markup(as_html(tables)),
        terms=TERMS,
    )


# Words that a reader may not know, and what they mean here.
TERMS = {
    "better half": "those architectures that a judge's own score puts above the "
    "others. A search chooses among them, and there it is harder to tell them apart.",
    "precision": "how many of a judge's top tenth of architectures are among the "
    "reference's top tenth.",
    "few-step accuracy": "of a network that has been trained from fresh weights for "
    "the few steps of a teacher, and no more.",
    "chance": "the accuracy of guessing: one divided by the number of classes.",
    "95 % interval": "where the value would lie if the sample were drawn again, by "
    "resampling the architectures or learners, or by Student's t over seeds. It says "
    "nothing of other data sets.",
}


def _title(parts: list[Part]) -> str:
    datasets = ", ".join(_all(parts, "datasets"))
    return f"Report on {datasets}" if datasets else "Report"


def _all(parts: list[Part], field: str) -> list[str]:
    return list(dict.fromkeys(each for part in parts for each in getattr(part, field)))


@functools.cache
def _library() -> Markup:
    """Vega's JavaScript, as a part of a script element."""
    script = vl_convert.javascript_bundle()
    return Markup(script.replace("</script", r"<\/script").replace("<!--", r"<\!--"))


def as_html(text: str) -> str:
    """Headings, paragraphs and tables of a Markdown text; its figures are left out.

    Nothing else in the text is taken for a mark: it may be a path or a name.
    """
    text = re.sub(r"^!\[.*\]\(.*\)\n*", "", text, flags=re.MULTILINE)
    writer = markdown.Markdown(extensions=["tables"])
    for name in [pattern.name for pattern in writer.inlinePatterns._priority]:
        if name not in _MARKS_KEPT:
            writer.inlinePatterns.deregister(name)
    return writer.convert(html.escape(text, quote=False))
