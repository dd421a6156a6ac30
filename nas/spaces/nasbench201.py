"""NAS-Bench-201's cells: an operation on each of six edges (Dong & Yang, 2020).

A cell has nodes 0 to 3, of which 0 is its input and 3 its output. A node is the sum of
what the edges from all nodes before it bring. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re

from gtn_tf.errors import UserError
from nas.spaces.cells import quoted

# Number in NAS-Bench-Suite-Zero's encoding -> name in NAS-Bench-201's own.
OPERATIONS: dict[int, str] = {
    0: "skip_connect",
    1: "none",
    2: "nor_conv_3x3",
    3: "nor_conv_1x1",
    4: "avg_pool_3x3",
}
SKIP, NONE = 0, 1
EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))  # (from, to)
_BY_TARGET = sorted(EDGES, key=lambda edge: edge[::-1])
_NUMBERS = {name: number for number, name in OPERATIONS.items()}
_TEXT = re.compile(
    r"\+".join(
        r"\|" + "".join(rf"(\w+)~{source}\|" for source in range(target))
        for target in (1, 2, 3)
    )
)


@dataclasses.dataclass(frozen=True)
class EdgeCell:
    """A cell, of which all cells of a network are copies.

    Attributes:
      operations: six keys of `OPERATIONS`, in the order of `EDGES`.

    Raises:
      UserError: not six, or an unknown operation.
    """

    operations: tuple[int, ...]

    def __post_init__(self):
        if len(self.operations) != len(EDGES):
            raise UserError(
                f"a cell of {len(self.operations)} operations came: give six, one for "
                f"each of the edges {', '.join(map(str, EDGES))}"
            )
        for edge, operation in zip(EDGES, self.operations, strict=True):
            if operation not in OPERATIONS:
                raise UserError(
                    f"edge {edge} has operation {operation}: give one of "
                    + ", ".join(f"{n} ({name})" for n, name in OPERATIONS.items())
                )

    @property
    def by_edge(self) -> dict[tuple[int, int], int]:
        """The operation of each edge."""
        return dict(zip(EDGES, self.operations, strict=True))

    def canonical(self) -> EdgeCell:
        """The same for cells that differ only in which node is 1 and which 2.

        Two such exist where no operation leads from 1 to 2. Cells that compute the same
        in another way, as with an operation whose result goes nowhere, are told apart:
        the benchmark counts and trains all that stands in a cell.
        """
        if self.by_edge[1, 2] != NONE:
            return self
        ab, ac, ad, bc, bd, cd = self.operations
        return min(self, EdgeCell((ac, ab, ad, bc, cd, bd)), key=lambda c: c.operations)


def encode(cell: EdgeCell) -> str:
    """NAS-Bench-201's text: |nor_conv_3x3~0|+|none~0|skip_connect~1|+|..., the
    operations that lead to node 1, 2, 3, each with the node where it comes from."""
    named = [(f"{OPERATIONS[cell.by_edge[e]]}~{e[0]}|", e[1]) for e in _BY_TARGET]
    return "+".join(
        "|" + "".join(name for name, node in named if node == target)
        for target in (1, 2, 3)
    )


def decode(text: str) -> EdgeCell:
    """The cell of NAS-Bench-201's text, or of six numbers as (0, 0, 0, 0, 4, 3), in
    the order of `EDGES`, with or without brackets and spaces.

    Raises:
      UserError: the text is neither, or has an unknown operation.
    """
    text = text.strip()
    if text.startswith("|"):
        return _from_names(text)
    bare = text[1:-1] if (text[:1], text[-1:]) in (("(", ")"), ("[", "]")) else text
    numbers = [number.strip() for number in bare.split(",")]
    if not all(re.fullmatch("[0-9]{1,3}", number) for number in numbers):
        raise UserError(
            f"{quoted(text)} is no NAS-Bench-201 cell: give its text, as in "
            f"'{encode(EdgeCell((2, 1, 0, 0, 1, 3)))}', or six numbers, as in "
            "'(2, 1, 0, 0, 1, 3)'"
        )
    return EdgeCell(tuple(map(int, numbers)))


def _from_names(text: str) -> EdgeCell:
    match = _TEXT.fullmatch(text)
    if not match:
        raise UserError(
            f"{quoted(text)} is no NAS-Bench-201 cell: give the operations that lead "
            "to nodes 1, 2 and 3 as |A~0|+|B~0|C~1|+|D~0|E~1|F~2|"
        )
    by_edge = dict(zip(_BY_TARGET, match.groups(), strict=True))
    for name in match.groups():
        if name not in _NUMBERS:
            raise UserError(
                f"{quoted(name)} is no operation of NAS-Bench-201: give one of "
                + ", ".join(_NUMBERS)
            )
    return EdgeCell(tuple(_NUMBERS[by_edge[edge]] for edge in EDGES))
