"""DARTS: its encodings, its counts, its operations, and where cells are."""

import keras
import numpy as np
import published_counts
import pytest

from nas.spaces.base import Size
from nas.spaces.darts import OPERATIONS, decode, encode
from nas.spaces.darts_space import OPERATIONS as FUNCTIONS
from nas.spaces.darts_space import DartsSpace
from nas.spaces.operations import Style
from nas.spaces.regularization import DropPath, Regularization

SPACE = DartsSpace()
FULL = Size(num_cells=2, num_filters=32, image_shape=(32, 32, 3), num_classes=10)
# Trainable parameters and operations (Siems et al., 2020; Krishnakumar et al., 2022).
COUNTS = {
    "[[(0, 0), (1, 0), (0, 0), (2, 4), (1, 2), (3, 6), (3, 1), (4, 5)], "
    "[(1, 2), (0, 6), (1, 1), (2, 0), (3, 1), (2, 5), (1, 3), (4, 6)]]": (
        739_754,
        137_639_424,
    ),
    "[[(0, 0), (1, 3), (1, 3), (2, 5), (1, 1), (2, 4), (3, 1), (2, 2)], "
    "[(1, 5), (0, 4), (0, 5), (1, 6), (3, 5), (2, 4), (2, 3), (1, 1)]]": (
        973_482,
        167_769_600,
    ),
    "[[(0, 0), (1, 0), (2, 2), (0, 2), (1, 5), (2, 0), (3, 0), (0, 6)], "
    "[(0, 5), (1, 2), (2, 4), (1, 1), (2, 6), (3, 0), (4, 1), (0, 6)]]": (
        637_482,
        119_649_792,
    ),
}
GENOTYPE = (  # DARTS_V2
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), "
    "('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
NUMBERS = (
    "[[(0, 3), (1, 3), (0, 3), (1, 3), (0, 2), (1, 3), (0, 2), (2, 5)], "
    "[(0, 0), (1, 0), (1, 0), (2, 2), (0, 0), (2, 2), (1, 0), (2, 2)]]"
)


def counts(text):
    model = SPACE.build(decode(text), FULL)
    return published_counts.num_params(model), published_counts.num_operations(model)


@pytest.mark.parametrize("text", COUNTS)
def test_published_counts(text):
    assert counts(text) == COUNTS[text]


def test_counts_of_the_published_file():
    known = published_counts.published("nasbench301")
    for text in list(known)[::120]:
        assert counts(text) == known[text], text


def test_encodings():
    spec = decode(GENOTYPE)
    assert (
        decode(NUMBERS) == decode(NUMBERS.replace("(", "[").replace(")", "]")) == spec
    )
    assert decode(GENOTYPE.replace("[2, 3, 4, 5]", "range(2, 6)")) == spec
    assert decode(encode(spec)) == spec
    assert encode(spec).startswith("Genotype(normal=[('sep_conv_3x3', 0), ")


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("Genotype", "print", "is no DARTS architecture: give"),
        ("Genotype", "__import__('os').system", "is no DARTS architecture: give"),
        ("reduce_concat", "concat", "is no DARTS architecture: give"),
        ("'sep_conv_3x3'", "open('file')", "is no DARTS architecture: give"),
        ("0)", "0.0)", "is no DARTS architecture: give"),
        ("0)", "True)", "is no DARTS architecture: give"),
        ("sep_conv_3x3", "none", "'none' is no operation of DARTS: give one of max"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=[4, 5]", r"is '\[4, 5\]': give"),
        ("('max_pool_3x3', 0), ", "", "a cell of 6 pairs .* came: give eight"),
        (
            "('skip_connect', 2)",
            "('skip_connect', 9)",
            "node 3 reads 1 and 9: give two",
        ),
        (
            "('skip_connect', 2)",
            "('skip_connect', 1)",
            "node 3 reads 1 and 1: give two",
        ),
        ("('skip_connect', 2)", "('skip_connect', -1)", "node 3 reads -1 and 1: give"),
    ],
)
def test_what_is_no_genotype(old, new, words):
    with pytest.raises(ValueError, match=words):
        decode(GENOTYPE.replace(old, new))


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("5)", "7)", r"node 5 has operation 7: give one of 0 \(max_pool_3x3\)"),
        ("(0, 3), ", "", "a cell of 6 pairs .* came: give eight"),
        ("]]", "], []]", "is no DARTS architecture: give"),
        ("(0, 3)", "(0, 3, 1)", "is no DARTS architecture: give"),
    ],
)
def test_what_are_no_numbers(old, new, words):
    with pytest.raises(ValueError, match=words):
        decode(NUMBERS.replace(old, new))


