"""Files and folders that are whole or not there; TensorFlow's file errors."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

_FILE_ERRORS = (
    tf.errors.ResourceExhaustedError,  # a disk that is full
    tf.errors.PermissionDeniedError,
    tf.errors.NotFoundError,
)


def temporary_path(path: Path) -> Path:
    """Where a new content is written before it takes the old one's place."""
    return path.with_name(f"new_{path.name}")


def write_atomically(path: Path, save: Callable[[Path], None]) -> None:
    """save(another path), then renamed: a reader finds the old or the new, no half.

    Args:
      save: writes a file or a folder.

    Raises:
      OSError: it cannot be written; what was there is as it was.
    """
    new = temporary_path(path)
    _remove(new)
    try:
        with file_errors():
            save(new)
    except BaseException:
        _remove(new)
        raise
    if path.is_dir():
        shutil.rmtree(path)
    new.replace(path)


def write_text_atomically(path: Path, text: str) -> None:
    """The same for a file of text."""
    write_atomically(path, lambda new: new.write_text(text))


@contextlib.contextmanager
def file_errors():
    """Within, what TensorFlow cannot write is an OSError, as in Python.

    Raises:
      OSError: a full disk, a folder that is not there or may not be written.
    """
    try:
        yield
    except _FILE_ERRORS as error:
        raise OSError(error.message.rpartition("}} ")[2]) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
