"""The outer step written out in other libraries equals this library's."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.meta import inner_loop, meta_gradients
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.networks import learners
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.plain import comparison
from gtn_tf.plain.registry import LIBRARIES
from gtn_tf.runs import run_setup
from gtn_tf.runs.config import TrainingConfig

# Seven pixels to a side, then four: odd and even ones, where "same" differs.
CONFIG = TrainingConfig(
    image_size="7", num_inner_steps=3, inner_batch_size=10, outer_batch_size=12
)


@pytest.fixture(scope="module")
def case():
    config = comparison.same_step(CONFIG, "4-6-5")
    setup = run_setup.prepare(config)
    return setup, StatelessModel(learners.build_model(setup.specs[0]))


@pytest.fixture(scope="module")
def expected(case):
    """The library's loss and gradient, with those of the learned rates left out."""
    setup, learner = case
    problem = setup.problem
    seeds = tf.unstack(tf.random.split(tf.constant([3, 5]), 3), num=3)
    loss, _, gradients = meta_gradients.meta_gradient(
        problem,
        learner,
        inner_loop.initial_state(learner, problem.optimizer, seeds[1]),
        seeds[2],
        problem.objective.sample(1, seeds[0]),
        MemoryPolicy(recompute=False),
    )
    return loss, gradients[0]


@pytest.mark.parametrize("name", LIBRARIES)
def test_one_step_in_every_library(name, case, expected):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    inputs = comparison.draw(*case, tf.constant([3, 5]))
    loss, gradient = LIBRARIES[name]()(inputs)
    assert loss == pytest.approx(float(expected[0]), rel=1e-5)
    assert gradient.shape == inputs.pixels.shape
    largest = np.abs(expected[1]).max()
    np.testing.assert_allclose(gradient, expected[1], atol=1e-5 * largest)
    assert largest > 1e-4
