"""Every objective keeps the promises of the interface; a new one is an entry."""

import dataclasses

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.commands import train
from gtn_tf.data import environments, loaders
from gtn_tf.meta.registry import OBJECTIVES
from gtn_tf.runs.config import TrainingConfig


@pytest.fixture(scope="module")
def digits():
    return loaders.load("digits", None, 0)


@pytest.fixture(scope="module")
def cartpole():
    return environments.load("gym:CartPole-v1", 30)


@pytest.fixture(params=OBJECTIVES)
def name(request):
    return request.param


@pytest.fixture
def dataset(name, digits, cartpole):
    return cartpole if name == "actor_critic" else digits


@pytest.fixture
def objective(name, dataset):
    config = problems.SMALL_RUN
    if name == "actor_critic":
        config = problems.SMALL_POLICIES
    return OBJECTIVES[name].of_run(config, dataset)


def apply_of(dataset):
    """A linear learner, and its weights."""
    size = int(np.prod(dataset.image_shape))
    weights = tf.Variable(tf.zeros([size, dataset.num_classes]))
    return lambda x: tf.reshape(x, [-1, size]) @ weights, weights


def test_what_is_sampled_depends_on_the_seed_alone(objective):
    first, again, other = (
        tf.nest.flatten(objective.sample(3, tf.constant(seed)))
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    assert all(part.shape[0] == 3 for part in first)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(first, other, strict=True))


def test_learning_by_the_loss_makes_what_is_measured_more(objective, dataset):
    apply, weights = apply_of(dataset)
    optimizer = keras.optimizers.Adam(0.1)
    variables = [weights, *objective.variables]
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(batch):
        with tf.GradientTape() as tape:
            loss = objective.loss(apply, batch)
        assert loss.shape == ()
        gradients = tape.gradient(loss, variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], variables)

    before = measured(objective, dataset, apply)
    batches = objective.sample(20, tf.constant([5, 6]))
    for index in range(20):
        step(tf.nest.map_structure(lambda part, at=index: part[at], batches))
    after = measured(objective, dataset, apply)
    assert after[0] == before[0] == dataset.num_examples["validation"]
    assert after[1] > 1.5 * before[1]
    assert after[2] < before[2]


def measured(objective, dataset, apply):
    """Of the validation split: its size, the sums of what is measured and of losses."""
    examples = objective.examples(dataset.validation)
    return sum(objective.measure(apply, example).numpy() for example in examples)


class Raised(OBJECTIVES["classification"]):
    """A loss that can be told from all others."""

    def loss(self, apply, batch):
        return 100 + super().loss(apply, batch)


def test_an_objective_that_nothing_else_knows_is_learned_by(monkeypatch, tmp_path):
    monkeypatch.setitem(OBJECTIVES, "raised", Raised)
    config = dataclasses.replace(
        problems.SMALL_RUN,
        objective="raised",
        workdir=str(tmp_path),
        compare_with_real=False,
    )
    train.run(config)
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    losses = np.array([row.split(",")[2:4] for row in rows], float)
    assert losses.shape == (2, 2) and np.all((losses > 100) & (losses < 110))


def test_an_objective_that_is_not_registered_is_refused():
    with pytest.raises(ValueError, match="--objective=raised is unknown: give one of"):
        TrainingConfig(objective="raised")
