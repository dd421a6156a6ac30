"""Every program, bad input of every kind: one line, exit code 2, nothing written."""

import gzip
import pathlib
import pickle
import sys

import pytest
from absl import app, flags
from absl.testing import flagsaver

from gtn_tf.commands import benchmark, command_line, evaluate, export, study, train
from gtn_tf.networks.families import FAMILIES
from gtn_tf.runs.config import TrainingConfig
from nas.commands import report, search
from nas.commands.report import ReportConfig
from nas.search.config import SearchConfig

PROGRAMS = {
    "train": (TrainingConfig, train.run, None),
    "evaluate": (evaluate.EvaluationConfig, evaluate.run, None),
    "export": (export.ExportConfig, export.run, None),
    "benchmark": (benchmark.BenchmarkConfig, benchmark.run, None),
    "study": (study.StudyConfig, study.run, None),
    "search": (SearchConfig, search.run, None),
    "report": (ReportConfig, report.run, "folders"),
}


@pytest.fixture(autouse=True)
def own_flags(monkeypatch):
    """absl's flags are global: what a test defines goes with it."""
    app.define_help_flags()
    monkeypatch.setattr(sys, "argv", ["program"])
    with flagsaver.flagsaver():
        before = set(flags.FLAGS)
        yield
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders and files that are no use, and a place to stand."""
    there = tmp_path / "there"
    for name in ("empty", "mnist", "cifar", "run", "search", "teacher"):
        (there / name).mkdir(parents=True)
    (there / "file").write_text("no folder")
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3"):
        path = there / "mnist" / f"{name}-ubyte.gz"
        path.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12))
    (there / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    batches = there / "cifar" / "cifar-10-batches-py"
    batches.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (batches / name).write_bytes(pickle.dumps(pathlib.PurePath("x")))
    (batches / "batches.meta").write_bytes(b"\x80")
    (there / "run" / "flags.txt").write_text("--seed=0\n--no_such_flag=1\n")
    (there / "emptied").mkdir()
    (there / "emptied" / "flags.txt").touch()
    (there / "noarchitectures").write_text("\n")
    (there / "run" / "metrics.csv").write_text("a,b\n1,2\n")
    (there / "search" / "flags.txt").write_text(
        SearchConfig(workdir=str(there / "search")).as_flagfile()
    )
    (there / "search" / "journal.jsonl").write_text('{"score": 1}\n')
    (there / "teacher" / "saved_model.pb").write_bytes(b"\1\2\3")
    (there / "architectures").write_text("0 7 1\n")
    (there / "bad.flags").write_text("--seed\n")
    monkeypatch.chdir(there)
    return there


BAD = [
    ("train", "--dataset=nothing_like_it"),
    ("train", "--dataset="),
    ("train", "--data_dir=missing"),
    ("train", "--data_dir=file"),
    ("train", "--dataset=mnist --data_dir=empty"),
    ("train", "--dataset=mnist --data_dir=mnist"),
    ("train", "--dataset=cifar10 --data_dir=cifar"),
    ("train", "--dataset=folder:missing"),
    ("train", "--dataset=folder:empty"),
    ("train", "--dataset=folder:empty --data_dir=cifar"),
    ("train", "--dataset=npz:file"),
    ("train", "--dataset=npz:"),
    ("train", "--dataset=python:arrays-1234"),
    ("train", "--image_size=two"),
    ("train", "--workdir=empty/../mnist"),
    ("train", "--workdir=file"),
    ("train", "--workdir=run"),
    ("train", "--workdir=/proc/1/run"),
    ("train", "--learner=digits:0-1-1"),
    ("train", "--learner=digits:64"),
    ("train", "--learner=vgg"),
    ("train", "--learner=any:4-4-4"),
    ("train", "--learner=residual:4"),
    ("train", "--leave_out=vgg"),
    ("train", f"--leave_out={','.join(FAMILIES)}"),
    ("train", "--vary=depth"),
    ("train", "--learners_per_step=0"),
    ("train", "--teacher=real --curriculum=all_shuffled"),
    ("train", "--teacher=distillation --curriculum=none"),
    ("train", "--curriculum=best"),
    ("train", "--seed=-1"),
    ("train", "--seed=one"),
    ("train", "--num_inner_steps=0"),
    ("train", "--inner_momentum=1"),
    ("train", "--inner_decay=0"),
    ("train", "--outer_learning_rate=nan"),
    ("train", "--outer_learning_rate=-0.1"),
    ("train", "--clip_norm=inf"),
    ("train", "--segment_length=11"),
    ("train", "--generator_widths=1-2"),
    ("train", "--weight_norm=perhaps"),
    ("train", "--max_divergences=-1"),
    ("train", "--flagfile=missing.flags"),
    ("train", "--flagfile=bad.flags"),
    ("train", "--no_such_flag"),
    ("train", "digits"),
    ("evaluate", ""),
    ("evaluate", "--workdir=missing"),
    ("evaluate", "--workdir=empty"),
    ("evaluate", "--workdir=run"),
    ("evaluate", "--workdir=run --split=train"),
    ("evaluate", "--workdir=run --num_test_learners=1"),
    ("evaluate", "--workdir=run --num_learners=5"),
    ("evaluate", "--workdir=emptied"),
    ("export", "--workdir=emptied"),
    ("train", "--workdir=emptied"),
    ("benchmark", "--num_repeats=0"),
    ("benchmark", "--learner=vgg"),
    ("export", "--output=out"),
    ("export", "--workdir=missing --output=out"),
    ("export", "--workdir=run --output=out"),
    ("study", "--study=weight_norm --num_trials=0"),
    ("study", "--study=everything"),
    ("study", "--dataset=mnist --data_dir=mnist --workdir=out"),
    ("study", "--learner=vgg --workdir=out"),
    ("study", "--study=sources --num_seeds=0"),
    ("search", "--evaluation=guess"),
    ("search", "--evaluation=params --dataset=folder:missing --workdir=out"),
    ("search", "--dataset=npz:file --workdir=out"),
    ("search", "--evaluation=params --image_size=2x2 --workdir=out"),
    ("search", "--teacher=missing"),
    ("search", "--teacher=empty"),
    ("search", "--teacher=teacher"),
    ("search", "--dataset=mnist --data_dir=empty --evaluation=params"),
    ("search", "--evaluation=params --architectures=architectures --workdir=out"),
    ("search", "--evaluation=params --architectures=missing --workdir=out"),
    ("search", "--evaluation=params --architectures=noarchitectures --workdir=out"),
    ("search", "--data_dir=missing --workdir=out"),
    ("search", "--evaluation=params --workdir=search"),
    ("search", "--role=worker --address=nowhere"),
    ("search", "--role=chief --address=127.0.0.1:99999 --workdir=out"),
    ("search", "--num_nodes=9"),
    ("search", "--hypermodel=missing:build --workdir=out"),
    ("search", "--hypermodel=math:pi --workdir=out"),
    ("search", "--hypermodel=math:sin --space=darts --workdir=out"),
    ("report", "--output=out"),
    ("report", "run"),
    ("report", "run --output=out"),
    ("report", "empty --output=out"),
    ("report", "search --output=out"),
    ("report", "missing --output=out"),
    ("report", "run --output=out --reference=nowhere.json"),
]


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("program, arguments", BAD)
def test_one_line_and_nothing_written(places, capsys, program, arguments):
    config_class, command, positional = PROGRAMS[program]
    before = contents(places)
    code = command_line.run(
        config_class, command, [program, *arguments.split()], positional
    )
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert out == "" and len(lines) == 1 and lines[0] == err.splitlines()[-1]
    assert "Traceback" not in err and "ERROR" not in err
    assert contents(places) == before
