"""Training by several processes: as by one, stopped together, and by other numbers."""

import dataclasses
import multiprocessing
import os
import pathlib
import signal
import socket
import time

import numpy as np
import pytest
from test_train import final_values, rows

from gtn_tf.commands import command_line, train
from gtn_tf.runs import meta_training
from gtn_tf.runs.checkpoints import Checkpoints
from gtn_tf.runs.config import TrainingConfig

TIMEOUT = 900  # for machines that are busy with other things
NUM_STEPS = 8
CONFIG = TrainingConfig(
    teacher="distillation",  # quick to start: no generator is traced
    learner="fully_connected:4,fully_connected:5",
    leave_out="",
    inner_optimizer="sgd",
    warm_start_steps=0,
    num_inner_steps=2,
    inner_batch_size=10,
    outer_batch_size=10,
    learners_per_step=3,
    num_outer_steps=NUM_STEPS,
    validate_every=4,
    checkpoint_every_seconds=0,
    compare_with_real=False,
    num_test_learners=2,
)


ONE_KIND = {"learner": "fully_connected:4"}  # of learners: one program to trace


def run(config, place, ending):
    """In a process of its own: bin/train, which gets a signal within an outer step."""
    # Whoever runs the tests in the background may have them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place.mkdir()
    os.chdir(place)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY), number)
    if ending:
        number, last_step = ending
        step = meta_training._Run.guarded_step

        def ended(self, outer_step):
            if outer_step == last_step:
                os.kill(os.getpid(), number)
            return step(self, outer_step)

        meta_training._Run.guarded_step = ended
    if config.num_outer_steps == NUM_STEPS:  # takes longer than all the rest
        train.export_run = lambda trained, folder: None
    arguments = ["train", *config.as_flagfile().splitlines()]
    os._exit(command_line.run(TrainingConfig, train.run, arguments))


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Ended:
    """A process that has ended: its exit code, and what it left where it stood."""

    def __init__(self, process, place):
        process.join(TIMEOUT)
        self.code = process.exitcode
        self.err = (place / "err").read_text()
        self.files = {path.name for path in place.iterdir()}

    @property
    def error(self):
        """The one line that tells what was wrong."""
        lines = self.err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert errors == lines[-1:]
        assert "Traceback" not in self.err
        return lines[-1]


@pytest.fixture(scope="module")
def train_by():
    """A function: so many workers -> how each of them has ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_workers"])

    def train_by(count, folder, last_ends_by=None, last_has=None, **changes):
        workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(count))
        runs = []
        for index in range(count):
            config = dataclasses.replace(CONFIG, **changes)
            is_last = index == count - 1
            if count > 1:
                config = dataclasses.replace(
                    config, workers=workers, worker_index=index
                )
            if is_last:
                config = dataclasses.replace(config, **last_has or {})
            # The others' is a folder that they could not write to.
            workdir = folder if index == 0 else pathlib.Path("/dev/null/none")
            config = dataclasses.replace(config, workdir=str(workdir))
            number = len(list(folder.parent.iterdir()))
            place = folder.parent / f"stood_{number}_{index}"
            ending = last_ends_by if is_last else None
            process = context.Process(target=run, args=(config, place, ending))
            process.start()
            runs.append((process, place))
        return [Ended(*run) for run in runs]

    return train_by


def assert_close(folder, expected):
    """The same to 1e-5: what each outer step tells, and all that is kept."""
    told, other = (
        [[float(row[name] or -1) for name in row if name != "seconds"] for row in own]
        for own in (rows(folder), rows(expected))
    )
    np.testing.assert_allclose(told, other, rtol=1e-5)
    values, other = final_values(folder), final_values(expected)
    assert values.keys() == other.keys()
    for name, value in values.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=1e-5)


def test_two_workers_or_devices_with_a_learner_each_are_one_process_with_two(
    tmp_path, train_by
):
    changes = {"learners_per_step": 2, "num_outer_steps": 3}
    (alone,) = train_by(1, tmp_path / "one", **changes)
    (devices,) = train_by(1, tmp_path / "devices", **changes, devices=2)
    chief, other = train_by(2, tmp_path / "two", **changes)
    assert [alone.code, devices.code, chief.code, other.code] == [0, 0, 0, 0]
    assert_close(tmp_path / "two", tmp_path / "one")
    assert_close(tmp_path / "devices", tmp_path / "one")
    assert other.files == {"out", "err"}
    names = [
        {path.name for path in (tmp_path / name).iterdir() if "events" not in path.name}
        for name in ("one", "two")
    ]
    assert names[0] == names[1] and "results.json" in names[0]


def test_stopped_killed_and_ended_by_another_number(tmp_path, train_by):
    folder = tmp_path / "several"
    ended = train_by(2, folder, (signal.SIGTERM, 2), **ONE_KIND)
    assert [one.code for one in ended] == [128 + signal.SIGTERM] * 2
    for one in ended:
        assert "stopped by SIGTERM and saved after outer step 3;" in one.error
    saved = Checkpoints(folder / "checkpoints")
    assert saved.restore()[0].outer_step == 3

    chief, other = train_by(2, folder, (signal.SIGKILL, 5), **ONE_KIND)
    assert [chief.code, other.code] == [1, -signal.SIGKILL]
    assert "another worker does not answer any more" in chief.error
    assert "start all workers again" in chief.error
    assert saved.restore()[0].outer_step == 5

    ended = train_by(3, folder, **ONE_KIND)
    assert [one.code for one in ended] == [0, 0, 0]
    (alone,) = train_by(1, tmp_path / "alone", **ONE_KIND)
    assert alone.code == 0
    assert len(rows(folder)) == NUM_STEPS
    assert_close(folder, tmp_path / "alone")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_ends_a_worker_that_waits(tmp_path, number, code):
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
    config = dataclasses.replace(CONFIG, workers=workers, workdir=str(tmp_path / "run"))
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=run, args=(config, tmp_path / "stood", None))
    process.start()
    err = tmp_path / "stood" / "err"
    until(lambda: err.exists() and "waits for the others" in err.read_text())
    os.kill(process.pid, number)
    process.join(60)
    found = process.exitcode
    process.kill()  # lest the tests wait for it
    assert found == code
    assert not (tmp_path / "run").exists()


def until(is_so):
    """Waits until it is so."""
    ends = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_workers_that_are_not_alike(tmp_path, train_by):
    ended = train_by(2, tmp_path / "run", last_has={"seed": 1})
    assert [one.code for one in ended] == [2, 2]
    for one in ended:
        assert "--worker_index=1: flags, images or versions differ" in one.error
    assert not (tmp_path / "run").exists()
