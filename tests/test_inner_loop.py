import functools

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.meta import inner_loop, inner_losses
from gtn_tf.meta.registry import INNER_LOSSES, INNER_OPTIMIZERS

SEED = tf.constant(problems.SEED)


def test_cross_entropy():
    logits = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    targets = np.array([[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -np.mean((targets * log_probabilities).sum(1))
    np.testing.assert_allclose(inner_losses.cross_entropy(targets, logits), expected)


def test_mean_squared_error():
    outputs = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    targets = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    # (1 + 1 + 9 + 0 + 1 + 16) / 6
    loss = inner_losses.mean_squared_error
    np.testing.assert_allclose(loss(targets, outputs), 28 / 6)


def train(case, num_steps=problems.NUM_STEPS):
    """The states after 0, 1, ... num_steps inner steps."""
    problem, learner, _ = case
    values = problem.hyperparameters.values()
    state = problem.begin(learner, SEED)
    states = [state]
    for t in range(num_steps):
        state, _ = problem.step(
            learner,
            problem.weights(),
            state,
            [values[t] for values in problem.teacher.plan(SEED)],
            tuple(values[name][t] for name in problem.optimizer.names),
        )
        states.append(state)
    return states


def test_initial_state_remembers_nothing():
    case = problems.build_case(learner="dense")
    state = inner_loop.initial_state(case.learner, case.problem.optimizer, SEED)
    params, batch_stats = case.learner.init(SEED)
    np.testing.assert_array_equal(state.params, params)
    np.testing.assert_array_equal(state.batch_stats, batch_stats)
    (velocity,) = state.slots
    np.testing.assert_array_equal(velocity, np.zeros(params.shape))


@pytest.mark.parametrize("inner_loss", INNER_LOSSES)
def test_inner_step_follows_the_gradient_of_its_loss(inner_loss):
    case = problems.build_case(learner="dense", inner_loss=inner_loss, moved=False)
    before, after = train(case, num_steps=1)
    x, targets = case.problem.teacher.batch(0, SEED)
    model = case.learner.assign(before.params, before.batch_stats)
    loss = {
        "cross_entropy": keras.losses.CategoricalCrossentropy(
            from_logits=True, dtype="float64"
        ),
        "mean_squared_error": keras.losses.MeanSquaredError(dtype="float64"),
    }
    # A learned loss begins as cross-entropy.
    loss = loss.get(inner_loss, loss["cross_entropy"])
    with tf.GradientTape() as tape:
        value = loss(targets, model(x, training=True))
    gradients = tape.gradient(value, model.trainable_variables)
    flat = np.concatenate([np.ravel(g) for g in gradients])
    rate = case.problem.hyperparameters.values()["learning_rate"][0]
    np.testing.assert_allclose(after.slots[0], flat, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(
        after.params, before.params - rate * flat, rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("inner_loss", INNER_LOSSES)
@pytest.mark.parametrize("optimizer", INNER_OPTIMIZERS)
def test_training_lowers_the_inner_loss(inner_loss, optimizer):
    """Fifteen steps on one batch."""
    case = problems.build_case(
        learner="dense", inner_loss=inner_loss, optimizer=optimizer, moved=False
    )
    problem, learner, _ = case
    loss_of = functools.partial(
        problem.inner_loss, weights=problem.inner_loss.weights()
    )
    batch = problem.teacher.batch(0, SEED)
    values = [tf.constant(v, tf.float64) for v in problems.INITIAL[optimizer].values()]
    state = inner_loop.initial_state(learner, problem.optimizer, SEED)

    def loss(state):
        logits, _ = learner.apply(state.params, state.batch_stats, batch[0], True)
        return loss_of(batch[1], logits).numpy()

    before = loss(state)
    for _ in range(15):
        state, _ = inner_loop.inner_step(
            learner, problem.optimizer, loss_of, state, batch, values
        )
    assert loss(state) < 0.3 * before


def test_batch_statistics_are_those_of_the_step_s_batch():
    case = problems.build_case(learner="dense")
    states = train(case, num_steps=3)
    x, _ = case.problem.teacher.batch(2, SEED)
    _, expected = case.learner.apply(
        states[2].params, states[2].batch_stats, x, training=True
    )
    np.testing.assert_allclose(states[3].batch_stats, expected, rtol=1e-12)
    assert not np.any(np.isclose(states[3].batch_stats, states[2].batch_stats))


@pytest.mark.parametrize("num_steps", [1, 2, 5])
@pytest.mark.parametrize("compiled", [True, False])
def test_unroll_is_a_loop(num_steps, compiled):
    def step(state, inputs):
        total, (product,) = state
        return total * 0.5 + inputs["a"], (product * inputs["b"][0] + total,)

    inputs = {
        "a": tf.random.stateless_normal([num_steps, 3], [1, 2]),
        "b": (tf.random.stateless_normal([num_steps], [3, 4]),),
    }
    start = (tf.ones([3]), (tf.ones([3]),))
    expected = start
    for t in range(num_steps):
        expected = step(expected, {"a": inputs["a"][t], "b": (inputs["b"][0][t],)})

    def unrolled():
        return inner_loop.unroll(step, start, inputs, num_steps)

    result = (tf.function(unrolled) if compiled else unrolled)()
    for value, reference in zip(
        tf.nest.flatten(result), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(value, reference, rtol=1e-6)


def test_unroll_calls_its_step_once_whatever_the_number_of_steps():
    calls = []

    def step(state, value):
        calls.append(1)
        return state + value

    @tf.function
    def total(values):
        return inner_loop.unroll(step, tf.constant(0.0), values, len(values))

    assert total(tf.range(50.0)) == 49 * 50 / 2
    assert len(calls) == 1


def test_unroll_is_differentiable():
    values = tf.constant([2.0, 3.0, 4.0])
    start = tf.constant(5.0)
    with tf.GradientTape() as tape:
        tape.watch([values, start])
        product = inner_loop.unroll(lambda s, v: s * v, start, values, 3)
    d_values, d_start = tape.gradient(product, [values, start])
    np.testing.assert_allclose(d_values, [60.0, 40.0, 30.0])
    np.testing.assert_allclose(d_start, 24.0)


def test_bfloat16_is_close_to_float32():
    """The direction that two inner steps take, on a convolutional learner."""
    moves = []
    for precision in ("float32", "bfloat16"):
        case = problems.build_case(learner="digits:8-8-8", precision=precision)
        states = train(case, num_steps=2)
        assert states[-1].params.dtype == tf.float32
        moves.append((states[-1].params - states[0].params).numpy())
    exact, close = moves
    cosine = exact @ close / np.linalg.norm(exact) / np.linalg.norm(close)
    assert 0.97 < cosine < 1
    assert np.linalg.norm(close) == pytest.approx(np.linalg.norm(exact), rel=0.05)
    assert np.abs(exact - close).max() > 0
