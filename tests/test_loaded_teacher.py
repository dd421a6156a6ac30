"""A loaded teacher, and Keras models of every kind taught by it."""

import re
import shutil
import warnings

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

import gtn_tf
from gtn_tf.data.dataset import Dataset, Split
from gtn_tf.export import saved_models
from gtn_tf.meta import inner_losses
from gtn_tf.meta.registry import INNER_OPTIMIZERS
from gtn_tf.teaching import (
    batch_statistics,
    classifiers,
    learned_schedule,
    ready_teachers,
)

# Most teachers here have learned nothing.
pytestmark = pytest.mark.filterwarnings("ignore:model .* has hardly been taught")

T, B, K, Z = 4, problems.BATCH_SIZE, problems.NUM_CLASSES, problems.LATENT_SIZE
SHAPE = problems.IMAGE_SHAPE
SPLIT = Split(np.zeros((1, *SHAPE), np.uint8), np.zeros(1, np.int32))
DATASET = Dataset(
    name="small",
    train=SPLIT,
    validation=SPLIT,
    test=SPLIT,
    class_names=("cat", "dog", "bird"),
    mean=np.array([100], np.float32),
    std=np.array([50], np.float32),
    augment=False,
)


def export_case(folder, **options):
    """A case whose teacher is in folder/teacher."""
    case = problems.build_case(precision="float32", num_steps=T, **options)
    for variable in case.problem.variables:  # as if trained
        variable.assign(variable + 0.2 * tf.math.sin(3.0 + variable))
    flags = {
        "inner_optimizer": options.get("optimizer", "sgd"),
        "inner_loss": options.get("inner_loss", "cross_entropy"),
    }
    saved_models.export_teacher(
        folder / "teacher", case.problem, DATASET, {"flags": flags}
    )
    return case


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gtn")
    return folder, export_case(folder, teacher="gtn")


@pytest.fixture(scope="module")
def teacher(exported):
    return gtn_tf.load_teacher(exported[0])


def test_what_a_teacher_says_of_itself(exported, teacher):
    folder, case = exported
    assert teacher.num_inner_steps == T
    assert teacher.image_shape == SHAPE
    assert teacher.class_names == ["cat", "dog", "bird"]
    values = case.problem.hyperparameters.values()
    assert teacher.hyperparameters.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_allclose(teacher.hyperparameters[name], value, rtol=1e-6)
    again = gtn_tf.load_teacher(str(folder / "teacher"))
    assert again.description == teacher.description


def test_preprocess_normalizes(teacher):
    pixels = np.full((2, *SHAPE), 150, np.uint8)
    np.testing.assert_allclose(teacher.preprocess(pixels), np.ones((2, *SHAPE)))


def test_the_dataset_is_the_batches_in_order(exported, teacher):
    _, case = exported
    batches = list(teacher.dataset())
    assert len(batches) == len(teacher.dataset()) == T
    for step, (images, targets) in enumerate(batches):
        expected = case.problem.teacher.batch(step, tf.constant([0, 0]))
        np.testing.assert_allclose(images, expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(targets, expected[1])
    assert np.abs(batches[0][0] - batches[1][0]).max() > 0.01


def test_the_seed_decides_the_order(tmp_path):
    export_case(tmp_path, curriculum="shuffled_batch")
    teacher = gtn_tf.load_teacher(tmp_path)
    orders = [np.stack([x for x, _ in teacher.dataset(seed)]) for seed in range(4)]
    assert any(not np.array_equal(orders[0], order) for order in orders[1:])
    np.testing.assert_allclose(*(np.sort(o.sum((1, 2, 3, 4))) for o in orders[:2]))


def test_images_come_from_the_generator(exported, teacher):
    _, case = exported
    latents = tf.random.stateless_normal([5, Z], [1, 2])
    labels = [0, 1, 2, 1, 0]
    source = case.problem.teacher
    statistics = source.statistics(tf.constant([0, 0]))
    targets = tf.one_hot(labels, K)
    expected, _ = source.generate(source.weights(), statistics, latents, targets)
    images = teacher.images(latents, labels)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(images, axis=0).max() > 0.01
    x, own = teacher.samples(latents, labels)
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(own, targets)
    with pytest.raises(ValueError, match="no labels: give label ids, one for each"):
        teacher.images(latents)


def test_soft_labels_are_taught(tmp_path):
    case = export_case(tmp_path, teacher="gtn", labels="generated")
    teacher = gtn_tf.load_teacher(tmp_path)
    latents = tf.random.stateless_normal([5, Z], [1, 2])
    x, targets = teacher.samples(latents)
    source = case.problem.teacher
    expected = source.generate(
        source.weights(), source.statistics(tf.constant([0, 0])), latents
    )
    np.testing.assert_allclose(x, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(targets, expected[1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="with its images: give latents alone"):
        teacher.images(latents, [0] * 5)
    with pytest.raises(ValueError, match=r"shape \(5, 3\) do not suit.*\(N, 4\)$"):
        teacher.samples(latents[:, :3])

    model = keras.Sequential(
        [keras.Input(problems.IMAGE_SHAPE), keras.layers.Flatten()]
        + [keras.layers.Dense(K)]
    )
    losses, first = [], model.get_weights()
    told = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: losses.append(logs["loss"])
    )
    teacher.teach(model, rate_scale=1.0, callbacks=[told])
    x, targets = teacher.batch(0)
    fresh = keras.models.clone_model(model)
    fresh.set_weights(first)
    scores = tf.nn.log_softmax(fresh(x))
    own = -np.mean(np.sum(targets * scores, -1))  # of the soft labels, not of a class
    assert losses[0] == pytest.approx(own, rel=1e-4)


def test_an_image_does_not_depend_on_its_neighbors(teacher):
    latents = tf.random.stateless_normal([51, Z], [3, 4])
    labels = np.arange(51) % K
    among_others = teacher.images(latents, labels)
    for i in (0, 17, 50):
        alone = teacher.images(latents[i : i + 1], labels[i : i + 1])
        np.testing.assert_allclose(alone[0], among_others[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"teacher": "gtn", "per_step": False},
        {"optimizer": "adam"},
        {"inner_loss": "mean_squared_error"},
        {"inner_loss": "learned"},
        {"teacher": "closed_loop"},
    ],
)
def test_teaching_is_the_inner_loop(tmp_path, options):
    """A learner of the library, taught as a Keras model, equals the unrolled loop."""
    case = export_case(tmp_path, learner="dense", **options)
    problem, learner, _ = case
    state = problem.begin(learner, tf.constant([1, 2]))
    model = learner.assign(state.params, state.batch_stats)
    before = [np.array(v) for v in model.weights]
    values = problem.hyperparameters.values()
    plan = problem.teacher.plan(tf.constant([0, 0]))
    for step in range(T):
        state, _ = problem.step(
            learner,
            problem.weights(),
            state,
            [values[step] for values in plan],
            tuple(values[name][step] for name in problem.optimizer.names),
        )
    assert gtn_tf.load_teacher(tmp_path).teach(model, rate_scale=1.0) is model
    taught = [np.array(v) for v in model.weights]
    learner.assign(state.params, state.batch_stats)
    for value, expected in zip(taught, model.weights, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)
    moved = [np.abs(v - b).max() for v, b in zip(taught, before, strict=True)]
    assert max(moved) > 0.05


def sequential(activation=None):
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(6, "relu"),
            keras.layers.Dense(K, activation),
        ]
    )


