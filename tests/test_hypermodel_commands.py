"""bin/search --hypermodel with finalists, and bin/report on its folders."""

import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import types

import pytest
from keras_tuner.src import config as tuner_config

from gtn_tf.errors import UserError
from nas.commands import report, search, teacher_search
from nas.commands.report import ReportConfig
from nas.search import distribution
from nas.search.config import SearchConfig
from nas.search.tuner import TeacherTuner

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What a user has in a file.
SPACE = """
    import keras
    from keras import layers

    def plain(hp):
        units = hp.Int("units", 2, 40)
        activation = hp.Choice("activation", ["relu", "tanh"])
        return keras.Sequential([
            keras.Input((8, 8, 1)), layers.Flatten(),
            layers.Dense(units, activation), layers.Dense(10),
        ])

    def build(hp, loss="sparse_categorical_crossentropy"):
        model = keras.Sequential([plain(hp), layers.Softmax()])
        model.compile("adam", loss, jit_compile=False)
        return model

    def fails(hp):
        if hp.Float("rate", 0, 1):  # but for its default
            raise ValueError("no such layer")
        return plain(hp)

    def one_hot(hp):
        return build(hp, "categorical_crossentropy")
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A folder of a user's, and a process that stands in it."""
    folder = tmp_path_factory.mktemp("there")
    (folder / "spaces.py").write_text(textwrap.dedent(SPACE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        yield folder
    sys.modules.pop("spaces", None)


@pytest.fixture(scope="module")
def whole(space):
    """The folder of a search with finalists that nothing has disturbed."""
    search.run(SearchConfig(**flags("whole")))
    return space / "whole"


def flags(folder, name="build", **changes):
    options = {"hypermodel": f"spaces:{name}", "max_trials": 4, "workdir": str(folder)}
    options |= {"num_finalists": 4, "halving_factor": 4}
    return options | {"num_validation_images": 100} | changes


def start(folder, **changes):
    command = [sys.executable, ROOT / "bin" / "search"]
    command += [f"--{name}={value}" for name, value in flags(folder, **changes).items()]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def found(folder):
    """Scores, values, and accuracies of the finalists, as they are in files."""
    files = sorted((folder / "keras_tuner").glob("trial_*/trial.json"))
    states = [json.loads(file.read_text()) for file in files]
    trials = [(each["hyperparameters"]["values"], each["score"]) for each in states]
    record = json.loads((folder / "keras_tuner" / "halving.json").read_text())
    return trials, [
        (each["trial_id"], each["epochs"], each["accuracy"])
        for each in record["trainings"]
    ]


def table_without_seconds(path):
    lines = [line.split("|") for line in path.read_text().splitlines()]
    return [line[:2] + line[3:] if len(line) == 5 else line for line in lines]


def make_report(*folders):
    report.run(ReportConfig(",".join(folders), "page"))
    return pathlib.Path("page", "report.md").read_text()


def test_a_search_and_its_finalists(whole, capsys):
    table = (whole / "table.md").read_text()
    search.run(SearchConfig(**flags("whole")))  # there is nothing left to do
    assert capsys.readouterr().out.strip() == table.strip()
    assert (whole / "table.md").read_text() == table
    assert "| real accuracy | epochs | score | values |" in " ".join(table.split())
    trials, trainings = found(whole)
    assert len(trials) == 4
    assert [epochs for _, epochs, _ in trainings] == [1, 1, 1, 1, 4]


def test_killed_while_finalists_train(space, whole):
    part = start("part")
    record = space / "part" / "keras_tuner" / "halving.json"
    while not record.exists():
        assert part.poll() is None
        time.sleep(0.01)
    part.send_signal(signal.SIGKILL)
    part.communicate()
    assert len(json.loads(record.read_text())["trainings"]) < 5
    search.run(SearchConfig(**flags("part")))
    assert found(space / "part") == found(whole)
    table = table_without_seconds(whole / "table.md")
    assert table_without_seconds(space / "part" / "table.md") == table


def test_finalists_in_the_report(space, whole):
    shutil.copytree(whole / "keras_tuner", space / "own_program")
    text = make_report("whole", "own_program")
    for name in ("spaces:build", "own_program"):
        assert f"## Trials of {name}, scored by the teacher" in text
        assert f"## Rank agreement of teacher and real data, {name}" in text
    assert text.count("units=") == 2 * (4 + 4)
    assert text.count("After epochs of real data: 1.") == 2
    assert "After epochs of real data: 4." not in text  # of one
    lines = [line.split("|") for line in text.splitlines() if "| teacher " in line]
    assert [line[2].strip() for line in lines] == ["4", "4"]
    _, trainings = found(whole)
    best = max(accuracy for _, epochs, accuracy in trainings if epochs == 4)
    finalists = text.split("## Finalists of spaces:build")[1]
    assert f"| {best:.4g} " in finalists.splitlines()[4]


def test_a_hypermodel_that_always_fails_is_told_in_one_line(space):
    config = SearchConfig(**flags("failed", "fails", num_finalists=0, max_trials=25))
    with pytest.raises(UserError) as raised:
        search.run(config)
    assert "spaces:fails failed in 20 trials in a row" in str(raised.value)
    assert "no such layer" in str(raised.value) and "\n" not in str(raised.value)


def test_a_search_without_finalists_in_the_report(space):
    search.run(SearchConfig(**flags("out", "plain", num_finalists=0, max_trials=2)))
    text = make_report("out")
    assert "## Trials of spaces:plain" in text and "inalists" not in text
    for content in ("{", "[]", "{}"):
        path = space / "out" / "keras_tuner" / "trial_0" / "trial.json"
        path.write_text(content)
        with pytest.raises(UserError, match="trial.json is no trial of keras-tuner"):
            make_report("out")


def test_a_chief_and_two_workers_and_the_chiefs_finalists(space, whole):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [start("several", role="chief", address=address)]
    for name in ("a", "b"):
        process = start("several", role="worker", worker=name, address=address)
        processes.append(process)
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    trials, trainings = found(whole)
    together, others = found(space / "several")
    assert [values for values, _ in together] == [values for values, _ in trials]
    assert others == trainings


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"name": "plain"}, "is not compiled: compile it in build"),
        ({"name": "one_hot"}, "spaces:one_hot does not train on images .* label ids"),
    ],
)
def test_hypermodels_that_cannot_train(space, changes, words):
    with pytest.raises(UserError, match=words):
        search.run(SearchConfig(**flags(changes["name"], **changes, max_trials=1)))
    judged = list((space / changes["name"]).glob("keras_tuner/trial_*"))
    assert bool(judged) is (changes["name"] == "one_hot")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"num_finalists": 3}, "--num_finalists=3 does not go with --space=nao"),
        ({"halving_factor": 2}, "--halving_factor=2 does not go with --space=nao"),
        (
            {"hypermodel": "a:b", "halving_factor": 1},
            "halving_factor=1 is out of range",
        ),
    ],
)
def test_flags_that_do_not_go_together(changes, words):
    with pytest.raises(UserError, match=words):
        SearchConfig(**changes)


