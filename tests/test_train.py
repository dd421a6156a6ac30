"""Whole runs on digits, as small as they can be."""

import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.networks import learners
from gtn_tf.runs import builders, meta_training, workdirs
from gtn_tf.runs.checkpoints import Checkpoints
from gtn_tf.runs.config import TrainingConfig

SMALL = TrainingConfig(
    learner="digits:4-5-6",
    leave_out="",
    inner_optimizer="sgd",
    warm_start_steps=0,
    num_inner_steps=2,
    inner_batch_size=10,
    outer_batch_size=12,
    generator_widths="8-4-4",
    latent_size=4,
    num_outer_steps=4,
    validate_every=2,
    checkpoint_every_seconds=0,
    num_test_learners=2,
)
SMALL_FLAGS = [line for line in SMALL.as_flagfile().splitlines()]


@pytest.fixture(scope="module")
def digits():
    return loaders.load("digits", None, SMALL.seed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, results) of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("run")
    return folder, train.run(dataclasses.replace(SMALL, workdir=str(folder)))


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(folder):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder)]


def final_values(folder):
    """Every number of the last checkpoint but the seconds."""
    return Checkpoints(folder / "checkpoints").restore()[1]


def assert_same_values(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.array_equal(value, other[name]), name


def test_a_run_leaves_what_others_rely_on(finished):
    folder, results = finished
    assert results == json.loads((folder / "results.json").read_text())
    assert results["num_outer_steps"] == 4
    for source in ("teacher", "real"):
        accuracy = results[source]["test_accuracy"]
        assert len(accuracy["values"]) == 2
        assert all(0 <= value <= 1 for value in accuracy["values"])
        assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]
    assert list(rows(folder)[0])[:3] == ["outer_step", "seconds", "meta_loss"]
    assert [row["outer_step"] for row in rows(folder)] == ["1", "2", "3", "4"]
    assert [bool(row["validation_accuracy"]) for row in rows(folder)] == [0, 1, 0, 1]
    assert len(list((folder / "samples").glob("*.png"))) == 2
    assert list(folder.glob("events.out.tfevents.*"))
    for model in ("teacher", "learner"):
        assert (folder / model / "saved_model.pb").is_file()


def test_real_data_is_compared_on_the_same_terms(finished):
    folder, _ = finished
    teacher, real = (
        (path / "flags.txt").read_text().splitlines()
        for path in (folder, folder / "real")
    )
    assert set(real) - set(teacher) == {"--teacher=real"}
    assert len(rows(folder / "real")) == len(rows(folder))


def test_the_same_command_does_not_train_twice(finished):
    folder, results = finished
    before = (folder / "metrics.csv").read_bytes()
    again = train.run(dataclasses.replace(SMALL, workdir=str(folder)))
    assert again == results
    assert (folder / "metrics.csv").read_bytes() == before


@pytest.mark.parametrize("stop_after", [1, 3])
def test_continuing_equals_not_stopping(finished, digits, tmp_path, stop_after):
    folder, _ = finished
    config = dataclasses.replace(SMALL, workdir=str(tmp_path))
    workdirs.open_workdir(tmp_path, config)
    limited = dataclasses.replace(config)
    real_step = meta_training.outer_loop.train

    def stopping(step, start, num_outer_steps, *others):
        return real_step(step, start, stop_after, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta_training.outer_loop, "train", stopping)
        meta_training.meta_train(limited, digits, tmp_path)
    assert len(rows(tmp_path)) == stop_after
    meta_training.meta_train(config, digits, tmp_path)
    assert without_seconds(tmp_path) == without_seconds(folder)
    assert_same_values(final_values(tmp_path), final_values(folder))


def test_continuing_with_several_learners_a_step_equals_not_stopping(digits, tmp_path):
    config = dataclasses.replace(
        SMALL,
        teacher="distillation",
        learner="fully_connected:4,fully_connected:5,fully_connected:6",
        learners_per_step=2,
        num_outer_steps=3,
    )
    folders = [tmp_path / name for name in ("whole", "stopped")]
    for folder in folders:
        workdirs.open_workdir(folder, config)
    whole_train = meta_training.outer_loop.train

    def stopping(step, start, num_outer_steps, *others):
        return whole_train(step, start, 1, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta_training.outer_loop, "train", stopping)
        meta_training.meta_train(config, digits, folders[1])
    assert len(rows(folders[1])) == 1
    for folder in folders:
        meta_training.meta_train(config, digits, folder)
    assert len(rows(folders[1])) == 3
    assert without_seconds(folders[0]) == without_seconds(folders[1])
    assert_same_values(*map(final_values, folders))


