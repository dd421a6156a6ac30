import keras
import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.networks import layers


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_normalize_weight_has_the_gain_as_norm_of_each_unit():
    kernel = random(3, 3, 2, 4)
    gain = np.array([0.5, 1.0, 2.0, -3.0])
    weight = layers.normalize_weight(tf.constant(kernel), tf.constant(gain)).numpy()
    norms = np.sqrt((weight**2).sum(axis=(0, 1, 2)))
    np.testing.assert_allclose(norms, np.abs(gain))
    unit = kernel / np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
    np.testing.assert_allclose(weight, unit * gain)


def test_initial_gain_gives_back_the_kernel():
    kernel = tf.constant(random(5, 4))
    gain = layers.initial_gain(kernel)
    np.testing.assert_allclose(gain, np.linalg.norm(kernel, axis=0))
    np.testing.assert_allclose(layers.normalize_weight(kernel, gain), kernel)


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 3, 4)])
def test_layer_norm_is_keras_own_in_value(shape):
    own = layers.LayerNorm(epsilon=1e-3, dtype="float64")
    keras_own = keras.layers.LayerNormalization(epsilon=1e-3, dtype="float64")
    x = tf.constant(3 + random(*shape))
    own(x), keras_own(x)
    weights = [random(shape[-1], seed=1), random(shape[-1], seed=2)]
    own.set_weights(weights)
    keras_own.set_weights(weights)
    np.testing.assert_allclose(own(x), keras_own(x), rtol=1e-9, atol=1e-9)
    again = layers.LayerNorm.from_config(own.get_config())
    again(x)
    again.set_weights(weights)
    np.testing.assert_array_equal(again(x), own(x))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LayerNorm(epsilon=1e-3, dtype="float64"),
        lambda: layers.BatchNorm(dtype="float64"),
        lambda: layers.BatchNorm(center_only=True, dtype="float64"),
    ],
)
def test_normalization_differentiates_twice(layer):
    """The derivative of a gradient, against central differences of the gradient."""
    layer = layer()
    x, weights, direction, change = (
        tf.constant(random(5, 4, seed=seed)) for seed in range(4)
    )
    options = {} if isinstance(layer, layers.LayerNorm) else {"training": True}

    def slope(x):
        """Of the sum of cubes, along a direction."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(weights * layer(x, **options) ** 3)
        return tf.reduce_sum(tape.gradient(total, x) * direction)

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = slope(x)
    second = tf.reduce_sum(tape.gradient(value, x) * change)
    rise = slope(x + 1e-5 * change) - slope(x - 1e-5 * change)
    np.testing.assert_allclose(second, rise / 2e-5, rtol=1e-6)
    assert abs(second) > 0.1


def test_layer_norm_is_precise_on_half_precision_features():
    layer = layers.LayerNorm(dtype="mixed_bfloat16")
    x = tf.cast(100 + random(3, 64), "bfloat16")
    expected = keras.layers.LayerNormalization(dtype="float32")(tf.cast(x, "float32"))
    assert layer(x).dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(layer(x), "float32"), expected, atol=0.02)


LAYERS = {
    "dense": (layers.dense, (6, 5)),
    "convolution": (layers.convolution, (6, 4, 4, 2)),
}


def build(name, weight_norm, **kwargs):
    """A layer of 3 units and an input for it."""
    function, input_shape = LAYERS[name]
    layer = function(3, weight_norm, "float64", **kwargs)
    x = tf.constant(random(*input_shape))
    layer(x)
    return layer, x


@pytest.mark.parametrize("name", LAYERS)
def test_weight_norm_starts_as_the_plain_layer(name):
    plain, x = build(name, weight_norm=False)
    normalized, _ = build(name, weight_norm=True)
    kernel = random(*plain.kernel.shape, seed=1)
    bias = random(3, seed=2)
    plain.set_weights([kernel, bias])
    normalized.set_weights([kernel, bias, layers.initial_gain(kernel)])
    np.testing.assert_allclose(normalized(x), plain(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_gain_of_a_built_layer_is_the_norm_of_its_kernel(name):
    layer, _ = build(name, weight_norm=True)
    by_name = {v.name: v.numpy() for v in layer.trainable_variables}
    assert list(by_name) == ["kernel", "bias", "gain"]
    np.testing.assert_allclose(by_name["gain"], layers.initial_gain(by_name["kernel"]))


@pytest.mark.parametrize("name", LAYERS)
def test_length_of_a_normalized_kernel_does_not_matter_and_its_gain_does(name):
    layer, x = build(name, weight_norm=True, use_bias=False)
    before = layer(x).numpy()
    kernel, gain = layer.get_weights()
    layer.set_weights([7 * kernel, gain])
    np.testing.assert_allclose(layer(x), before, rtol=1e-12)
    layer.set_weights([kernel, 2 * gain])
    np.testing.assert_allclose(layer(x), 2 * before, rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_kernel_and_gain_receive_gradients(name):
    layer, x = build(name, weight_norm=True, use_bias=False)
    kernel, gain = (v.value for v in layer.trainable_variables)
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(x) ** 2)
    d_kernel, d_gain = tape.gradient(y, [kernel, gain])
    # W is homogeneous of degree 1 in g, and of degree 0 in V.
    np.testing.assert_allclose(np.sum(d_gain * gain), 2 * y, rtol=1e-10)
    np.testing.assert_allclose(tf.reduce_sum(d_kernel * kernel), 0, atol=1e-10 * y)
    assert np.all(d_kernel != 0)


def test_kernel_before_build_is_refused():
    with pytest.raises(AttributeError, match="no kernel before build"):
        _ = layers.dense(3, True, "float32").kernel


@pytest.mark.parametrize("name, axes", [("dense", 0), ("convolution", (0, 1, 2))])
@pytest.mark.parametrize("center_only", [True, False])
def test_batch_norm_normalizes_with_the_batch(name, axes, center_only):
    x = 3 * random(*LAYERS[name][1]) + 2
    layer = layers.BatchNorm(center_only, dtype="float64")
    y = layer(tf.constant(x), training=True).numpy()
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-12)
    variance = x.var(axes)
    expected = variance if center_only else variance / (variance + 1e-5)
    np.testing.assert_allclose(y.var(axes), expected, rtol=1e-10)


@pytest.mark.parametrize("center_only", [True, False])
def test_batch_norm_evaluates_with_the_last_batch(center_only):
    layer = layers.BatchNorm(center_only, dtype="float64")
    first, last, x = (random(8, 3, seed=seed) * (seed + 1) for seed in range(3))
    layer(tf.constant(first), training=True)
    layer(tf.constant(last), training=True)
    layer.beta.assign([1.0, 2.0, 3.0])
    expected = x - last.mean(0)
    if not center_only:
        layer.gamma.assign([2.0, 0.5, -1.0])
        expected *= layer.gamma.numpy() / np.sqrt(last.var(0) + 1e-5)
    expected += layer.beta.numpy()
    np.testing.assert_allclose(layer(tf.constant(x)), expected, rtol=1e-10)
    # Evaluating changes nothing.
    np.testing.assert_allclose(layer.mean, last.mean(0), rtol=1e-12)


@pytest.mark.parametrize(
    "center_only, trainable, statistics",
    [(True, ["beta"], ["mean"]), (False, ["beta", "gamma"], ["mean", "variance"])],
)
def test_batch_norm_weights(center_only, trainable, statistics):
    layer = layers.BatchNorm(center_only)
    layer.build((None, 4))
    assert sorted(v.name for v in layer.trainable_variables) == trainable
    assert sorted(v.name for v in layer.non_trainable_variables) == statistics


def test_batch_norm_survives_its_config():
    layer = layers.BatchNorm.from_config(
        layers.BatchNorm(True, epsilon=0.1).get_config()
    )
    assert (layer.center_only, layer.epsilon) == (True, 0.1)


def test_layers_differentiate_twice():
    """The derivative of an inner gradient, as the inner loop needs it."""
    dense = layers.dense(3, True, "float64")
    norm = layers.BatchNorm(dtype="float64")
    x = tf.constant(random(6, 5))
    norm(dense(x), training=True)
    direction = tf.constant(random(6, 5, seed=1))

    def inner_gradient(shift):
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(norm(dense(x + shift * direction), training=True) ** 3)
        return tape.gradient(y, dense.trainable_variables[0].value)

    shift = tf.Variable(0.0, dtype="float64")
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(inner_gradient(shift) * tf.constant(random(5, 3)))
    second = tape.gradient(total, shift)
    ahead, behind = (
        tf.reduce_sum(inner_gradient(step) * tf.constant(random(5, 3)))
        for step in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(second, (ahead - behind) / 2e-6, rtol=1e-6)
    assert abs(second) > 1e-3


def test_activation_slope_is_a_tenth():
    y = keras.ops.convert_to_numpy(layers.activation("float64")(np.array([-2.0, 3.0])))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, [-0.2, 3.0], rtol=1e-6)
