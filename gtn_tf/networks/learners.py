"""Learners: which architecture, as a hashable spec, and the set they are drawn from.

A learner is named by a `LearnerSpec`, built by `build_model` from its family (see
`families`), and used through the pure functions of `stateless.StatelessModel`.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from gtn_tf.errors import UserError
from gtn_tf.networks import layers
from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.learner_spec import VARIED, LearnerSpec, layer_dtypes

ANY = "any"  # stands for every family
_ANY_WIDTH = 0.5  # of the families' widths: kinds matter more than widths


def build_model(spec: LearnerSpec) -> keras.Model:
    """The Keras model of a spec: images [B, H, W, C] -> logits [B, K]."""
    family = FAMILIES[spec.family]
    if family.build:
        return family.build(spec)
    product, dtype = layer_dtypes(spec.precision)
    images = keras.Input(spec.image_shape, dtype=dtype)
    features = family.trunk(spec, images)
    logits = layers.dense(
        spec.num_classes, spec.weight_norm, product, spec.initializer
    )(features)
    logits = keras.layers.Activation("linear", dtype=dtype)(logits)
    return keras.Model(images, logits, name=f"{spec.family}_learner")


def sample_specs(
    family: str, num_specs: int, seed: int, width_factor: float = 1.0, **common
) -> list[LearnerSpec]:
    """The predefined set of a family: depth and widths drawn uniformly.

    Args:
      width_factor: of the ranges that widths are drawn from.
      common: the remaining fields of `LearnerSpec`, equal for all.
    """
    ranges = np.array(FAMILIES[family].width_ranges)
    low, high = np.maximum(1, np.round(width_factor * ranges)).astype(int).T
    generator = np.random.default_rng([seed, 0x5EC5])
    widths = generator.integers(low, high, size=(num_specs, len(low)), endpoint=True)
    depths = generator.integers(
        FAMILIES[family].min_depth, len(low), size=num_specs, endpoint=True
    )
    return [
        LearnerSpec(family, tuple(map(int, row[:depth])), **common)
        for row, depth in zip(widths, depths, strict=True)
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
      leave_out: families that `any` does not stand for.
      vary: keys of `VARIED` that are drawn for each learner: every value of a property
        equally often, as far as their numbers go, in random order.

    Raises:
      UserError: unknown family, widths that are not positive integers, as many as the
        family takes, or nothing left.
    """
    for family in leave_out:
        _check_family(family)
    specs = [
        spec
        for part in text.split(",")
        for spec in _parse(part, num_specs, seed, leave_out, common)
    ]
    if not specs:
        names = ", ".join(name for name, own in FAMILIES.items() if own.in_any)
        raise UserError(
            f"--learner={text} without --leave_out={','.join(leave_out)} names no "
            f"learner: leave one of {names} in"
        )
    return list(dict.fromkeys(_varied(specs, seed, vary)))


def _parse(text, num_specs, seed, leave_out, common) -> list[LearnerSpec]:
    family, _, widths = text.partition(":")
    if text == ANY:
        return _in_turn(
            [n for n, f in FAMILIES.items() if f.in_any and n not in leave_out],
            num_specs,
            seed,
            common,
        )
    _check_family(family)
    if not widths:
        return sample_specs(family, num_specs, seed, **common)
    parts = widths.split("-")
    least, most = FAMILIES[family].min_depth, len(FAMILIES[family].width_ranges)
    if not least <= len(parts) <= most or not all(
        p.isdecimal() and int(p) > 0 for p in parts
    ):
        expected = f"{most}" if least == most else f"{least} to {most}"
        raise UserError(
            f"learner {text!r} has widths {widths!r}: family {family} takes "
            f"{expected} positive integers joined by '-', as in "
            f"{family}:{'-'.join(['64'] * most)}"
        )
    return [LearnerSpec(family, tuple(map(int, parts)), **common)]


def _in_turn(families, num_specs: int, seed: int, common) -> list[LearnerSpec]:
    """The first of each family's set, then the second of each, ..."""
    most = -(-num_specs // max(1, len(families)))
    sets = [
        sample_specs(family, most, seed, _ANY_WIDTH, **common) for family in families
    ]
    return [spec for column in zip(*sets, strict=True) for spec in column][:num_specs]


def _varied(specs, seed: int, vary) -> list[LearnerSpec]:
    """The specs with drawn properties, but for what their families fix."""
    drawn = {}
    for stream, (name, values) in enumerate(VARIED.items()):
        generator = np.random.default_rng([seed, 0x9A11, stream])
        evenly = np.resize(generator.permutation(len(values)), len(specs))
        drawn[name] = [values[i] for i in generator.permutation(evenly)]
    return [
        dataclasses.replace(
            spec,
            **{name: drawn[name][index] for name in vary}
            | dict(FAMILIES[spec.family].fixed),
        )
        for index, spec in enumerate(specs)
    ]


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        raise UserError(
            f"learner family {family!r} is unknown: use one of "
            f"{', '.join(FAMILIES)} or {ANY}, as in mnist or mnist:64-128-256"
        )
