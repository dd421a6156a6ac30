"""Learners shared out among replicas; flags of workers and devices that cannot be."""

import math
import socket
import types

import numpy as np
import pytest
import tensorflow as tf

import gtn_tf
from gtn_tf.commands import configs
from gtn_tf.errors import UserError, WorkerLost
from gtn_tf.meta import replicas
from gtn_tf.meta.replicas import ONE_REPLICA, DeviceReplicas, WorkerReplicas
from gtn_tf.runs import cluster
from gtn_tf.runs.config import TrainingConfig


class Strategy:
    """Of several replicas, of which this process has some; the others' sum is given."""

    def __init__(self, num_replicas, num_own, others=0.0, error=None):
        self.num_replicas_in_sync = num_replicas
        self.extended = types.SimpleNamespace(worker_devices=["CPU:0"] * num_own)
        self.cluster_resolver = types.SimpleNamespace(task_id=1)
        self.others, self.error = others, error

    def experimental_distribute_values_from_function(self, function):
        devices = self.extended.worker_devices
        return [function(None) for _ in devices]

    def reduce(self, operation, values, axis):
        assert operation == tf.distribute.ReduceOp.SUM and axis is None
        if self.error:
            raise self.error
        return sum(values) + self.others


def parts_of(losses, ran):
    """Learners of given losses, whose gradients are made of their number."""

    def make(index):
        def run():
            ran.append(index)
            scalars = [tf.constant(losses[index]), tf.constant(1.0 + index)]
            return scalars, [tf.fill([2, 3], 10.0**index), tf.constant(losses[index])]

        return run

    return [lambda index=index: make(index) for index in range(len(losses))]


@pytest.mark.parametrize("num_devices", [1, 2, 3])
def test_devices_add_up_to_the_same(num_devices):
    losses = [0.5, 0.25, 4.0, 8.0]
    ran, expected = [], ONE_REPLICA.add_up(parts_of(losses, []))
    several = DeviceReplicas(Strategy(num_devices, num_devices))
    told, sums = several.add_up(parts_of(losses, ran))
    assert sorted(ran) == [0, 1, 2, 3]
    np.testing.assert_array_equal(told, expected[0])
    assert np.array(told).tolist() == [[0.5, 1], [0.25, 2], [4, 3], [8, 4]]
    for own, other in zip(sums, expected[1], strict=True):
        np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(sums[0], np.full([2, 3], 1111.0))


def test_a_worker_trains_its_own_share_and_is_told_the_others():
    others = tf.constant([9.0, 1, 0, 0, 7, 3, *[101.0] * 6, 16])
    ran = []
    worker = WorkerReplicas(Strategy(2, 1, others))
    told, sums = worker.add_up(parts_of([1.0, 2.0, 3.0], ran))
    assert ran == [1] and not worker.is_chief and worker.num_processes == 2
    assert np.array(told).tolist() == [[9, 1], [2, 2], [7, 3]]
    np.testing.assert_array_equal(sums[0], np.full([2, 3], 111.0))
    assert float(sums[1]) == 18


def test_what_is_not_finite_in_one_is_not_finite_in_all():
    told, sums = DeviceReplicas(Strategy(2, 2)).add_up(parts_of([1.0, math.nan], []))
    assert np.isnan(np.array(told)[1, 0]) and np.isnan(float(sums[1]))
    assert np.array(told)[0].tolist() == [1, 1]


def test_workers_tell_each_other():
    worker = WorkerReplicas(Strategy(2, 1, tf.constant([[5.0], [0]], tf.float64)))
    assert worker.gather([3]).tolist() == [[5], [3]]
    assert worker.any(False) and worker.any(True)
    alone = WorkerReplicas(Strategy(2, 1, tf.zeros([2, 1], tf.float64)))
    assert alone.any(True) and not alone.any(False)


def test_one_process_tells_itself():
    assert ONE_REPLICA.gather([3, 4]).tolist() == [[3, 4]]
    assert ONE_REPLICA.any(True) is True and ONE_REPLICA.any(False) is False
    assert ONE_REPLICA.from_chief(b"mine") == b"mine"


