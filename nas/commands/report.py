"""What searches found, as one page: correlations, the best cells, Table 1, trials.

    bin/report RUN... --output=FOLDER [--reference=NAME_OR_FILE]

FOLDER/  report.html (self-contained)  report.md  figure_3c*.png  *.png
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path

from gtn_tf.errors import UserError
from gtn_tf.runs import fields
from nas.commands.report_config import ReportConfig
from nas.reporting import hypermodels, judgements, page, searches, training_runs


def run(config: ReportConfig) -> None:
    """Writes the page.

    Raises:
      UserError: a folder that holds neither a search nor a training run, a file that
        is none of published accuracies, or an output that cannot be written.
    """
    found, tuned, runs = [], [], []
    for name in fields.split_names(config.folders):
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


def next_steps(config: ReportConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    page = Path(config.output).expanduser() / "report.html"
    return [f"open {shlex.quote(str(page))} in a browser"]
