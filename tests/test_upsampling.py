import keras
import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.networks import layers, upsampling


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(params=[False, True], ids=["plain", "weight-normalized"])
def both(request):
    """The layer, its two-step definition with the same weights, and an input."""
    x = tf.constant(random(2, 4, 3, 5))
    layer = upsampling.upsampled_convolution(3, request.param, "float64")
    after = layers.convolution(3, request.param, "float64")
    layer(x)
    after(x)
    weights = [random(*w.shape, seed=i) for i, w in enumerate(after.get_weights())]
    layer.set_weights(weights)
    after.set_weights(weights)
    upsample = keras.layers.UpSampling2D(2, dtype="float64")
    return layer, lambda x: after(upsample(x)), after, x


def test_equals_a_convolution_of_the_upsampled_image(both):
    layer, two_steps, _, x = both
    y = layer(x)
    assert y.shape == (2, 8, 6, 3)
    np.testing.assert_allclose(y, two_steps(x), rtol=1e-12, atol=1e-12)


def test_gradients_equal_those_of_a_convolution_of_the_upsampled_image(both):
    layer, two_steps, after, x = both

    def gradients(function, weights):
        sources = [x, *(w.value for w in weights)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(function(x)))
        return tape.gradient(loss, sources)

    found = gradients(layer, layer.trainable_weights)
    expected = gradients(two_steps, after.trainable_weights)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_shape_is_known_before_the_batch_and_the_image_are():
    layer = upsampling.upsampled_convolution(3, True, "float32")
    assert layer.compute_output_shape((None, 7, None, 5)) == (None, 14, None, 3)
    assert layer(keras.Input((7, 7, 5))).shape == (None, 14, 14, 3)
