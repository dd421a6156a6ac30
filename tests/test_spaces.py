"""Every search space keeps the promises of the interface."""

import graphlib

import keras
import numpy as np
import pytest

from nas.spaces.base import Size
from nas.spaces.operations import Style
from nas.spaces.registry import SPACES
from nas.spaces.regularization import Regularization

SIZE = Size(num_cells=1, num_filters=2, image_shape=(8, 8, 1), num_classes=3)


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]()


def test_a_draw_depends_on_seed_and_index_alone(space):
    drawn = [space.sample(3, index) for index in range(20)]
    assert drawn == [space.sample(3, index) for index in range(20)]
    assert drawn != [space.sample(4, index) for index in range(20)]
    assert len(set(drawn)) > 10


def test_encodings_are_read_again(space):
    for index in range(20):
        architecture = space.sample(0, index)
        text = space.encode(architecture)
        assert "\n" not in text and space.decode(text) == architecture


@pytest.mark.parametrize("text", ["", "?", "{}", "[1]", "1 2 3", "\0", "9" * 400])
def test_other_texts_are_refused(space, text):
    with pytest.raises(ValueError, match="give"):
        space.decode(text)


def test_values_are_those_of_the_hyperparameters(space):
    known = {each.name: list(each.values) for each in space.hyperparameters().space}
    for index in range(20):
        architecture = space.sample(1, index)
        values = space.to_values(architecture)
        assert values.keys() == known.keys()
        assert all(value in known[name] for name, value in values.items())
        assert space.from_values(values) == architecture


def test_any_values_are_an_architecture(space):
    known = space.hyperparameters().space
    for pick in (0, -1):
        values = {each.name: list(each.values)[pick] for each in known}
        assert space.to_values(space.from_values(values)) == values


def test_mutations_change_one_value(space):
    parent = space.sample(2, 0)
    values = space.to_values(parent)
    children = [space.mutate(parent, seed) for seed in range(40)]
    assert children == [space.mutate(parent, seed) for seed in range(40)]
    for child in children:
        changed = space.to_values(child)
        assert sum(changed[name] != values[name] for name in values) <= 1
    assert len(set(children)) > 10


def test_equal_architectures_have_one_key(space):
    for index in range(20):
        architecture = space.sample(5, index)
        canonical = space.canonical(architecture)
        assert space.canonical(canonical) == canonical
        assert space.key(canonical) == space.key(architecture)
    assert len({space.key(space.sample(6, index)) for index in range(20)}) > 10


def test_graphs_show_what_distinguishes_architectures(space):
    parent = space.sample(10, 0)
    shown = space.graphs(parent)
    assert shown and len({graph.name for graph in shown}) == len(shown)
    for graph in shown:
        sorter = graphlib.TopologicalSorter()
        for edge in graph.edges:
            sorter.add(edge.target, edge.source)
        assert list(sorter.static_order())[-1] == "output"  # and there is no cycle
    children = [space.mutate(parent, seed) for seed in range(60)]
    assert len(set(children)) > 10
    for child in children:
        assert (space.graphs(child) == shown) is (child == parent)


@pytest.mark.parametrize(
    "name, text, expected",
    [
        (
            "nao",
            "0 7 1 15 0 5 0 5",
            [
                ("input 0", "node 2", "conv 3x3"),
                ("input 1", "node 2", "avg_pool 5x5"),
                ("node 2", "output", ""),
            ],
        ),
        (
            "nasbench201",
            "(2, 3, 0, 1, 4, 0)",
            [
                ("input", "node 1", "nor_conv_3x3"),
                ("input", "node 2", "nor_conv_1x1"),
                ("input", "output", "skip_connect"),
                ("node 1", "node 2", "none"),
                ("node 1", "output", "avg_pool_3x3"),
                ("node 2", "output", "skip_connect"),
            ],
        ),
        (
            "darts",
            f"[{[(0, 0), (1, 3)] + [(0, 2), (1, 2)] * 3}, {[(0, 2), (1, 2)] * 4}]",
            [
                ("input 0", "node 2", "max_pool_3x3"),
                ("input 1", "node 2", "sep_conv_3x3"),
                *[
                    (f"input {i}", f"node {n}", "skip_connect")
                    for n in (3, 4, 5)
                    for i in (0, 1)
                ],
                *[(f"node {n}", "output", "") for n in (2, 3, 4, 5)],
            ],
        ),
    ],
)
def test_graphs_of_written_cells(name, text, expected):
    space = SPACES[name]()
    assert list(space.graphs(space.decode(text))[0].edges) == expected


def test_networks_give_logits(space):
    for index in range(3):
        model = space.build(space.sample(7, index), SIZE)
        assert isinstance(model, keras.Model)
        logits = model(np.zeros([2, *SIZE.image_shape], np.float32))
        assert logits.shape == (2, SIZE.num_classes)
        wider = Size(num_cells=1, num_filters=6, image_shape=(8, 8, 1), num_classes=3)
        more = space.build(space.sample(7, index), wider).count_params()
        assert more > model.count_params()


def test_networks_are_built_in_each_style(space):
    architecture = space.sample(8, 0)
    counts = {}
    for style in (
        Style(),
        Style(weight_norm=True),
        Style(batch_norm=False),
        Style(batch_norm=False, dtype="float64"),
    ):
        model = space.build(architecture, SIZE, style)
        logits = model(np.ones([2, *SIZE.image_shape], style.dtype), training=True)
        assert logits.dtype == style.dtype and np.isfinite(logits).all()
        assert {weight.dtype for weight in model.trainable_variables} == {style.dtype}
        counts[style] = model.count_params()
    plain, gained, bare, double = counts.values()
    assert bare == double < plain < gained


def test_networks_are_regularized(space):
    size = Size(num_cells=1, num_filters=2, image_shape=(32, 32, 3), num_classes=3)
    model = space.build(space.sample(9, 0), size, regularization=Regularization(seed=1))
    images = np.ones([2, *size.image_shape], np.float32)
    assert [logits.shape for logits in model(images, training=True)] == [(2, 3)] * 2
    assert any(isinstance(layer, keras.layers.Dropout) for layer in model.layers)
