"""Leaving in order: SIGTERM and Ctrl-C are heard between outer steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """Training has been stopped by a signal, and saved.

    Attributes:
      exit_code: 128 + the signal's number, as shells have it.
    """

    def __init__(self, signal_number: int, outer_step: int):
        name = signal.Signals(signal_number).name
        super().__init__(
            f"stopped by {name} and saved after outer step {outer_step}; the same "
            "command goes on from there"
        )
        self.exit_code = 128 + signal_number


class Request:
    """What has been heard: `signal_number` is 0 until there is a signal."""

    def __init__(self):
        self.signal_number = 0

    def __bool__(self) -> bool:
        return self.signal_number != 0


@contextlib.contextmanager
def defer_signals() -> Iterator[Request]:
    """Within, the first SIGTERM or SIGINT is noted; a second one acts as usual."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request  # signals go to the main thread only
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_number = number
        restore()

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
