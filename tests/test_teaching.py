"""A loaded teacher, and Keras models of every kind taught by it."""

import shutil

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

import gtn_tf
from gtn_tf import export, inner_loop
from gtn_tf.data import Dataset
from gtn_tf.data_files import Split

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
    export.export_teacher(folder / "teacher", case.problem, DATASET, {"flags": flags})
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


def test_preprocess_normalises(teacher):
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
    expected = source.generate(source.weights(), statistics, latents, targets)
    images = teacher.images(latents, labels)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(images, axis=0).max() > 0.01


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
    ],
)
def test_teaching_is_the_inner_loop(tmp_path, options):
    """A learner of the library, taught as a Keras model, equals the unrolled loop."""
    case = export_case(tmp_path, learner="dense", **options)
    problem, learner, _ = case
    state = inner_loop.initial_state(learner, problem.optimizer, tf.constant([1, 2]))
    model = learner.assign(state.params, state.batch_stats)
    before = [np.array(v) for v in model.weights]
    values = problem.hyperparameters.values()
    for step in range(T):
        state = inner_loop.inner_step(
            learner,
            problem.optimizer,
            problem.inner_loss,
            state,
            problem.teacher.batch(step, tf.constant([0, 0])),
            tuple(values[name][step] for name in problem.optimizer.names),
        )
    assert gtn_tf.load_teacher(tmp_path).teach(model) is model
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


def test_batch_norm_keeps_the_last_batch_and_its_own_momentum(teacher):
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = keras.Sequential(
        [keras.Input(SHAPE), norm, keras.layers.Flatten(), keras.layers.Dense(K)]
    )
    teacher.teach(model)
    last = teacher.batch(T - 1)[0].numpy()
    np.testing.assert_allclose(norm.moving_mean, last.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, last.var((0, 1, 2)), rtol=1e-3)
    assert norm.momentum == 0.9


def two_outputs():
    images = keras.Input(SHAPE)
    features = keras.layers.Flatten()(images)
    return keras.Model(images, [keras.layers.Dense(K)(features)] * 2)


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
        (two_outputs, "has outputs of shape"),
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
