import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.networks import layers, stateless

SEED = tf.constant([1, 2])


def learner(**options):
    return problems.build_learner(problems.CaseSpec(**options))


def weights(model: stateless.StatelessModel, seed=SEED) -> dict:
    """A fresh learner's weights by path."""
    keras_model = model.assign(*model.init(seed))
    return {v.path: v.numpy() for v in keras_model.variables}


def wide_model():
    """Layers with enough weights to measure their spread."""
    images = keras.Input((8, 8, 40))
    features = layers.convolution(64, False, None, padding="valid")(images)
    features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Flatten()(features)
    return stateless.StatelessModel(
        keras.Model(images, layers.dense(50, False, None)(features))
    )


def test_init_is_kaiming_normal():
    by_path = weights(wide_model())
    kernels = [value for path, value in by_path.items() if path.endswith("/kernel")]
    for kernel, fan_in in zip(kernels, (3 * 3 * 40, 6 * 6 * 64), strict=True):
        spread = np.sqrt(2 / fan_in)
        assert kernel.std() == pytest.approx(spread, rel=0.02)
        assert abs(kernel.mean()) < 0.02 * spread
        # Normal, not truncated or uniform: 0.27 % lie beyond three deviations.
        beyond = np.mean(np.abs(kernel) > 3 * spread)
        assert 0.0015 < beyond < 0.0045


def test_init_of_all_else():
    by_name = {path.split("/")[-1]: v for path, v in weights(wide_model()).items()}
    for name, value in {
        "bias": 0,
        "beta": 0,
        "gamma": 1,
        "moving_mean": 0,
        "moving_variance": 1,
    }.items():
        np.testing.assert_array_equal(by_name[name], value)


@pytest.mark.parametrize("learner_name", ["dense", "digits:3-4-5"])
def test_init_makes_gains_the_norms_of_their_kernels(learner_name):
    by_path = weights(learner(learner=learner_name))
    gains = [path for path in by_path if path.endswith("/gain")]
    assert len(gains) >= 2
    for path in gains:
        kernel = by_path[path.replace("/gain", "/kernel")]
        norms = np.sqrt((kernel**2).reshape(-1, kernel.shape[-1]).sum(0))
        np.testing.assert_allclose(by_path[path], norms, rtol=1e-12)


def test_init_is_determined_by_its_seed():
    model = learner(learner="dense")
    params, statistics = model.init(SEED)
    again, _ = model.init(tf.constant([1, 2]))
    other, _ = model.init(tf.constant([1, 3]))
    np.testing.assert_array_equal(params, again)
    assert not np.allclose(params, other)
    assert params.shape == [model.num_params]
    assert statistics.shape == [2 * 5]


def test_init_draws_every_kernel_by_itself():
    first, second = keras.layers.Dense(4), keras.layers.Dense(4)
    images = keras.Input((4,))
    model = stateless.StatelessModel(keras.Model(images, second(first(images))))
    model.assign(*model.init(SEED))
    assert not np.any(np.isclose(first.kernel, second.kernel))