def functional():
    """Convolution, batch norm, dropout, and a model within the model."""
    inner = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    )
    images = keras.Input(SHAPE)
    features = keras.layers.Flatten()(inner(images))
    features = keras.layers.Dropout(0.2, seed=1)(features)
    return keras.Model(images, keras.layers.Dense(K, "softmax")(features))


@keras.saving.register_keras_serializable()
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flatten = keras.layers.Flatten()
        self.output_layer = keras.layers.Dense(K)
        self.unused = keras.layers.Dense(2)  # no gradient reaches it

    def build(self, input_shape):
        self.output_layer.build((None, np.prod(input_shape[1:])))
        self.unused.build((None, 1))

    def call(self, inputs):
        return self.output_layer(self.flatten(inputs))


@pytest.mark.parametrize("build", [sequential, functional, Subclassed])
def test_any_keras_model_is_taught_and_stays_one(teacher, tmp_path, build):
    keras.utils.set_random_seed(0)
    model = build()
    x = teacher.batch(0)[0]
    before = model(x).numpy()
    teacher.teach(model)
    after = model(x).numpy()
    assert np.isfinite(after).all() and np.abs(after - before).max() > 0.01
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    labels = np.zeros(B, np.int64)
    assert len(model.evaluate(x, labels, verbose=0)) == 2
    np.testing.assert_allclose(model.predict(x, verbose=0), after, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(x), after, rtol=1e-4, atol=1e-5)
    model.fit(x, labels, verbose=0)
    assert np.abs(model(x) - after).max() > 1e-4


