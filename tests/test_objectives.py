"""Every objective keeps the promises of the interface; a new one is an entry."""

import dataclasses

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.meta.registry import OBJECTIVES
from gtn_tf.runs.config import TrainingConfig


@pytest.fixture(scope="module")
def digits():
    return loaders.load("digits", None, 0)


@pytest.fixture(params=OBJECTIVES)
def objective(request, digits):
    return OBJECTIVES[request.param].of_run(problems.SMALL_RUN, digits)


def apply_of(digits):
    """A linear learner, and its weights."""
    size = int(np.prod(digits.image_shape))
    weights = tf.Variable(tf.zeros([size, digits.num_classes]))
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


def test_the_loss_is_a_scalar_that_teaches(objective, digits):
    apply, weights = apply_of(digits)
    optimizer = keras.optimizers.SGD(0.05)
    losses = []
    batches = objective.sample(30, tf.constant([5, 6]))
    for index in range(30):
        batch = tf.nest.map_structure(lambda part, at=index: part[at], batches)
        with tf.GradientTape() as tape:
            loss = objective.loss(apply, batch)
        assert loss.shape == ()
        optimizer.apply([tape.gradient(loss, weights)], [weights])
        losses.append(float(loss))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


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
