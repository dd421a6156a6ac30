"""Learner families as Keras models, and the predefined set they are drawn from.

A learner is named by a hashable `LearnerSpec`, built by `build_model`, and used
through the pure functions of `stateless.StatelessModel`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np

from gtn_tf import layers


@dataclasses.dataclass(frozen=True)
class LearnerSpec:
    """What distinguishes one learner architecture from another.

    Attributes:
      family: a key of `FAMILIES`.
      widths: the family's filters and units, in layer order.
      image_shape: (H, W, C).
      num_classes: K.
      weight_norm: W = g V / ||V|| in every dense and convolution layer.
      batch_norm: "full"; "center": subtract the batch mean only; or "moving": Keras'
        own, evaluated with moving averages.
      precision: "float32", "bfloat16" (products only), or "float64" (for checks).
    """

    family: str
    widths: tuple[int, ...]
    image_shape: tuple[int, int, int]
    num_classes: int
    weight_norm: bool = True
    batch_norm: str = "full"
    precision: str = "float32"

    def __str__(self) -> str:
        return f"{self.family}:{'-'.join(map(str, self.widths))}"


@dataclasses.dataclass(frozen=True)
class Family:
    """Widths and structure of a learner family.

    Attributes:
      width_ranges: (lowest, highest) of each width, both included.
      trunk: (spec, images) -> features [B, ...], before the last dense layer.
    """

    width_ranges: tuple[tuple[int, int], ...]
    trunk: Callable


def layer_dtypes(precision: str) -> tuple[str, str]:
    """(dtype policy of products, dtype of everything else)."""
    if precision == "bfloat16":
        return "mixed_bfloat16", "float32"
    return precision, precision


def _normalised(spec: LearnerSpec, features):
    """Batch norm and LeakyReLU, as they follow every hidden layer."""
    _, dtype = layer_dtypes(spec.precision)
    if spec.batch_norm == "moving":
        norm = keras.layers.BatchNormalization(dtype=dtype)
    else:
        norm = layers.BatchNorm(center_only=spec.batch_norm == "center", dtype=dtype)
    return layers.activation(dtype)(norm(features))


def _dense_trunk(spec: LearnerSpec, images, pooled: bool):
    """Two 3x3 convolutions that halve the image each, one dense layer.

    Args:
      pooled: halve by max pooling (A.1), or by strides of 2, at a third of the cost.
    """
    product, dtype = layer_dtypes(spec.precision)
    *filters, units = spec.widths
    strides = 1 if pooled else 2
    features = images
    for width in filters:
        features = layers.convolution(
            width, spec.weight_norm, product, strides=strides, use_bias=False
        )(features)
        if pooled:
            features = keras.layers.MaxPooling2D(3, 2, padding="same", dtype=dtype)(
                features
            )
        features = _normalised(spec, features)
    features = keras.layers.Flatten(dtype=dtype)(features)
    features = layers.dense(units, spec.weight_norm, product, use_bias=False)(features)
    return _normalised(spec, features)


def _convolutional_trunk(spec: LearnerSpec, images):
    """Five 3x3 convolutions, strides 2 at the second and fourth, then the mean
    over positions (A.2)."""
    product, dtype = layer_dtypes(spec.precision)
    features = images
    for index, width in enumerate(spec.widths):
        strides = 2 if index in (1, 3) else 1
        features = layers.convolution(
            width, spec.weight_norm, product, strides=strides, use_bias=False
        )(features)
        features = _normalised(spec, features)
    return keras.layers.GlobalAveragePooling2D(dtype=dtype)(features)


def _fully_connected_trunk(spec: LearnerSpec, images):
    """A dense layer for each width."""
    product, dtype = layer_dtypes(spec.precision)
    features = keras.layers.Flatten(dtype=dtype)(images)
    for units in spec.widths:
        layer = layers.dense(units, spec.weight_norm, product, use_bias=False)
        features = _normalised(spec, layer(features))
    return features


def _residual_trunk(spec: LearnerSpec, images):
    """For each width a 3x3 convolution with strides of 2 and a block of two more that
    is added to what it gets (He et al., 2016); then the mean over positions."""
    product, dtype = layer_dtypes(spec.precision)

    def convolved(features, filters, strides=1):
        layer = layers.convolution(
            filters, spec.weight_norm, product, strides=strides, use_bias=False
        )
        return _normalised(spec, layer(features))

    features = images
    for filters in spec.widths:
        features = convolved(features, filters, strides=2)
        block = convolved(convolved(features, filters), filters)
        features = keras.layers.Add(dtype=dtype)([features, block])
    return keras.layers.GlobalAveragePooling2D(dtype=dtype)(features)


FAMILIES: dict[str, Family] = {
    "digits": Family(
        ((48, 80), (96, 160), (96, 160)), functools.partial(_dense_trunk, pooled=False)
    ),
    "mnist": Family(
        ((32, 128), (64, 256), (64, 256)), functools.partial(_dense_trunk, pooled=True)
    ),  # A.1
    "cifar10": Family(((32, 128),) + 4 * ((64, 256),), _convolutional_trunk),  # A.2
    "fully_connected": Family(((64, 256), (64, 256)), _fully_connected_trunk),
    "residual": Family(((32, 128), (64, 256)), _residual_trunk),
}


def build_model(spec: LearnerSpec) -> keras.Model:
    """The Keras model of a spec: images [B, H, W, C] -> logits [B, K]."""
    product, dtype = layer_dtypes(spec.precision)
    images = keras.Input(spec.image_shape, dtype=dtype)
    features = FAMILIES[spec.family].trunk(spec, images)
    logits = layers.dense(spec.num_classes, spec.weight_norm, product)(features)
    logits = keras.layers.Activation("linear", dtype=dtype)(logits)
    return keras.Model(images, logits, name=f"{spec.family}_learner")


def sample_specs(family: str, num_specs: int, seed: int, **common) -> list[LearnerSpec]:
    """The predefined set: specs with widths drawn uniformly from the family's ranges.

    Args:
      common: the remaining fields of `LearnerSpec`, equal for all.
    """
    low, high = np.array(FAMILIES[family].width_ranges).T
    generator = np.random.default_rng([seed, 0x5EC5])
    widths = generator.integers(low, high, size=(num_specs, len(low)), endpoint=True)
    return [LearnerSpec(family, tuple(map(int, row)), **common) for row in widths]


def parse(text: str, num_specs: int, seed: int, **common) -> list[LearnerSpec]:
    """The learners that `--learner=LEARNER[,LEARNER...]` stands for, each once.

    A LEARNER is FAMILY, `num_specs` of its predefined set, or FAMILY:WIDTHS.

    Raises:
      ValueError: unknown family, or widths that are not positive integers, one for
        each layer of the family.
    """
    parts = text.split(",")
    specs = [s for part in parts for s in _parse(part, num_specs, seed, **common)]
    return list(dict.fromkeys(specs))


def _parse(text: str, num_specs: int, seed: int, **common) -> list[LearnerSpec]:
    family, _, widths = text.partition(":")
    if family not in FAMILIES:
        raise ValueError(
            f"learner family {family!r} is unknown: use one of "
            f"{', '.join(FAMILIES)}, as in mnist or mnist:64-128-256"
        )
    if not widths:
        return sample_specs(family, num_specs, seed, **common)
    parts = widths.split("-")
    expected = len(FAMILIES[family].width_ranges)
    if len(parts) != expected or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise ValueError(
            f"learner {text!r} has widths {widths!r}: family {family} takes "
            f"{expected} positive integers joined by '-', as in "
            f"{family}:{'-'.join(['64'] * expected)}"
        )
    return [LearnerSpec(family, tuple(map(int, parts)), **common)]
