"""Whole runs that are killed: the end is as if they had not been, bit for bit."""

import dataclasses
import multiprocessing
import os
import random
import signal
import time

import pytest
import tensorflow as tf
from test_train import assert_same_values, final_values, rows, without_seconds

from gtn_tf.commands import command_line, train
from gtn_tf.runs.config import TrainingConfig

NUM_STEPS = 150
NUM_KILLS = 8
CONFIG = TrainingConfig(
    teacher="distillation",  # quick to start: no generator is traced
    learner="fully_connected:4",
    weight_norm=False,
    normalization="none",
    leave_out="",
    inner_optimizer="sgd",
    warm_start_steps=0,
    num_inner_steps=1,  # and no loop
    inner_batch_size=10,
    outer_batch_size=10,
    num_outer_steps=NUM_STEPS,
    validate_every=50,
    checkpoint_every_seconds=0,
    compare_with_real=False,
    num_test_learners=2,
)


def run(folder, **changes):
    config = dataclasses.replace(CONFIG, workdir=str(folder), **changes)
    arguments = ["train", *config.as_flagfile().splitlines()]
    os._exit(command_line.run(TrainingConfig, train.run, arguments))


@pytest.fixture(scope="module")
def start():
    """Starts a run in a process that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_survival"])

    def started(folder, **changes):
        process = context.Process(target=run, args=(folder,), kwargs=changes)
        process.start()
        return process

    return started


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    return folder


def wait_for_steps(process, folder, count):
    metrics = folder / "metrics.csv"
    while process.is_alive():
        if metrics.is_file() and metrics.read_text().count("\n") > count:
            return
        time.sleep(0.005)
    assert process.exitcode == 0


def killed_until_done(start, folder, num_kills, most_steps, **changes):
    """Runs again after each of `num_kills` kills, `most_steps` apart at most."""
    last = dataclasses.replace(CONFIG, **changes).num_outer_steps - 1
    random.seed(0)
    kills = 0
    while True:
        process = start(folder, **changes)
        if kills < num_kills:
            done = len(rows(folder)) if (folder / "metrics.csv").is_file() else 0
            count = min(done + random.randrange(most_steps), last)
            wait_for_steps(process, folder, count)
            time.sleep(random.random() * 0.02)  # anywhere in a step or a checkpoint
            if process.is_alive():
                process.kill()
                kills += 1
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert kills == num_kills


def assert_same_run(folder, undisturbed):
    assert without_seconds(folder) == without_seconds(undisturbed)
    assert_same_values(final_values(folder), final_values(undisturbed))
    seconds = [float(row["seconds"]) for row in rows(folder)]
    assert seconds == sorted(seconds)
    for path in folder.glob("events.out.tfevents.*"):
        for _ in tf.compat.v1.train.summary_iterator(str(path)):
            pass  # raises where a record is damaged


def test_killed_at_random_moments(start, undisturbed, tmp_path):
    killed_until_done(start, tmp_path, NUM_KILLS, 6)
    assert_same_run(tmp_path, undisturbed)


def test_a_closed_loop_with_a_learned_loss_killed(start, tmp_path):
    changes = {
        "teacher": "closed_loop",
        "inner_loss": "learned",
        "generator_widths": "8-4-4",
        "latent_size": 4,
        "num_inner_steps": 2,
        "num_outer_steps": 30,
    }
    process = start(tmp_path / "undisturbed", **changes)
    process.join()
    assert process.exitcode == 0
    killed_until_done(start, tmp_path / "killed", 2, 15, **changes)
    assert_same_run(tmp_path / "killed", tmp_path / "undisturbed")


@pytest.mark.long
def test_the_default_run_killed(start, tmp_path):
    fields = dataclasses.fields(TrainingConfig)
    changes = {f.name: f.default for f in fields if f.name != "workdir"}
    changes |= {"compare_with_real": False, "checkpoint_every_seconds": 1}
    process = start(tmp_path / "undisturbed", **changes)
    process.join()
    assert process.exitcode == 0
    killed_until_done(start, tmp_path / "killed", 30, 40, **changes)
    assert_same_run(tmp_path / "killed", tmp_path / "undisturbed")


def test_signals_save_and_leave(start, undisturbed, tmp_path):
    done = 0
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path, checkpoint_every_seconds=1e9)
        least = done + 30
        wait_for_steps(process, tmp_path, least)
        os.kill(process.pid, number)
        process.join()
        assert process.exitcode == 128 + number
        done = len(rows(tmp_path))
        assert least <= done < NUM_STEPS
    again = start(tmp_path)
    again.join()
    assert again.exitcode == 0
    assert without_seconds(tmp_path) == without_seconds(undisturbed)
    assert_same_values(final_values(tmp_path), final_values(undisturbed))


def test_two_at_once(start, tmp_path):
    first = start(tmp_path, num_outer_steps=10**6)
    wait_for_steps(first, tmp_path, 5)
    second = start(tmp_path)
    second.join()
    assert second.exitcode == 2
    assert (tmp_path / "lock").read_text() == f"{first.pid}\n"
    first.kill()
    first.join()
