"""Whole runs on digits, as small as they can be."""

import collections
import csv
import dataclasses
import gc
import json
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gtn_tf.commands import train
from gtn_tf.data import batches, loaders
from gtn_tf.networks import generators, learners
from gtn_tf.runs import data_records, meta_training, run_setup, workdirs
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


def stopped_after(num_outer_steps):
    """A context in which training ends after so many outer steps."""
    whole = meta_training.outer_loop.train

    def stopping(step, start, _, *others):
        return whole(step, start, num_outer_steps, *others)

    return mock.patch.object(meta_training.outer_loop, "train", stopping)


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
    for source, path in (("teacher", folder), ("real", folder / "real")):
        accumulator = EventAccumulator(str(path))
        accumulator.Reload()
        [event] = accumulator.Tensors("few_step_accuracy/test")
        mean = results[source]["test_accuracy"]["mean"]
        assert event.step == 4
        assert tf.make_ndarray(event.tensor_proto) == pytest.approx(mean, rel=1e-6)
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


def test_continuing_equals_not_stopping(finished, digits, tmp_path):
    """Stopped before and after a validation."""
    folder, _ = finished
    config = dataclasses.replace(SMALL, workdir=str(tmp_path))
    workdirs.open_workdir(tmp_path, config)
    for count in (1, 3):
        with stopped_after(count):
            meta_training.meta_train(run_setup.build(config, digits), tmp_path)
        assert len(rows(tmp_path)) == count
    meta_training.meta_train(run_setup.build(config, digits), tmp_path)
    assert without_seconds(tmp_path) == without_seconds(folder)
    assert_same_values(final_values(tmp_path), final_values(folder))


def test_continuing_with_several_learners_a_step_equals_not_stopping(digits, tmp_path):
    config = dataclasses.replace(
        SMALL,
        teacher="distillation",
        learner="fully_connected:4,fully_connected:5,fully_connected:6",
        learners_per_step=2,
        num_inner_steps=1,
        num_outer_steps=3,
        weight_norm=False,
        normalization="none",
    )
    folders = [tmp_path / name for name in ("whole", "stopped")]
    for folder in folders:
        workdirs.open_workdir(folder, config)
    with stopped_after(1):
        meta_training.meta_train(run_setup.build(config, digits), folders[1])
    assert len(rows(folders[1])) == 1
    for folder in folders:
        meta_training.meta_train(run_setup.build(config, digits), folder)
    assert len(rows(folders[1])) == 3
    assert without_seconds(folders[0]) == without_seconds(folders[1])
    assert_same_values(*map(final_values, folders))


