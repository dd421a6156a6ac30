"""The eleven operations: shapes, strides, padding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas.spaces import nao, operations
from nas.spaces.operations import OPERATIONS, Style

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)


def build(number, stride, filters=4, weight_norm=False):
    features = keras.Input(IMAGES.shape[1:])
    outputs = OPERATIONS[number](features, filters, stride, Style(weight_norm))
    return keras.Model(features, outputs)


def test_there_is_one_for_each_name():
    assert OPERATIONS.keys() == nao.OPERATIONS.keys()


@pytest.mark.parametrize("number", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_shapes(number, stride):
    outputs = build(number, stride)(IMAGES)
    assert outputs.shape == (2, 6 // stride, 6 // stride, 4)
    assert np.isfinite(outputs).all()


def kernels(model):
    return [
        layer.kernel.shape[:2] + tuple(layer.strides)
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]


def test_of_a_pair_each_strides_along_its_own_axis():
    assert kernels(build(8, 2)) == [(1, 3, 1, 2), (3, 1, 2, 1)]
    assert kernels(build(9, 1)) == [(1, 7, 1, 1), (7, 1, 1, 1)]
    kinds = [type(layer).__name__ for layer in build(8, 1).layers[1:]]
    assert kinds == 2 * ["ReLU", "Conv2D", "FusedBatchNorm"]


@pytest.mark.parametrize("number, count", [(6, 1), (5, 2)])
def test_a_1x1_convolution_has_no_strides(number, count):
    """Its gradient with oneDNN writes beyond its memory."""
    model = build(number, 2)
    assert kernels(model) == count * [(1, 1, 1, 1)]
    for variable in model.trainable_variables:  # gamma stays 1
        if variable.name == "kernel":
            variable.assign(tf.ones_like(variable.value))
    images = np.abs(IMAGES)
    sums = np.sum(np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0))), axis=-1)
    outputs = np.array(model(images)) * np.sqrt(1 + 1e-5)  # moving averages 0 and 1
    np.testing.assert_allclose(outputs[..., 0], sums[:, 0:6:2, 0:6:2], rtol=1e-5)
    shift = number == 5
    odd = sums[:, shift : 6 + shift : 2, shift : 6 + shift : 2]
    np.testing.assert_allclose(outputs[..., -1], odd, rtol=1e-5)


@pytest.mark.parametrize("number, reduce", [(10, np.max), (13, np.mean)])
def test_even_pooling_pads_right_and_bottom(number, reduce):
    outputs = np.array(build(number, 1)(IMAGES))
    inside = reduce(IMAGES[:, 2:4, 1:3], axis=(1, 2))
    np.testing.assert_allclose(outputs[:, 2, 1], inside, rtol=1e-5)
    corner = IMAGES[:, 5, 5]
    np.testing.assert_allclose(outputs[:, 5, 5], corner, rtol=1e-5)


@pytest.mark.parametrize(
    "size, even, odd",
    [
        (4, [[0, 2], [8, 10]], [[5, 7], [13, 15]]),
        (3, [[0, 2], [6, 8]], [[4, 0], [0, 0]]),  # zeros at the right and bottom
    ],
)
def test_factorized_reduction_sees_even_and_odd_pixels(size, even, odd):
    features = keras.Input((size, size, 1))
    outputs = operations.factorized_reduction(features, 3, Style(batch_norm=False))
    model = keras.Model(features, outputs)
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    images = np.arange(size**2, dtype=np.float32).reshape(1, size, size, 1)
    (seen,) = model(images).numpy()  # [H', W', 3]: one channel of even, two of odd
    np.testing.assert_allclose(seen[..., 0], even)
    np.testing.assert_allclose(seen[..., 1], odd)
    np.testing.assert_allclose(seen[..., 2], odd)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_fused_batch_norm_is_keras_own(momentum, affine):
    images = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5)).astype(np.float32)
    classes = keras.layers.BatchNormalization, operations.FusedBatchNorm
    options = dict(momentum=momentum, epsilon=1e-2, center=affine, scale=affine)
    results = []
    for layer in [kind(**options) for kind in classes]:
        layer.build(images.shape)
        weights = [v.value for v in layer.trainable_variables]
        values = ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]) if affine else ()
        for weight, value in zip(weights, values, strict=True):
            weight.assign(value)
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
            total = tf.reduce_sum(outputs**3)
        gradients = tape.gradient(total, [x, *weights])
        tensors = [outputs, layer(x + 1), layer.moving_mean, layer.moving_variance]
        results.append([np.array(tensor) for tensor in tensors + gradients])
    for keras_own, fused in zip(*results, strict=True):
        np.testing.assert_allclose(fused, keras_own, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("number, size", [(13, 2), (14, 3), (15, 5)])
@pytest.mark.parametrize("side", [1, 2, 4, 7])
def test_average_pooling_and_its_gradient(number, size, stride, side):
    """Of images smaller than the window too, where TensorFlow's own is wrong."""
    style = operations.Style(dtype="float64")
    inputs = keras.Input((side, side, 2), dtype="float64")
    pool = operations.OPERATIONS[number](inputs, 2, stride, style)
    model = keras.Model(inputs, pool)
    x = np.random.default_rng(side).normal(size=(3, side, side, 2))
    keras_own = keras.layers.AveragePooling2D(size, stride, "same", dtype="float64")
    np.testing.assert_allclose(model(x), keras_own(x), rtol=1e-12)
    weights = np.random.default_rng(1).normal(size=model(x).shape)
    images = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(weights * model(images))
    gradient = tape.gradient(total, images).numpy()
    for direction in np.random.default_rng(2).normal(size=(3, *x.shape)):
        rise = np.sum(weights * (model(x + direction) - model(x - direction)))
        assert np.sum(gradient * direction) == pytest.approx(rise / 2, rel=1e-9)
