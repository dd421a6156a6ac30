"""From a normal and a reduction cell to a Keras model: NAO's blueprint, and DARTS'.

A stem, 3N + 2 cells of which two halve the image, and a classifier (Luo et al., 2018;
Liu et al., 2019). A space gives its cells and its operations.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import keras

from nas.spaces.base import Size
from nas.spaces.cells import NodeSpec
from nas.spaces.heads import auxiliary_head, classifier
from nas.spaces.operations import Style, factorized_reduction
from nas.spaces.regularization import NONE, DropPath, Regularization


class Cell(Protocol):
    """What is asked of a cell.

    Attributes:
      nodes: numbered from 2, in an order in which each reads only those before it.
      outputs: the inputs and nodes that are concatenated to the cell's output.
    """

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The nodes, from number 2."""
        ...

    @property
    def outputs(self) -> tuple[int, ...]:
        """The numbers that are concatenated."""
        ...


class Operations(NamedTuple):
    """A space's operations.

    Attributes:
      by_number: number -> (features, filters, stride, style) -> features; they give
        `filters` channels, and an image halved by a stride of 2.
      skip: the number of the one that drop path leaves alone.
    """

    by_number: Mapping[int, Callable]
    skip: int


def build_network(
    normal_cell: Cell,
    reduction_cell: Cell,
    operations: Operations,
    size: Size,
    style: Style,
    regularization: Regularization | None = None,
) -> keras.Model:
    """images [B, H, W, C] -> logits [B, K].

    Args:
      size: of N cells in a row; 3N + 2 cells, of which those at index N and 2N + 1
        halve the image and double the filters.
      style: how layers are built; weight-normalized for a learner on teacher data.
      regularization: for final training; with an auxiliary head the outputs are a
        list of two logits, the head's last.

    Raises:
      UserError: an auxiliary head for images that are too small for it.
    """
    regularization = regularization or NONE
    images = keras.Input(size.image_shape, dtype=style.dtype)
    stem = style.convolution(images, 3 * size.num_filters, 3)
    older, newer, filters = stem, stem, size.num_filters
    auxiliary, seeds = [], itertools.count(regularization.seed * 10_000)
    first, second, count = size.num_cells, 2 * size.num_cells + 1, 3 * size.num_cells
    for index in range(count + 2):
        reduces = index in (first, second)
        filters *= 1 + reduces
        cell = _Cell(
            reduction_cell if reduces else normal_cell,
            operations,
            filters,
            reduces,
            style,
            regularization.drop_path * (index + 1) / (count + 2),
            seeds,
        )
        older, newer = newer, cell(older, newer)
        if index == second and regularization.auxiliary_head:
            auxiliary.append(auxiliary_head(newer, size.num_classes, style))
    logits = classifier(newer, size.num_classes, style, regularization, next(seeds))
    return keras.Model(images, [logits, *auxiliary] if auxiliary else logits)


@dataclasses.dataclass(frozen=True)
class _Cell:
    """One cell with `filters` channels in each node, as a function of its inputs."""

    spec: Cell
    operations: Operations
    filters: int
    reduces: bool
    style: Style
    drop_path: float
    seeds: Iterator[int]  # one for each layer that drops

    def __call__(self, older, newer):
        states = [*_equal_sizes(older, newer, self.filters, self.style)]
        for node in self.spec.nodes:
            terms = [
                self._term(states[read], operation, self.reduces and read < 2)
                for read, operation in zip(node.inputs, node.operations, strict=True)
            ]
            states.append(keras.layers.Add(dtype=self.style.dtype)(terms))
        outputs = []
        for number in self.spec.outputs:
            output = states[number]
            if self.reduces and number < 2:
                output = factorized_reduction(output, self.filters, self.style)
            outputs.append(output)
        if len(outputs) == 1:
            return outputs[0]
        return keras.layers.Concatenate(dtype=self.style.dtype)(outputs)

    def _term(self, features, number: int, halves: bool):
        operation = self.operations.by_number[number]
        term = operation(features, self.filters, 2 if halves else 1, self.style)
        if not self.drop_path or number == self.operations.skip:
            return term
        return DropPath(self.drop_path, next(self.seeds))(term)


def _equal_sizes(older, newer, filters: int, style: Style):
    """Both inputs with `filters` channels and the newer one's image size."""
    if older.shape[1] != newer.shape[1]:
        older = factorized_reduction(style.relu(older), filters, style)
    else:
        older = _with_channels(older, filters, style)
    return older, _with_channels(newer, filters, style)


def _with_channels(features, filters: int, style: Style):
    if features.shape[-1] == filters:
        return features
    return style.convolution(style.relu(features), filters, 1)
