"""DARTS' operations, and its cells as a search space (Liu et al., 2019)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import keras
import keras_tuner

from nas.spaces import blueprint, darts
from nas.spaces.base import SearchSpace, Size
from nas.spaces.cells import NUM_INPUTS, NodeSpec
from nas.spaces.darts import NUM_NODES, DartsCell, DartsSpec
from nas.spaces.graphs import CellGraph, of_nodes
from nas.spaces.operations import (
    PLAIN,
    Style,
    every_other,
    factorized_reduction,
    pooling,
)
from nas.spaces.regularization import Regularization

_CELLS = ("normal", "reduction")
_NUMBERS = {name: number for number, name in darts.OPERATIONS.items()}


class DartsSpace(SearchSpace):
    """A normal and a reduction cell of four nodes with two different inputs each.

    At N = 2 and F = 32 on 32x32x3 with 10 classes the networks have the numbers of
    parameters that NAS-Bench-Suite-Zero publishes (Krishnakumar et al., 2022).
    """

    name = "darts"
    # Chosen on half of the published cells (docs/experiment_log.md).
    cheap_evaluations = ("naswot", "params", "-grad_norm")

    def encode(self, architecture: DartsSpec) -> str:
        """DARTS' genotype."""
        return darts.encode(architecture)

    def decode(self, text: str) -> DartsSpec:
        """The architecture of a genotype or of pairs of numbers."""
        return darts.decode(text)

    def graphs(self, architecture: DartsSpec) -> tuple[CellGraph, ...]:
        """Normal and reduction cell; all nodes are the output."""
        cells = {
            "normal cell": architecture.normal_cell,
            "reduction cell": architecture.reduction_cell,
        }
        return tuple(
            of_nodes(name, cell.nodes, cell.outputs, darts.OPERATIONS)
            for name, cell in cells.items()
        )

    def canonical(self, architecture: DartsSpec) -> DartsSpec:
        """That of the least numbering of nodes."""
        return architecture.canonical()

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """A pair of inputs, such as 0-2, and two operations for each node."""
        space = keras_tuner.HyperParameters()
        for cell, number in _nodes():
            pairs = itertools.combinations(range(number), 2)
            space.Choice(f"{cell}/{number}/inputs", [f"{a}-{b}" for a, b in pairs])
            for which in (1, 2):
                space.Choice(f"{cell}/{number}/operation_{which}", list(_NUMBERS))
        return space

    def to_values(self, architecture: DartsSpec) -> dict[str, str]:
        """Names as cell/node/inputs, cell/node/operation_1."""
        values = {}
        cells = architecture.normal_cell, architecture.reduction_cell
        nodes = [node for cell in cells for node in cell.nodes]
        for (cell, number), node in zip(_nodes(), nodes, strict=True):
            values[f"{cell}/{number}/inputs"] = "{}-{}".format(*node.inputs)
            for which, operation in enumerate(node.operations, start=1):
                name = darts.OPERATIONS[operation]
                values[f"{cell}/{number}/operation_{which}"] = name
        return values

    def from_values(self, values: dict[str, str]) -> DartsSpec:
        """The inverse of `to_values`."""
        nodes = [_node(values, f"{cell}/{number}") for cell, number in _nodes()]
        cells = tuple(nodes[:NUM_NODES]), tuple(nodes[NUM_NODES:])
        return DartsSpec(*map(DartsCell, cells))

    def build(
        self,
        architecture: DartsSpec,
        size: Size,
        style: Style = PLAIN,
        regularization: Regularization | None = None,
    ) -> keras.Model:
        """3N + 2 cells, two of which halve the image: with N = 2 the eight of DARTS'
        search, with N = 6 the twenty of its final evaluation."""
        cells = architecture.normal_cell, architecture.reduction_cell
        return blueprint.build_network(*cells, OPERATIONS, size, style, regularization)


def _nodes() -> list[tuple[str, int]]:
    numbers = range(NUM_INPUTS, NUM_INPUTS + NUM_NODES)
    return list(itertools.product(_CELLS, numbers))


def _node(values: dict[str, str], prefix: str) -> NodeSpec:
    first, _, second = values[f"{prefix}/inputs"].partition("-")
    p, q = (_NUMBERS[values[f"{prefix}/operation_{which}"]] for which in (1, 2))
    return NodeSpec((int(first), int(second)), (p, q))


def _skip(features, filters, stride, style):
    if stride == 1:
        return features
    return factorized_reduction(style.relu(features), filters, style, affine=False)


def _pooling(layer: type) -> Callable:
    """Pooling, then batch norm."""

    def apply(features, filters, stride, style):
        pooled = pooling(layer, 3)(features, filters, stride, style)
        return style.normalized(pooled, affine=False)

    return apply


def _separable(kernel_size: int) -> Callable:
    """Twice ReLU, depthwise and 1x1 convolution, batch norm; the first has the
    stride."""

    def apply(features, filters, stride, style):
        for strides in (stride, 1):
            features = style.depthwise(
                style.relu(features), kernel_size, strides=strides
            )
            features = style.convolution(features, filters, 1, affine=False)
        return features

    return apply


def _dilated(kernel_size: int) -> Callable:
    """ReLU, a depthwise convolution of every other pixel, a 1x1 one, batch norm.

    TensorFlow has no strides beside dilation. A stride of 2 leaves the even pixels,
    which read only even ones: the same is a plain convolution of those.
    """

    def apply(features, filters, stride, style):
        features = style.relu(features)
        if stride > 1:
            features = style.depthwise(every_other(features, style), kernel_size)
        else:
            features = style.depthwise(features, kernel_size, dilation_rate=2)
        return style.convolution(features, filters, 1, affine=False)

    return apply


OPERATIONS = blueprint.Operations(
    {
        0: _pooling(keras.layers.MaxPooling2D),
        1: _pooling(keras.layers.AveragePooling2D),
        2: _skip,
        3: _separable(3),
        4: _separable(5),
        5: _dilated(3),
        6: _dilated(5),
    },
    skip=2,
)
