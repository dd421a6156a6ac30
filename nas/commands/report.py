"""What searches found, as one page: correlations, the best cells, Table 1, trials.

    bin/report RUN... --output=FOLDER [--reference=NAME_OR_FILE]

FOLDER/  report.html (self-contained)  report.md (its tables)  figure_3c*.png  *.png

Its path is all that is printed.
"""

from __future__ import annotations

import dataclasses
import datetime
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from gtn_tf.errors import UserError
from gtn_tf.runs import fields
from nas.commands.report_config import ReportConfig
from nas.reporting import (
    hypermodel_page,
    hypermodels,
    judgements,
    page,
    policy_page,
    provenance,
    search_page,
    searches,
    training_page,
    training_runs,
)
from nas.reporting.hypermodels import HypermodelSearch
from nas.reporting.judgements import Search
from nas.reporting.page import Head
from nas.reporting.policy_page import PolicyRun
from nas.reporting.training_runs import TrainingRun

_PAGE = "report.html"


class _Found(NamedTuple):
    """The runs of a report, by kind."""

    searches: list[Search]
    hypermodels: list[HypermodelSearch]
    training: list[TrainingRun]
    policies: list[PolicyRun]


def run(config: ReportConfig) -> Path:
    """Writes the page and returns its path.

    Raises:
      UserError: a folder that holds neither a search nor a training run, a file that
        is none of published accuracies, or an output that cannot be written.
    """
    found = _read(config)
    output = Path(config.output).expanduser()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compared = list(
            searches.compare(found.searches, config.reference, config.groups)
        )
        sections = [
            *searches.sections(found.searches, compared, config.reference, folder),
            *hypermodels.sections(found.hypermodels),
            *training_runs.sections(found.training, folder),
            *policy_page.sections(found.policies, folder),
        ]
        text = "# Report\n\n" + "\n\n".join(sections) + "\n"
        parts = [
            search_page.part(
                found.searches, compared, [run.folder for run in found.training]
            ),
            hypermodel_page.part(found.hypermodels),
            training_page.part(found.training),
            policy_page.part(found.policies),
        ]
        (folder / "report.md").write_text(text)
        (folder / _PAGE).write_text(page.render(_head(config), parts, text))
        try:
            output.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                shutil.copyfile(path, output / path.name)
        except OSError as error:
            raise UserError(
                f"--output={config.output} cannot be written ({error.strerror}): give "
                "a folder that you may write to"
            ) from None
    print(output / _PAGE)
    return output / _PAGE


def _read(config: ReportConfig) -> _Found:
    found = _Found([], [], [], [])
    for name in fields.split_names(config.folders):
        folder = Path(name).expanduser()
        if (folder / "journal.jsonl").is_file():
            found.searches.append(judgements.read(folder))
        elif hypermodels.find(folder):
            found.hypermodels.append(hypermodels.read(folder))
        elif (folder / "metrics.csv").is_file():
            if policy_page.is_one(folder):
                found.policies.append(policy_page.read(folder))
            else:
                found.training.append(training_runs.read(folder))
        else:
            raise UserError(
                f"{name} holds neither a search (journal.jsonl or keras_tuner/) nor a "
                "training run (metrics.csv): give a folder of bin/search or bin/train"
            )
    return found


def _head(config: ReportConfig) -> Head:
    given = dataclasses.asdict(config)
    folders = map(shlex.quote, fields.split_names(config.folders))
    changed = [
        f"--{field.name}={shlex.quote(given[field.name])}"
        for field in dataclasses.fields(config)
        if field.name != "folders" and given[field.name] != field.default
    ]
    return Head(
        f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        provenance.version(),
        " ".join(["bin/report", *folders, *changed]),
        given,
    )


def next_steps(config: ReportConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    path = Path(config.output).expanduser() / _PAGE
    return [f"open {shlex.quote(str(path))} in a browser"]
