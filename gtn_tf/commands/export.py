"""Everything that others can use of a run, in one folder: what bin/export writes.

OUTPUT/  teacher/  learner/  learner.keras  synthetic.npz  tfds/NAME/1.0.0/
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

from gtn_tf.commands import command_line, train
from gtn_tf.errors import UserError
from gtn_tf.export import cards, saved_models, synthetic_data
from gtn_tf.runs import files, meta_training, run_setup, workdirs
from gtn_tf.runs.fields import check, field


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Which run is exported, and where to."""

    workdir: str = field(
        "",
        "The folder of the run, finished or not. Its last checkpoint is exported.",
    )
    output: str = field(
        "",
        "The folder to write, new or of an earlier export. By default it is "
        "WORKDIR/export.",
    )
    data_dir: str = field(
        "", "The folder with the original files. By default it is that of the run."
    )
    ready: bool = field(
        False,
        "Whether to write only what comes with the package in gtn_tf/ready/NAME: the "
        "teacher, its variables in float16, and card.md, which says what it teaches. "
        "The card quotes the run's results.json and evaluation/.",
    )

    def __post_init__(self):
        check(self)
        if not self.workdir:
            raise UserError(
                "--workdir is not given: give the folder of a run of bin/train"
            )


def run(config: ExportConfig) -> None:
    """Writes the folder.

    Raises:
      UserError: no run in workdir, or an output that is something else.
    """
    folder = Path(config.workdir).expanduser()
    output = Path(config.output).expanduser() if config.output else folder / "export"
    run_config = workdirs.read_config(folder, data_dir=config.data_dir)
    _check_output(output)
    dataset = run_setup.load_dataset(run_config)
    setup = run_setup.build(run_config, dataset)
    trained = meta_training.restore(setup, folder)
    output.mkdir(parents=True, exist_ok=True)
    if config.ready:
        text = cards.card(folder, run_config)
        train.export_teacher(trained, output, half=True)
        files.write_text_atomically(output / "card.md", text)
        print(f"exported to {output}", file=sys.stderr)
        return
    model = train.export_run(trained, output)
    saved_models.export_keras(output / "learner.keras", model, dataset)
    teacher = setup.problem.teacher
    if teacher.learns:
        shown = synthetic_data.collect(teacher, run_config.seed)
        rates = setup.problem.hyperparameters.values()
        synthetic_data.save_npz(output / "synthetic.npz", shown, rates)
        name = re.sub(r"\W", "_", f"{dataset.name}_{run_config.teacher}")
        synthetic_data.save_tfrecords(output / "tfds", shown, name, dataset.class_names)
    print(f"exported to {output}", file=sys.stderr)


def _check_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"--output={output} is a file: give a folder")
    earlier = output / "teacher" / "saved_model.pb"
    if output.is_dir() and any(output.iterdir()) and not earlier.is_file():
        raise UserError(
            f"--output={output} is not empty and holds no earlier export: give a new "
            "or an empty folder"
        )


def main() -> int:
    """The command line's exit code."""
    return command_line.run(ExportConfig, run, sys.argv)
