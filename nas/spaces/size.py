"""How large the networks of a search are."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """How large networks are, and for which data.

    Attributes:
      num_cells: N, cells in a row at one image size.
      num_filters: F, filters of the first cells.
      image_shape: height, width, channels.
      num_classes: K, the number of logits.
    """

    num_cells: int
    num_filters: int
    image_shape: tuple[int, int, int]
    num_classes: int
