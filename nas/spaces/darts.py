"""DARTS' cells: two different inputs for each of four nodes (Liu et al., 2019).

An architecture is a normal and a reduction cell. A cell's inputs are 0 and 1, the
outputs of the two cells before it, and its output is the concatenation of its nodes, 2
to 5. NAS-Bench-301 (Siems et al., 2020) is of these architectures. Imports no
TensorFlow.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from typing import Any

from gtn_tf.errors import UserError
from nas.spaces.cells import NUM_INPUTS, NodeSpec, least_numbering, quoted

# Number in NAS-Bench-Suite-Zero's encoding -> name in DARTS' genotypes.
OPERATIONS: dict[int, str] = {
    0: "max_pool_3x3",
    1: "avg_pool_3x3",
    2: "skip_connect",
    3: "sep_conv_3x3",
    4: "sep_conv_5x5",
    5: "dil_conv_3x3",
    6: "dil_conv_5x5",
}
NUM_NODES = 4
_NUMBERS = {name: number for number, name in OPERATIONS.items()}
_OUTPUTS = tuple(range(NUM_INPUTS, NUM_INPUTS + NUM_NODES))
_CONCATENATIONS = (str(list(_OUTPUTS)), str(_OUTPUTS), "range(2, 6)")
_LONGEST = 2000  # characters of an architecture; more is not handed to Python's parser


@dataclasses.dataclass(frozen=True)
class DartsCell:
    """Four nodes, each with two different inputs, the lower one first.

    Raises:
      UserError: another number of nodes, an unknown operation, or inputs that are
        equal, in the other order, or not before the node.
    """

    nodes: tuple[NodeSpec, ...]

    def __post_init__(self):
        if len(self.nodes) != NUM_NODES:
            raise UserError(
                f"a cell of {len(self.nodes)} nodes came: give four, which are eight "
                "pairs of an input and an operation"
            )
        for number, node in enumerate(self.nodes, start=NUM_INPUTS):
            first, second = node.inputs
            if not 0 <= first < second < number:
                raise UserError(
                    f"node {number} reads {first} and {second}: give two different "
                    f"inputs from 0 to {number - 1}"
                )
            for operation in node.operations:
                if operation not in OPERATIONS:
                    raise UserError(
                        f"node {number} has operation {operation!r}: give one of "
                        + ", ".join(f"{n} ({name})" for n, name in OPERATIONS.items())
                    )

    @property
    def outputs(self) -> tuple[int, ...]:
        """All nodes."""
        return _OUTPUTS

    def canonical(self) -> DartsCell:
        """The same for all cells that differ only in how nodes are numbered."""
        return DartsCell(least_numbering(self.nodes))


@dataclasses.dataclass(frozen=True)
class DartsSpec:
    """A cell that keeps the image's size and one that halves it."""

    normal_cell: DartsCell
    reduction_cell: DartsCell

    def canonical(self) -> DartsSpec:
        """The representative of all equal architectures."""
        cells = self.normal_cell, self.reduction_cell
        return DartsSpec(*(cell.canonical() for cell in cells))


def encode(spec: DartsSpec) -> str:
    """DARTS' genotype: Genotype(normal=[('sep_conv_3x3', 0), ...], ...)."""
    normal, reduce = (
        [
            (OPERATIONS[operation], read)
            for node in cell.nodes
            for read, operation in zip(node.inputs, node.operations, strict=True)
        ]
        for cell in (spec.normal_cell, spec.reduction_cell)
    )
    concat = list(_OUTPUTS)
    return (
        f"Genotype(normal={normal}, normal_concat={concat}, "
        f"reduce={reduce}, reduce_concat={concat})"
    )


def decode(text: str) -> DartsSpec:
    """The architecture of a genotype, or of [[(input, operation), ...], [...]] with
    the numbers of `OPERATIONS`, eight pairs for each cell.

    Raises:
      UserError: the text is neither, or names what a cell cannot have.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError
        tree = ast.parse(text.strip(), mode="eval").body
        is_call = isinstance(tree, ast.Call)
        normal, reduce = _of_genotype(tree) if is_call else ast.literal_eval(tree)
        return DartsSpec(_cell(normal), _cell(reduce))
    except UserError:
        raise
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise UserError(
            f'{quoted(text)} is no DARTS architecture: give "Genotype(normal='
            "[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=[...], "
            'reduce_concat=[2, 3, 4, 5])" or "[[(input, operation), ...], [...]]" '
            "with eight pairs of numbers in each cell"
        ) from None


def _of_genotype(call: ast.Call) -> list[list[tuple[Any, Any]]]:
    """(input, operation) pairs of both cells; ValueError and the like if it is none."""
    parts = {keyword.arg: keyword.value for keyword in call.keywords}
    names = {"normal", "normal_concat", "reduce", "reduce_concat"}
    if parts.keys() != names or call.args or ast.unparse(call.func) != "Genotype":
        raise ValueError
    for name in ("normal_concat", "reduce_concat"):
        concat = ast.unparse(parts[name])
        if concat not in _CONCATENATIONS:
            raise UserError(
                f"{name} is {quoted(concat)}: give all four nodes, [2, 3, 4, 5]"
            )
    cells = [ast.literal_eval(parts[name]) for name in ("normal", "reduce")]
    return [[(read, _number(name)) for name, read in cell] for cell in cells]


def _number(name: Any) -> int:
    if name not in _NUMBERS:
        raise UserError(
            f"{quoted(str(name))} is no operation of DARTS: give one of "
            + ", ".join(_NUMBERS)
        )
    return _NUMBERS[name]


def _cell(pairs: Sequence[tuple[int, int]]) -> DartsCell:
    """The cell of (input, operation) pairs; ValueError and the like if it is none."""
    if not all(type(number) is int for pair in pairs for number in pair):
        raise ValueError
    if len(pairs) != 2 * NUM_NODES:
        raise UserError(
            f"a cell of {len(pairs)} pairs of an input and an operation came: give "
            "eight, two for each node"
        )
    nodes = []
    for both in zip(pairs[::2], pairs[1::2], strict=True):
        (a, p), (b, q) = sorted(both)
        nodes.append(NodeSpec((a, b), (p, q)))
    return DartsCell(tuple(nodes))
