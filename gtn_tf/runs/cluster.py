"""The processes and devices of a run, started as its flags say.

gtn_tf/meta/replicas.py is what they do together.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator

import tensorflow as tf

import gtn_tf
from gtn_tf.errors import UserError
from gtn_tf.meta.replicas import (
    ONE_REPLICA,
    DeviceReplicas,
    Replicas,
    WorkerReplicas,
)
from gtn_tf.runs import addresses
from gtn_tf.runs.config import TrainingConfig


def start(config: TrainingConfig) -> Replicas:
    """What the learners of a run's outer steps are shared out among.

    Of several workers, it returns once all of them are there. To be called before
    TensorFlow computes anything.

    Raises:
      UserError: a port that is taken, more devices than there are, or a process in
        which TensorFlow has computed before; workers of several devices.
    """
    if config.workers:
        return _join(config)
    if config.devices > 1:
        devices = _devices(config.devices)
        return DeviceReplicas(tf.distribute.MirroredStrategy(devices))
    return ONE_REPLICA


def check_alike(replicas: Replicas, config: TrainingConfig, images: str) -> None:
    """Refuses workers that were not started alike.

    Args:
      images: the digest of the data set; its folder may have another name elsewhere.

    Raises:
      UserError: flags that determine the run, images, or versions differ.
    """
    now = [
        *(config.fixed() | {"dataset": images}).items(),
        *(config.num_outer_steps, config.max_divergences, config.compare_with_real),
        *(gtn_tf.__version__, tf.__version__),
    ]
    digest = hashlib.sha256(repr(now).encode()).digest()
    # So many bits are exact in a float.
    every = replicas.gather([int.from_bytes(digest[:6], "big")])[:, 0]
    if len(set(every)) > 1:
        others = [str(index) for index, own in enumerate(every) if own != every[0]]
        raise UserError(
            f"--worker_index={','.join(others)}: flags, images or versions differ from "
            "those of worker 0: give all workers the same flags but --worker_index, "
            "and the same data"
        )


def _join(config: TrainingConfig) -> Replicas:
    if config.devices > 1:
        raise UserError(
            f"--devices={config.devices} contradicts --workers: a worker has one "
            "device; start one worker for each device, and drop --devices"
        )
    workers = config.workers.split(",")
    own = workers[config.worker_index]
    # TensorFlow serves all interfaces, whatever the host's name is.
    why = addresses.why_not_free("", addresses.split(own)[1])
    if why:
        raise UserError(
            f"--worker_index={config.worker_index}: the port of {own} cannot be served "
            f"({why}): end what has it, or give another one to all workers"
        )
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": workers},
            "task": {"type": "worker", "index": config.worker_index},
        }
    )
    gpus = tf.config.list_physical_devices("GPU")
    name = f"worker {config.worker_index} of {len(workers)} at {own}"
    print(f"{name}: waits for the others", file=sys.stderr, flush=True)
    try:
        tf.config.set_visible_devices(gpus[:1], "GPU")
        _check_is_new()
        addresses.await_others(own, workers)
        with _sigterm_given_back():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UserError(
            f"--workers={config.workers}: TensorFlow has computed in this process "
            f"before ({error}): start the workers as processes of their own"
        ) from None
    print(f"{name}: all are there", file=sys.stderr, flush=True)
    return WorkerReplicas(strategy)


def _check_is_new() -> None:
    """Raises RuntimeError where TensorFlow has computed, before others are waited for.

    Its strategy would raise it once all are there. Threads cannot be set any more then.
    """
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    tf.config.threading.set_inter_op_parallelism_threads(threads + 1)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


@contextlib.contextmanager
def _sigterm_given_back() -> Iterator[None]:
    """TensorFlow takes SIGTERM for itself within; at the end it is Python's again."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _devices(count: int) -> list[str]:
    """The first GPUs; where there is none, so many parts of the CPU."""
    gpus = tf.config.list_logical_devices("GPU") if _has_gpus() else []
    if not gpus:
        with contextlib.suppress(RuntimeError):  # once TensorFlow has computed
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0],
                [tf.config.LogicalDeviceConfiguration()] * count,
            )
    kind = "GPU" if gpus else "CPU"
    there = tf.config.list_logical_devices(kind)
    if len(there) < count:
        raise UserError(
            f"--devices={count}: TensorFlow has {len(there)} of kind {kind} here: give "
            f"--devices={len(there)}, or, without GPUs, start a process of its own"
        )
    return [device.name for device in there[:count]]


def _has_gpus() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
