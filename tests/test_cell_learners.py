"""Cells as learners, and the plugins by which they come."""

import dataclasses
import importlib

import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.evaluation import unseen_architectures
from gtn_tf.networks import layers, learners
from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.initial_weights import initialize
from gtn_tf.runs import run_setup
from gtn_tf.runs.config import TrainingConfig
from nas.spaces.base import Size
from nas.spaces.operations import FusedBatchNorm, Style
from nas.spaces.registry import SPACES

EPSILON = 1e-6
SEED = tf.constant(problems.SEED)
PLUGIN = "nas.spaces.learners"
DIGITS = dict(image_shape=(8, 8, 1), num_classes=10)
SPACE_NAMES = ("nao", "nasbench201", "darts")


@pytest.fixture(autouse=True)
def cells(monkeypatch):
    """The families are there, and gone for the other tests of the process."""
    module = importlib.import_module(PLUGIN)
    for name in module.CELLS:
        FAMILIES.pop(name, None)
        monkeypatch.setitem(FAMILIES, name, module.CELLS[name])


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_a_number_is_the_cell_that_the_space_draws(name):
    (spec,) = learners.parse(f"{name}:4-1-17", 1, 0, **DIGITS)
    model = learners.build_model(spec)
    space = SPACES[name]()
    size = Size(num_cells=1, num_filters=4, **DIGITS)
    cell = space.sample(0, 17)
    expected = space.build(cell, size, Style(weight_norm=True))
    assert model.count_params() == expected.count_params()
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)
    same = [initialize(each, 3)(x, training=True) for each in (model, expected)]
    np.testing.assert_array_equal(*same)
    assert cell != space.sample(0, 18)


def test_any_stands_for_no_cells():
    specs = learners.parse("any", 64, 0, **DIGITS)
    assert not {spec.family for spec in specs} & set(SPACE_NAMES)
    drawn = learners.parse("darts", 3, 0, ("residual",), ("activation",), **DIGITS)
    assert len({spec.widths for spec in drawn}) == 3
    assert {spec.activation for spec in drawn} == {"relu"}


@pytest.mark.parametrize("number", [4, 5])
def test_meta_gradient_through_a_cell(number):
    """Beside central differences along one direction, in float64."""
    case = problems.build_case(learner=f"nasbench201:2-1-{number}", num_steps=2)
    _, _, gradients = problems.compute(case)
    loss = problems.loss_function(case)
    for variable, gradient in zip(case.problem.variables, gradients, strict=True):
        direction = np.random.default_rng(7).normal(size=variable.shape)
        center, values = variable.numpy(), []
        for sign in (1, -1):
            variable.assign(center + sign * EPSILON * direction)
            values.append(loss(SEED, case.outer_batches).numpy())
        variable.assign(center)
        slope = np.sum(gradient * direction)
        assert abs(slope) > 1e-6, variable.name
        rise = (values[0] - values[1]) / (2 * EPSILON)
        assert slope == pytest.approx(rise, rel=1e-4), variable.name


def test_batch_norm_has_the_second_derivative():
    """That of `layers.BatchNorm`, for all that it depends on; float32 is one operation,
    with its own gradients or with ours, float64 several."""
    random = np.random.default_rng(0)
    x, gamma, beta = (random.normal(size=size) for size in ((5, 3, 3, 2), 2, 2))

    def second(layer):
        layer.build(x.shape)
        inputs = tf.constant(x, layer.dtype)
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
        sources = [inputs, layer.gamma.value, layer.beta.value]
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                value = tf.reduce_sum(layer(inputs, training=True) ** 3)
            first = inner.gradient(value, sources)
            total = sum(tf.reduce_sum(tf.sin(gradient)) for gradient in first)
        return outer.gradient(total, sources)

    expected = second(layers.BatchNorm(dtype="float64"))
    for dtype, ours, error in (
        ("float64", False, 1e-12),
        ("float32", False, 1e-3),
        ("float32", True, 1e-3),
    ):
        layer = FusedBatchNorm(ours, momentum=0.0, epsilon=1e-5, dtype=dtype)
        for own, other in zip(second(layer), expected, strict=True):
            np.testing.assert_allclose(own, other, rtol=error, atol=error)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_go_through_batch_norms_statistics(dtype):
    """The meta-loss is of a network with the statistics of the last inner step."""
    x = np.random.default_rng(0).normal(3, 2, (5, 3, 3, 2))
    layer = FusedBatchNorm(True, momentum=0.0, epsilon=1e-5, dtype=dtype)
    layer.build(x.shape)
    inputs = tf.constant(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        states = [v.value for v in layer.trainable_variables]
        kept = [v.value for v in layer.non_trainable_variables]
        _, after = layer.stateless_call(states, kept, inputs, training=True)
        total = sum(tf.reduce_sum(tf.sin(value)) for value in after)
    gradient = tape.gradient(total, inputs)
    count = x.size // 2
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    expected = (np.cos(mean) + 2 * np.cos(variance) * (x - mean)) / count
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_all_that_a_turn_of_the_loop_keeps_is_counted():
    """Lists are made before the loop; on its way back nothing is put into them."""
    case = problems.build_case(
        learner="nasbench201:2-1-4", num_steps=2, precision="float32"
    )
    function = problems.gradient_function(case, problems.KEPT)
    function = tf.function(function, autograph=False)
    program = function.get_concrete_function(SEED, case.outer_batches)
    graph = program.graph.as_graph_def()
    ops = [node.op for node in graph.node]
    ops += [node.op for each in graph.library.function for node in each.node_def]
    assert ops.count("FusedBatchNormV3") > 0
    assert ops.count("TensorListPushBack") == ops.count("EmptyTensorList") > 0


def test_no_half_of_a_cell_is_held_out():
    specs = learners.parse("darts:8-1-17", 1, 0, **DIGITS)
    found = unseen_architectures.specs(specs)
    assert found and "darts" not in {spec.family for spec in found.values()}


def test_a_run_with_a_plugin_is_set_up_and_read_again():
    config = dataclasses.replace(
        problems.SMALL_RUN, plugins=PLUGIN, learner="nasbench201:2-1-4"
    )
    setup = run_setup.prepare(config)
    assert [str(spec) for spec in setup.specs] == ["nasbench201:2-1-4"]
    assert setup.memory_plan.policy.recompute is False
    assert TrainingConfig(**TrainingConfig.values_of(config.as_flagfile())) == config


def test_precisions_that_cells_do_not_have():
    (spec,) = learners.parse("darts:4-1-17", 1, 0, **DIGITS, precision="bfloat16")
    with pytest.raises(UserError, match="precision=bfloat16 .* give float32"):
        learners.build_model(spec)


def test_a_plugin_of_the_working_directory_adds_a_family(tmp_path, monkeypatch):
    (tmp_path / "my_kinds.py").write_text(
        "from gtn_tf.networks.families import FAMILIES\n"
        "FAMILIES['mine'] = FAMILIES['digits']\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(FAMILIES, "mine", None)  # and gone afterwards
    config = TrainingConfig(plugins="my_kinds", learner="mine:4-4-4", leave_out="mine")
    assert FAMILIES["mine"] is FAMILIES["digits"]
    assert config.plugins == "my_kinds"


@pytest.mark.parametrize("text", ["there_is_none", "broken_kinds"])
def test_plugins_that_cannot_be_imported(text, tmp_path, monkeypatch):
    (tmp_path / "broken_kinds.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=f"--plugins={text}: .*cannot be imported"):
        TrainingConfig(plugins=text)
