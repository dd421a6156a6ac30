"""What searches found, as one page: correlations, the best cells, Table 1.

    bin/report RUN... --output=FOLDER

FOLDER/  report.html (self-contained)  report.md  figure_3c*.png  *.png
"""

from __future__ import annotations

import base64
import dataclasses
import html
import re
import shutil
import string
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import markdown
import numpy as np

from gtn_tf.commands import command_line
from gtn_tf.errors import UserError
from gtn_tf.runs import fields, workdirs
from nas.evaluations.registry import EVALUATIONS
from nas.reporting import correlation, plots, training_runs
from nas.reporting.correlation import Scores
from nas.search.config import SearchConfig
from nas.search.journal import Entry, Journal

_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title><style>
body { font: 16px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse } td, th { padding: 0.2em 0.8em; text-align: left }
tr { border-bottom: 1px solid #ccc } img { max-width: 100% }
</style></head><body>$body</body></html>
""")

# Table 1: model, error in percent, parameters, GPU days.
PAPER = (
    ("Random Search + GHN", "4.3 ± 0.1", "5.1M", "0.42"),
    ("Random Search + Weight Sharing", "3.92", "3.9M", "0.25"),
    ("Random Search + Real Data", "3.88 ± 0.08", "12.4M", "10"),
    ("Random Search + GTN", "3.84 ± 0.06", "8.2M", "0.67"),
    ("Random Search + Real Data + Cutout", "3.02 ± 0.03", "12.4M", "10"),
    ("Random Search + GTN + Cutout", "2.92 ± 0.06", "8.2M", "0.67"),
    (
        "Random Search + Real Data + Cutout, F=128",
        "2.51 ± 0.13",
        "151.7M",
        "10",
    ),
    ("Random Search + GTN + Cutout, F=128", "2.42 ± 0.03", "97.9M", "0.67"),
)


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Which runs, and where the page goes."""

    folders: str = fields.field(
        "", "folders of searches and training runs, joined by commas, or as arguments"
    )
    output: str = fields.field("", "folder for the page and its figures")
    reference: str = fields.field(
        "search",
        "the evaluation that proxies are compared with; where its searches differ in a "
        "flag, each gets a table",
        choices=tuple(name for name in EVALUATIONS if name != "final"),
    )

    def __post_init__(self):
        fields.check(self)
        if not self.folders:
            raise UserError(
                "no run is given: give the folders of searches (bin/search) and "
                "training runs (bin/train)"
            )
        if not self.output:
            raise UserError("--output is not given: give a folder for the page")


class Search(NamedTuple):
    """One search folder."""

    config: SearchConfig
    entries: list[Entry]


def run(config: ReportConfig) -> None:
    """Writes the page.

    Raises:
      UserError: a folder that holds neither a search nor a training run, or an
        output that cannot be written.
    """
    searches, runs = [], []
    for name in filter(None, config.folders.split(",")):
        folder = Path(name).expanduser()
        if (folder / "journal.jsonl").is_file():
            searches.append(read_search(folder))
        elif (folder / "metrics.csv").is_file():
            runs.append(folder)
        else:
            raise UserError(
                f"{name} holds neither a search (journal.jsonl) nor a training run "
                "(metrics.csv): give a folder of bin/search or bin/train"
            )
    output = Path(config.output).expanduser()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sections = [
            *_search_sections(searches, config.reference, folder),
            *training_runs.sections(runs, folder),
        ]
        text = "# Report\n\n" + "\n\n".join(sections) + "\n"
        (folder / "report.md").write_text(text)
        (folder / "report.html").write_text(as_page(text, folder))
        try:
            output.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                shutil.copyfile(path, output / path.name)
        except OSError as error:
            raise UserError(
                f"--output={config.output} cannot be written ({error.strerror}): give "
                "a folder that you may write to"
            ) from None
    print(text)


def read_search(folder: Path) -> Search:
    """Configuration and journal of a search folder.

    Raises:
      UserError: files that are no search's.
    """
    config = workdirs.read(SearchConfig, folder)
    journal = Journal(folder / "journal.jsonl", config.search_space())
    return Search(config, journal.entries)


def _search_sections(
    searches: list[Search], reference: str, output: Path
) -> Iterable[str]:
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
            yield f"## Best by {name}\n\n" + best_table(entries)
    if finals:
        yield "## Final evaluation (Table 1)\n\n" + table_1(finals)


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
        + correlation_table(proxies, reference)
    )
    if "teacher" in proxies:
        flags = re.sub(r"\W+", "_", " ".join(name_of_reference.split()[1:]))
        figure = output / f"figure_3c{flags}.png"
        if plots.scatter(figure, proxies["teacher"], reference):
            yield f"![Figure 3c]({figure.name})"


