"""A search over several processes: keras-tuner's environment, ports, who is there."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator

import grpc
import keras_tuner
from keras_tuner.src.distribute import oracle_client

from gtn_tf.errors import UserError
from gtn_tf.runs import addresses

_WAIT_SECONDS = 60  # for a chief that is just starting
_CALLS = (  # of an oracle, by keras-tuner's service
    *("get_space", "update_space", "create_trial", "update_trial", "end_trial"),
    *("get_trial", "get_best_trials"),
)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT.

    Raises:
      UserError: another form.
    """
    found = addresses.split(address)
    if not found:
        raise UserError(
            f"--address={address} is no HOST:PORT: give the chief's, as in "
            "127.0.0.1:8000"
        )
    return found


def check_free(address: str) -> None:
    """Refuses an address that cannot be served.

    Raises:
      UserError: the port is taken, or is not this machine's.
    """
    why = addresses.why_not_free(*split_address(address))
    if why:
        raise UserError(
            f"--address={address} cannot be served ({why}): give a free port of this "
            "machine"
        )


def tell(config, text: str) -> None:
    """One line on stderr of what a worker does; other processes have a bar."""
    if config.role == "worker":
        print(f"{config.worker}: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def as_chief(config) -> Iterator[None]:
    """Within, keras-tuner serves at the address."""
    with _environment("chief", *split_address(config.address)):
        yield


@contextlib.contextmanager
def as_worker(config) -> Iterator[None]:
    """Within, keras-tuner asks the chief at the address.

    Raises:
      UserError: the chief does not answer any more.
    """
    oracle_client.TIMEOUT = _WAIT_SECONDS  # keras-tuner's own is an hour
    with _environment(config.worker, *split_address(config.address)):
        try:
            yield
        except grpc.RpcError as error:
            raise UserError(
                f"the chief at --address={config.address} does not answer "
                f"({error.code().name}): start it again with its command, then the "
                "workers; its journal has all that was judged"
            ) from None


def give_back_locks(oracle: keras_tuner.Oracle) -> None:
    """Has a chief's oracle give its lock back where a call raises.

    keras-tuner's keeps it. A chief that was once asked for a trial that it does not
    know, by a stranger or by a worker from before it was started again, would wait for
    its own lock at the end.
    """
    for name in _CALLS:
        setattr(oracle, name, _giving_back(oracle, getattr(oracle, name)))


def _giving_back(oracle: keras_tuner.Oracle, call: Callable) -> Callable:
    @keras_tuner.synchronized
    def caught(oracle, arguments, options):
        try:
            return call(*arguments, **options), None
        except Exception as error:
            return None, error

    @functools.wraps(call)
    def called(*arguments, **options):
        result, error = caught(oracle, arguments, options)
        if error:
            raise error
        return result

    return called


def reach_chief(address: str) -> None:
    """Waits until the chief serves.

    Raises:
      UserError: it did not within a minute.
    """
    host, port = split_address(address)
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_WAIT_SECONDS)
        except grpc.FutureTimeoutError:
            raise UserError(
                f"no chief answers at --address={address}: start it with "
                "--role=chief, or correct the address"
            ) from None


@contextlib.contextmanager
def _environment(name: str, host: str, port: int) -> Iterator[None]:
    values = {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": host,
        "KERASTUNER_ORACLE_PORT": str(port),
    }
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for key in values:
            os.environ.pop(key)
        os.environ.update(before)