def test_weight_norm_starts_as_the_plain_learner():
    plain, normalized = (
        learner(learner="digits:3-4-5", weight_norm=weight_norm)
        for weight_norm in (False, True)
    )
    x = tf.random.stateless_normal([6, 4, 4, 1], SEED, dtype="float64")
    kernels = {
        path: value
        for path, value in weights(plain).items()
        if path.endswith("/kernel")
    }
    model = normalized.assign(*normalized.init(SEED))
    targets = [v for v in model.trainable_variables if v.name == "kernel"]
    gains = [v for v in model.trainable_variables if v.name == "gain"]
    for target, gain, kernel in zip(targets, gains, kernels.values(), strict=True):
        target.assign(kernel)
        gain.assign(np.sqrt((kernel**2).reshape(-1, kernel.shape[-1]).sum(0)))
    np.testing.assert_allclose(
        model(x, training=True), plain.model(x, training=True), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("training", [True, False])
def test_apply_equals_the_keras_model(training):
    model = learner(learner="digits:3-4-5")
    params, _ = model.init(SEED)
    params += tf.random.stateless_normal(params.shape, [7, 8], dtype="float64")
    statistics = tf.random.stateless_uniform(
        [2 * (3 + 4 + 5)], [5, 6], 0.5, 1.5, "float64"
    )
    x = tf.random.stateless_normal([6, 4, 4, 1], SEED, dtype="float64")
    before = [v.numpy() for v in model.model.variables]
    logits, new_statistics = model.apply(params, statistics, x, training)
    for variable, value in zip(model.model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)

    keras_model = model.assign(params, statistics)
    expected = keras_model(x, training=training)
    np.testing.assert_allclose(logits, expected, rtol=1e-12)
    flat = [v.numpy().ravel() for v in keras_model.non_trainable_variables]
    np.testing.assert_allclose(new_statistics, np.concatenate(flat), rtol=1e-12)
    assert np.allclose(new_statistics, statistics) == (not training)


def test_model_without_statistics():
    model = learner(normalization="none")
    params, statistics = model.init(SEED)
    x = tf.random.stateless_normal([6, 4, 4, 1], SEED, dtype="float64")
    logits, statistics = model.apply(params, statistics, x, training=True)
    assert statistics.shape == [0]
    assert logits.shape == [6, problems.NUM_CLASSES]


@pytest.mark.parametrize(
    "layer, variances",
    [
        # Glorot's, 2 / (fan-in + fan-out): Keras counts all channels into the fan-in.
        (
            keras.layers.SeparableConv2D(32, 3),
            {"depthwise": 2 / (9 * 40 + 9), "pointwise": 2 / (40 + 32)},
        ),
        (keras.layers.DepthwiseConv2D(3), {"kernel": 2 / (9 * 40 + 9)}),
        # Kaiming's, 2 / fan-in: what was asked for.
        (
            keras.layers.SeparableConv2D(
                32,
                3,
                depthwise_initializer=layers.kaiming_normal(40),
                pointwise_initializer=layers.kaiming_normal(),
            ),
            {"depthwise": 2 / 9, "pointwise": 2 / 40},
        ),
        (
            keras.layers.DepthwiseConv2D(
                3, depthwise_initializer=layers.kaiming_normal(40)
            ),
            {"kernel": 2 / 9},
        ),
    ],
)
def test_init_of_depthwise_kernels(layer, variances):
    """Any Keras model's, each kernel by the initializer of its own."""
    images = keras.Input((8, 8, 40))
    outputs = keras.layers.GlobalAveragePooling2D()(layer(images))
    model = stateless.StatelessModel(keras.Model(images, outputs))
    by_path = weights(model)
    for name, variance in variances.items():
        (kernel,) = (v for path, v in by_path.items() if name in path.split("/")[-1])
        assert kernel.std() == pytest.approx(np.sqrt(variance), rel=0.15)


def test_layout_says_where_each_tensor_lies_and_what_it_is():
    images = keras.Input((4, 4, 1))
    tokens = keras.layers.Reshape((4, 4))(images)
    tokens = layers.PositionEmbedding()(tokens)
    tokens = keras.layers.LayerNormalization()(tokens)
    outputs = layers.dense(3, True, None)(keras.layers.Flatten()(tokens))
    layout = stateless.StatelessModel(keras.Model(images, outputs)).layout
    assert layout.shapes == ((4, 4), (4,), (4,), (16, 3), (3,), (3,))
    assert layout.kinds == ("embedding", "gain", "bias", "kernel", "bias", "gain")
    assert layout.sizes == [16, 4, 4, 48, 3, 3]


def test_flatten_and_unflatten_are_each_other_s_inverse_and_gradient():
    shapes = [(2, 3), (), (4,)]
    vector = tf.range(11, dtype=tf.float64)
    parts = stateless.unflatten(vector, shapes)
    assert [tuple(part.shape) for part in parts] == shapes
    assert float(parts[1]) == 6
    np.testing.assert_array_equal(stateless.flatten(parts, "float64"), vector)
    weights = tf.constant(np.random.default_rng(0).normal(size=11))
    with tf.GradientTape() as tape:
        tape.watch(vector)
        squares = [part**2 for part in stateless.unflatten(vector, shapes)]
        total = tf.reduce_sum(weights * stateless.flatten(squares, "float64"))
    np.testing.assert_allclose(tape.gradient(total, vector), 2 * vector * weights)