def zoo_convolutional():
    """Group and layer norm, dropout, pooling; the head in float32, as Keras advises."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, padding="same"),
            keras.layers.GroupNormalization(2),
            keras.layers.Activation("gelu"),
            keras.layers.Dropout(0.1, seed=1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(K),
            keras.layers.Activation("softmax", dtype="float32"),
        ]
    )


def zoo_transformer():
    """Rows as tokens, a learned embedding of their positions, attention."""
    images = keras.Input(SHAPE)
    rows, columns, channels = SHAPE
    tokens = keras.layers.Reshape((rows, columns * channels))(images)
    tokens = keras.layers.Dense(8)(tokens)
    positions = keras.layers.Embedding(rows, 8, name="positions")(np.arange(rows))
    tokens = tokens + positions
    mixed = keras.layers.MultiHeadAttention(2, 4, dropout=0.1, seed=1)(tokens, tokens)
    tokens = keras.layers.LayerNormalization()(tokens + mixed)
    return keras.Model(
        images,
        keras.layers.Dense(K)(keras.layers.Flatten()(tokens)),
        name="transformer",
    )


class Words(keras.Model):
    """Pixels, in three shades, as words of an embedding: a sparse gradient."""

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(3, 2)
        self.norm = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.1, seed=2)
        self.head = keras.layers.Dense(K)

    def call(self, inputs, training=False):
        shades = keras.ops.cast(keras.ops.clip(inputs + 1, 0, 2), "int32")
        features = keras.ops.reshape(self.embedding(shades), (-1, 32))
        features = self.dropout(self.norm(features), training=training)
        return self.head(features)


@pytest.mark.parametrize(
    "policy", ["float32", "float64", "mixed_bfloat16", "mixed_float16"]
)
@pytest.mark.parametrize("build", [zoo_convolutional, zoo_transformer, Words])
def test_models_of_every_kind_and_precision_are_taught(teacher, build, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        model = build()
        model(teacher.batch(0)[0])
    finally:
        keras.config.set_dtype_policy(before)
    weights = [np.array(v) for v in model.trainable_variables]
    assert teacher.teach(model) is model
    for old, variable in zip(weights, model.trainable_variables, strict=True):
        new = np.array(variable)
        assert (
            new.dtype == old.dtype == ("float64" if policy == "float64" else "float32")
        )
        assert np.isfinite(new).all(), variable.path
        # A bias before a normalization, or of keys, has a gradient of rounding errors.
        assert np.any(new != old), variable.path


def test_what_is_half_precise_learns_nearly_the_same(teacher):
    taught = {}
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.layers.Flatten(),
                keras.layers.Dense(6, "tanh", dtype=policy),
                keras.layers.Dense(K, "softmax", dtype=policy),
            ]
        )
        model(teacher.batch(0)[0])
        start = model.get_weights()
        moved = teacher.teach(model, rate_scale=1.0).get_weights()
        changes = [m - s for m, s in zip(moved, start, strict=True)]
        taught[policy] = np.concatenate([change.ravel() for change in changes])
    exact = taught.pop("float32")
    assert np.abs(exact).max() > 0.1
    np.testing.assert_allclose(taught["mixed_float16"], exact, atol=0.01)
    np.testing.assert_allclose(taught["mixed_bfloat16"], exact, atol=0.08)


def test_small_gradients_do_not_vanish_in_half_precision(teacher):
    """Outputs so small that float16 has no gradients as small as theirs."""
    taught = []
    for policy in ("float32", "mixed_float16"):
        model = keras.Sequential(
            [
                keras.layers.Flatten(),
                keras.layers.Dense(K, kernel_initializer="zeros", dtype=policy),
                keras.layers.Rescaling(1e-7, dtype="float32"),
            ]
        )
        model(teacher.batch(0)[0])
        taught.append(teacher.teach(model, rate_scale=1.0).get_weights()[0])
    assert 1e-8 < np.abs(taught[0]).max() < 1e-6
    np.testing.assert_allclose(
        taught[1], taught[0], atol=0.01 * np.abs(taught[0]).max()
    )


def test_no_step_is_left_out_where_scaled_gradients_overflow(teacher):
    """Inputs so large that the first loss scale is too much for float16."""
    taught = []
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.layers.Rescaling(64),
                keras.layers.Flatten(),
                keras.layers.Dense(K, kernel_initializer="zeros", dtype=policy),
                keras.layers.Activation("linear", dtype="float32"),
            ]
        )
        model(teacher.batch(0)[0])
        first = {name: rates[:1] for name, rates in teacher.hyperparameters.items()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(teacher, "hyperparameters", first)
            patch.setattr(teacher, "_kept", {0: teacher.batches()[:1]})
            taught.append(teacher.teach(model, rate_scale=1.0).get_weights()[0])
    assert np.abs(taught[0]).max() > 1
    np.testing.assert_allclose(taught[1], taught[0], rtol=0.01, atol=0.01)


def test_frozen_layers_stay_as_they_are(teacher):
    norm = keras.layers.BatchNormalization()
    body = keras.Sequential([keras.layers.Conv2D(4, 3), norm, keras.layers.LeakyReLU()])
    head = keras.layers.Dense(K)
    model = keras.Sequential([keras.Input(SHAPE), body, keras.layers.Flatten(), head])
    norm.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    body.trainable = False
    before, kernel = body.get_weights(), np.array(head.kernel)
    teacher.teach(model)
    assert all(map(np.array_equal, before, body.get_weights()))
    assert np.abs(head.kernel - kernel).max() > 0.01
    assert norm.momentum == 0.99


def test_constraints_hold_after_every_step(teacher):
    constraint = keras.constraints.UnitNorm(axis=0)
    head = keras.layers.Dense(K, kernel_constraint=constraint)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), head])
    teacher.teach(model)
    np.testing.assert_allclose(np.linalg.norm(head.kernel, axis=0), np.ones(K), 1e-5)


class Recorder(keras.callbacks.Callback):
    def __init__(self, stop_after=T):
        super().__init__()
        self.calls, self.losses, self.momenta = [], [], []
        self.stop_after = stop_after

    def on_train_begin(self, logs=None):
        self.calls.append(("train begin", dict(self.params)))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch begin", epoch))

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("batch", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        self.momenta += [getattr(layer, "momentum", 0.9) for layer in self.model.layers]
        self.model.stop_training = batch + 1 == self.stop_after

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch end", logs["loss"]))
        self.momenta += [getattr(layer, "momentum", 0.9) for layer in self.model.layers]

    def on_train_end(self, logs=None):
        self.calls.append(("train end", logs["loss"]))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_one_step_of_all_weights_is_one_of_each(tmp_path, optimizer):
    """Weights of two types, a constraint, and a frozen layer among them."""
    export_case(tmp_path, optimizer=optimizer)
    teacher = gtn_tf.load_teacher(tmp_path)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(6, "tanh", dtype="float64"),
            keras.layers.Dense(6, "tanh", trainable=False),
            keras.layers.Dense(6, "tanh", kernel_constraint="unit_norm"),
            keras.layers.Dense(6, "tanh"),
            keras.layers.Dense(K, dtype="float64"),
        ]
    )
    variables = model.trainable_variables
    assert [v.dtype for v in variables] == 2 * ["float64"] + 4 * ["float32"] + 2 * [
        "float64"
    ]
    start = model.get_weights()
    taught = teacher.teach(model, rate_scale=1.0).get_weights()
    model.set_weights(start)
    rule = INNER_OPTIMIZERS[optimizer]
    slots = [learned_schedule.slots(rule, [variable]) for variable in variables]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    for step, (x, targets) in enumerate(teacher.batches()):
        rates = [teacher.hyperparameters[name][step] for name in rule.names]
        with tf.GradientTape() as tape:
            value = loss(targets, model(x, training=True))
        gradients = tape.gradient(value, [v.value for v in variables])
        for index, (variable, gradient) in enumerate(
            zip(variables, gradients, strict=True)
        ):
            [new], slots[index] = learned_schedule.update(
                rule, [variable], [gradient], slots[index], rates
            )
            constrained = variable.constraint or (lambda values: values)
            variable.assign(constrained(new))
    expected = model.get_weights()
    np.testing.assert_array_equal(taught[2], start[2])  # frozen
    np.testing.assert_allclose(np.linalg.norm(taught[4], axis=0), np.ones(6), rtol=1e-5)
    for value, other in zip(taught, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-3, atol=1e-5)
    moved = [np.abs(v - f).max() for v, f in zip(taught, start, strict=True)]
    assert min(moved[:2] + moved[4:]) > 1e-3


def test_callbacks_see_an_epoch_of_as_many_batches(teacher):
    model = sequential("softmax")
    model.add(keras.layers.BatchNormalization(momentum=0.9))
    model.add(keras.layers.Softmax())
    x, targets = teacher.batch(0)
    first = keras.losses.categorical_crossentropy(targets, model(x, training=True))
    recorder = Recorder()
    teacher.teach(model, callbacks=[recorder])
    assert len(recorder.losses) == T
    assert recorder.losses[0] == pytest.approx(np.mean(first), rel=1e-4)
    mean = pytest.approx(np.mean(recorder.losses))
    assert recorder.calls == [
        ("train begin", {"verbose": 0, "epochs": 1, "steps": T}),
        ("epoch begin", 0),
        *(("batch", step) for step in range(T)),
        ("epoch end", mean),
        ("train end", mean),
    ]
    assert set(recorder.momenta) == {0.9}


def test_callbacks_may_stop_it(teacher):
    model = sequential()
    recorder = Recorder(stop_after=2)
    teacher.teach(model, callbacks=recorder)
    assert len(recorder.losses) == 2
    again = Recorder()
    teacher.teach(model, callbacks=again)
    assert len(again.losses) == T


def test_a_progress_bar_as_of_keras(teacher, capsys):
    teacher.teach(sequential())
    assert capsys.readouterr().out == ""
    teacher.teach(sequential(), verbose=1)
    printed = capsys.readouterr().out
    assert f"{T}/{T}" in printed and "loss: " in printed


def test_what_has_hardly_been_taught_is_told(teacher):
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(K, name="head"),
        ],
        name="wild",
    )
    recorder = Recorder()
    rates = {"learning_rate": np.full(T, 50.0), "momentum": np.zeros(T)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "hyperparameters", rates)
        with pytest.warns(UserWarning) as caught:
            teacher.teach(model, callbacks=[recorder])
    (warning,) = caught
    assert warning.filename == __file__
    first, last = recorder.losses[0], np.mean(recorder.losses[-2:])
    assert last > first
    assert re.search(
        f"'wild' has hardly been taught: its loss was {first:.4g} on the first batch, "
        f"before any step, and {last:.4g} on average on the last 2; try ",
        str(warning.message),
    )


def test_what_is_taught_is_not_warned_of(teacher):
    """The same images at every step, whose loss must fall."""
    rates = {"learning_rate": np.full(T, 0.1), "momentum": np.zeros(T)}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(teacher, "hyperparameters", rates)
        patch.setattr(teacher, "_kept", {0: [teacher.batch(0)] * T})
        teacher.teach(sequential())


def test_models_of_one_seed_share_its_batches(tmp_path, monkeypatch):
    export_case(tmp_path, curriculum="shuffled_batch")
    teacher = gtn_tf.load_teacher(tmp_path)
    drawn, dataset = [], teacher.dataset
    monkeypatch.setattr(
        teacher, "dataset", lambda seed: drawn.append(seed) or dataset(seed)
    )
    fresh = sequential()
    fresh(teacher.batch(0)[0])
    weights = fresh.get_weights()
    taught = []
    for seed in (0, 0, 1, 2, 3, 0):
        fresh.set_weights(weights)
        values = teacher.teach(fresh, seed).get_weights()
        taught.append(np.concatenate([value.ravel() for value in values]))
    assert drawn == [0, 1, 2, 3, 0]
    np.testing.assert_array_equal(taught[0], taught[1])
    np.testing.assert_array_equal(taught[0], taught[-1])
    assert any(np.any(other != taught[0]) for other in taught[2:-1])


def test_fit_takes_the_dataset(teacher):
    model = sequential("softmax")
    model.compile("adam", "categorical_crossentropy")
    history = model.fit(teacher.dataset(), epochs=2, verbose=0).history["loss"]
    assert len(history) == 2 and history[1] < history[0]


def test_probabilities_are_taught_as_logits_are(teacher):
    x = teacher.batch(0)[0]
    logits, probabilities = sequential(), sequential("softmax")
    logits(x), probabilities(x)
    probabilities.set_weights(logits.get_weights())
    teacher.teach(logits)
    teacher.teach(probabilities)
    for value, expected in zip(
        probabilities.get_weights(), logits.get_weights(), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)


class OwnNorm(keras.layers.BatchNormalization):
    """Batch norm as a user may change it: of twice the inputs."""

    def call(self, inputs, training=None):
        return super().call(2 * inputs, training=training)


NORMS = [
    (keras.layers.BatchNormalization, {}, 1),
    (keras.layers.BatchNormalization, {"renorm": True}, 1),
    (OwnNorm, {}, 2),
]


@pytest.mark.parametrize("layer, options, factor", NORMS)
def test_statistics_and_momentum_of_batch_norm(teacher, layer, options, factor):
    norm = layer(momentum=0.9, **options)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            norm,
            keras.layers.Dropout(0.5, seed=3),
            keras.layers.Flatten(),
            keras.layers.Dense(K),
        ]
    )
    teacher.teach(model)
    shown = factor * np.stack([x for x, _ in teacher.batches()])
    means, variances = shown.mean((1, 2, 3)), shown.var((1, 2, 3))  # [T, C]
    np.testing.assert_allclose(norm.moving_mean, means.mean(0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, variances.mean(0), rtol=3e-3)
    assert norm.momentum == 0.9
    assert not options or norm.renorm_momentum == 0.99


def norms_behind_layers():
    """Dropout, a layer that assigns its weights, and a frozen norm among the norms."""
    frozen = keras.layers.BatchNormalization(trainable=False)
    body = keras.Sequential([keras.layers.Conv2D(4, 3), frozen, keras.layers.ReLU()])
    spectral = keras.layers.SpectralNormalization(keras.layers.Dense(5))
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            body,
            keras.layers.Dropout(0.5, seed=3),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.Flatten(),
            spectral,
            keras.layers.BatchNormalization(momentum=0.7),
            keras.layers.Dense(K),
        ]
    )


def test_averaging_changes_nothing_but_the_statistics(teacher):
    keras.utils.set_random_seed(0)
    model = norms_behind_layers()
    norms = model.layers[2], model.layers[5]
    moving = [v for n in norms for v in (n.moving_mean, n.moving_variance)]
    before = [np.array(v) for v in model.variables]
    batch_statistics.average(model, teacher.batches())
    is_moving = [any(v is m for m in moving) for v in model.variables]
    for variable, value, moves in zip(model.variables, before, is_moving, strict=True):
        assert np.array_equal(variable, value) != moves, variable.path
    assert sum(is_moving) == 4
    means, variances = [], []
    for x, _ in teacher.batches():  # the same by hand, with dropout's same seeds
        features = model.layers[1](model.layers[0](x, training=True), training=True)
        means.append(np.mean(features, (0, 1, 2)))
        variances.append(np.var(features, (0, 1, 2)))
    np.testing.assert_allclose(norms[0].moving_mean, np.mean(means, 0), atol=1e-5)
    np.testing.assert_allclose(
        norms[0].moving_variance, np.mean(variances, 0), rtol=1e-3
    )


def test_averaging_is_traced_once_and_as_it_would_be_eagerly(teacher, monkeypatch):
    keras.utils.set_random_seed(0)
    model = norms_behind_layers()
    values = [np.array(v) for v in model.variables]
    calls, call = [], keras.layers.Dropout.call

    def counted(self, inputs, training=False):
        calls.append(tf.executing_eagerly())
        return call(self, inputs, training=training)

    monkeypatch.setattr(keras.layers.Dropout, "call", counted)
    batch_statistics.average(model, teacher.batches())
    traced = [np.array(v) for v in model.variables]
    assert calls == [False]
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    model.run_eagerly = True
    batch_statistics.average(model, teacher.batches())
    assert calls == [False] + [True] * T
    for variable, value in zip(model.variables, traced, strict=True):
        np.testing.assert_allclose(
            variable, value, rtol=1e-5, atol=1e-6, err_msg=variable.path
        )


class Failing(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_momenta_are_restored_after_an_error(teacher, monkeypatch):
    model = norms_behind_layers()

    def momenta():
        return [layer.momentum for layer in model.layers if hasattr(layer, "momentum")]

    with pytest.raises(KeyboardInterrupt):
        teacher.teach(model, callbacks=[Failing()])
    assert momenta() == [0.8, 0.7]
    monkeypatch.setattr(keras.Sequential, "call", None)
    with pytest.raises(TypeError):
        batch_statistics.average(model, teacher.batches())
    assert momenta() == [0.8, 0.7]


def outputs_in(kind):
    images = keras.Input(SHAPE)
    logits = [keras.layers.Dense(K)(keras.layers.Flatten()(images)) for _ in "ab"]
    named = dict(zip("ab", logits, strict=True))
    return keras.Model(images, named if kind is dict else kind(logits))


def model_for(shape, classes):
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )


@pytest.mark.parametrize(
    "build, came",
    [
        (lambda: model_for((8, 8, 1), K), r"its input is \(None, 8, 8, 1\)"),
        (lambda: model_for((4, 4, 3), K), r"its input is \(None, 4, 4, 3\)"),
        (lambda: model_for(SHAPE, 10), r"has outputs of shape \(7, 10\)"),
        (lambda: keras.Sequential([keras.layers.Dense(K)]), r"\(7, 4, 4, 3\)"),
        (lambda: outputs_in(list), "has a list of 2 outputs.*with one output"),
        (lambda: outputs_in(dict), "has a dict of 2 outputs"),
        (lambda: outputs_in(tuple), "has a tuple of 2 outputs"),
        (lambda: keras.layers.Dense(K), "a Dense cannot be taught: give a keras.Model"),
    ],
)
def test_models_that_do_not_match_are_refused(teacher, build, came):
    model = build()
    before = model.get_weights()
    with pytest.raises(ValueError, match=came) as caught:
        teacher.teach(model)
    assert "images (4, 4, 1) and 3 classes" in str(caught.value)
    assert all(map(np.array_equal, before, model.get_weights()))


class Headed(keras.Model):
    """A subclassed model with any function at its end."""

    def __init__(self, function, **options):
        super().__init__(name="headed")
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(K, **options)
        self.function = function

    def call(self, inputs):
        return self.function(self.dense(self.flatten(inputs)))


def ends_in(layer):
    return keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dense(K, kernel_initializer="zeros")]
        + [layer]
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: sequential("sigmoid"),
        lambda: sequential("hard_sigmoid"),
        lambda: ends_in(keras.layers.Activation("sigmoid")),
        lambda: ends_in(sequential_head()),
        lambda: Headed(keras.ops.sigmoid),
        lambda: Headed(tf.function(tf.sigmoid)),
        lambda: Headed(lambda x: tf.cast(tf.sigmoid(x), "float16")),
    ],
)
def test_sigmoids_are_refused(teacher, build):
    model = build()
    model(teacher.batch(0)[0])
    before = model.get_weights()
    with pytest.raises(ValueError, match="ends in a sigmoid for each class.*: give a"):
        teacher.teach(model)
    assert all(map(np.array_equal, before, model.get_weights()))


def sequential_head():
    logits = keras.Input((K,))
    return keras.Model(logits, keras.layers.Dense(K, "sigmoid")(logits))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Headed(
            lambda x: x, kernel_initializer="zeros", bias_initializer="zeros"
        ),
        lambda: Headed(lambda x: x * 1e-3 + 0.4, kernel_initializer="zeros"),
        lambda: ends_in(keras.layers.Rescaling(1.0, 0.4)),
        lambda: Headed(tf.nn.softmax),
        lambda: ends_in(keras.layers.Softmax()),
    ],
)
def test_outputs_between_zero_and_one_that_are_no_sigmoids_are_taught(teacher, build):
    model = build()
    model(teacher.batch(0)[0])
    before = model.get_weights()
    teacher.teach(model)
    assert np.abs(model.get_weights()[0] - before[0]).max() > 1e-5


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_softmax_is_known_by_its_values_however_rounded(teacher, policy):
    keras.utils.set_random_seed(0)
    images = keras.Input(SHAPE)
    logits = keras.layers.Dense(100, dtype=policy)(keras.layers.Flatten()(images))
    model = keras.Model(images, keras.ops.softmax(logits))
    x = tf.random.stateless_normal([64, *SHAPE], [1, 2])
    assert classifiers.are_probabilities(model, model(x))
    assert not classifiers.are_probabilities(model, 1.2 * model(x))
    assert not classifiers.are_probabilities(keras.Model(images, logits), model(x))


def test_a_frozen_model_is_refused(teacher):
    model = sequential()
    model(teacher.batch(0)[0])
    model.trainable = False
    with pytest.raises(
        ValueError, match="no trainable weights: all of its 4 are frozen; set trainable"
    ):
        teacher.teach(model)


@pytest.mark.parametrize("step", [-1, T, 1.5, "0", [0]])
def test_steps_that_are_none_are_refused(teacher, step):
    with pytest.raises(ValueError, match=f"the teacher's {T}: give .* 0 to {T - 1}$"):
        teacher.batch(step)


def test_labels_that_are_none_are_refused(teacher):
    latents = np.zeros((2, Z))
    for label in (-1, K):
        with pytest.raises(ValueError, match=f"label {label} is none.* 0 to {K - 1}$"):
            teacher.images(latents, [0, label])
    with pytest.raises(ValueError, match="type float64 are no label ids: give int"):
        teacher.images(latents, [0, 1.5])


def pixels_of(labels):
    """Raw images whose first pixels are the one-hot label."""
    images = np.zeros((len(labels), *SHAPE), np.uint8)
    images.reshape(len(labels), -1)[np.arange(len(labels)), labels] = 200
    return images


@pytest.mark.parametrize("function", [lambda x: x, keras.ops.softmax])
def test_accuracy_of_raw_images(teacher, function):
    """A model that reads the label from the pixels, and rightly for a part of them."""
    labels = np.arange(600) % K
    images = pixels_of(labels)
    model = Headed(function, kernel_initializer="zeros")
    model(teacher.batch(0)[0])
    kernel = np.zeros((16, K), np.float32)
    kernel[np.arange(K), np.arange(K)] = 3
    model.dense.kernel.assign(kernel)
    assert teacher.evaluate(model, images, labels) == 1
    wrong = np.where(np.arange(600) < 90, (labels + 1) % K, labels)
    assert teacher.evaluate(model, tf.constant(images), list(wrong)) == 510 / 600
    assert teacher.evaluate(model, images[:1], wrong[:1]) == 0
    sizes = []
    model.function = lambda x: sizes.append(len(x)) or x
    teacher.evaluate(model, images, labels)
    assert max(sizes) <= 256


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros((2, 8, 8, 1)), [0, 1], r"images of shape \(2, 8, 8, 1\) do not suit"),
        (np.zeros(SHAPE), [0, 1], r"images of shape \(4, 4, 1\) do not suit"),
        (np.zeros((0, *SHAPE)), [], "no images.*: give one or more"),
        (np.zeros((2, *SHAPE)), [0], r"labels of shape \(1,\) do not suit 2 images"),
        (np.zeros((2, *SHAPE)), [[0], [1]], r"labels of shape \(2, 1\)"),
        (
            np.zeros((2, *SHAPE)),
            [0, K],
            f"label {K} is none of the teacher's {K} classes",
        ),
        (
            np.zeros((2, *SHAPE)),
            [0, -1],
            "label -1 is none.*give label ids from 0 to 2",
        ),
        (np.zeros((2, *SHAPE)), [0.0, 1.0], "type float64 are no label ids"),
    ],
)
def test_evaluation_refuses_what_does_not_suit(teacher, images, labels, message):
    with pytest.raises(ValueError, match=message) as caught:
        teacher.evaluate(sequential(), images, labels)
    assert "\n" not in str(caught.value)


def test_evaluation_refuses_models_that_do_not_match(teacher):
    images = np.zeros((2, *SHAPE))
    with pytest.raises(ValueError, match=r"has outputs of shape \(7, 10\)"):
        teacher.evaluate(model_for(SHAPE, 10), images, [0, 1])


def weights_of(model):
    return np.concatenate([np.ravel(value) for value in model.get_weights()])


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"teacher": "gtn"}])
@pytest.mark.parametrize("eager", [False, True])
def test_fit_follows_the_learned_rates_as_teaching_does(tmp_path, options, eager):
    export_case(tmp_path, **options)
    teacher = gtn_tf.load_teacher(tmp_path)
    for name, values in teacher.hyperparameters.items():
        values *= np.linspace(0.5, 1, T) if name != "learning_rate" else [3, 1, 2, 1]
    keras.utils.set_random_seed(0)
    models = [sequential(), sequential()]
    for model in models:
        model(teacher.batch(0)[0])
    models[1].set_weights(models[0].get_weights())
    start = weights_of(models[0])
    taught = weights_of(teacher.teach(models[0], rate_scale=1.0))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    models[1].compile("sgd", loss, run_eagerly=eager)
    own = models[1].optimizer
    recorder = Recorder()
    arguments = teacher.fit_arguments()
    arguments["callbacks"].append(recorder)
    models[1].fit(**arguments, verbose=0)
    assert len(recorder.losses) == T
    assert np.abs(taught - start).max() > 0.1
    np.testing.assert_allclose(weights_of(models[1]), taught, rtol=1e-3, atol=1e-5)
    assert models[1].optimizer is own and np.isclose(own.learning_rate, 0.01)
    before = weights_of(models[1])
    x, targets = teacher.batch(0)
    with tf.GradientTape() as tape:
        value = loss(targets, models[1](x))
    gradients = tape.gradient(value, [v.value for v in models[1].trainable_variables])
    models[1].fit(x, targets, batch_size=B, verbose=0)
    flat = np.concatenate([np.ravel(g) for g in gradients])
    np.testing.assert_allclose(weights_of(models[1]), before - 0.01 * flat, atol=1e-5)


def test_fit_uses_the_order_of_its_seed(tmp_path):
    export_case(tmp_path, curriculum="shuffled_batch")
    teacher = gtn_tf.load_teacher(tmp_path)
    for seed in range(4):
        shown = [x for x, _ in teacher.fit_arguments(seed)["x"]]
        for x, (expected, _) in zip(shown, teacher.batches(seed), strict=True):
            np.testing.assert_array_equal(x, expected)


def test_fit_leaves_statistics_of_the_batches(teacher):
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = keras.Sequential(
        [keras.Input(SHAPE), norm, keras.layers.Flatten(), keras.layers.Dense(K)]
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    means = []

    def remember(*_):
        means.append(np.array(norm.moving_mean))

    arguments = teacher.fit_arguments()
    arguments["callbacks"].append(
        keras.callbacks.LambdaCallback(on_epoch_end=remember, on_test_begin=remember)
    )
    model.fit(**arguments, validation_data=teacher.dataset(), verbose=0)
    shown = np.stack([x for x, _ in teacher.batches()])
    expected = shown.mean((1, 2, 3)).mean(0)
    for mean in means:
        np.testing.assert_allclose(mean, expected, atol=1e-5)
    np.testing.assert_allclose(norm.moving_mean, expected, atol=1e-5)
    assert norm.momentum == 0.9


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 3}])
def test_fit_follows_the_rates_however_it_is_compiled(teacher, options):
    models = [sequential(), sequential()]
    for model in models:
        model(teacher.batch(0)[0])
    models[1].set_weights(models[0].get_weights())
    taught = weights_of(teacher.teach(models[0], rate_scale=1.0))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    models[1].compile("sgd", loss, **options)
    models[1].fit(**teacher.fit_arguments(), verbose=0)
    np.testing.assert_allclose(weights_of(models[1]), taught, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_a_model_saved_within_fit_loads_again(teacher, tmp_path):
    path = str(tmp_path / "model.keras")
    model = sequential()
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    arguments = teacher.fit_arguments()
    arguments["callbacks"].append(keras.callbacks.ModelCheckpoint(path))
    model.fit(**arguments, verbose=0)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(weights_of(loaded), weights_of(model))
    x = teacher.batch(0)[0]
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-5, atol=1e-6)


def test_fit_scales_the_loss_of_half_precision(teacher):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, other = sequential(), sequential()
    finally:
        keras.config.set_dtype_policy(policy)
    model(teacher.batch(0)[0])
    other(teacher.batch(0)[0])
    other.set_weights(model.get_weights())
    start = weights_of(model)
    taught = weights_of(teacher.teach(model, rate_scale=1.0))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    other.compile("sgd", loss)
    assert isinstance(other.optimizer, keras.optimizers.LossScaleOptimizer)
    other.fit(**teacher.fit_arguments(), verbose=0)
    assert np.abs(taught - start).max() > 0.1
    np.testing.assert_allclose(weights_of(other), taught, atol=0.02)


def too_fast(teacher, patch, factor):
    """One batch at every step, with rates of 0.1 times the factor."""
    rates = {"learning_rate": np.full(T, 0.1 * factor), "momentum": np.zeros(T)}
    patch.setattr(teacher, "hyperparameters", rates)
    patch.setattr(teacher, "_kept", {0: [teacher.batch(0)] * T})


def fresh_copies(teacher, build, number):
    """Models with equal variables."""
    keras.utils.set_random_seed(0)
    models = [build() for _ in range(number)]
    for model in models:
        model(teacher.batch(0)[0])
        for variable, value in zip(model.variables, models[0].variables, strict=True):
            variable.assign(value)
    return models


def test_rates_that_are_too_large_are_scaled_down(teacher, monkeypatch):
    too_fast(teacher, monkeypatch, 40)
    x, targets = teacher.batch(0)
    chosen, unscaled, right = fresh_copies(teacher, sequential, 3)

    def loss(model):
        logits = model(x)
        return float(inner_losses.cross_entropy(targets, logits))

    scale = teacher.choose_rate_scale(chosen)
    assert scale <= 1 / 4
    teacher.teach(chosen)
    teacher.teach(unscaled, rate_scale=1.0)
    assert loss(chosen) < 0.7 * loss(unscaled)
    too_fast(teacher, monkeypatch, 40 * scale)
    teacher.teach(right, rate_scale=1.0)
    np.testing.assert_allclose(weights_of(chosen), weights_of(right), rtol=1e-4)


def test_rates_that_are_too_small_are_scaled_up(teacher, monkeypatch):
    too_fast(teacher, monkeypatch, 1 / 100)
    (model,) = fresh_copies(teacher, sequential, 1)
    assert teacher.choose_rate_scale(model) == 8


@pytest.mark.parametrize("factor", [1, 40])
@pytest.mark.parametrize("build", [sequential, functional])
def test_teaching_begins_where_its_trials_began(teacher, monkeypatch, build, factor):
    """Bit for bit: weights, statistics of batch norm, seeds of dropout."""
    too_fast(teacher, monkeypatch, factor)
    one, other = fresh_copies(teacher, build, 2)
    start = weights_of(one)
    teacher.teach(one)
    teacher.teach(other, rate_scale=teacher.choose_rate_scale(other))
    for value, expected in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert np.abs(weights_of(one) - start).max() > 0.01


def test_choosing_a_scale_leaves_the_model_as_it_was(teacher):
    (model,) = fresh_copies(teacher, norms_behind_layers, 1)
    model.compile("adam", "categorical_crossentropy")
    optimizer = model.optimizer
    before = [np.array(variable) for variable in model.variables]
    momenta = [layer.momentum for layer in model.layers if hasattr(layer, "momentum")]
    assert any("seed" in variable.path for variable in model.variables)
    assert teacher.choose_rate_scale(model) > 0
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, variable.path)
    assert momenta == [
        layer.momentum for layer in model.layers if hasattr(layer, "momentum")
    ]
    assert model.optimizer is optimizer


def test_a_scale_is_chosen_for_models_that_can_be_taught(teacher):
    with pytest.raises(ValueError, match=r"has outputs of shape \(7, 10\)"):
        teacher.choose_rate_scale(model_for(SHAPE, 10))


def normed():
    """Weights of three kinds: kernels, gains and biases."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3),
            keras.layers.LayerNormalization(),
            keras.layers.LeakyReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(K),
        ]
    )


