"""NAO's search space: cells of nodes that add two operations' results (Appendix C).

An architecture is a convolution cell and a reduction cell. Each cell has two inputs,
0 and 1 (the outputs of the two cells before it, the older first), and nodes 2, 3, ...

    node = operation_1(input_1) + operation_2(input_2)

The inputs of a node are any of the numbers before its own. What no node uses is the
cell's output. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from gtn_tf.errors import UserError
from nas.spaces.cells import NUM_INPUTS, NodeSpec, least_numbering, quoted

# Number in NAO's encoding -> name in its JSON format.
OPERATIONS: dict[int, str] = {
    5: "identity",
    6: "conv 1x1",
    7: "conv 3x3",
    8: "conv 1x3+3x1",
    9: "conv 1x7+7x1",
    10: "max_pool 2x2",
    11: "max_pool 3x3",
    12: "max_pool 5x5",
    13: "avg_pool 2x2",
    14: "avg_pool 3x3",
    15: "avg_pool 5x5",
}
_NUMBERS = {name: number for number, name in OPERATIONS.items()}


@dataclasses.dataclass(frozen=True)
class CellSpec:
    """Nodes in an order in which each reads only those before it.

    Raises:
      UserError: an unknown operation, or a node that reads itself or a later one.
    """

    nodes: tuple[NodeSpec, ...]

    def __post_init__(self):
        if not self.nodes:
            raise UserError("a cell of 0 nodes came: give at least one node")
        for number, node in enumerate(self.nodes, start=NUM_INPUTS):
            for read, operation in zip(node.inputs, node.operations, strict=True):
                if not 0 <= read < number:
                    raise UserError(
                        f"node {number} reads {read}: it can read the cell's inputs, "
                        f"0 and 1, and nodes up to {number - 1}"
                    )
                if operation not in OPERATIONS:
                    raise UserError(
                        f"node {number} has operation {operation}: give one of "
                        + ", ".join(f"{n} ({name})" for n, name in OPERATIONS.items())
                    )

    @property
    def num_nodes(self) -> int:
        """B."""
        return len(self.nodes)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Inputs and nodes that no node reads: together they are the cell's output."""
        read = {number for node in self.nodes for number in node.inputs}
        return tuple(sorted(set(range(NUM_INPUTS + self.num_nodes)) - read))

    def canonical(self) -> CellSpec:
        """The same for all cells that differ only in how nodes are numbered and in
        which of a node's two operations is named first."""
        return CellSpec(least_numbering(self.nodes))


@dataclasses.dataclass(frozen=True)
class ArchitectureSpec:
    """A cell that keeps the image's size and one that halves it."""

    conv_cell: CellSpec
    reduction_cell: CellSpec

    def __str__(self) -> str:
        return encode(self)

    def canonical(self) -> ArchitectureSpec:
        """The representative of all equal architectures."""
        return ArchitectureSpec(
            self.conv_cell.canonical(), self.reduction_cell.canonical()
        )


def sample(num_nodes: int, seed: int, index: int = 0) -> ArchitectureSpec:
    """The index-th architecture of a seed, drawn uniformly: every input and every
    operation alike (section 3.4)."""
    generator = np.random.default_rng([seed, index, 0xA7C4])
    cells = [_sample_cell(num_nodes, generator) for _ in range(2)]
    return ArchitectureSpec(*cells)


def _sample_cell(num_nodes: int, generator: np.random.Generator) -> CellSpec:
    names = list(OPERATIONS)
    nodes = []
    for number in range(NUM_INPUTS, NUM_INPUTS + num_nodes):
        inputs = generator.integers(number, size=2)
        operations = generator.integers(len(names), size=2)
        nodes.append(
            NodeSpec(tuple(map(int, inputs)), tuple(names[i] for i in operations))
        )
    return CellSpec(tuple(nodes))


def encode(spec: ArchitectureSpec) -> str:
    """NAO's integers: for each node input, operation, input, operation."""
    integers = [
        number
        for cell in (spec.conv_cell, spec.reduction_cell)
        for node in cell.nodes
        for pair in zip(node.inputs, node.operations, strict=True)
        for number in pair
    ]
    return " ".join(map(str, integers))


def decode(text: str) -> ArchitectureSpec:
    """The architecture of NAO's integers: 40 for cells of five nodes.

    Raises:
      UserError: no integers, a number of them that is no multiple of 8, an unknown
        operation, or a node that reads a later one.
    """
    parts = text.split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError(
            f"{quoted(text)} is no architecture: give integers from 0 to 15, as in "
            "'0 7 1 15 ...'"
        )
    if len(parts) % 8:
        raise UserError(
            f"{quoted(text)} has {len(parts)} integers: give 8 for each node, 40 for "
            "cells of five nodes"
        )
    rows = np.array(parts, dtype=np.int64).reshape(2, -1, 4).tolist()
    cells = [
        CellSpec(tuple(NodeSpec((a, b), (p, q)) for a, p, b, q in rows_of_cell))
        for rows_of_cell in rows
    ]
    return ArchitectureSpec(*cells)


def to_json(spec: ArchitectureSpec) -> str:
    """NAO's JSON format; its node_1 and node_2 are the cell's inputs."""
    dags = {"conv_dag": spec.conv_cell, "reduc_dag": spec.reduction_cell}
    return json.dumps({name: _to_dag(cell) for name, cell in dags.items()})


def _to_dag(cell: CellSpec) -> dict:
    dag = {f"node_{i}": [f"node_{i}", None, None, None, None] for i in (1, 2)}
    for number, node in enumerate(cell.nodes, start=NUM_INPUTS + 1):
        inputs = [f"node_{read + 1}" for read in node.inputs]
        names = [OPERATIONS[operation] for operation in node.operations]
        dag[f"node_{number}"] = [f"node_{number}", *inputs, *names]
    return dag


def from_json(text: str) -> ArchitectureSpec:
    """The architecture of NAO's JSON format.

    Raises:
      UserError: text that is not of that format, or as `decode` raises.
    """
    try:
        dags = json.loads(text)
        cells = [_from_dag(dags[name]) for name in ("conv_dag", "reduc_dag")]
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{quoted(text)} is no architecture in NAO's JSON format "
            f"({type(error).__name__}: {error}): give conv_dag and reduc_dag with "
            "node_1, node_2, ... in each"
        ) from None
    return ArchitectureSpec(*cells)


def read(text: str) -> ArchitectureSpec:
    """The architecture of either format.

    Raises:
      UserError: as `decode` and `from_json` raise.
    """
    return from_json(text) if text.lstrip().startswith("{") else decode(text)


def _from_dag(dag: dict) -> CellSpec:
    nodes = []
    for number in range(NUM_INPUTS + 1, len(dag) + 1):
        _, first, second, *names = dag[f"node_{number}"]
        inputs = tuple(int(name.removeprefix("node_")) - 1 for name in (first, second))
        first_name, second_name = names
        nodes.append(NodeSpec(inputs, (_NUMBERS[first_name], _NUMBERS[second_name])))
    return CellSpec(tuple(nodes))
