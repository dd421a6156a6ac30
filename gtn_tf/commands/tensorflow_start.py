"""TensorFlow loaded without its own lines on the terminal.

While it is imported and looks for devices, its C++ code writes to file descriptor 2
whatever TF_CPP_MIN_LOG_LEVEL says. Only the commands do this, never `import gtn_tf`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_STDERR = 2


def load() -> None:
    """Imports TensorFlow and has it find its devices, in silence if that succeeds.

    TF_CPP_MIN_LOG_LEVEL=0 in the environment shows all that TensorFlow says. An
    import that fails, or a process that ends in it, shows what was said before.
    """
    if os.environ.get(_LEVEL) == "0" or "tensorflow" in sys.modules:
        return
    os.environ.setdefault(_LEVEL, "3")
    with held_back():
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.list_physical_devices()


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Within, what is written to file descriptor 2 is kept, and dropped at the end.

    Where the block raises, or the process ends within it, as on a processor that
    TensorFlow was not built for, it is written after all. A child process sees to
    that: it outlives an abort.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(_STDERR)
        end, verdict = os.pipe()
        child = os.fork()
        if not child:
            os.close(verdict)
            _show_unless_told(end, held, terminal)
        os.close(end)
        os.dup2(held.fileno(), _STDERR)
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            sys.stderr.flush()
            os.dup2(terminal, _STDERR)
            os.close(terminal)
            if succeeded:
                with contextlib.suppress(BrokenPipeError):  # the child was killed
                    os.write(verdict, b"1")
            os.close(verdict)
            os.waitpid(child, 0)


def _show_unless_told(end: int, held: BinaryIO, terminal: int) -> None:
    """In the child: waits for the verdict, or for the end of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    try:
        if not os.read(end, 1):
            held.seek(0)
            os.write(terminal, held.read())
    finally:
        os._exit(0)
