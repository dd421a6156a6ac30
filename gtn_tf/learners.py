"""Learners: which architecture, as a hashable spec, and the set they are drawn from.

A learner is named by a `LearnerSpec`, built by `build_model` from its family (see
`families`), and used through the pure functions of `stateless.StatelessModel`.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from gtn_tf import layers
from gtn_tf.families import FAMILIES
from gtn_tf.learner_spec import LearnerSpec, layer_dtypes

ANY = "any"  # stands for every family
_ANY_WIDTH = 0.5  # of the families' widths: kinds matter more than widths

# What may be drawn for each learner, and from which values, alike often (section 2,
# A.1: the first).
VARIED: dict[str, tuple] = {
    "weight_norm": (True, False),
    "normalization": ("batch", "batch", "layer", "none"),
    "activation": ("leaky_relu", "relu", "gelu"),
    "initializer": ("kaiming", "keras"),
}


def build_model(spec: LearnerSpec) -> keras.Model:
    """The Keras model of a spec: images [B, H, W, C] -> logits [B, K]."""
    product, dtype = layer_dtypes(spec.precision)
    images = keras.Input(spec.image_shape, dtype=dtype)
    features = FAMILIES[spec.family].trunk(spec, images)
    logits = layers.dense(
        spec.num_classes, spec.weight_norm, product, spec.initializer
    )(features)
    logits = keras.layers.Activation("linear", dtype=dtype)(logits)
    return keras.Model(images, logits, name=f"{spec.family}_learner")


def sample_specs(
    family: str,
    num_specs: int,
    seed: int,
    vary: tuple[str, ...] = (),
    width_factor: float = 1.0,
    **common,
) -> list[LearnerSpec]:
    """The predefined set of a family: depth and widths drawn uniformly.

    Args:
      vary: keys of `VARIED` that are drawn as well, among what the family has.
      width_factor: of the ranges that widths are drawn from.
      common: the remaining fields of `LearnerSpec`, equal for all but where drawn.
    """
    ranges = np.array(FAMILIES[family].width_ranges)
    low, high = np.maximum(1, np.round(width_factor * ranges)).astype(int).T
    generator = np.random.default_rng([seed, 0x5EC5])
    widths = generator.integers(low, high, size=(num_specs, len(low)), endpoint=True)
    depths = generator.integers(
        FAMILIES[family].min_depth, len(low), size=num_specs, endpoint=True
    )
    drawn = _draw_properties(num_specs, seed, vary, FAMILIES[family].name_seed(family))
    return [
        _fitted(LearnerSpec(family, tuple(map(int, row[:depth])), **common | own))
        for row, depth, own in zip(widths, depths, drawn, strict=True)
    ]


def parse(
    text: str,
    num_specs: int,
    seed: int,
    leave_out: tuple[str, ...] = (),
    vary: tuple[str, ...] = (),
    **common,
) -> list[LearnerSpec]:
    """The learners that `--learner=LEARNER[,LEARNER...]` stands for, each once.

    A LEARNER is FAMILY, `num_specs` of its predefined set; FAMILY:WIDTHS, that one; or
    `any`, `num_specs` of all families in turn.

    Args:
      leave_out: families that are taken out of what the text names.
      vary: as for `sample_specs`.

    Raises:
      ValueError: unknown family, widths that are not positive integers, as many as the
        family takes, or nothing left.
    """
    for family in leave_out:
        _check_family(family)
    specs = [
        spec
        for index, part in enumerate(text.split(","))
        for spec in _parse(part, index, num_specs, seed, leave_out, vary, common)
    ]
    kept = [spec for spec in dict.fromkeys(specs) if spec.family not in leave_out]
    if not kept:
        raise ValueError(
            f"--learner={text} without --leave_out={','.join(leave_out)} names no "
            f"learner: leave one of {', '.join(FAMILIES)} in"
        )
    return kept


def _parse(text, index, num_specs, seed, leave_out, vary, common) -> list[LearnerSpec]:
    family, _, widths = text.partition(":")
    if text == ANY:
        families = [name for name in FAMILIES if name not in leave_out]
        counts = [
            len(range(first, num_specs, len(families)))
            for first in range(len(families))
        ]
        return [
            spec
            for column in _columns(families, counts, seed, vary, common)
            for spec in column
        ]
    _check_family(family)
    if not widths:
        return sample_specs(family, num_specs, seed, vary, **common)
    parts = widths.split("-")
    least, most = FAMILIES[family].min_depth, len(FAMILIES[family].width_ranges)
    if not least <= len(parts) <= most or not all(
        p.isdecimal() and int(p) > 0 for p in parts
    ):
        expected = f"{most}" if least == most else f"{least} to {most}"
        raise ValueError(
            f"learner {text!r} has widths {widths!r}: family {family} takes "
            f"{expected} positive integers joined by '-', as in "
            f"{family}:{'-'.join(['64'] * most)}"
        )
    (own,) = _draw_properties(1, seed, vary, index)
    return [_fitted(LearnerSpec(family, tuple(map(int, parts)), **common | own))]


def _columns(families, counts, seed, vary, common):
    """The first spec of each family, then the second of each that has one, ..."""
    sets = [
        sample_specs(family, count, seed, vary, _ANY_WIDTH, **common)
        for family, count in zip(families, counts, strict=True)
    ]
    for position in range(max(counts, default=0)):
        yield [own[position] for own in sets if position < len(own)]


def _draw_properties(num: int, seed: int, vary, stream: int) -> list[dict]:
    """Values of the varied fields for each of `num` specs."""
    generator = np.random.default_rng([seed, 0x9A11, stream])
    drawn = {
        name: [VARIED[name][i] for i in generator.integers(len(VARIED[name]), size=num)]
        for name in VARIED  # all of them, so that one does not change another
    }
    return [{name: drawn[name][i] for name in vary} for i in range(num)]


def _fitted(spec: LearnerSpec) -> LearnerSpec:
    """The spec with what its family has of its own."""
    return dataclasses.replace(spec, **FAMILIES[spec.family].fixed)


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        raise ValueError(
            f"learner family {family!r} is unknown: use one of "
            f"{', '.join(FAMILIES)} or {ANY}, as in mnist or mnist:64-128-256"
        )
