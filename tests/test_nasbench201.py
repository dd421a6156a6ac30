"""NAS-Bench-201: its encodings, its counts, and what flows where in a cell."""

import itertools

import keras
import numpy as np
import published_counts
import pytest
import tensorflow as tf

from gtn_tf.networks.initial_weights import initialize
from nas.spaces import nasbench201, nasbench201_space
from nas.spaces.base import Size
from nas.spaces.nasbench201 import EdgeCell, decode, encode
from nas.spaces.nasbench201_space import build_network
from nas.spaces.operations import Style
from nas.spaces.regularization import DropPath, Regularization

FULL = Size(num_cells=5, num_filters=16, image_shape=(32, 32, 3), num_classes=10)
SMALL = Size(num_cells=1, num_filters=3, image_shape=(8, 8, 2), num_classes=4)
# Cell -> trainable parameters and operations (Dong & Yang, 2020; Krishnakumar et al.,
# 2022). In the first a pooling counts that leads nowhere.
COUNTS = {
    "(1, 0, 1, 4, 0, 1)": (73_306, 9_234_112),
    "(1, 0, 0, 0, 0, 1)": (73_306, 7_943_872),
    "(0, 0, 0, 0, 4, 3)": (101_306, 13_596_352),
    "(3, 4, 0, 0, 3, 4)": (129_306, 19_248_832),
    "(2, 4, 1, 0, 0, 0)": (316_346, 45_053_632),
    "(4, 2, 3, 4, 1, 2)": (587_386, 86_525_632),
}
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


def counts(text):
    model = build_network(decode(text), FULL)
    return published_counts.num_params(model), published_counts.num_operations(model)


@pytest.mark.parametrize("text", COUNTS)
def test_published_counts(text):
    assert counts(text) == COUNTS[text]


def test_counts_of_the_published_file():
    known = published_counts.published("nasbench201")
    for text in list(known)[::95]:
        assert counts(text) == known[text], text


