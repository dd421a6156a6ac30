"""HOST:PORT: told apart, and whether this machine can serve it."""

from __future__ import annotations

import re
import socket

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
