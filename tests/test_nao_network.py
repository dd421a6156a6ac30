"""NAO's networks: parameter counts, sizes, and what flows where."""

import math

import keras
import numpy as np
import pytest

from gtn_tf.networks import layers
from nas.spaces import nao, nao_network
from nas.spaces.operations import FusedBatchNorm, Style

# Trainable parameters for 10 classes and 32x32x3 (Luo et al., 2018; NAONet-A first),
# with (N, F) of (1, 8), (3, 32) and (6, 36).
GOLDEN = {
    "0 7 1 15 2 8 1 7 0 6 1 7 0 8 4 7 1 5 0 7 "
    "0 7 1 13 0 6 0 14 0 9 1 10 0 14 2 6 1 11 0 7": (137_026, 4_922_602, 11_470_150),
    "0 10 1 6 0 14 2 10 2 6 2 6 3 14 3 12 0 7 1 15 "
    "1 7 0 12 1 13 1 6 3 12 0 5 3 10 3 8 1 10 2 10": (50_882, 1_557_482, 3_447_478),
    "1 13 1 7 0 10 0 5 3 11 0 5 3 10 2 11 4 13 1 7 "
    "0 7 1 15 1 12 1 5 2 14 2 15 3 8 0 8 0 11 2 6": (63_618, 1_927_274, 4_239_622),
    "1 10 0 11 1 6 0 10 3 13 2 14 4 12 1 10 5 7 4 13 "
    "1 7 1 11 1 14 0 11 1 14 3 10 0 13 0 7 2 5 4 7": (54_498, 1_329_962, 2_501_326),
    "0 11 1 8 2 12 0 12 2 8 2 5 4 6 1 10 1 7 3 13 "
    "0 14 1 10 0 14 2 8 1 15 2 13 4 14 3 12 4 14 0 14": (44_322, 1_799_658, 4_410_262),
}
SIZES = ((1, 8), (3, 32), (6, 36))
NAONET_A = next(iter(GOLDEN))


def build(text, num_cells=1, num_filters=4, shape=(8, 8, 1), classes=10, **options):
    return nao_network.build_network(
        nao.decode(text),
        num_cells=num_cells,
        num_filters=num_filters,
        input_shape=shape,
        num_classes=classes,
        **options,
    )


def num_trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@pytest.mark.parametrize("text", GOLDEN)
@pytest.mark.parametrize("size", [0, 1])
def test_number_of_parameters(text, size):
    model = build(text, *SIZES[size], shape=(32, 32, 3))
    assert num_trainable(model) == GOLDEN[text][size]


def test_number_of_parameters_of_a_final_network():
    model = build(NAONET_A, *SIZES[2], shape=(32, 32, 3))
    assert num_trainable(model) == GOLDEN[NAONET_A][2]


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (15, 9, 2)])
@pytest.mark.parametrize("text", GOLDEN)
def test_any_shape_and_number_of_classes(text, shape):
    model = build(text, shape=shape, classes=7, num_filters=2)
    images = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    logits = model(images)
    assert logits.shape == (3, 7) and np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).max() > 0


@pytest.mark.parametrize("weight_norm", [False, True])
def test_weight_norm_is_in_all_layers_or_none(weight_norm):
    model = build(NAONET_A, style=Style(weight_norm))
    kinds = {type(layer) for layer in model.layers}
    normalized = {layers.WeightNormConv2D, layers.WeightNormDense}
    plain = {keras.layers.Conv2D, keras.layers.Dense}
    present, absent = (normalized, plain) if weight_norm else (plain, normalized)
    assert present <= kinds and not absent & kinds
    momenta = {
        layer.momentum for layer in model.layers if isinstance(layer, FusedBatchNorm)
    }
    assert momenta == {0.0 if weight_norm else 0.9}
    assert all(
        not layer.use_bias
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    )


def test_cells_are_where_the_blueprint_has_them():
    """3N + 2 cells; images halve, and filters double, at N and 2N + 1."""
    model = build("0 6 1 6 0 6 1 6", num_cells=2, num_filters=3, shape=(16, 16, 1))
    nodes = [x for x in model.layers if isinstance(x, keras.layers.Add)]
    shapes = [(node.output.shape[1], node.output.shape[-1]) for node in nodes]
    assert shapes == 2 * [(16, 3)] + 3 * [(8, 6)] + 3 * [(4, 12)]


def test_outputs_are_concatenated():
    # Node 2 reads input 1 alone: input 0 and the node go on, 2F channels.
    model = build("1 7 1 7 1 7 1 7", num_filters=3)
    pooled = next(
        x for x in model.layers if isinstance(x, keras.layers.GlobalAveragePooling2D)
    )
    assert pooled.output.shape == (None, 2 * 12)


def test_thousand_random_architectures_encode_and_decode():
    for seed in range(1000):
        spec = nao.sample(5, seed)
        assert nao.decode(nao.encode(spec)) == spec
        assert nao.from_json(nao.to_json(spec)) == spec


@pytest.mark.parametrize("seed", range(10))
def test_random_architectures_build(seed):
    text = nao.encode(nao.sample(5, seed))
    assert build(text, num_filters=2).output_shape == (None, 10)