@pytest.mark.parametrize("rule", ["sgd", "adam", "muon"])
def test_fit_scales_rates_as_teaching_does(tmp_path, rule):
    export_case(tmp_path, optimizer=rule)
    teacher = gtn_tf.load_teacher(tmp_path)
    one, other, unscaled = fresh_copies(teacher, normed, 3)
    taught = weights_of(teacher.teach(one, rate_scale=0.5))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    other.compile("sgd", loss)
    other.fit(**teacher.fit_arguments(rate_scale=0.5), verbose=0)
    np.testing.assert_allclose(weights_of(other), taught, rtol=1e-3, atol=1e-5)
    more = weights_of(teacher.teach(unscaled, rate_scale=1.0))
    assert np.abs(more - taught).max() > 0.01


@pytest.fixture
def ready(exported, tmp_path, monkeypatch):
    """A package that comes with one teacher, seen from an empty folder."""
    shutil.copytree(exported[0] / "teacher", tmp_path / "ready" / "small" / "teacher")
    card = tmp_path / "ready" / "small" / "card.md"
    card.write_text("# Small\n\ngr\u00f6\u00dfer\n", encoding="utf-8")
    (tmp_path / "ready" / "half-written").mkdir()
    monkeypatch.setattr(ready_teachers, "FOLDER", tmp_path / "ready")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_a_teacher_that_comes_with_the_package_loads_by_its_name(ready, teacher):
    assert ready_teachers.names() == ["small"]
    loaded = gtn_tf.load_teacher("small")
    assert loaded.description == teacher.description
    assert loaded.card == "# Small\n\ngr\u00f6\u00dfer\n"
    assert teacher.card == ""


