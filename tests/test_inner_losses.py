"""The losses that learners minimize; a learned one begins as cross-entropy."""

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf
from test_loaded_teacher import export_case

import gtn_tf
from gtn_tf.meta import inner_losses
from gtn_tf.meta.registry import INNER_LOSSES

OUTPUTS = tf.random.stateless_normal([5, 4], [1, 2], dtype=tf.float64)
TARGETS = tf.nn.softmax(tf.random.stateless_normal([5, 4], [3, 4], dtype=tf.float64))


def build(name, moved=True):
    loss = INNER_LOSSES[name](dtype="float64")
    if moved:
        problems.move(loss.variables)
    return loss


def value_and_gradient(loss, outputs=OUTPUTS, targets=TARGETS):
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = loss(targets, outputs, loss.weights())
    return value.numpy(), tape.gradient(value, outputs).numpy()


def test_a_learned_loss_begins_exactly_as_cross_entropy():
    found = value_and_gradient(build("learned", moved=False))
    expected = value_and_gradient(build("cross_entropy"))
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


def test_a_learned_loss_adds_its_network():
    loss = build("learned")
    kernel, bias, output = (v.numpy() for v in loss.variables)
    probabilities = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(1, keepdims=True)
    added = 0.0
    for row, own in zip(probabilities, TARGETS.numpy(), strict=True):
        for p, y in zip(row, own, strict=True):
            added += np.tanh(np.array([p, y]) @ kernel + bias) @ output / len(OUTPUTS)
    value, _ = value_and_gradient(loss)
    expected, _ = value_and_gradient(build("cross_entropy"))
    np.testing.assert_allclose(value, expected + added, rtol=1e-12)
    assert abs(added) > 0.01


@pytest.mark.parametrize("name", INNER_LOSSES)
def test_the_order_of_classes_does_not_count(name):
    order = [2, 0, 3, 1]
    outputs, targets = (tf.gather(v, order, axis=1) for v in (OUTPUTS, TARGETS))
    value, gradient = value_and_gradient(build(name))
    same, moved = value_and_gradient(build(name), outputs, targets)
    np.testing.assert_allclose(same, value, rtol=1e-12)
    np.testing.assert_allclose(moved, gradient[:, order], rtol=1e-9)


@pytest.mark.parametrize("name", ["cross_entropy", "learned"])
def test_probabilities_have_the_loss_of_their_logits(name):
    loss = build(name)
    value = loss(TARGETS, OUTPUTS, loss.weights())
    same = loss.of_probabilities(TARGETS, tf.nn.softmax(OUTPUTS), loss.weights())
    np.testing.assert_allclose(same, value, rtol=1e-6)


@pytest.mark.parametrize("name", INNER_LOSSES)
def test_another_loss_of_the_same_kind_reads_other_values(name):
    loss = build(name)
    other = loss.at([2 * v for v in loss.variables])
    assert len(other.weights()) == len(loss.names)
    for weight, own in zip(other.weights(), loss.weights(), strict=True):
        np.testing.assert_array_equal(weight, 2 * own)


def test_an_exported_teacher_has_the_learned_weights(tmp_path):
    case = export_case(tmp_path, learner="dense", inner_loss="learned")
    teacher = gtn_tf.load_teacher(tmp_path)
    loss = case.problem.inner_loss
    assert set(teacher.loss_weights) == set(inner_losses.LearnedLoss.names)
    for name, variable in zip(loss.names, loss.variables, strict=True):
        np.testing.assert_array_equal(teacher.loss_weights[name], variable)

    def taught(weights):
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
        model(teacher.batch(0)[0])
        model.set_weights([np.ones([16, 3]) * [0.1, 0, -0.1], np.zeros(3)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(teacher, "loss_weights", weights)
            return teacher.teach(model, rate_scale=1.0).get_weights()[0]

    with_own = taught(teacher.loss_weights)
    without = taught({n: 0 * w for n, w in teacher.loss_weights.items()})
    assert np.abs(with_own - without).max() > 1e-3
