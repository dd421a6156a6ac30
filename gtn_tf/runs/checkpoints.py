"""Checkpoints: everything needed to go on, in files that are whole or not there.

CHECKPOINTS/outer_step_00000440.ckpt: a SHA-256 of what follows, then an npz of arrays.
Nothing in them is unpickled.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np

from gtn_tf.errors import UserError
from gtn_tf.meta.outer_loop import Progress
from gtn_tf.runs import files

_KEPT = 3
_DIGEST_SIZE = hashlib.sha256().digest_size


class Checkpoints:
    """The checkpoints of one folder; the newest readable one counts."""

    def __init__(self, folder: Path):
        self._folder = folder

    def save(self, progress: Progress, arrays: dict[str, np.ndarray]) -> None:
        """Writes a checkpoint beside the others, and then removes all but three.

        Raises:
          OSError: it cannot be written; those before it are as they were.
        """
        content = encode(progress, arrays)
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"outer_step_{progress.outer_step:08d}.ckpt"
        files.write_atomically(path, lambda new: _write(new, content))
        for old in self._paths()[:-_KEPT]:
            old.unlink()

    def restore(self) -> tuple[Progress, dict[str, np.ndarray]] | None:
        """Progress and arrays of the newest checkpoint that is not damaged.

        Returns:
          None where there is no checkpoint.

        Raises:
          UserError: there are checkpoints, and all are damaged or one cannot be read.
        """
        try:
            paths = self._paths()
            for index, path in reversed(list(enumerate(paths))):
                found = _read(path)
                if found:
                    return found
                then = ": the one before is used" if index else ""
                print(f"warning: {path} is damaged{then}", file=sys.stderr)
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}): a run's "
                "checkpoints are files in a folder that you may read; change their "
                "permissions, or give a copy as --workdir"
            ) from None
        if paths:
            raise UserError(
                f"every checkpoint in {self._folder} is damaged: remove that folder to "
                "begin anew, or give another --workdir"
            )
        return None

    def _paths(self) -> list[Path]:
        """Oldest first; a folder that cannot be read is none without checkpoints."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [
            self._folder / name
            for name in sorted(fnmatch.filter(names, "outer_step_*.ckpt"))
        ]


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(hashlib.sha256(content).digest() + content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> tuple[Progress, dict[str, np.ndarray]] | None:
    content = path.read_bytes()
    digest, content = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        return None
    return decode(content)


def encode(progress: Progress, arrays: dict[str, np.ndarray]) -> bytes:
    """A checkpoint's content."""
    buffer = io.BytesIO()
    numbers = {"outer_step": progress.outer_step, "seconds": progress.seconds}
    np.savez(buffer, **arrays, **{k: np.float64(v) for k, v in numbers.items()})
    return buffer.getvalue()


def decode(content: bytes) -> tuple[Progress, dict[str, np.ndarray]]:
    """The inverse of `encode`."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    progress = Progress(int(arrays.pop("outer_step")), float(arrays.pop("seconds")))
    return progress, arrays
