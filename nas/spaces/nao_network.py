"""From an architecture to a Keras model: NAO's blueprint (Luo et al., 2018)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import keras

from gtn_tf.errors import UserError
from nas.spaces.nao import ArchitectureSpec, CellSpec
from nas.spaces.operations import (
    IDENTITY,
    OPERATIONS,
    PLAIN,
    Style,
    factorized_reduction,
)
from nas.spaces.regularization import DropPath, Regularization

MIN_AUXILIARY_SIZE = 29  # pixels a side that leave 8 after two halvings


def build_network(
    spec: ArchitectureSpec,
    *,
    num_cells: int,
    num_filters: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    style: Style = PLAIN,
    regularization: Regularization | None = None,
) -> keras.Model:
    """images [B, H, W, C] -> logits [B, K].

    Args:
      num_cells: N; 3N + 2 cells, of which those at index N and 2N + 1 halve the image.
      num_filters: F, of the first cells; doubled at each reduction cell.
      style: how layers are built; weight-normalized for a learner on teacher data.
      regularization: for final training; with an auxiliary head the outputs are a
        list of two logits, the head's last.

    Raises:
      UserError: an auxiliary head for images that are too small for it.
    """
    regularization = regularization or Regularization(0, 0, auxiliary_head=False)
    images = keras.Input(input_shape, dtype=style.dtype)
    stem = style.convolution(images, 3 * num_filters, 3)
    older, newer, filters = stem, stem, num_filters
    auxiliary, seeds = [], itertools.count(regularization.seed * 10_000)
    for index in range(3 * num_cells + 2):
        reduces = index in (num_cells, 2 * num_cells + 1)
        filters *= 1 + reduces
        cell = _Cell(
            spec.reduction_cell if reduces else spec.conv_cell,
            filters,
            reduces,
            style,
            regularization.drop_path * (index + 1) / (3 * num_cells + 2),
            seeds,
        )
        older, newer = newer, cell(older, newer)
        if index == 2 * num_cells + 1 and regularization.auxiliary_head:
            auxiliary.append(_auxiliary_head(newer, num_classes, style))
    features = keras.layers.GlobalAveragePooling2D(dtype=style.dtype)(newer)
    if regularization.dropout:
        dropout = keras.layers.Dropout(regularization.dropout, seed=next(seeds))
        features = dropout(features)
    outputs = [style.dense(features, num_classes), *auxiliary]
    return keras.Model(images, outputs if auxiliary else outputs[0])


@dataclasses.dataclass(frozen=True)
class _Cell:
    """One cell with `filters` channels in each node, as a function of its inputs."""

    spec: CellSpec
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

    def _term(self, features, operation: int, halves: bool):
        stride = 2 if halves else 1
        term = OPERATIONS[operation](features, self.filters, stride, self.style)
        if not self.drop_path or operation == IDENTITY:
            return term
        return DropPath(self.drop_path, next(self.seeds))(term)


def _auxiliary_head(features, num_classes: int, style: Style):
    """Logits of a small network on the second reduction cell."""
    if min(features.shape[1:3]) < 8:
        raise UserError(
            f"the auxiliary head cannot read {features.shape[1]}x{features.shape[2]} "
            "features after the second reduction cell: they have at least 8x8 for "
            f"images of at least {MIN_AUXILIARY_SIZE} pixels a side; leave the head out"
        )
    features = style.relu(features)
    features = keras.layers.AveragePooling2D(5, 3)(features)
    features = style.convolution(features, 128, 1)
    features = style.convolution(style.relu(features), 768, 2, padding="valid")
    features = keras.layers.Flatten()(style.relu(features))
    return style.dense(features, num_classes)


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
