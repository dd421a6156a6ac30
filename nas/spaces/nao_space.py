"""NAO's cells as a search space; in keras-tuner, integers with names."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import keras_tuner

from nas.spaces import nao
from nas.spaces.base import SearchSpace, Size
from nas.spaces.graphs import CellGraph, of_nodes
from nas.spaces.nao import ArchitectureSpec, CellSpec, NodeSpec
from nas.spaces.nao_network import build_network
from nas.spaces.operations import PLAIN, Style
from nas.spaces.regularization import Regularization

_CELLS = ("conv_cell", "reduction_cell")


class NaoSpace(SearchSpace):
    """A convolution and a reduction cell of B nodes (Appendix C; Luo et al., 2018).

    Args:
      num_nodes: B. Architectures that are decoded may have another number.
    """

    name = "nao"

    def __init__(self, num_nodes: int = 5):
        self.num_nodes = num_nodes

    @classmethod
    def of_search(cls, config: Any) -> NaoSpace:
        """With the cells' size of the flags."""
        return cls(config.num_nodes)

    def encode(self, architecture: ArchitectureSpec) -> str:
        """NAO's integers."""
        return nao.encode(architecture)

    def decode(self, text: str) -> ArchitectureSpec:
        """The architecture of NAO's integers or its JSON."""
        return nao.read(text)

    def graphs(self, architecture: ArchitectureSpec) -> tuple[CellGraph, ...]:
        """Convolution and reduction cell; what no node reads is the output."""
        cells = {
            "convolution cell": architecture.conv_cell,
            "reduction cell": architecture.reduction_cell,
        }
        return tuple(
            of_nodes(name, cell.nodes, cell.outputs, nao.OPERATIONS)
            for name, cell in cells.items()
        )

    def canonical(self, architecture: ArchitectureSpec) -> ArchitectureSpec:
        """That of the least numbering of nodes and operations."""
        return architecture.canonical()

    def sample(self, seed: int, index: int) -> ArchitectureSpec:
        """Every input and every operation alike (section 3.4)."""
        return nao.sample(self.num_nodes, seed, index)

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Two inputs and two operations for each node."""
        space = keras_tuner.HyperParameters()
        operations = list(nao.OPERATIONS)
        numbers = range(2, 2 + self.num_nodes)
        for cell, number, which in itertools.product(_CELLS, numbers, (1, 2)):
            space.Int(f"{cell}/{number}/input_{which}", 0, number - 1)
            space.Choice(
                f"{cell}/{number}/operation_{which}", operations, ordered=False
            )
        return space

    def to_values(self, architecture: ArchitectureSpec) -> dict[str, int]:
        """Names as cell/node/input_1, cell/node/operation_1."""
        values = {}
        for cell in _CELLS:
            for number, node in enumerate(getattr(architecture, cell).nodes, start=2):
                for which in (1, 2):
                    prefix = f"{cell}/{number}"
                    values[f"{prefix}/input_{which}"] = node.inputs[which - 1]
                    values[f"{prefix}/operation_{which}"] = node.operations[which - 1]
        return values

    def from_values(self, values: dict[str, int]) -> ArchitectureSpec:
        """As many nodes as there are values for."""
        num_nodes = len(values) // (2 * 4)
        cells = (
            CellSpec(
                tuple(
                    _node(values, f"{cell}/{number}")
                    for number in range(2, 2 + num_nodes)
                )
            )
            for cell in _CELLS
        )
        return ArchitectureSpec(*cells)

    def build(
        self,
        architecture: ArchitectureSpec,
        size: Size,
        style: Style = PLAIN,
        regularization: Regularization | None = None,
    ) -> keras.Model:
        """3N + 2 cells, two of which halve the image."""
        return build_network(
            architecture,
            num_cells=size.num_cells,
            num_filters=size.num_filters,
            input_shape=size.image_shape,
            num_classes=size.num_classes,
            style=style,
            regularization=regularization,
        )


def _node(values: dict[str, int], prefix: str) -> NodeSpec:
    inputs, operations = (
        tuple(int(values[f"{prefix}/{part}_{which}"]) for which in (1, 2))
        for part in ("input", "operation")
    )
    return NodeSpec(inputs, operations)