def test_folders_go_before_names(ready, tmp_path):
    export_case(ready / "small")
    assert "images" not in gtn_tf.load_teacher("small")._signatures  # distillation
    assert gtn_tf.load_teacher("small").card == ""


@pytest.mark.parametrize("name", ["other", "half-written", "ready/small"])
def test_unknown_names_are_told_what_is_ready(ready, monkeypatch, name):
    with pytest.raises(ValueError, match=rf"{name} is no folder: give.*\(small\)$"):
        gtn_tf.load_teacher(name)
    monkeypatch.setattr(ready_teachers, "FOLDER", ready / "nowhere")
    with pytest.raises(ValueError, match="none is installed"):
        gtn_tf.load_teacher("small")


def test_images_that_do_not_match_are_refused(teacher, tmp_path):
    with pytest.raises(ValueError, match=r"\(2, 4, 4\) do not suit.*\(N, 4, 4, 1\)"):
        teacher.preprocess(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match=r"latents of shape \(2, 5\).*\(N, 4\)"):
        teacher.images(np.zeros((2, 5)), [0, 1])
    with pytest.raises(ValueError, match=r"labels of shape \(3,\)"):
        teacher.images(np.zeros((2, Z)), [0, 1, 2])
    export_case(tmp_path)
    with pytest.raises(ValueError, match="no generator.*use batch"):
        gtn_tf.load_teacher(tmp_path).images(np.zeros((2, Z)), [0, 1])


def damaged(folder, source):
    shutil.copytree(source, folder / "run")
    path = folder / "run" / "teacher" / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:100])
    return folder / "run"


def without_variables(folder, source):
    shutil.copytree(source, folder / "run")
    shutil.rmtree(folder / "run" / "teacher" / "variables")
    return folder / "run"


def no_teacher(folder, _):
    module = tf.Module()
    module.f = tf.function(lambda: tf.constant(1), input_signature=[])
    tf.saved_model.save(module, str(folder / "other"))
    return folder / "other"


def real_data(folder, _):
    export_case(folder, teacher="real")
    return folder


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder, _: folder / "nowhere", "is no folder: give"),
        (lambda folder, _: folder, "cannot be loaded as a SavedModel"),
        (damaged, "cannot be loaded as a SavedModel"),
        (without_variables, "cannot be loaded as a SavedModel"),
        (no_teacher, "is no teacher that can be used"),
        (real_data, r"signatures batch are missing.*--teacher=gtn"),
    ],
)
def test_what_is_no_teacher_is_refused(tmp_path, exported, make, message):
    path = make(tmp_path, exported[0])
    with pytest.raises(ValueError, match=message):
        gtn_tf.load_teacher(path)