def test_each_trial_is_told_in_one_line(monkeypatch, capsys):
    tuner = object.__new__(teacher_search._Tuner)
    values = types.SimpleNamespace(values={"units": 7, "activation": "relu"})
    trial = types.SimpleNamespace(trial_id="3", hyperparameters=values)
    found = {"val_accuracy": 0.5, "seconds": 1.25}
    monkeypatch.setattr(TeacherTuner, "run_trial", lambda *_: found)
    assert tuner.run_trial(trial, None, None) == found
    told = "trial 3: val_accuracy 0.5000 in 1.2 s (units=7, activation=relu)\n"
    assert capsys.readouterr() == ("", told)

    def fail(*_):
        raise ValueError("too\nwide")

    monkeypatch.setattr(TeacherTuner, "run_trial", fail)
    with pytest.raises(ValueError), teacher_search._without_tracebacks():
        assert not tuner_config.DEBUG  # or keras-tuner would print a traceback
        tuner.run_trial(trial, None, None)
    assert tuner_config.DEBUG
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("trial 3 failed (ValueError: too wide; ")


@pytest.mark.parametrize("role", ["local", "chief", "worker"])
def test_workers_alone_tell_what_they_do(capsys, role):
    config = SearchConfig(role=role, worker="w7")
    distribution.tell(config, "judges")
    told = "w7: judges\n" if role == "worker" else ""
    assert capsys.readouterr() == ("", told)
