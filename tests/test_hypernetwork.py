"""Hypernetworks: what they make, how they are trained, and who begins with it."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.networks.initial_weights import initialize
from gtn_tf.teaching.lessons import OpenLessons
from nas.evaluations import few_steps, hypernetwork, shared_weights
from nas.evaluations.base import Context, Procedure
from nas.evaluations.hypernetwork import Hypernetwork, Pupil
from nas.search import context as search_context
from nas.search.config import SearchConfig
from nas.spaces.nasbench201 import decode
from nas.spaces.registry import SPACES

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 3))
TARGETS = np.eye(2)[[0, 1, 1, 0, 1, 0]]


def squared_error(targets, outputs):
    return tf.reduce_mean(tf.square(targets - outputs))


def pupil(activation, seed=0, num_steps=40):
    """A perceptron in double precision, whose first layer's place is its own."""
    images = keras.Input((3,), dtype="float64")
    with keras.name_scope(activation):
        features = keras.layers.Dense(4, activation, dtype="float64")(images)
    outputs = keras.layers.Dense(2, dtype="float64")(features)
    lessons = OpenLessons([(IMAGES[i % 2], TARGETS) for i in range(num_steps)])
    model = initialize(keras.Model(images, outputs), seed)
    encoding = np.array([activation == "tanh", activation == "sigmoid", True])
    trainer = types.SimpleNamespace(lessons=lessons, loss=squared_error)
    return Pupil(model, encoding.astype(np.float32), trainer)


@pytest.fixture
def pupils():
    return [pupil("tanh"), pupil("sigmoid", 1)]


def moved_at_random(pupils):
    """A hypernetwork all of whose directions count."""
    made, generator = Hypernetwork(pupils, 0), np.random.default_rng(1)
    for variable in made.directions.values():
        variable.assign_add(0.3 * generator.normal(size=variable.shape))
    return made


def test_gradients_are_finite_differences(pupils):
    made = moved_at_random(pupils)
    _, _, pairs = hypernetwork.gradient(made, pupils[0], IMAGES[0], TARGETS)
    assert len(pairs) == 5  # A, and W at two kernels and two biases
    assert pairs[0][1] is made.mixing
    assert np.abs(pairs[0][0]).max() > 1e-3

    def loss():
        return float(hypernetwork.gradient(made, pupils[0], IMAGES[0], TARGETS)[0])

    generator = np.random.default_rng(2)
    for gradient, variable in pairs:
        before = variable.numpy()
        for _ in range(4):
            place = tuple(generator.integers(before.shape))
            both = []
            for step in (1e-3, -1e-3):
                moved = before.copy()
                moved[place] += step
                variable.assign(moved)
                both.append(loss())
            difference = (both[0] - both[1]) / 2e-3
            assert float(gradient[place]) == pytest.approx(
                difference, rel=1e-3, abs=1e-6
            )
        variable.assign(before)


def test_before_training_all_begin_with_the_first_fresh_weights(pupils):
    made = Hypernetwork(pupils, 0)
    assert len(made.directions) == 6  # two places are shared, two each are not
    others = dict(shared_weights.places(pupils[1].model))
    weights = made.weights(pupils[1].encoding)
    for place, variable in shared_weights.places(pupils[0].model):
        np.testing.assert_array_equal(weights[place], variable.numpy())
        others.pop(place, None)
    assert len(others) == 2
    for place, variable in others.items():
        np.testing.assert_array_equal(weights[place], variable.numpy())


def test_made_weights_are_the_equation(pupils):
    made = moved_at_random(pupils)
    encoding = pupils[1].encoding
    coefficients = np.tanh(made.mixing.numpy() @ encoding)
    assert len(set(coefficients)) == hypernetwork.NUM_DIRECTIONS
    for place, value in made.weights(encoding).items():
        first, *others = made.directions[place].numpy()
        expected = first + sum(c * w for c, w in zip(coefficients, others, strict=True))
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6)


def test_training_lowers_the_loss_and_tells_architectures_apart(pupils):
    made = Hypernetwork(pupils, 0)
    own = [[v.numpy() for v in each.model.trainable_variables] for each in pupils]
    mixing = made.mixing.numpy()
    losses = hypernetwork.train(made, pupils, 40, learning_rate=0.01)
    assert np.shape(losses) == (40, 2)
    assert (np.mean(losses[-2:], axis=0) < 0.5 * np.mean(losses[:2], axis=0)).all()
    assert not np.allclose(made.mixing, mixing)
    one, other = (made.weights(each.encoding) for each in pupils)
    for place, value in one.items():
        assert not np.allclose(value, other[place], rtol=1e-3)
    for each, before in zip(pupils, own, strict=True):
        for variable, value in zip(each.model.trainable_variables, before, strict=True):
            np.testing.assert_array_equal(variable, value)


def test_what_a_network_has_not_got_stays(pupils):
    made = Hypernetwork(pupils, 0)
    before = {place: value.numpy() for place, value in made.directions.items()}
    hypernetwork.train(made, pupils[:1], 2)
    its = {place for place, _ in shared_weights.places(pupils[0].model)}
    for place, value in made.directions.items():
        assert np.array_equal(value, before[place]) == (place not in its)


def test_a_seed_makes_the_same_again():
    def trained(seed):
        pupils = [pupil("tanh"), pupil("sigmoid", 1)]
        made = Hypernetwork(pupils, seed)
        hypernetwork.train(made, pupils, 3)
        return made.weights(pupils[0].encoding)

    one, again, other = trained(0), trained(0), trained(1)
    for place, value in one.items():
        np.testing.assert_array_equal(value, again[place])
    assert any(not np.array_equal(one[place], other[place]) for place in one)


