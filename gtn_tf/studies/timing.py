"""Things timed in turns, so that what a slow machine takes is alike for all of them."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm


@dataclasses.dataclass(frozen=True)
class Part:
    """One thing that is timed.

    Attributes:
      flops: floating point operations of one call.
      call: does it once, to its end; its argument makes calls differ.
    """

    name: str
    flops: int
    call: Callable[[int], object]


class Timing(NamedTuple):
    """What parts took.

    Attributes:
      names: of the parts.
      flops: of one call of each, [parts].
      first: seconds of the first call of each, which traces, [parts].
      later: seconds, [num_repeats, parts].
    """

    names: list[str]
    flops: np.ndarray
    first: np.ndarray
    later: np.ndarray

    def as_record(self) -> list[dict]:
        """The same for JSON, a part after the other."""
        return [
            {
                "name": name,
                "flops": int(self.flops[index]),
                "first_seconds": float(self.first[index]),
                "seconds": self.later[:, index].tolist(),
            }
            for index, name in enumerate(self.names)
        ]

    @classmethod
    def of_record(cls, record: list[dict]) -> Timing:
        """The inverse of `as_record`."""
        return cls(
            [part["name"] for part in record],
            np.array([part["flops"] for part in record]),
            np.array([part["first_seconds"] for part in record]),
            np.array([part["seconds"] for part in record]).T,
        )


def time_in_turns(parts: list[Part], num_repeats: int) -> Timing:
    """What the parts take, one after the other in each repeat: a machine that is slow
    for a while is slow for all of them, and their ratios hold."""
    first = np.array([_seconds(part, 0) for part in parts])
    seconds = np.empty([num_repeats, len(parts)])
    for repeat in tqdm(range(num_repeats), "benchmark", file=sys.stderr):
        for index, part in enumerate(parts):
            seconds[repeat, index] = _seconds(part, repeat + 1)
    names = [part.name for part in parts]
    return Timing(names, np.array([part.flops for part in parts]), first, seconds)


def _seconds(part: Part, index: int) -> float:
    began = time.perf_counter()
    part.call(index)
    return time.perf_counter() - began
