"""HOST:PORT: told apart, whether this machine can serve it, and waiting for others."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence

_SECONDS_TO_ANSWER = 1
_SECONDS_BETWEEN = 0.2

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+):([0-9]{1,5})")


def split(address: str) -> tuple[str, int] | None:
    """Host and port of HOST:PORT; None for another form."""
    found = _ADDRESS.fullmatch(address)
    if not found or not 0 < int(found[2]) < 2**16:
        return None
    return found[1], int(found[2])


def why_not_free(host: str, port: int) -> str:
    """Why a port cannot be served, in words; "" where it can be.

    Args:
      host: whose interface is served; "" for all of this machine's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def await_others(own: str, every: Sequence[str]) -> None:
    """Serves its own port until each of the others has been reached once.

    Signals are heard meanwhile; TensorFlow, which waits for the same, hears none. It
    can serve the port afterward: who comes later is answered by it.
    """
    with _served(split(own)[1]):
        for other in every:
            while other != own and not _answers(*split(other)):
                time.sleep(_SECONDS_BETWEEN)


def _served(port: int) -> socket.socket:
    """A socket that lets others connect, on all interfaces, and says nothing."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True
        )
    return socket.create_server(("", port))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host.strip("[]"), port), _SECONDS_TO_ANSWER).close()
    except OSError:
        return False
    return True
