"""Cells of nodes that add two operations' results: what NAO's and DARTS' share.

A cell has two inputs, 0 and 1 (the outputs of the two cells before it, the older
first), and nodes 2, 3, ..., which read any of the numbers before their own. Imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

NUM_INPUTS = 2


@dataclasses.dataclass(frozen=True)
class NodeSpec:
    """The sum of two operations' results.

    Attributes:
      inputs: the two numbers read, 0 and 1 for the cell's inputs, 2 for its first node.
      operations: two numbers of the search space's operations.
    """

    inputs: tuple[int, int]
    operations: tuple[int, int]


@functools.lru_cache(maxsize=100_000)
def least_numbering(nodes: tuple[NodeSpec, ...]) -> tuple[NodeSpec, ...]:
    """The same for all nodes that differ only in how they are numbered and in which of
    a node's two operations is named first.

    It is the least of all renumberings; there are at most len(nodes)! of them.
    """
    orders = itertools.permutations(range(len(nodes)))
    numbered = (_renumbered(nodes, order) for order in orders)
    least = min(pairs for pairs in numbered if pairs is not None)
    return tuple(NodeSpec((a, b), (p, q)) for (a, p), (b, q) in least)


def _renumbered(nodes: tuple[NodeSpec, ...], order: tuple[int, ...]):
    """The nodes' sorted (input, operation) pairs in that order; None where a node
    would read a later one."""
    new_number = {0: 0, 1: 1} | {
        NUM_INPUTS + old: number for number, old in enumerate(order, start=NUM_INPUTS)
    }
    renumbered = []
    for number, old in enumerate(order, start=NUM_INPUTS):
        node = nodes[old]
        inputs = [new_number[read] for read in node.inputs]
        if max(inputs) >= number:
            return None
        renumbered.append(tuple(sorted(zip(inputs, node.operations, strict=True))))
    return tuple(renumbered)


def quoted(text: str) -> str:
    """A given text for a message: in quotes, and cut where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
