"""Architectures that a teacher has not been trained with, made from one that it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.learner_spec import LearnerSpec


def _scaled(factor: float) -> Callable:
    def change(spec: LearnerSpec) -> LearnerSpec:
        widths = tuple(max(1, round(factor * width)) for width in spec.widths)
        return dataclasses.replace(spec, widths=widths)

    return change


def _family(name: str, *widths: int) -> Callable:
    return lambda spec: dataclasses.replace(spec, family=name, widths=widths)


# Name -> the architecture that differs so from a trained one.
UNSEEN_ARCHITECTURES: dict[str, Callable[[LearnerSpec], LearnerSpec]] = {
    "half as wide": _scaled(0.5),
    "twice as wide": _scaled(2),
    "deeper, fully convolutional": _family("cifar10", 48, 96, 96, 96, 96),
    "fully connected": _family("fully_connected", 256, 128),
    "small residual network": _family("residual", 48, 96),
    "without weight norm": lambda s: dataclasses.replace(s, weight_norm=False),
}


# The same for policies: other widths, depths and activations.
UNSEEN_POLICIES: dict[str, Callable[[LearnerSpec], LearnerSpec]] = {
    "a quarter as wide": _scaled(0.25),
    "four times as wide": _scaled(4),
    "two layers": _family("policy", 64, 64),
    "three layers": _family("policy", 64, 64, 64),
    "ReLU": lambda s: dataclasses.replace(s, activation="relu"),
    "GELU, two layers": lambda s: dataclasses.replace(
        s, activation="gelu", widths=(64, 64)
    ),
}


def specs(trained: list[LearnerSpec]) -> dict[str, LearnerSpec]:
    """Name -> held-out architecture, without those that are in the trained set.

    Where the first one's family builds its networks itself, what its widths are is
    not known: only other families are left.
    """
    first = trained[0]
    is_image = len(first.image_shape) == 3
    changes = UNSEEN_ARCHITECTURES if is_image else UNSEEN_POLICIES
    changed = {name: change(first) for name, change in changes.items()}
    left_out = first.family if FAMILIES[first.family].build else None
    return {
        name: spec
        for name, spec in changed.items()
        if spec not in trained and spec.family != left_out
    }