def test_bytes_come_from_the_chief():
    """Whatever their number, and what is at hand elsewhere."""
    for content in (b"a", b"12345678", bytes(range(256)) + b"\0"):
        chief, other = (WorkerReplicas(Strategy(2, 1)) for _ in range(2))
        chief.is_chief, chief._first = True, 0
        said = []
        chief._sum = lambda values, said=said: said.append(values[0]) or values[0]
        assert chief.from_chief(content) == content
        other._sum = lambda values, said=said: values[0] * 0 + said.pop(0)
        assert other.from_chief(b"something else") == content


@pytest.mark.parametrize(
    "error",
    [tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError],
)
def test_a_worker_that_is_lost(error):
    worker = WorkerReplicas(Strategy(2, 1, error=error(None, None, "socket\nclosed")))
    with pytest.raises(WorkerLost) as caught:
        worker.any(True)
    assert str(caught.value) == (
        f"another worker does not answer any more ({error.__name__}): start all "
        "workers again with their commands, and they go on from the last checkpoint"
    )


TWO = "a:1,b:2"


@pytest.mark.parametrize(
    "values, words",
    [
        ({"workers": "a"}, "--workers=a: 'a' is no HOST:PORT: give those of all"),
        ({"workers": "a:1,b"}, "'b' is no HOST:PORT"),
        ({"workers": "a:1,"}, "'' is no HOST:PORT"),
        ({"workers": "a:1, b:2"}, "' b:2' is no HOST:PORT"),
        ({"workers": "a:1,b:0"}, "'b:0' is no HOST:PORT"),
        ({"workers": "a:1,b:65536"}, "'b:65536' is no HOST:PORT"),
        ({"workers": "grpc://a:1,b:2"}, "'grpc://a:1' is no HOST:PORT"),
        (
            {"workers": "a:1,b:2,a:1", "learners_per_step": 3},
            "has a:1 twice: give each worker another",
        ),
        (
            {"workers": TWO, "worker_index": 2},
            "--worker_index=2 is out of range: --workers has 2; give a value from 0 to",
        ),
        ({"workers": TWO, "worker_index": -1}, "--worker_index=-1 is out of range"),
        ({"worker_index": 1}, "--worker_index=1 is given without --workers"),
        (
            {"workers": TWO, "learners_per_step": 1},
            "--workers=a:1,b:2 are 2, and share out --learners_per_step=1: give "
            "--learners_per_step=2 or more",
        ),
        ({"devices": 3}, "--devices=3 are 3, and share out --learners_per_step=2"),
        ({"devices": 0}, "--devices=0 is out of range"),
    ],
)
def test_flags_that_cannot_be(values, words):
    with pytest.raises(UserError) as caught:
        TrainingConfig(**{"learners_per_step": 2} | values)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [TWO, "[::1]:1,10.0.0.2:65535", "a:1,a:2", "a:1"])
def test_workers_that_can_be(workers):
    TrainingConfig(workers=workers, learners_per_step=2)


def test_programs_that_have_no_workers():
    values = {"workers": TWO, "learners_per_step": 2}
    for make in (configs.StudyConfig, configs.BenchmarkConfig):
        with pytest.raises(UserError, match="is for bin/train: bin/"):
            make(**values)
    with pytest.raises(UserError, match="is for bin/train: gtn_tf.meta_train"):
        gtn_tf.meta_train("digits", **values)


def test_workers_of_several_devices():
    config = TrainingConfig(devices=2, workers=TWO, learners_per_step=2)
    with pytest.raises(UserError, match="--devices=2 contradicts --workers: a worker"):
        cluster.start(config)


def test_a_taken_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        own = f"127.0.0.1:{taken.getsockname()[1]}"
        config = TrainingConfig(
            workers=f"a:1,{own}", worker_index=1, learners_per_step=2
        )
        with pytest.raises(UserError) as caught:
            cluster.start(config)
    assert f"--worker_index=1: the port of {own} cannot be served" in str(caught.value)


def test_a_process_that_has_computed_before(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")  # and put back
    tf.constant(0) + 1
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        workers = f"127.0.0.1:{probe.getsockname()[1]},a:1"
    config = TrainingConfig(workers=workers, learners_per_step=2)
    with pytest.raises(UserError, match="has computed in this process before"):
        cluster.start(config)
    with pytest.raises(UserError, match="--devices=2: TensorFlow has 1 of kind CPU"):
        cluster.start(TrainingConfig(devices=2, learners_per_step=2))


def test_by_default_there_is_one_replica():
    assert cluster.start(TrainingConfig()) is replicas.ONE_REPLICA
