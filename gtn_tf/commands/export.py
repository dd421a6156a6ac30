"""Everything that others can use of a run, in one folder: what bin/export writes.

OUTPUT/  teacher/  learner/  learner.keras  synthetic.npz  tfds/NAME/1.0.0/
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from gtn_tf.commands import train
from gtn_tf.commands.configs import ExportConfig
from gtn_tf.errors import UserError
from gtn_tf.export import cards, saved_models, synthetic_data
from gtn_tf.runs import files, meta_training, run_setup, workdirs


def run(config: ExportConfig) -> None:
    """Writes the folder.

    Raises:
      UserError: no run in workdir, or an output that is something else.
    """
    folder = Path(config.workdir).expanduser()
    output = _output(config)
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


def _output(config: ExportConfig) -> Path:
    return Path(config.output or f"{config.workdir}/export").expanduser()


def _check_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"--output={output} is a file: give a folder")
    earlier = output / "teacher" / "saved_model.pb"
    if output.is_dir() and any(output.iterdir()) and not earlier.is_file():
        raise UserError(
            f"--output={output} is not empty and holds no earlier export: give a new "
            "or an empty folder"
        )


def next_steps(config: ExportConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    return [f"gtn_tf.load_teacher({str(_output(config))!r}) in Python"]
