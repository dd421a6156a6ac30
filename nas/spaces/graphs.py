"""An architecture's cells as graphs, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nas.spaces.cells import NUM_INPUTS, NodeSpec


class Edge(NamedTuple):
    """What one node of a cell takes from another.

    Attributes:
      source, target: names of nodes.
      operation: its name; "" where the features are taken as they are.
    """

    source: str
    target: str
    operation: str


class CellGraph(NamedTuple):
    """A cell: its nodes are the ends of its edges, and it has no cycle.

    Attributes:
      name: what the cell is for.
      edges: those into one node stand in the order in which it is computed.
    """

    name: str
    edges: tuple[Edge, ...]


def of_nodes(
    name: str,
    nodes: Iterable[NodeSpec],
    outputs: Iterable[int],
    operations: Mapping[int, str],
) -> CellGraph:
    """The graph of a cell whose nodes read two numbers each.

    Args:
      outputs: numbers whose concatenation is the cell's output.
      operations: number -> name.
    """
    edges = [
        Edge(_name(read), _name(number), operations[operation])
        for number, node in enumerate(nodes, start=NUM_INPUTS)
        for read, operation in zip(node.inputs, node.operations, strict=True)
    ]
    edges += [Edge(_name(number), "output", "") for number in outputs]
    return CellGraph(name, tuple(edges))


def _name(number: int) -> str:
    return f"{'input' if number < NUM_INPUTS else 'node'} {number}"
