"""The search space as keras-tuner's hyperparameters: integers with names."""

from __future__ import annotations

import itertools

import keras_tuner

from nas.spaces import nao
from nas.spaces.nao import ArchitectureSpec, CellSpec, NodeSpec

_CELLS = ("conv_cell", "reduction_cell")


def hyperparameters(num_nodes: int) -> keras_tuner.HyperParameters:
    """The space as keras-tuner knows it: two inputs and operations for each node."""
    space = keras_tuner.HyperParameters()
    operations = list(nao.OPERATIONS)
    for cell, number, which in _places(num_nodes):
        space.Int(f"{cell}/{number}/input_{which}", 0, number - 1)
        space.Choice(f"{cell}/{number}/operation_{which}", operations, ordered=False)
    return space


def _places(num_nodes: int):
    return itertools.product(_CELLS, range(2, 2 + num_nodes), (1, 2))


def to_values(spec: ArchitectureSpec) -> dict[str, int]:
    """An architecture as values of `hyperparameters`."""
    values = {}
    for cell in _CELLS:
        for number, node in enumerate(getattr(spec, cell).nodes, start=2):
            for which in (1, 2):
                prefix = f"{cell}/{number}"
                values[f"{prefix}/input_{which}"] = node.inputs[which - 1]
                values[f"{prefix}/operation_{which}"] = node.operations[which - 1]
    return values


def from_values(values: dict[str, int]) -> ArchitectureSpec:
    """The architecture of `to_values`."""
    num_nodes = len(values) // (2 * 4)

    def node(cell, number):
        prefix = f"{cell}/{number}"
        return NodeSpec(
            *(
                tuple(int(values[f"{prefix}/{part}_{which}"]) for which in (1, 2))
                for part in ("input", "operation")
            )
        )

    cells = (
        CellSpec(tuple(node(cell, number) for number in range(2, 2 + num_nodes)))
        for cell in _CELLS
    )
    return ArchitectureSpec(*cells)