def test_rows_beyond_the_checkpoint_are_done_again(finished, digits, tmp_path):
    folder, _ = finished
    config = dataclasses.replace(SMALL, workdir=str(tmp_path))
    workdirs.open_workdir(tmp_path, config)
    rare = dataclasses.replace(config, checkpoint_every_seconds=1e9)

    def killed(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            meta_training.meta_train(rare, digits, tmp_path)
    assert len(rows(tmp_path)) == 4  # and no checkpoint: all is done again
    meta_training.meta_train(config, digits, tmp_path)
    assert without_seconds(tmp_path) == without_seconds(folder)


def test_learning_rates_begin_as_the_flags_say(digits):
    config = dataclasses.replace(
        SMALL, num_inner_steps=3, inner_learning_rate=0.4, inner_decay=0.5
    )
    values = builders.build_problem(config, digits).hyperparameters.values()
    np.testing.assert_allclose(values["learning_rate"], [0.4, 0.3, 0.2], rtol=1e-5)
    np.testing.assert_allclose(values["momentum"], [0.5] * 3, rtol=1e-5)


class Forbidden:
    """A split that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"training has read {name} of the test split")


@pytest.mark.parametrize("teacher", ["gtn", "distillation", "real"])
def test_training_never_reads_the_test_split(digits, tmp_path, teacher):
    config = dataclasses.replace(SMALL, teacher=teacher, num_outer_steps=2)
    workdirs.open_workdir(tmp_path, config)
    hidden = dataclasses.replace(digits, test=Forbidden())
    trained = meta_training.meta_train(config, hidden, tmp_path)
    assert trained.progress.outer_step == 2
    with pytest.raises(AssertionError, match="test split"):
        trained.evaluator.accuracies(hidden.test, 1, 0)


def test_two_processes_compute_the_same_bits(tmp_path):
    program = "import sys; from gtn_tf.commands import train; sys.exit(train.main())"
    flags = [flag for flag in SMALL_FLAGS if not flag.startswith("--workdir")]
    folders = [tmp_path / "one", tmp_path / "other"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *flags, f"--workdir={folder}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-2000:]
    assert_same_values(*map(final_values, folders))
    assert without_seconds(folders[0]) == without_seconds(folders[1])
    title, header, _, *table = outputs[0][0].splitlines()
    assert "2 fresh learners of each kind, 95 % intervals (4 outer steps" in title
    assert header.split() == ["kind", "of", "network", "gtn", "real", "p", "(real)"]
    assert [line.split()[0] for line in table] == ["digits"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dataset": "nothing_like_it"}, "unknown"),
        ({"learner": "digits:4"}, "takes 3 positive integers"),
        ({"data_dir": "/nowhere/at/all"}, "is no folder"),
    ],
)
def test_bad_input_leaves_no_folder(tmp_path, change, message):
    folder = tmp_path / "run"
    config = dataclasses.replace(SMALL, workdir=str(folder), **change)
    with pytest.raises(ValueError, match=message):
        train.run(config)
    assert not folder.exists()


def test_learners_are_built_once_before_training(digits, monkeypatch):
    """Whatever asks for their sizes: a check, the training, that of real data."""
    built = []
    build = learners.build_model

    def counted(spec):
        built.append(spec)
        return build(spec)

    monkeypatch.setattr(learners, "build_model", counted)
    config = dataclasses.replace(SMALL, learner="shallow", num_learners=3, seed=77)
    specs = builders.build_learner_specs(config, digits)
    for _ in range(3):
        problem = builders.build_problem(config, digits)
        builders.build_differentiation(config, problem, specs)
    assert len(built) == len(set(specs)) == 3


def test_images_that_do_not_suit_the_generator(digits, tmp_path, monkeypatch):
    cut = {
        name: dataclasses.replace(split, images=split.images[:, :6, :7])
        for name in ("train", "validation", "test")
        for split in [getattr(digits, name)]
    }
    monkeypatch.setattr(
        train.loaders, "load", lambda *_: dataclasses.replace(digits, **cut)
    )
    config = dataclasses.replace(SMALL, workdir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="6x7 pixels .* divisible by 4"):
        train.run(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"inner_optimizer": "adam", "inner_learning_rate": 0.01},
        {"inner_loss": "mean_squared_error"},
        {"curriculum": "none", "inner_hyperparameters": "shared"},
        {"precision": "bfloat16", "weight_norm": False, "normalization": "batch"},
        {"recompute": "always", "segment_length": 2, "augment": "always"},
        {"inner_optimizer": "muon", "learner": "transformer:4-4"},
        {"learners_per_step": 3, "vary": "none", "normalization": "layer"},
    ],
)
def test_every_kind_of_recipe_runs(digits, tmp_path, change):
    config = dataclasses.replace(SMALL, num_outer_steps=2, **change)
    workdirs.open_workdir(tmp_path, config)
    meta_training.meta_train(config, digits, tmp_path)
    values = [float(row["gradient_norm"]) for row in rows(tmp_path)]
    assert len(values) == 2 and min(values) > 0
