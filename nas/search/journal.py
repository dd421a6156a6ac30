"""The journal of a search: one line of JSON for each architecture, on disk at once.

It is all that a search remembers. A line is written and synchronised before the next
architecture begins, and a line that a kill cut short is dropped when it is read.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

from gtn_tf.errors import UserError
from nas.evaluations.base import Result
from nas.spaces.base import Architecture, SearchSpace


class Entry(NamedTuple):
    """One architecture judged once."""

    architecture: str  # as its space encodes it
    score: float
    seconds: float
    diverged: bool
    num_params: int
    seed: int  # of the evaluation
    key: str  # the same for equal architectures; not in the file
    dismissed: bool = False  # early; in the file, as the next, where it is another
    early_loss: float | None = None
    accuracy: float | None = None  # where the score is not the accuracy alone

    @classmethod
    def of(
        cls, space: SearchSpace, architecture: Architecture, result: Result, seed: int
    ) -> Entry:
        """The entry of a result."""
        key = space.key(architecture)
        text = space.encode(architecture)
        return cls(text, **result._asdict(), seed=seed, key=key)


class Journal:
    """Entries in the order of their ends.

    Args:
      space: of all its architectures.

    Raises:
      UserError: a line that is no entry, with its number.
    """

    def __init__(self, path: Path, space: SearchSpace):
        self.path = path
        self.space = space
        text = path.read_bytes() if path.is_file() else b""
        whole, _, cut_short = text.rpartition(b"\n")
        if cut_short:
            os.truncate(path, len(text) - len(cut_short))
        self.entries = [
            _parse(line, space, f"{path}, line {number}")
            for number, line in enumerate(whole.splitlines(), start=1)
        ]

    def append(self, entry: Entry) -> None:
        """Adds an entry, on disk when this returns."""
        defaults = Entry._field_defaults
        line = {
            name: value
            for name, value in entry._asdict().items()
            if name != "key" and (name not in defaults or value != defaults[name])
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)


def _parse(line: bytes, space: SearchSpace, where: str) -> Entry:
    try:
        entry = Entry(**json.loads(line), key="")
        if not type(entry.diverged) is type(entry.dismissed) is bool:
            raise UserError("diverged and dismissed are true or false")
        if not type(entry.seed) is type(entry.num_params) is int:
            raise UserError("seed and num_params are integers")
        numbers = (entry.score, entry.seconds, entry.early_loss or 0)
        if not all(map(math.isfinite, (*numbers, entry.accuracy or 0))):
            raise UserError(
                "score, seconds, early_loss and accuracy are finite numbers"
            )
        architecture = space.decode(entry.architecture)
        return entry._replace(
            architecture=space.encode(architecture), key=space.key(architecture)
        )
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{where} is no entry of a search journal ({error}): remove the line, or "
            "search in another --workdir"
        ) from None