def correlation_table(proxies: dict[str, Scores], reference: Scores) -> str:
    """Markdown: a row for each proxy, 95 % bootstrap intervals in brackets."""
    lines = [
        "| proxy | architectures | Spearman | Kendall | Spearman, better half "
        "| Kendall, better half | precision, top 10 % | seconds | diverged |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, proxy in proxies.items():
        found = correlation.agreement(proxy, reference)
        if found is None:
            continue
        cells = [
            *(f"{v:.2f} ({low:.2f} to {high:.2f})" for v, low, high in found[1:5]),
            f"{found.precision:.0%}",
            f"{found.seconds:.1f}",
            str(proxy.num_diverged),
        ]
        lines.append(f"| {name} | {found.num_architectures} | {' | '.join(cells)} |")
    seconds = np.mean(list(reference.seconds.values()))
    lines.append(
        f"| (reference) | {len(reference.scores)} | | | | | | {seconds:.1f} "
        f"| {reference.num_diverged} |"
    )
    return "\n".join(lines)


def best_table(entries: list[Entry], count: int = 10) -> str:
    """Markdown: the best architectures, best first."""
    lines = ["| score | seconds | architecture |", "|---|---|---|"]
    for entry in sorted(entries, key=lambda e: -e.score)[:count]:
        diverged = " (diverged)" if entry.diverged else ""
        lines.append(
            f"| {entry.score:.4g}{diverged} | {entry.seconds:.1f} | "
            f"{_in_a_table(entry.architecture)} |"
        )
    return "\n".join(lines)


def table_1(finals: list[Search]) -> str:
    """Markdown: ours and the paper's; a row for each architecture and setting."""
    rows: dict[tuple, list[Entry]] = {}
    for config, entries in finals:
        setting = f"{config.dataset}, N={config.num_cells}, F={config.num_filters}, "
        setting += f"{config.num_epochs:g} epochs"
        setting += f", cutout {config.cutout}" if config.cutout else ""
        for entry in entries:
            rows.setdefault((setting, entry.architecture), []).append(entry)
    lines = [
        "| model | test error in %, mean ± SD | repeats | parameters | hours each |",
        "|---|---|---|---|---|",
    ]
    for (setting, architecture), entries in rows.items():
        errors = [100 * (1 - entry.score) for entry in entries]
        deviation = f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else ""
        hours = np.mean([entry.seconds for entry in entries]) / 3600
        lines.append(
            f"| {_in_a_table(architecture)} ({setting}) | "
            f"{np.mean(errors):.2f}{deviation} | {len(errors)} | "
            f"{entries[0].num_params:,} | {hours:.2f} |"
        )
    lines += ["", "The paper's rows (CIFAR-10):", ""]
    lines += ["| model | error in % | parameters | GPU days |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in PAPER]
    return "\n".join(lines)


def _in_a_table(architecture: str) -> str:
    """NAS-Bench-201's have the sign that ends a cell of a table."""
    return architecture.replace("|", r"\|")


def as_page(text: str, folder: Path) -> str:
    """The page of a Markdown text, the figures of its folder inside."""
    body = markdown.markdown(html.escape(text, quote=False), extensions=["tables"])

    def inlined(match):
        data = base64.b64encode((folder / match[1]).read_bytes()).decode()
        return f'src="data:image/png;base64,{data}"'

    body = re.sub(r'src="([\w.-]+\.png)"', inlined, body)
    return _PAGE.substitute(title="Report", body=body)


def main() -> int:
    """The command line's exit code."""
    return command_line.run(ReportConfig, run, sys.argv, positional="folders")
