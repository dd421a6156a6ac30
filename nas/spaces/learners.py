"""Cells of search spaces as learners.

    bin/train --plugins=nas.spaces.learners --learner=darts:8-1-17,nao:8-1-3

`darts:8-1-17` is the network of the 17th cell that DARTS' space draws, with F = 8
filters and N = 1 cell in a row, so that a teacher can be meta-trained on what it will
judge (section 3.4), or on cells of other spaces. A cell is drawn by its number alone:
a number stands for one cell in every run.
"""

from __future__ import annotations

import functools

import keras

from gtn_tf.errors import UserError
from gtn_tf.networks.families import FAMILIES, Family
from gtn_tf.networks.learner_spec import LearnerSpec
from nas.spaces.base import Size
from nas.spaces.operations import Style
from nas.spaces.registry import SPACES

_SEED = 0  # of the cells that numbers stand for
_NUM_CELLS = 1000  # that a predefined set is drawn from


def _build(space_name: str, spec: LearnerSpec) -> keras.Model:
    """images [B, H, W, C] -> logits [B, K].

    Raises:
      UserError: a precision that cells do not have.
    """
    if spec.precision == "bfloat16":
        raise UserError(
            f"--precision=bfloat16 is not there for {spec}: give float32, or other "
            "learners"
        )
    num_filters, num_cells, number = spec.widths
    space = SPACES[space_name]()
    size = Size(
        num_cells=num_cells,
        num_filters=num_filters,
        image_shape=spec.image_shape,
        num_classes=spec.num_classes,
    )
    style = Style(weight_norm=True, for_meta_gradients=True, dtype=spec.precision)
    return space.build(space.sample(_SEED, number), size, style)


CELLS: dict[str, Family] = {
    name: Family(
        ((4, 16), (1, 1), (1, _NUM_CELLS)),
        build=functools.partial(_build, name),
        # The layers of a cell are as its space has them, in a network of few steps.
        fixed={
            "weight_norm": True,
            "normalization": "batch",
            "activation": "relu",
            "initializer": "kaiming",
        },
        in_any=False,
    )
    for name in SPACES
}

FAMILIES.update(CELLS)