def test_rows_beyond_the_checkpoint_are_done_again(digits, tmp_path):
    config = dataclasses.replace(
        problems.SMALL_RUN, teacher="distillation", num_inner_steps=1, num_outer_steps=4
    )
    workdirs.open_workdir(tmp_path, config)
    rare = dataclasses.replace(config, checkpoint_every_seconds=1e9)

    def killed(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            meta_training.meta_train(run_setup.build(rare, digits), tmp_path)
    before = without_seconds(tmp_path)
    assert len(before) == 4  # and no checkpoint: all is done again
    meta_training.meta_train(run_setup.build(config, digits), tmp_path)
    assert without_seconds(tmp_path) == before


def test_learning_rates_begin_as_the_flags_say(digits):
    config = dataclasses.replace(
        SMALL, num_inner_steps=3, inner_learning_rate=0.4, inner_decay=0.5
    )
    values = run_setup.build(config, digits).problem.hyperparameters.values()
    np.testing.assert_allclose(values["learning_rate"], [0.4, 0.3, 0.2], rtol=1e-5)
    np.testing.assert_allclose(values["momentum"], [0.5] * 3, rtol=1e-5)


class Forbidden:
    """A split that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"training has read {name} of the test split")


@pytest.mark.parametrize("teacher", ["gtn", "distillation", "real"])
def test_training_never_reads_the_test_split(digits, tmp_path, monkeypatch, teacher):
    config = dataclasses.replace(
        problems.SMALL_RUN, teacher=teacher, num_outer_steps=2, validate_every=1
    )
    workdirs.open_workdir(tmp_path, config)
    hidden = dataclasses.replace(digits, test=Forbidden())
    # What tells a run's images from others counts all of them, and trains on none.
    monkeypatch.setattr(data_records, "record", lambda *_: None)
    trained = meta_training.meta_train(run_setup.build(config, hidden), tmp_path)
    assert trained.progress.outer_step == 2
    with pytest.raises(AssertionError, match="test split"):
        trained.evaluator.accuracies(hidden.test, 1, 0)


def test_two_processes_compute_the_same_bits(tmp_path):
    """Whether or not real data is compared with afterwards."""
    program = (
        "import sys; from gtn_tf.commands import console; sys.exit(console.train())"
    )
    flags = [flag for flag in SMALL_FLAGS if not flag.startswith("--workdir")]
    folders = [tmp_path / "one", tmp_path / "other"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *flags, *own, f"--workdir={folder}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder, own in zip(folders, ([], ["--nocompare_with_real"]), strict=True)
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


def test_what_a_run_is_made_of_is_built_once(tmp_path, monkeypatch):
    """By the time that training begins, and by that of real data beside it."""
    counts, begun = collections.Counter(), []

    def count(module, name):
        function = getattr(module, name)

        def counted(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    count(loaders, "load")
    count(learners, "parse")
    count(learners, "build_model")
    count(generators, "build_generator")
    count(batches, "sampler")
    loop = meta_training.outer_loop.train

    def train_after_a_look(*args):
        begun.append(dict(counts))
        return loop(*args)

    monkeypatch.setattr(meta_training.outer_loop, "train", train_after_a_look)
    config = dataclasses.replace(
        SMALL,
        learner="fully_connected:4,fully_connected:7,fully_connected:9",
        weight_norm=False,
        normalization="none",
        seed=77,
        num_inner_steps=1,
        num_outer_steps=1,
        workdir=str(tmp_path / "run"),
    )
    train.run(config)
    once = {"load": 1, "parse": 1, "build_model": 3, "build_generator": 1, "sampler": 1}
    # Since then: the learner of the only outer step; real data's own batches.
    assert begun == [once, once | {"build_model": 4, "sampler": 2}]


def test_real_data_shares_what_does_not_depend_on_the_teacher(digits):
    setup = run_setup.build(SMALL, digits)
    for variable in setup.problem.variables:  # as if trained
        variable.assign(variable + 1)
    real = setup.with_real_data()
    assert real.dataset is setup.dataset and real.specs is setup.specs
    assert real.problem.objective is setup.problem.objective
    alone = run_setup.build(real.config, digits)
    assert real.config.teacher == "real" and real.config.seed == SMALL.seed
    for own, other in zip(real.problem.variables, alone.problem.variables, strict=True):
        np.testing.assert_array_equal(own, other)
    sizes = [own.memory_plan.sizes for own in (setup, real, alone)]
    assert sizes[0].step > sizes[1].step == sizes[2].step  # no generator's outputs


@pytest.mark.parametrize(
    "change",
    [
        {
            "inner_optimizer": "adam",
            "inner_learning_rate": 0.01,
            "inner_loss": "mean_squared_error",
        },
        {
            "precision": "bfloat16",
            "weight_norm": False,
            "normalization": "batch",
            "curriculum": "none",
            "inner_hyperparameters": "shared",
        },
        {
            "recompute": "always",
            "segment_length": 2,
            "augment": "always",
            "learners_per_step": 3,
            "vary": "none",
            "normalization": "layer",
        },
        {"inner_optimizer": "muon", "learner": "transformer:4-4"},
    ],
)
def test_every_kind_of_recipe_runs(digits, tmp_path, change):
    config = dataclasses.replace(SMALL, num_outer_steps=2, **change)
    workdirs.open_workdir(tmp_path, config)
    meta_training.meta_train(run_setup.build(config, digits), tmp_path)
    values = [float(row["gradient_norm"]) for row in rows(tmp_path)]
    assert len(values) == 2 and min(values) > 0


def test_no_graph_of_training_outlives_it(tmp_path):
    def graphs():
        keras.utils.clear_session()
        gc.collect()
        found = (o for o in gc.get_objects() if type(o).__name__ == "FuncGraph")
        # TensorFlow keeps small ones, of what is exported.
        return {id(graph) for graph in found if len(graph.get_operations()) > 500}

    before = graphs()
    config = dataclasses.replace(
        SMALL, num_outer_steps=1, compare_with_real=False, workdir=str(tmp_path)
    )
    train.run(config)
    assert not graphs() - before
