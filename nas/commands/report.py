"""What searches found, as one page: correlations, the best cells, Table 1, trials.

    bin/report RUN... --output=FOLDER [--reference=NAME_OR_FILE]

FOLDER/  report.html (self-contained)  report.md  figure_3c*.png  *.png
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import sys
import tempfile
from pathlib import Path

from gtn_tf.commands import command_line
from gtn_tf.errors import UserError
from gtn_tf.runs import fields
from nas.evaluations.registry import EVALUATIONS
from nas.reporting import hypermodels, judgements, page, searches, training_runs


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Which runs, and where the page goes."""

    folders: str = fields.field(
        "",
        "The folders of searches and training runs, joined by commas. They can be "
        "given as arguments as well.",
    )
    output: str = fields.field("", "The folder for the page and its figures.")
    reference: str = fields.field(
        "search",
        "The evaluation that proxies are compared with, by name (where its searches "
        "differ in a flag, each gets a table), or a JSON file of published accuracies, "
        "as NASLib's zero-cost benchmark has them.",
    )
    combine: str = fields.field(
        "naswot+synflow",
        "The cheap evaluations whose ranks are averaged, beside each with a teacher, "
        "as naswot+synflow,naswot+params-grad_norm. One behind a minus counts the "
        "other way round. A published one takes the place of one that no search has. "
        "Only with a file as --reference.",
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
        names = [name for name in EVALUATIONS if name != "final"]
        is_file = Path(self.reference).expanduser().is_file()
        if self.reference not in names and not is_file:
            raise UserError(
                f"--reference={self.reference} is unknown: give one of "
                f"{', '.join(names)}, or an existing file of published accuracies"
            )
        for name in itertools.chain(*self.groups):
            if name.removeprefix("-") not in names:
                raise UserError(
                    f"--combine={self.combine} names {name or 'nothing'}: give some "
                    f"of {', '.join(names)}, joined by + or -"
                )

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of evaluations that are averaged; -NAME counts the other way round."""
        return tuple(
            tuple(group.replace("-", "+-").removeprefix("+").split("+"))
            for group in self.combine.split(",")
        )


def run(config: ReportConfig) -> None:
    """Writes the page.

    Raises:
      UserError: a folder that holds neither a search nor a training run, a file that
        is none of published accuracies, or an output that cannot be written.
    """
    found, tuned, runs = [], [], []
    for name in filter(None, config.folders.split(",")):
        folder = Path(name).expanduser()
        if (folder / "journal.jsonl").is_file():
            found.append(judgements.read(folder))
        elif hypermodels.find(folder):
            tuned.append(hypermodels.read(folder))
        elif (folder / "metrics.csv").is_file():
            runs.append(folder)
        else:
            raise UserError(
                f"{name} holds neither a search (journal.jsonl or keras_tuner/) nor a "
                "training run (metrics.csv): give a folder of bin/search or bin/train"
            )
    output = Path(config.output).expanduser()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sections = [
            *searches.sections(found, config.reference, config.groups, folder),
            *hypermodels.sections(tuned),
            *training_runs.sections(runs, folder),
        ]
        text = "# Report\n\n" + "\n\n".join(sections) + "\n"
        (folder / "report.md").write_text(text)
        (folder / "report.html").write_text(page.as_page(text, folder))
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


def main() -> int:
    """The command line's exit code."""
    return command_line.run(ReportConfig, run, sys.argv, positional="folders")
