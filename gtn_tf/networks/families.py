"""Learner families: kinds of networks, each a trunk from images to features.

mnist and cifar10 are the paper's (A.1, A.2); digits is mnist with strides in place of
pooling. The others are what else people write. A module that `--plugins` names can add
its own to `FAMILIES`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Family:
    """Widths and structure of a learner family.

    Attributes:
      width_ranges: (lowest, highest) of each width, both included.
      trunk: (spec, images) -> features [B, ...], before the last dense layer.
      fewest_widths: of a member; 0: all of them.
      fixed: fields of `LearnerSpec` that the family has no choice of.
      build: spec -> the whole Keras model, in place of a trunk.
      in_any: whether `any` stands for it too.
      takes_vectors: whether an input may be a vector, not an image.
    """

    width_ranges: tuple[tuple[int, int], ...]
    trunk: Callable | None = None
    fewest_widths: int = 0
    fixed: Mapping = dataclasses.field(default_factory=dict)
    build: Callable | None = None
    in_any: bool = True
    takes_vectors: bool = False

    @property
    def min_depth(self) -> int:
        """Fewest widths that a member has."""
        return self.fewest_widths or len(self.width_ranges)


def _trunk(name: str, **options) -> Callable:
    """A function of `trunks`, imported when it is called: names of families are
    listed, as by --help, without Keras."""

    def trunk(spec, images):
        from gtn_tf.networks import trunks

        return getattr(trunks, name)(spec, images, **options)

    return trunk


FAMILIES: dict[str, Family] = {
    "digits": Family(((48, 80), (96, 160), (96, 160)), _trunk("dense", pooled=False)),
    "mnist": Family(
        ((32, 128), (64, 256), (64, 256)), _trunk("dense", pooled=True)
    ),  # A.1
    "cifar10": Family(((32, 128),) + 4 * ((64, 256),), _trunk("convolutional")),  # A.2
    "shallow": Family(((32, 96), (32, 96)), _trunk("shallow"), fewest_widths=1),
    "residual": Family(
        ((32, 128), (64, 256), (64, 256)), _trunk("residual"), fewest_widths=2
    ),
    "depthwise": Family(
        ((32, 96), (64, 192), (64, 192), (64, 192)),
        _trunk("depthwise"),
        fewest_widths=3,
    ),
    "fully_connected": Family(
        3 * ((64, 512),), _trunk("fully_connected"), 1, takes_vectors=True
    ),
    "transformer": Family(
        ((64, 128), (128, 256), (128, 256)),
        _trunk("transformer"),
        fewest_widths=2,
        # The last dense layer is as plain as the others.
        fixed={"weight_norm": False, "normalization": "layer"},
    ),
    # Appendix H has 64.
    "policy": Family(
        3 * ((16, 256),),
        _trunk("fully_connected"),
        fewest_widths=1,
        fixed={
            "weight_norm": False,
            "normalization": "none",
            "activation": "tanh",
            "initializer": "keras",
        },
        in_any=False,
        takes_vectors=True,
    ),
}