def test_closed_lessons_hear_of_the_pupil_itself(pupils):
    heard = []

    class Lessons:
        def batch(self, step, feedback):
            heard.append(feedback)
            return IMAGES[step], TARGETS

        def feedback(self, targets, outputs):
            return float(outputs[0, 0])

    told = [
        each._replace(
            trainer=types.SimpleNamespace(lessons=Lessons(), loss=squared_error)
        )
        for each in pupils
    ]
    first = [float(each.model(IMAGES[0])[0, 0]) for each in pupils]
    # The second layer of the second begins as that of the first: only one is equal.
    hypernetwork.train(Hypernetwork(told, 0), told, 2)
    assert heard[:2] == [None, None]
    assert heard[2] == pytest.approx(first[0])
    assert heard[3] != heard[2]


@pytest.mark.parametrize(
    "name, length, ones", [("nasbench201", 30, 6), ("darts", 0, 24)]
)
def test_encodings_are_the_values_of_any_space(name, length, ones):
    space = SPACES[name]()
    drawn = {space.sample(0, index) for index in range(6)}
    encodings = [hypernetwork.encode(space, each) for each in drawn]
    assert len(drawn) == len({each.tobytes() for each in encodings}) == 6
    for encoding in encodings:
        assert set(encoding) == {0, 1} and encoding.sum() == ones
        assert len(encoding) == (length or len(encodings[0]))


def test_an_encoding_says_which_operation_is_where():
    encoding = hypernetwork.encode(
        SPACES["nasbench201"](), decode("(2, 1, 0, 4, 3, 3)")
    )
    np.testing.assert_array_equal(encoding.reshape(6, 5).argmax(1), [2, 1, 0, 4, 3, 3])


class Teacher:
    """Two batches for images of 8 x 8."""

    num_inner_steps = 2

    def trainer(self, model, seed):
        generator = np.random.default_rng(0)
        images = generator.normal(size=(2, 4, 8, 8, 1)).astype(np.float32)
        targets = np.eye(10, dtype=np.float32)[:4]
        return types.SimpleNamespace(
            lessons=OpenLessons([(x, targets) for x in images]), loss=squared_error
        )


@pytest.fixture
def shared():
    """(changes) -> the context of a search with the hypernetwork of two architectures,
    and its configuration."""
    config = SearchConfig(
        space="nasbench201",
        num_shared=2,
        shared="hypernetwork",
        num_cells=1,
        num_filters=3,
        teacher="given",
    )

    def make(**changes):
        data = types.SimpleNamespace(image_shape=(8, 8, 1), num_classes=10)
        data.validation = types.SimpleNamespace(images=[], labels=[])
        context = Context(
            dataset=data,
            teacher=Teacher(),
            procedure=Procedure(),
            num_steps=2,
            early_epochs=1,
            num_validation_images=1,
        )
        own = dataclasses.replace(config, **changes)
        return search_context.with_shared_weights(context, own), own

    return make


def test_judged_networks_begin_with_what_is_made_for_them(shared, monkeypatch):
    context, config = shared()
    space, begun = config.search_space(), []
    monkeypatch.setattr(few_steps, "accuracy_measure", lambda *_: lambda: 0.5)

    def trainer(model, seed):
        def train(goes_on):
            begun.append(
                {place: v.numpy() for place, v in shared_weights.places(model)}
            )

        return types.SimpleNamespace(train=train)

    context.teacher.trainer = trainer
    # Two that were drawn, whose places are known, and the first again.
    drawn = [space.sample(0, 10**6 + index) for index in (0, 1, 0)]
    for architecture in drawn:
        own = search_context.of_architecture(context, space, architecture)

        def build(architecture=architecture, **options):
            size = config.size(context.dataset)
            return space.build(architecture, size, **options)

        few_steps.teacher(own, build, 7)
        made = context.hypernetwork.weights(hypernetwork.encode(space, architecture))
        for place, value in begun[-1].items():
            np.testing.assert_array_equal(value, made[place])
    common = begun[0].keys() & begun[1].keys()
    kernels = [place for place in common if place[0].endswith("kernel")]
    assert len(kernels) > 3
    for place in kernels:
        assert not np.array_equal(begun[0][place], begun[1][place])
    for place, value in begun[0].items():
        np.testing.assert_array_equal(value, begun[2][place])


def test_it_comes_from_the_seed_of_the_evaluation_alone(shared):
    found = [
        shared(num_shared=1, **changes)[0].hypernetwork
        for changes in ({}, {"seed": 5}, {"evaluation_seed": 1})
    ]
    encoding = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0]].ravel()
    one, again, other = (made.weights(encoding) for made in found)
    assert one.keys() == again.keys()
    for place, value in one.items():
        # A gain before batch norm has no gradient but by rounding, which Adam's steps
        # make larger, and TensorFlow rounds otherwise the second time in a process.
        np.testing.assert_allclose(value, again[place], atol=1e-3)
    stem = next(place for place in one if "/" not in place[0].rpartition("/")[0])
    assert np.abs(one[stem] - other[stem]).max() > 0.05


def test_plain_weights_are_the_same_for_all():
    context = types.SimpleNamespace(hypernetwork=None)
    space = SPACES["nasbench201"]()
    architecture = space.sample(0, 0)
    assert search_context.of_architecture(context, space, architecture) is context


def test_without_architectures_it_is_refused():
    with pytest.raises(ValueError, match="--shared=hypernetwork has no architectures"):
        SearchConfig(space="nasbench201", shared="hypernetwork")
