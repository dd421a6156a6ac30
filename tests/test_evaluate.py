"""bin/evaluate: measured rows, a table and figures of a finished run."""

import csv
import dataclasses
import pathlib
import shutil

import problems
import pytest

from gtn_tf.commands import evaluate
from gtn_tf.commands.evaluate import EvaluationConfig
from gtn_tf.data import loaders
from gtn_tf.evaluation import measures, unseen_architectures
from gtn_tf.evaluation.measures import Row
from gtn_tf.networks import stock_models
from gtn_tf.runs import meta_training, run_setup, workdirs


def train(folder, **changes):
    config = dataclasses.replace(problems.SMALL_RUN, workdir=str(folder), **changes)
    workdirs.open_workdir(folder, config)
    digits = loaders.load("digits", None, config.seed)
    meta_training.meta_train(run_setup.build(config, digits), folder)
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A GTN without curriculum with its real data, and distillation."""
    folder = tmp_path_factory.mktemp("runs")
    gtn = train(folder / "gtn", curriculum="none")
    train(folder / "gtn" / "real", teacher="real")
    return gtn, train(folder / "pixels", teacher="distillation")


def test_everything_is_written(runs, capsys, monkeypatch):
    gtn, pixels = runs
    wide = unseen_architectures.UNSEEN_ARCHITECTURES["twice as wide"]
    monkeypatch.setattr(
        unseen_architectures, "UNSEEN_ARCHITECTURES", {"twice as wide": wide}
    )
    plain = stock_models.STOCK_MODELS["multilayer perceptron"]
    monkeypatch.setattr(measures, "STOCK_MODELS", {"plain perceptron": plain})
    monkeypatch.setattr(measures, "_FACTORS", (1, 2))
    evaluate.run(
        EvaluationConfig(
            gtn, pixels, num_test_learners=2, num_ensemble=2, split="validation"
        )
    )
    folder = pathlib.Path(gtn) / "evaluation"
    table = (folder / "table.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    for name in ("2b", "7", "5a", "5b"):
        png = (folder / f"figure_{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG") and len(png) > 5_000
    with (folder / "evaluation.csv").open(newline="") as file:
        rows = [Row(**row) for row in csv.DictReader(file)]
    assert {row.source for row in rows} == {"gtn", "distillation", "real"}
    lines = table.splitlines()
    assert "| architectures | gtn | distillation | real |" in lines
    (wide,) = [line for line in lines if line.startswith("| twice as wide |")]
    measured = [
        float(row.accuracy)
        for row in rows
        if (row.source, row.condition) == ("gtn", "twice as wide")
    ]
    assert len(measured) == 2
    assert any(line.startswith("| plain perceptron |") for line in lines)
    assert f"{sum(measured) / 2:.2%} (" in wide and "p = " in wide
    (doubled,) = [line for line in lines if line.startswith("| 20 |")]
    cells = [cell.strip() for cell in doubled.split("|")[2:5]]
    assert cells[0] and not cells[1] and cells[2]  # pixels are stored
    assert list((folder / "gtn").glob("events.out.tfevents.*"))


def test_only_what_is_asked_for_is_measured(runs, capsys, monkeypatch):
    _, pixels = runs
    model = next(iter(measures.STOCK_MODELS))
    monkeypatch.setattr(measures, "STOCK_MODELS", {model: measures.STOCK_MODELS[model]})
    config = EvaluationConfig(
        pixels, measures="stock_models", num_test_learners=2, split="validation"
    )
    evaluate.run(config)
    assert f"| {model} |" in capsys.readouterr().out
    path = pathlib.Path(pixels) / "evaluation" / "evaluation.csv"
    with path.open(newline="") as file:
        found = [(row["measure"], row["condition"]) for row in csv.DictReader(file)]
    assert found == [("stock_models", model)] * 2


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="--measures=a,ensembles names a: give some"):
        EvaluationConfig("run", measures="a,ensembles")


def contents(folder):
    paths = pathlib.Path(folder).rglob("*")
    return {p: p.read_bytes() if p.is_file() else None for p in paths}


def test_a_run_that_nothing_may_be_written_to(runs, tmp_path, capsys):
    _, pixels = runs
    other = tmp_path / "a, b"  # a comma is no end of a path in quotes
    shutil.copytree(pixels, other)
    before = contents(pixels), contents(other)
    options = {"measures": "inner_steps", "num_test_learners": 2}
    output = tmp_path / "deep" / "out"
    config = EvaluationConfig(
        pixels, f'"{other}"', output=str(output), split="validation", **options
    )
    evaluate.run(config)
    assert (contents(pixels), contents(other)) == before
    written = {path.name for path in output.iterdir()}
    assert {"evaluation.csv", "table.md", "figure_2b.png"} <= written
    assert "| distillation | a, b |" in capsys.readouterr().out
    assert str(output) in evaluate.next_steps(config)[0]
    (tmp_path / "file").touch()
    config = dataclasses.replace(config, output=str(tmp_path / "file" / "out"))
    with pytest.raises(ValueError, match="cannot be written.*give --output=FOLDER"):
        evaluate.run(config)


def other_steps(folder, gtn):
    config = dataclasses.replace(problems.SMALL_RUN, num_inner_steps=3)
    workdirs.open_workdir(folder / "other", config)
    return {"workdir": gtn, "compare": str(folder / "other")}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda *_: {}, "--workdir is not given"),
        (lambda folder, _: {"workdir": str(folder)}, "holds no run of this program"),
        (lambda _, gtn: {"workdir": gtn, "compare": "/nowhere"}, "/nowhere holds no"),
        (other_steps, "has --num_inner_steps=3 and .*--num_inner_steps=2"),
        (lambda _, gtn: {"workdir": gtn, "num_test_learners": 1}, "rs=1 is out"),
        (lambda _, gtn: {"workdir": gtn, "split": "train"}, "validation, test"),
    ],
)
def test_bad_input_writes_nothing(runs, tmp_path, make, message):
    gtn, _ = runs
    before = sorted(pathlib.Path(gtn).rglob("*"))
    with pytest.raises(ValueError, match=message):
        evaluate.run(EvaluationConfig(**make(tmp_path, gtn)))
    assert sorted(pathlib.Path(gtn).rglob("*")) == before


def test_runs_of_one_teacher_are_called_by_their_folders():
    """Names are folders in TensorBoard: the path of one would be its own folder."""
    config, taken = problems.SMALL_RUN, {}
    runs = [
        (pathlib.Path("/a/first"), config),
        (pathlib.Path("/a/none"), dataclasses.replace(config, curriculum="none")),
        (pathlib.Path("/a/warm"), config),
        (pathlib.Path("/b/warm"), config),
        (pathlib.Path("/c/warm"), config),
        (
            pathlib.Path("/a/pixels"),
            dataclasses.replace(config, teacher="distillation"),
        ),
    ]
    for path, own in runs:
        name = evaluate._name(path, own, taken)
        taken[name] = (own.teacher, own.curriculum)
    assert list(taken) == [
        "gtn",
        "gtn, none",
        "warm",
        "warm (2)",
        "warm (3)",
        "distillation",
    ]
