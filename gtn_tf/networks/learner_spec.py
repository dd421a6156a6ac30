"""What distinguishes one learner from another."""

from __future__ import annotations

import dataclasses

# What may be drawn for each learner, and from which values, alike often (section 2,
# A.1: the first).
VARIED: dict[str, tuple] = {
    "weight_norm": (True, False),
    "normalization": ("batch", "batch", "layer", "none"),
    "activation": ("leaky_relu", "relu", "gelu"),
    "initializer": ("kaiming", "keras"),
}


@dataclasses.dataclass(frozen=True)
class LearnerSpec:
    """An architecture, hashable.

    Attributes:
      family: a key of `families.FAMILIES`.
      widths: the family's filters and units, in layer order.
      image_shape: (H, W, C).
      num_classes: K.
      weight_norm: W = g V / ||V|| in every dense and convolution layer.
      normalization: after every hidden layer: "batch" with momentum 0 (A.1); "center":
        subtract the batch's mean only; "layer"; or "none".
      activation: a key of `layers.ACTIVATIONS`.
      initializer: of kernels, a key of `layers.INITIALIZERS`.
      precision: "float32", "bfloat16" (products only), or "float64" (for checks).
    """

    family: str
    widths: tuple[int, ...]
    image_shape: tuple[int, int, int]
    num_classes: int
    weight_norm: bool = True
    normalization: str = "batch"
    activation: str = "leaky_relu"
    initializer: str = "kaiming"
    precision: str = "float32"

    def __str__(self) -> str:
        return f"{self.family}:{'-'.join(map(str, self.widths))}"


def layer_dtypes(precision: str) -> tuple[str, str]:
    """(dtype policy of products, dtype of everything else)."""
    if precision == "bfloat16":
        return "mixed_bfloat16", "float32"
    return precision, precision