def test_encodings():
    text = (
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|"
        "+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    )
    numbers = (2, 1, 4, 0, 1, 3)  # edges 01, 02, 03, 12, 13, 23
    spaced = str(numbers)
    for given in (
        text,
        spaced,
        spaced.replace(" ", ""),
        spaced[1:-1],
        f"[{spaced[1:-1]}]",
    ):
        assert decode(given) == EdgeCell(numbers)
    assert encode(EdgeCell(numbers)) == text


@pytest.mark.parametrize(
    "text, words",
    [
        ("nor_conv_3x3", "is no NAS-Bench-201 cell: give its text, as in"),
        ("(0, 0, 0, 0, 4)", "a cell of 5 operations came: give six"),
        ("(0, 0, 0, 0, 4, 5)", r"edge \(2, 3\) has operation 5: give one of 0 \(skip"),
        ("(0, 0, 0, 0, 4, -1)", "is no NAS-Bench-201 cell: give"),
        ("|none~0|+|none~0|none~1|", "give the operations that lead to nodes 1, 2"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "give the operations"),
        ("|sep~0|+|none~0|none~1|+|none~0|none~1|none~2|", "'sep' is no operation of"),
    ],
)
def test_what_is_no_cell(text, words):
    with pytest.raises(ValueError, match=words):
        decode(text)


def test_nodes_that_trade_places_are_equal():
    assert (
        decode("(2, 3, 4, 1, 0, 1)").canonical()
        == decode("(3, 2, 4, 1, 1, 0)").canonical()
    )
    cells = [EdgeCell(numbers) for numbers in itertools.product(range(5), repeat=6)]
    # Where none leads from 1 to 2, all but those whose nodes 1 and 2 are alike have a
    # twin.
    num_different = 4 * 5**5 + 5 * (5**4 + 5**2) / 2
    assert len({cell.canonical() for cell in cells}) == num_different


def test_equal_cells_compute_the_same():
    outputs = []
    for text in ("(2, 3, 4, 1, 0, 3)", "(3, 2, 4, 1, 3, 0)"):
        model = build_network(decode(text), SMALL)
        model.set_weights([np.full_like(w, 0.3) for w in model.get_weights()])
        outputs.append(model(IMAGES))
    np.testing.assert_allclose(*outputs, rtol=1e-5)


def first_cell(text):
    """What goes into the first of a network's cells, and what comes out, each
    [B, H, W, C]; all weights are 1, and there is no batch norm."""
    model = build_network(decode(text), SMALL, Style(batch_norm=False))
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    probe = keras.Model(model.input, [model.layers[1].output, sums[1].output])
    return map(np.array, probe(IMAGES))


@pytest.mark.parametrize(
    "text, factor",
    [
        ("(1, 1, 0, 1, 1, 1)", 1),  # 0 - 3
        ("(0, 1, 1, 1, 0, 1)", 1),  # 0 - 1 - 3
        ("(1, 0, 1, 1, 1, 0)", 1),  # 0 - 2 - 3
        ("(0, 1, 1, 0, 1, 0)", 1),  # 0 - 1 - 2 - 3
        ("(0, 0, 1, 0, 1, 0)", 2),
        ("(0, 0, 0, 0, 0, 0)", 4),
        ("(0, 1, 1, 1, 1, 0)", 0),  # neither way goes through
        ("(0, 1, 1, 0, 1, 1)", 0),
        ("(1, 1, 1, 1, 1, 1)", 0),
    ],
)
def test_edges_lead_where_they_should(text, factor):
    before, after = first_cell(text)
    np.testing.assert_allclose(after, factor * before, rtol=1e-5)


def test_operations_of_an_edge():
    before, after = first_cell("(1, 1, 3, 1, 1, 1)")
    positive = np.maximum(before, 0)
    summed = np.repeat(positive.sum(axis=-1, keepdims=True), 3, axis=-1)
    np.testing.assert_allclose(after, summed, rtol=1e-5)
    before, after = first_cell("(1, 1, 2, 1, 1, 1)")
    windows = np.maximum(before, 0)[:, 2:5, 3:6].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(after[:, 3, 4], windows[:, None] * np.ones(3), rtol=1e-5)
    before, after = first_cell("(1, 1, 4, 1, 1, 1)")
    inside = before[:, 2:5, 3:6].mean(axis=(1, 2))
    np.testing.assert_allclose(after[:, 3, 4], inside, rtol=1e-4, atol=1e-5)
    corner = before[:, :2, :2].mean(axis=(1, 2))  # padding does not count
    np.testing.assert_allclose(after[:, 0, 0], corner, rtol=1e-4, atol=1e-5)


def outputs_and_gradients(cell):
    model = build_network(cell, SMALL, Style(weight_norm=True))
    model = initialize(model, 0)
    with tf.GradientTape() as tape:
        outputs = model(IMAGES, training=True)
    gradients = tape.gradient(outputs, [v.value for v in model.trainable_variables])
    return model, outputs, gradients


def test_zeros_are_not_computed_and_change_nothing(monkeypatch):
    cell = decode("(2, 2, 3, 1, 3, 1)")  # node 2 leads nowhere
    model, outputs, gradients = outputs_and_gradients(cell)
    idle = sum(gradient is None for gradient in gradients)
    assert idle == 3 * 4  # kernel, gain, gamma and beta of edge (0, 2), at three sizes

    def multiplied(features, style):
        return keras.layers.Rescaling(0.0, dtype=style.dtype)(features)

    monkeypatch.setitem(nasbench201_space._APPLY, nasbench201.NONE, multiplied)
    add = keras.layers.Add._merge_function
    monkeypatch.setattr(nasbench201_space.SumOfSome, "_merge_function", add)
    slow, slow_outputs, slow_gradients = outputs_and_gradients(cell)
    np.testing.assert_array_equal(outputs, slow_outputs)
    assert [v.shape for v in model.variables] == [v.shape for v in slow.variables]
    for gradient, slow_gradient in zip(gradients, slow_gradients, strict=True):
        if gradient is None:
            gradient = tf.zeros_like(slow_gradient)
        np.testing.assert_array_equal(gradient, slow_gradient)


def test_cells_with_zeros_are_saved_and_loaded(tmp_path):
    model = build_network(decode("(2, 1, 1, 1, 3, 0)"), SMALL)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_without_a_way_to_the_output_logits_are_constant():
    model = build_network(decode("(2, 1, 1, 3, 1, 1)"), SMALL)
    logits = model(IMAGES).numpy()
    np.testing.assert_array_equal(logits, np.broadcast_to(logits[:1], logits.shape))
    assert np.ptp(build_network(decode("(2, 1, 1, 3, 1, 0)"), SMALL)(IMAGES)) > 0


def test_residual_blocks_halve_the_image_and_double_the_filters():
    size = Size(num_cells=2, num_filters=3, image_shape=(16, 16, 1), num_classes=4)
    model = build_network(decode("(0, 1, 1, 1, 0, 1)"), size)
    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    shapes = [(layer.output.shape[1], layer.output.shape[-1]) for layer in sums]
    # Two sums in each cell, and that of the block before.
    assert shapes == 4 * [(16, 3)] + 5 * [(8, 6)] + 5 * [(4, 12)]


def test_drop_path_rises_with_depth_and_leaves_skips():
    options = Regularization(0, 0.3, auxiliary_head=False)
    model = build_network(decode("(0, 1, 4, 1, 0, 1)"), SMALL, options=options)
    rates = [layer.rate for layer in model.layers if isinstance(layer, DropPath)]
    assert rates == pytest.approx([0.1, 0.2, 0.3])
