"""From one of NAO's architectures to a Keras model (Luo et al., 2018)."""

from __future__ import annotations

import keras

from nas.spaces import blueprint
from nas.spaces.base import Size
from nas.spaces.nao import ArchitectureSpec
from nas.spaces.operations import IDENTITY, OPERATIONS, PLAIN, Style
from nas.spaces.regularization import Regularization


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
    size = Size(
        num_cells=num_cells,
        num_filters=num_filters,
        image_shape=input_shape,
        num_classes=num_classes,
    )
    operations = blueprint.Operations(OPERATIONS, skip=IDENTITY)
    cells = spec.conv_cell, spec.reduction_cell
    return blueprint.build_network(*cells, operations, size, style, regularization)
