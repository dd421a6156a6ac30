"""Fresh weights of any Keras model, each by the initializer of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.networks import initial_weights, layers
from gtn_tf.networks.stateless import StatelessModel

SEED = tf.constant([1, 2])
OTHER_SEED = tf.constant([1, 3])


def drawn(model, seed=SEED):
    """Fresh weights by the variables' paths, without the model's own name."""
    values = initial_weights.draw(model, seed)
    return {v.path: np.array(values[id(v)]) for v in model.variables}


def named(values, end):
    """The one value whose path ends so."""
    (value,) = (value for path, value in values.items() if path.endswith(end))
    return value


class Token(keras.layers.Layer):
    """A class token and a table of positions, whose initializers are not kept."""

    def __init__(self):
        super().__init__(name="token_layer")

    def build(self, input_shape):
        _, length, size = input_shape
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.token = self.add_weight((1, 1, size), normal, name="class_token")
        self.table = self.add_weight((length, size), normal, name="positions")
        self.scale = self.add_weight(
            (size,), keras.initializers.Constant(3.0), name="scale"
        )
        self.counts = self.add_weight(
            (size,), normal, name="counts", trainable=False
        )  # not random: a fixed projection

    def call(self, inputs):
        return (inputs + self.table + self.token) * self.scale + self.counts


def token_model():
    inputs = keras.Input((40, 25))
    tokens = layers.PositionEmbedding(name="position_embedding")(inputs)
    tokens = keras.layers.GlobalAveragePooling1D()(Token()(tokens))
    return keras.Model(inputs, keras.layers.Dense(3)(tokens))


@pytest.mark.parametrize(
    "end", ["class_token", "positions", "position_embedding/embeddings"]
)
def test_tokens_and_tables_of_positions_are_drawn(end):
    model = token_model()
    value, again, other = (
        named(drawn(model, seed), end) for seed in (SEED, [1, 2], OTHER_SEED)
    )
    np.testing.assert_array_equal(value, again)
    assert np.mean(value == other) < 0.1
    assert value.std() == pytest.approx(0.02, rel=0.4 if value.size < 100 else 0.1)
    assert np.all(value != 0)


def test_what_is_not_trained_and_what_is_constant_stay():
    model = token_model()
    values = drawn(model)
    layer = model.get_layer("token_layer")
    np.testing.assert_array_equal(named(values, "counts"), layer.counts)
    np.testing.assert_array_equal(named(values, "scale"), np.full(25, 3.0))


def test_statistics_of_data_stay():
    inputs = keras.Input((4,))
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(5, 2, size=(30, 4)))
    model = keras.Model(inputs, keras.layers.Dense(2)(normalization(inputs)))
    values = drawn(model)
    assert len(model.non_trainable_variables) >= 2
    for variable in model.non_trainable_variables:
        np.testing.assert_array_equal(values[variable.path], variable)
    params, statistics = StatelessModel(model).init(SEED)
    assert np.all(named(values, "mean") > 3)
    logits, _ = StatelessModel(model).apply(
        params, statistics, tf.ones([2, 4]), training=True
    )
    assert np.all(np.isfinite(logits))


INITIALIZERS = {
    "glorot_uniform": (keras.initializers.GlorotUniform(), np.sqrt(2 / 500)),
    "glorot_normal": (keras.initializers.GlorotNormal(), np.sqrt(2 / 500)),
    "he_normal": (keras.initializers.HeNormal(), np.sqrt(2 / 300)),
    "he_uniform": (keras.initializers.HeUniform(), np.sqrt(2 / 300)),
    "lecun_normal": (keras.initializers.LecunNormal(), np.sqrt(1 / 300)),
    "normal": (keras.initializers.RandomNormal(stddev=0.3), 0.3),
    "uniform": (keras.initializers.RandomUniform(-0.2, 0.2), 0.4 / np.sqrt(12)),
    # What is cut off beyond two deviations takes 0.88 of the deviation with it.
    "truncated": (keras.initializers.TruncatedNormal(stddev=0.3), 0.3 * 0.8796),
    "kaiming": (layers.kaiming_normal(), np.sqrt(2 / 300)),
    "kaiming, half": (layers.kaiming_normal(0.5), np.sqrt(1 / 300)),
    "orthogonal": (keras.initializers.Orthogonal(), np.sqrt(1 / 300)),
}
# Largest values in standard deviations: of uniform and of truncated distributions.
BOUNDS = {
    "glorot_uniform": np.sqrt(3),
    "he_uniform": np.sqrt(3),
    "uniform": np.sqrt(3),
    "glorot_normal": 2 / 0.8796,
    "he_normal": 2 / 0.8796,
    "lecun_normal": 2 / 0.8796,
    "truncated": 2 / 0.8796,
}


def dense_model(**options):
    inputs = keras.Input((300,))
    return keras.Model(inputs, keras.layers.Dense(200, **options)(inputs))


@pytest.mark.parametrize("name", INITIALIZERS)
def test_each_distribution_is_its_own(name):
    initializer, deviation = INITIALIZERS[name]
    model = dense_model(kernel_initializer=initializer)
    kernel = named(drawn(model), "kernel")
    assert kernel.std() == pytest.approx(deviation, rel=0.01)
    assert abs(kernel.mean()) < 0.02 * deviation
    largest = np.abs(kernel).max() / deviation
    if name in BOUNDS:
        assert 0.98 * BOUNDS[name] < largest < 1.02 * BOUNDS[name]
    else:
        assert largest > 3
    assert np.mean(kernel == named(drawn(model, OTHER_SEED), "kernel")) < 0.01
    if name == "orthogonal":
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(200), atol=1e-4)


def test_constants_and_functions_are_used_as_they_are():
    def ramp(shape, dtype=None):
        return tf.reshape(tf.range(60_000, dtype=dtype), shape)

    model = dense_model(
        kernel_initializer=ramp, bias_initializer=keras.initializers.Constant(0.7)
    )
    for variable in model.variables:
        variable.assign(variable - 5)  # trained since
    values = drawn(model)
    np.testing.assert_array_equal(
        named(values, "kernel").ravel(), np.arange(60_000, dtype="float32")
    )
    np.testing.assert_array_equal(named(values, "bias"), np.full(200, 0.7, "float32"))


def test_one_initializer_of_two_layers_draws_twice():
    shared = keras.initializers.HeNormal(seed=3)
    inputs = keras.Input((8,))
    features = keras.layers.Dense(8, kernel_initializer=shared)(inputs)
    outputs = keras.layers.Dense(8, kernel_initializer=shared)(features)
    model = keras.Model(inputs, outputs)
    first, second = (v for p, v in drawn(model).items() if p.endswith("kernel"))
    assert np.mean(first == second) < 0.1
    np.testing.assert_array_equal(shared((8, 8)), shared((8, 8)))  # as it was


def test_recurrent_layers():
    inputs = keras.Input((3, 30))
    model = keras.Model(inputs, keras.layers.GRU(40)(inputs))
    fresh = {variable.name: variable.numpy() for variable in model.variables}
    for variable in model.trainable_variables:
        variable.assign(tf.zeros_like(variable))  # trained since
    values = {path.split("/")[-1]: v for path, v in drawn(model).items()}
    assert values["kernel"].std() == pytest.approx(fresh["kernel"].std(), rel=0.05)
    recurrent = values["recurrent_kernel"]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(40), atol=1e-4)
    np.testing.assert_array_equal(values["bias"], fresh["bias"])


def test_layers_within_models_within_models():
    inner = keras.Sequential(
        [keras.Input((30,)), keras.layers.Dense(40, kernel_initializer="he_normal")]
    )
    inputs = keras.Input((30,))
    model = keras.Model(inputs, keras.Sequential([inner])(inputs))
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    kernel = named(drawn(model), "kernel")
    assert kernel.std() == pytest.approx(np.sqrt(2 / 30), rel=0.1)


def test_an_embedding_is_drawn():
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, keras.layers.Embedding(50, 16)(inputs))
    table = named(drawn(model), "embeddings")
    assert table.std() == pytest.approx(0.1 / np.sqrt(12), rel=0.1)
    assert np.mean(table == named(drawn(model, OTHER_SEED), "embeddings")) < 0.01


@pytest.mark.parametrize(
    "layer, kinds",
    [
        (lambda: keras.layers.Dense(4), ["kernel", "bias"]),
        (lambda: layers.dense(4, True, None), ["kernel", "bias", "gain"]),
        (lambda: keras.layers.LayerNormalization(), ["gain", "bias"]),
        (lambda: layers.BatchNorm(), ["bias", "gain"]),
        (
            lambda: keras.layers.SeparableConv1D(4, 2),
            ["kernel", "kernel", "bias"],
        ),
        (lambda: keras.layers.GRU(4), ["kernel", "kernel", "bias"]),
        (lambda: layers.PositionEmbedding(), ["embedding"]),
        (lambda: Token(), ["embedding", "embedding", "bias"]),
        (lambda: keras.layers.PReLU(shared_axes=[1]), ["embedding"]),
    ],
)
def test_kinds_of_weights(layer, kinds):
    layer = layer()
    layer(keras.Input((6, 5)))
    found = [initial_weights.kind(v) for v in layer.trainable_variables]
    assert found == kinds
    assert set(found) <= set(initial_weights.KINDS)


def dropout_model():
    inputs = keras.Input((200,))
    return StatelessModel(
        keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.5)(inputs)))
    )


def test_dropout_is_drawn_by_the_seed_of_the_learner():
    model = dropout_model()
    x = tf.ones([4, 200])
    params, state = model.init(SEED)
    _, again = model.init(tf.constant([1, 2]))
    _, other = model.init(OTHER_SEED)
    assert state.dtype == params.dtype
    np.testing.assert_array_equal(state, again)
    assert not np.array_equal(state, other)
    apply = tf.function(model.apply, autograph=False)
    first, second = (model.apply(params, s, x, True)[0] for s in (state, other))
    np.testing.assert_array_equal(first, apply(params, again, x, True)[0])
    assert not np.allclose(first, second)
    logits, kept = model.apply(params, state, x, training=False)
    np.testing.assert_allclose(logits - logits[0], np.zeros((4, 3)), atol=1e-6)
    np.testing.assert_array_equal(kept, state)


def test_dropout_drops_others_at_the_next_step():
    model = dropout_model()
    x = tf.ones([4, 200])
    params, state = model.init(SEED)
    logits, states = [], [state]
    for _ in range(3):
        values, state = model.apply(params, state, x, training=True)
        logits.append(values.numpy())
        states.append(state)
    assert len({tuple(np.array(s)) for s in states}) == 4
    for index in range(2):
        assert not np.allclose(logits[index], logits[index + 1])
    assert np.all(np.array(states) == np.round(states))  # as exact as integers
    model.assign(params, state)
    (variable,) = model.model.non_trainable_variables
    np.testing.assert_array_equal(tf.cast(variable, tf.float32), state)


def test_a_compiled_draw_is_the_same():
    model = token_model()

    @tf.function(autograph=False)
    def compiled(seed):
        values = initial_weights.draw(model, seed)
        return [values[id(v)] for v in model.variables]

    values = initial_weights.draw(model, SEED)
    for variable, value in zip(model.variables, compiled(SEED), strict=True):
        np.testing.assert_allclose(value, values[id(variable)], rtol=1e-6)
    assert not np.array_equal(compiled(SEED)[0], compiled(OTHER_SEED)[0])


def test_initialize_writes_what_is_trained_and_leaves_statistics():
    inputs = keras.Input((300,))
    features = layers.dense(6, True, None)(inputs)
    features = keras.layers.BatchNormalization()(features)
    model = keras.Model(inputs, features)
    for variable in model.variables:
        variable.assign(tf.fill(variable.shape, 9.0))
    assert initial_weights.initialize(model, 5) is model
    by_name = {variable.name: variable.numpy() for variable in model.variables}
    expected = drawn(model, tf.constant([5, 0]))
    np.testing.assert_array_equal(by_name["kernel"], named(expected, "kernel"))
    np.testing.assert_allclose(
        by_name["gain"], np.linalg.norm(by_name["kernel"], axis=0), rtol=1e-5
    )
    np.testing.assert_array_equal(by_name["gamma"], np.ones(6))
    np.testing.assert_array_equal(by_name["bias"], np.zeros(6))
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_array_equal(by_name[name], np.full(6, 9.0))
