"""Drop path, cutout, and the auxiliary head."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_nao_network import NAONET_A, build, num_trainable

from nas.spaces import regularization
from nas.spaces.regularization import DropPath, Regularization

IMAGES = tf.ones([1000, 2, 2, 3])


def test_parameters_of_the_auxiliary_head():
    size = {"num_cells": 1, "num_filters": 36, "shape": (32, 32, 3)}
    with_head = build(NAONET_A, **size, regularization=Regularization())
    assert num_trainable(with_head) - num_trainable(build(NAONET_A, **size)) == 476_426
    assert [o.shape for o in with_head.outputs] == [(None, 10), (None, 10)]


def test_the_auxiliary_head_needs_room():
    def shaped(side):
        return build(NAONET_A, shape=(side, side, 1), regularization=Regularization())

    assert len(shaped(29).outputs) == 2
    with pytest.raises(ValueError, match="7x7 features.*at least 29 pixels"):
        shaped(28)


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    layer = DropPath(0.4, seed=1)
    layer.progress.assign(0.5)
    features = layer(IMAGES, training=True).numpy()
    dropped = (features == 0).all(axis=(1, 2, 3))
    assert np.mean(dropped) == pytest.approx(0.2, abs=0.04)
    np.testing.assert_allclose(features[~dropped], 1 / 0.8, rtol=1e-6)


def test_drop_path_rests_at_the_start_and_outside_training():
    layer = DropPath(0.4, seed=1)
    np.testing.assert_array_equal(layer(IMAGES, training=True), IMAGES)
    layer.progress.assign(1.0)
    np.testing.assert_array_equal(layer(IMAGES, training=False), IMAGES)


def test_drop_path_rises_with_depth_and_leaves_identities():
    text = " ".join(["0 5 1 7"] * 2)  # an identity and a convolution
    options = Regularization(0, 0.3, auxiliary_head=False)
    model = build(text, num_cells=1, regularization=options)
    layers = [layer for layer in model.layers if isinstance(layer, DropPath)]
    assert [layer.rate for layer in layers] == pytest.approx(
        [0.3 * (index + 1) / 5 for index in range(5)]
    )
    assert len({layer.seed for layer in layers}) == 5
    regularization.set_progress(model, 0.25)
    assert [float(layer.progress) for layer in layers] == [0.25] * 5


def test_dropout_is_before_the_dense_layer():
    options = Regularization(0.4, 0, auxiliary_head=False)
    model = build(NAONET_A, regularization=options)
    assert isinstance(model.layers[-2], keras.layers.Dropout)
    assert model.layers[-2].rate == 0.4


def test_a_regularized_network_can_be_saved(tmp_path):
    options = Regularization(auxiliary_head=False, seed=3)
    model = build(NAONET_A, regularization=options)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(model(x), loaded(x))


def test_cutout_is_a_square_that_may_leave_the_image():
    images = tf.ones([300, 12, 12, 2])
    cut = regularization.cutout(images, 4, tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(cut[..., 0], cut[..., 1])
    sizes = (cut[..., 0] == 0).sum(axis=(1, 2))
    assert sizes.max() == 16 and sizes.min() == 4  # whole; two by two in a corner
    for image in cut[..., 0]:
        rows, columns = np.nonzero(image == 0)
        assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == len(rows)
    # Centers are uniform: the middle is cut as often as any square of 4x4 covers it.
    assert np.mean(cut[:, 6, 6, 0] == 0) == pytest.approx(16 / 144, abs=0.05)


def test_no_cutout():
    assert regularization.cutout(IMAGES, 0, tf.constant([1, 2])) is IMAGES
