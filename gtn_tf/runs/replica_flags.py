"""What --workers, --worker_index and --devices may be."""

from __future__ import annotations

from gtn_tf.errors import UserError
from gtn_tf.runs import addresses


def check(config) -> None:
    """Refuses workers and devices that cannot be.

    Args:
      config: a TrainingConfig.

    Raises:
      UserError: naming the flag, the value, and what is allowed.
    """
    count = config.devices
    if config.workers:
        count = _check_workers(config)
    elif config.worker_index:
        raise UserError(
            f"--worker_index={config.worker_index} is given without --workers: give "
            "HOST:PORT of all workers as well, or drop it"
        )
    flag = "workers" if config.workers else "devices"
    if count > config.learners_per_step:
        raise UserError(
            f"--{flag}={getattr(config, flag)} are {count}, and share out "
            f"--learners_per_step={config.learners_per_step}: give "
            f"--learners_per_step={count} or more"
        )


def refuse_workers(config, program: str) -> None:
    """For programs that train in one process.

    Raises:
      UserError: there are --workers.
    """
    if config.workers:
        raise UserError(
            f"--workers={config.workers} is for bin/train: {program} trains in one "
            "process; drop the flag"
        )


def _check_workers(config) -> int:
    """How many there are."""
    workers = config.workers.split(",")
    for worker in workers:
        if addresses.split(worker) is None:
            raise UserError(
                f"--workers={config.workers}: {worker!r} is no HOST:PORT: give those "
                "of all workers joined by commas, as in 10.0.0.1:8000,10.0.0.2:8000"
            )
    twice = {worker for worker in workers if workers.count(worker) > 1}
    if twice:
        raise UserError(
            f"--workers={config.workers} has {', '.join(sorted(twice))} twice: give "
            "each worker another host or port"
        )
    if not 0 <= config.worker_index < len(workers):
        raise UserError(
            f"--worker_index={config.worker_index} is out of range: --workers has "
            f"{len(workers)}; give a value from 0 to {len(workers) - 1}"
        )
    return len(workers)
