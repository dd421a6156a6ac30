"""From an architecture to a Keras model: NAO's blueprint (Luo et al., 2018)."""

from __future__ import annotations

import keras

from nas.operations import OPERATIONS, Style, factorized_reduction
from nas.search_space import ArchitectureSpec, CellSpec


def build_network(
    spec: ArchitectureSpec,
    *,
    num_cells: int,
    num_filters: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    weight_norm: bool = False,
) -> keras.Model:
    """images [B, H, W, C] -> logits [B, K].

    Args:
      num_cells: N; 3N + 2 cells, of which those at index N and 2N + 1 halve the image.
      num_filters: F, of the first cells; doubled at each reduction cell.
      weight_norm: for a learner on teacher data; see `Style`.
    """
    style = Style(weight_norm)
    images = keras.Input(input_shape)
    stem = style.convolution(images, 3 * num_filters, 3)
    older, newer, filters = stem, stem, num_filters
    for index in range(3 * num_cells + 2):
        reduces = index in (num_cells, 2 * num_cells + 1)
        filters *= 1 + reduces
        cell = spec.reduction_cell if reduces else spec.conv_cell
        older, newer = newer, _cell(cell, older, newer, filters, reduces, style)
    features = keras.layers.GlobalAveragePooling2D()(newer)
    return keras.Model(images, style.dense(features, num_classes))


def _cell(spec: CellSpec, older, newer, filters: int, reduces: bool, style: Style):
    """One cell with `filters` channels in each node."""
    states = [*_equal_sizes(older, newer, filters, style)]
    for node in spec.nodes:
        terms = []
        for read, operation in zip(node.inputs, node.operations, strict=True):
            stride = 2 if reduces and read < 2 else 1
            terms.append(OPERATIONS[operation](states[read], filters, stride, style))
        states.append(keras.layers.Add()(terms))
    outputs = []
    for number in spec.outputs:
        output = states[number]
        if reduces and number < 2:
            output = factorized_reduction(output, filters, style)
        outputs.append(output)
    return keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0]


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
