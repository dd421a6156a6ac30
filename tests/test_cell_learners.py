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
    """That of `layers.BatchNorm`; float32 is one operation, float64 several."""
    x = np.random.default_rng(0).normal(size=(5, 3, 3, 2))

    def second(layer):
        inputs = tf.constant(x, layer.dtype)
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                value = tf.reduce_sum(layer(inputs, training=True) ** 3)
            first = inner.gradient(value, inputs)
            total = tf.reduce_sum(tf.sin(first))
        return outer.gradient(total, inputs).numpy()

    expected = second(layers.BatchNorm(dtype="float64"))
    for dtype, error in (("float64", 1e-12), ("float32", 1e-3)):
        layer = FusedBatchNorm(momentum=0.0, epsilon=1e-5, dtype=dtype)
        np.testing.assert_allclose(second(layer), expected, rtol=0, atol=error)


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
