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
from nas.spaces import nao
from nas.spaces.nao import ArchitectureSpec


class Entry(NamedTuple):
    """One architecture judged once."""

    architecture: str  # NAO's integers
    score: float
    seconds: float
    diverged: bool
    num_params: int
    seed: int  # of the evaluation

    @property
    def spec(self) -> ArchitectureSpec:
        return nao.decode(self.architecture)

    @classmethod
    def of(cls, spec: ArchitectureSpec, result: Result, seed: int) -> Entry:
        """The entry of a result."""
        return cls(nao.encode(spec), *result, seed)


class Journal:
    """Entries in the order of their ends; equal architectures are found as equal.

    Raises:
      UserError: a line that is no entry, with its number.
    """

    def __init__(self, path: Path):
        self.path = path
        self.entries: list[Entry] = []
        self._known: set[tuple[str, int]] = set()
        text = path.read_bytes() if path.is_file() else b""
        whole, _, cut_short = text.rpartition(b"\n")
        if cut_short:
            os.truncate(path, len(text) - len(cut_short))
        for number, line in enumerate(whole.splitlines(), start=1):
            self._remember(_parse(line, f"{path}, line {number}"))

    def __contains__(self, key: tuple[ArchitectureSpec, int]) -> bool:
        """Whether (architecture, seed) has been evaluated."""
        spec, seed = key
        return (spec.digest, seed) in self._known

    def append(self, entry: Entry) -> None:
        """Adds an entry, on disk when this returns."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry._asdict()) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._known.add((entry.spec.digest, entry.seed))


def _parse(line: bytes, where: str) -> Entry:
    try:
        entry = Entry(**json.loads(line))
        if type(entry.diverged) is not bool:
            raise UserError("diverged is true or false")
        if not type(entry.seed) is type(entry.num_params) is int:
            raise UserError("seed and num_params are integers")
        if not (math.isfinite(entry.score) and math.isfinite(entry.seconds)):
            raise UserError("score and seconds are finite numbers")
        return entry._replace(architecture=str(entry.spec))
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{where} is no entry of a search journal ({error}): remove the line, or "
            "search in another --workdir"
        ) from None
