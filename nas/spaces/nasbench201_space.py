"""NAS-Bench-201's networks, and its cells as a search space (Dong & Yang, 2020)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import keras
import keras_tuner
import tensorflow as tf

from nas.spaces import nasbench201, regularization
from nas.spaces.base import SearchSpace, Size
from nas.spaces.graphs import CellGraph, Edge
from nas.spaces.heads import auxiliary_head, classifier
from nas.spaces.nasbench201 import EDGES, NONE, OPERATIONS, SKIP, EdgeCell
from nas.spaces.operations import PLAIN, Style, pooling
from nas.spaces.regularization import DropPath, Regularization

_PLACES = [f"edge_{source}_{target}" for source, target in EDGES]
_NUM_STAGES = 3
_NODES = ("input", "node 1", "node 2", "output")


class NasBench201Space(SearchSpace):
    """15,625 cells, of which the benchmark has 6,466 that differ in what they compute.

    At N = 5 and F = 16 on 32x32x3 with 10 classes the networks are the benchmark's,
    with its published numbers of parameters.
    """

    name = "nasbench201"
    has_places = True
    # Chosen on half of the published cells (docs/experiment_log.md).
    cheap_evaluations = ("params", "jacov", "synflow")

    def encode(self, architecture: EdgeCell) -> str:
        """NAS-Bench-201's text."""
        return nasbench201.encode(architecture)

    def decode(self, text: str) -> EdgeCell:
        """The cell of that text or of six numbers."""
        return nasbench201.decode(text)

    def graphs(self, architecture: EdgeCell) -> tuple[CellGraph, ...]:
        """The one cell, also the edges that bring zeros."""
        edges = (
            Edge(_NODES[source], _NODES[target], OPERATIONS[number])
            for (source, target), number in architecture.by_edge.items()
        )
        return (CellGraph("cell", tuple(edges)),)

    def canonical(self, architecture: EdgeCell) -> EdgeCell:
        """That of the lesser of two numberings of the nodes."""
        return architecture.canonical()

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The name of an operation for each edge."""
        space = keras_tuner.HyperParameters()
        for place in _PLACES:
            space.Choice(place, list(OPERATIONS.values()))
        return space

    def to_values(self, architecture: EdgeCell) -> dict[str, str]:
        """Names as edge_0_1."""
        names = (OPERATIONS[number] for number in architecture.operations)
        return dict(zip(_PLACES, names, strict=True))

    def from_values(self, values: dict[str, str]) -> EdgeCell:
        """The inverse of `to_values`."""
        numbers = {name: number for number, name in OPERATIONS.items()}
        return EdgeCell(tuple(numbers[values[place]] for place in _PLACES))

    def build(
        self,
        architecture: EdgeCell,
        size: Size,
        style: Style = PLAIN,
        regularization: Regularization | None = None,
    ) -> keras.Model:
        """Three times N cells, with a residual block before the second and third N.

        A block halves the image and doubles the filters. Drop path, which rises with
        depth, is on convolutions and pooling, the auxiliary head on the second block.
        """
        return build_network(architecture, size, style, regularization)


def build_network(
    cell: EdgeCell,
    size: Size,
    style: Style = PLAIN,
    options: Regularization | None = None,
) -> keras.Model:
    """images [B, H, W, C] -> logits [B, K].

    All operations of a cell are in the network, as in the benchmark, also those whose
    result goes nowhere.

    Args:
      options: what final training adds; see `NasBench201Space.build`.

    Raises:
      UserError: an auxiliary head for images that are too small for it.
    """
    options = options or regularization.NONE
    seeds = itertools.count(options.seed * 10_000)
    auxiliary, filters = [], size.num_filters
    images = keras.Input(size.image_shape, dtype=style.dtype)
    features = style.convolution(images, filters, 3)
    for stage, index in itertools.product(range(_NUM_STAGES), range(size.num_cells)):
        if stage and index == 0:
            filters *= 2
            with keras.name_scope(f"block_{stage}"):
                features = _residual_block(features, filters, style)
            if stage == _NUM_STAGES - 1 and options.auxiliary_head:
                auxiliary.append(auxiliary_head(features, size.num_classes, style))
        depth = (stage * size.num_cells + index + 1) / (_NUM_STAGES * size.num_cells)
        with keras.name_scope(f"cell_{stage}_{index}"):
            features = _Edges(cell, style, options.drop_path * depth, seeds)(features)
    features = style.relu(style.normalized(features))
    logits = classifier(features, size.num_classes, style, options, next(seeds))
    return keras.Model(images, [logits, *auxiliary] if auxiliary else logits)


@dataclasses.dataclass(frozen=True)
class _Edges:
    """A cell as a function of features, whose shape it keeps."""

    cell: EdgeCell
    style: Style
    drop_path: float
    seeds: Iterator[int]  # one for each layer that drops

    def __call__(self, features):
        nodes = [features]
        for target in (1, 2, 3):
            terms = [self._term(nodes[i], i, target) for i in range(target)]
            node = terms[0]
            if len(terms) > 1:
                count = [self.cell.by_edge[i, target] != NONE for i in range(target)]
                node = SumOfSome(count, dtype=self.style.dtype)(terms)
            nodes.append(node)
        return nodes[-1]

    def _term(self, features, source: int, target: int):
        number = self.cell.by_edge[source, target]
        with keras.name_scope(f"edge_{source}_{target}_{OPERATIONS[number]}"):
            term = _APPLY[number](features, self.style)
        if not self.drop_path or number in (SKIP, NONE):
            return term
        return DropPath(self.drop_path, next(self.seeds))(term)


@keras.saving.register_keras_serializable("nas")
class Zeros(keras.layers.Layer):
    """Zeros of its input's shape, through which nothing flows back.

    What leads here alone stays in the network, and no gradient is computed for it.
    """

    def call(self, inputs):
        """Zeros like [B, H, W, C]."""
        return tf.zeros_like(inputs)


@keras.saving.register_keras_serializable("nas")
class SumOfSome(keras.layers.Add):
    """The sum of those inputs that are not known to be zero.

    Args:
      count: whether each input does; where none does, the sum is the first.
    """

    def __init__(self, count: Sequence[bool], **options):
        super().__init__(**options)
        self.count = list(count)

    def _merge_function(self, inputs):
        counted = list(itertools.compress(inputs, self.count))
        return super()._merge_function(counted or inputs[:1])

    def get_config(self):
        """As the constructor takes it."""
        return super().get_config() | {"count": self.count}


def _convolution(kernel_size: int) -> Callable:
    def apply(features, style):
        return style.convolution(style.relu(features), features.shape[-1], kernel_size)

    return apply


def _average(features, style):
    pool = pooling(keras.layers.AveragePooling2D, 3)
    return pool(features, features.shape[-1], 1, style)


def _zero(features, style):
    return Zeros(dtype=style.dtype)(features)


# Key of `OPERATIONS` -> (features, style) -> features of the same shape.
_APPLY: dict[int, Callable] = {
    SKIP: lambda features, style: features,
    NONE: _zero,
    2: _convolution(3),
    3: _convolution(1),
    4: _average,
}


def _residual_block(features, filters: int, style: Style):
    """Two convolutions, the first with a stride of 2, and beside them the image
    halved by averaging and a 1x1 convolution without batch norm."""
    block = style.convolution(style.relu(features), filters, 3, strides=2)
    block = style.convolution(style.relu(block), filters, 3)
    halved = keras.layers.AveragePooling2D(2, padding="same", dtype=style.dtype)
    bare = dataclasses.replace(style, batch_norm=False)
    shortcut = bare.convolution(halved(features), filters, 1)
    return keras.layers.Add(dtype=style.dtype)([block, shortcut])