def test_equal_architectures_have_one_key():
    """Nodes 2 and 3 of the normal cell trade places, pairs within nodes as well."""
    other = (
        "[[(1, 3), (0, 3), (0, 3), (1, 3), (0, 2), (1, 3), (3, 5), (0, 2)], "
        "[(0, 0), (1, 0), (2, 2), (1, 0), (0, 0), (2, 2), (1, 0), (2, 2)]]"
    )
    assert decode(other) != decode(NUMBERS)
    assert SPACE.key(decode(other)) == SPACE.key(decode(NUMBERS))
    assert SPACE.key(decode(NUMBERS.replace("5)", "6)"))) != SPACE.key(decode(NUMBERS))


IMAGES = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)


def operation(name, stride):
    """One operation on [B, 6, 6, 4] without batch norm, all its weights random."""
    number = next(number for number, known in OPERATIONS.items() if known == name)
    features = keras.Input(IMAGES.shape[1:])
    style = Style(batch_norm=False)
    outputs = FUNCTIONS.by_number[number](features, 4, stride, style)
    model = keras.Model(features, outputs)
    draws = np.random.default_rng(1)
    model.set_weights([draws.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("name", OPERATIONS.values())
@pytest.mark.parametrize("stride", [1, 2])
def test_shapes(name, stride):
    outputs = operation(name, stride)(IMAGES)
    assert outputs.shape == (2, 6 // stride, 6 // stride, 4)
    assert np.isfinite(outputs).all()


def test_a_skip_is_the_identity():
    np.testing.assert_array_equal(operation("skip_connect", 1)(IMAGES), IMAGES)


@pytest.mark.parametrize("size", [3, 5])
def test_a_dilated_convolution_with_a_stride_gives_every_other_pixel(size):
    outputs, halved = (operation(f"dil_conv_{size}x{size}", s)(IMAGES) for s in (1, 2))
    np.testing.assert_allclose(halved, outputs[:, ::2, ::2], rtol=1e-4, atol=1e-4)


def test_a_dilated_convolution_reads_every_other_pixel():
    model = operation("dil_conv_3x3", 1)
    depthwise, pointwise = model.get_weights()  # [3, 3, 4, 1], [1, 1, 4, 4]
    seen = np.maximum(IMAGES, 0)[:, 1:6:2, 0:5:2]  # around pixel (3, 2)
    expected = np.einsum("bhwc,hwc,cd->bd", seen, depthwise[..., 0], pointwise[0, 0])
    np.testing.assert_allclose(model(IMAGES)[:, 3, 2], expected, rtol=1e-4, atol=1e-4)


def test_a_separable_convolution_strides_once():
    layers = operation("sep_conv_5x5", 2).layers[1:]
    names = [type(layer).__name__ for layer in layers]
    assert names == 2 * ["ReLU", "DepthwiseConv2D", "Conv2D"]
    strided = [layers[i].strides for i in (1, 2, 4, 5)]
    assert strided == [(2, 2), (1, 1), (1, 1), (1, 1)]
    assert [layers[i].kernel.shape[:2] for i in (1, 2, 4, 5)] == 2 * [(5, 5), (1, 1)]


def test_batch_norm_of_operations_has_no_weights():
    """That of the stem and of cells' inputs has."""
    size = Size(num_cells=1, num_filters=2, image_shape=(8, 8, 1), num_classes=3)
    model = SPACE.build(decode(GENOTYPE), size)
    kind = keras.layers.BatchNormalization
    norms = [layer for layer in model.layers if isinstance(layer, kind)]
    assert sum(layer.scale and layer.center for layer in norms) == 1 + 2 * 5
    # A normal cell has five separable and one dilated, a reduction cell five of
    # pooling and three skips, of which those of nodes are identities.
    without = [layer for layer in norms if not layer.scale and not layer.center]
    assert len(without) == 3 * (2 * 5 + 1) + 2 * 5


def test_third_and_sixth_of_eight_cells_halve_the_image():
    size = Size(num_cells=2, num_filters=3, image_shape=(16, 16, 1), num_classes=3)
    model = SPACE.build(decode(GENOTYPE), size)
    nodes = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    shapes = [(node.output.shape[1], node.output.shape[-1]) for node in nodes]
    cells = 2 * [(16, 3)] + 3 * [(8, 6)] + 3 * [(4, 12)]
    assert shapes == [shape for shape in cells for _ in range(4)]
    kind = keras.layers.GlobalAveragePooling2D
    pooled = next(layer for layer in model.layers if isinstance(layer, kind))
    assert pooled.output.shape == (None, 4 * 12)  # all four nodes


def test_drop_path_is_on_all_but_skips():
    size = Size(num_cells=1, num_filters=2, image_shape=(8, 8, 1), num_classes=3)
    options = Regularization(0, 0.3, auxiliary_head=False)
    model = SPACE.build(decode(GENOTYPE), size, regularization=options)
    drops = [layer for layer in model.layers if isinstance(layer, DropPath)]
    assert len(drops) == 3 * 6 + 2 * 5
