"""Shared weights: whose weights a network begins with, and where they stay as drawn."""

import dataclasses
import types

import keras
import numpy as np
import pytest

from gtn_tf.data.dataset import Split
from gtn_tf.networks.initial_weights import initialize
from nas.evaluations import few_steps, shared_weights
from nas.evaluations.base import Context, Procedure
from nas.search import context as search_context
from nas.search.config import SearchConfig
from nas.spaces.base import Size
from nas.spaces.nasbench201 import decode
from nas.spaces.nasbench201_space import build_network
from nas.spaces.operations import Style

SMALL = Size(num_cells=1, num_filters=3, image_shape=(8, 8, 2), num_classes=4)
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


def network(text, seed):
    return initialize(build_network(decode(text), SMALL, Style(weight_norm=True)), seed)


def kernels(model, scope):
    return {
        variable.path.split("/")[-3]: variable.numpy()
        for variable in model.trainable_variables
        if f"/{scope}" in f"/{variable.path}" and variable.name == "kernel"
    }


def taught(seen):
    def teach(model):
        seen.append([variable.numpy() for variable in model.trainable_variables])
        for variable in model.trainable_variables:
            variable.assign_add(np.full(variable.shape, 1.0, np.float32))

    return teach


def test_equal_operations_at_equal_places_go_on_with_what_they_have():
    seen = []
    first, second = network("(2, 1, 3, 1, 1, 0)", 0), network("(2, 3, 0, 1, 2, 3)", 1)
    drawn = kernels(second, "cell_0_0")
    weights = shared_weights.train([first, second], taught(seen))
    now = kernels(second, "cell_0_0")
    np.testing.assert_array_equal(
        now["edge_0_1_nor_conv_3x3"],
        kernels(first, "cell_0_0")["edge_0_1_nor_conv_3x3"] + 1,
    )
    # Edge (0, 2) is new; a 1x1 convolution that (0, 3) had is no start for it.
    np.testing.assert_array_equal(
        now["edge_0_2_nor_conv_1x1"], drawn["edge_0_2_nor_conv_1x1"] + 1
    )
    third = network("(2, 1, 3, 1, 1, 3)", 2)
    given = shared_weights.give(weights, third)
    assert given == len(third.trainable_variables)  # each place was in one of the two
    for scope, source in (("cell_1_0/edge_0_3", first), ("cell_2_0/edge_2_3", second)):
        one, other = kernels(third, scope), kernels(source, scope)
        assert one.keys() == other.keys() and len(one) == 1
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_same_architecture_is_the_same_network():
    first, second = network("(2, 2, 3, 3, 2, 2)", 0), network("(2, 2, 3, 3, 2, 2)", 1)
    keras.layers.Dense(1)(keras.Input((2,)))  # Keras' numbers go on
    weights = shared_weights.train([first], lambda model: None)
    assert shared_weights.give(weights, second) == len(second.trainable_variables)
    np.testing.assert_array_equal(first(IMAGES), second(IMAGES))


def test_other_sizes_and_other_operations_keep_their_own():
    weights = shared_weights.train([network("(2, 2, 2, 2, 2, 2)", 0)], lambda m: None)
    model = network("(3, 3, 3, 3, 3, 3)", 1)
    before = kernels(model, "cell_1_0")
    shared_weights.give(weights, model)
    after = kernels(model, "cell_1_0")
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


class Teacher:
    """Teaches by adding one to every weight, and says which it was given."""

    num_inner_steps = 2

    def __init__(self):
        self.begun = []

    def trainer(self, model, seed):
        def train(goes_on):
            taught(self.begun)(model)
            assert goes_on([1.0]) and not goes_on([1.0, 1.0])

        return types.SimpleNamespace(train=train)


@pytest.fixture
def shared():
    """() -> the context of a search of two shared architectures."""
    config = SearchConfig(
        space="nasbench201", num_shared=2, num_cells=1, num_filters=3, teacher="given"
    )

    def make(**changes):
        data = types.SimpleNamespace(image_shape=(8, 8, 1), num_classes=10)
        data.validation = Split(np.zeros([1, 8, 8, 1]), np.zeros([1], np.int32))
        context = Context(
            dataset=data,
            teacher=Teacher(),
            procedure=Procedure(),
            num_steps=2,
            early_epochs=1,
            num_validation_images=1,
        )
        own = dataclasses.replace(config, **changes)
        return search_context.with_shared_weights(context, own)

    return make


def test_shared_weights_come_from_the_seed_of_the_evaluation_alone(shared):
    one, again, other = (
        shared().shared_weights,
        shared(seed=5).shared_weights,
        shared(evaluation_seed=1).shared_weights,
    )
    assert one.keys() == again.keys()
    for place in one:
        np.testing.assert_array_equal(one[place], again[place])
    stem = next(place for place in one if "/" not in place[0].rpartition("/")[0])
    assert not np.array_equal(one[stem], other[stem])


def test_what_the_teacher_judges_begins_with_shared_weights(shared, monkeypatch):
    context = shared()
    first, second = context.teacher.begun
    # The stem of the second was that of the first, one step on.
    np.testing.assert_array_equal(second[0], first[0] + 1)
    begun = []
    monkeypatch.setattr(few_steps, "accuracy_measure", lambda *_: lambda: 0.5)

    def trainer(model, seed):
        return types.SimpleNamespace(train=lambda goes_on: taught(begun)(model))

    context.teacher.trainer = trainer
    size = dataclasses.replace(SMALL, image_shape=(8, 8, 1), num_classes=10)

    def build(**options):
        return build_network(decode("(0, 0, 0, 0, 0, 0)"), size, **options)

    both = dataclasses.replace(context, num_networks=2)
    assert few_steps.teacher(both, build, 0).score == 0.5
    for weights in begun:
        np.testing.assert_array_equal(weights[0], second[0] + 1)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"space": "nao"}, "--space=nao does not: leave it out, or give --space=nasb"),
        ({"evaluation": "naswot"}, "--evaluation=naswot has none: leave it out"),
        (
            {"space": "nao", "hypermodel": "a:b"},
            "num_shared=8 does not go with --hypermodel=a:b",
        ),
    ],
)
def test_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        SearchConfig(**{"space": "nasbench201", "num_shared": 8} | changes)
