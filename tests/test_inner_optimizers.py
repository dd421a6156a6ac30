import keras
import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.meta.inner_optimizers import CONSTRAINTS, InnerHyperparameters
from gtn_tf.meta.registry import INNER_OPTIMIZERS
from gtn_tf.networks.stateless import Layout

NUM_STEPS = 6
GRADIENTS = np.random.default_rng(0).normal(size=(NUM_STEPS, 4))
START = np.array([1.0, -2.0, 3.0, 0.5])
LAYOUT = Layout(((2, 2),), ("kernel",))


def run(name, gradients, hyperparameters):
    """Params [T, P] after every step; hyperparameters [T, number of names]."""
    optimizer = INNER_OPTIMIZERS[name]
    params = tf.constant(START)
    slots = optimizer.init(params, LAYOUT)
    history = []
    for gradient, values in zip(gradients, hyperparameters, strict=True):
        values = tuple(tf.constant(v, tf.float64) for v in values)
        params, slots = optimizer.update(
            tf.constant(gradient, tf.float64), slots, params, values, LAYOUT
        )
        history.append(params.numpy())
    return np.array(history)


def test_sgd_is_equation_1():
    """theta_(t+1) = theta_t - alpha * sum over s <= t of beta^(t - s) gradient_s."""
    alpha, beta = 0.1, 0.7
    expected = START.copy()
    for t in range(NUM_STEPS):
        for s in range(t + 1):
            expected = expected - alpha * beta ** (t - s) * GRADIENTS[s]
    history = run("sgd", GRADIENTS, [(alpha, beta)] * NUM_STEPS)
    np.testing.assert_allclose(history[-1], expected, rtol=1e-12)


def test_sgd_per_step():
    """Step t multiplies the velocity by its own momentum, not the step's before."""
    rates = np.linspace(0.1, 0.6, NUM_STEPS)
    momenta = np.linspace(0.9, 0.2, NUM_STEPS)
    expected = START.copy()
    for t in range(NUM_STEPS):
        for s in range(t + 1):
            decay = np.prod(momenta[s + 1 : t + 1])
            expected = expected - rates[t] * decay * GRADIENTS[s]
    history = run("sgd", GRADIENTS, zip(rates, momenta, strict=True))
    np.testing.assert_allclose(history[-1], expected, rtol=1e-12)


def test_adam_equals_keras():
    """Up to the place of epsilon, which is far below these gradients."""
    rate, beta_1, beta_2 = 0.1, 0.8, 0.95
    history = run("adam", GRADIENTS, [(rate, beta_1, beta_2)] * NUM_STEPS)
    optimizer = keras.optimizers.Adam(rate, beta_1, beta_2, epsilon=1e-8)
    params = keras.Variable(START, dtype="float64")
    for gradient, expected in zip(GRADIENTS, history, strict=True):
        optimizer.apply([tf.constant(gradient)], [params])
        np.testing.assert_allclose(params.numpy(), expected, rtol=1e-6)


def test_adam_has_epsilon_inside_the_root():
    """The first step: g / sqrt(g^2 + 1e-8)."""
    gradient = np.array([1e-4, 1e-5, -1e-3, 0.0])
    (params,) = run("adam", [gradient], [(0.1, 0.8, 0.95)])
    expected = START - 0.1 * gradient / np.sqrt(gradient**2 + 1e-8)
    np.testing.assert_allclose(params, expected, rtol=1e-12)


def test_adam_has_a_derivative_where_the_gradient_is_zero():
    optimizer = INNER_OPTIMIZERS["adam"]
    params = tf.constant(START)
    gradient = tf.zeros([4], tf.float64)
    values = [tf.constant(v, tf.float64) for v in (0.1, 0.8, 0.95)]
    with tf.GradientTape() as tape:
        tape.watch(gradient)
        slots = optimizer.init(params, LAYOUT)
        new, _ = optimizer.update(gradient, slots, params, values, LAYOUT)
    # d (-0.1 g / sqrt(g^2 + 1e-8)) / d g = -0.1 / 1e-4
    np.testing.assert_allclose(tape.gradient(new, gradient), [-1000.0] * 4, rtol=1e-9)


INITIAL = {"learning_rate": 0.02, "momentum": 0.5, "beta_2": 0.999}


@pytest.mark.parametrize("per_step, size", [(True, NUM_STEPS), (False, 1)])
def test_hyperparameters_start_at_their_initial_values(per_step, size):
    hyperparameters = InnerHyperparameters(INITIAL, NUM_STEPS, per_step, "float64")
    assert [v.shape for v in hyperparameters.variables] == [(size,)] * 3
    values = hyperparameters.values()
    assert list(values) == list(INITIAL)
    for name, value in INITIAL.items():
        np.testing.assert_allclose(values[name], [value] * NUM_STEPS, rtol=1e-12)
        assert values[name].dtype == tf.float64


@pytest.mark.parametrize("decay", [1, 0.3, 1e-6])
def test_learning_rates_begin_on_a_line(decay):
    """In the first step the initial rate, in the last a fraction of it."""
    hyperparameters = InnerHyperparameters(
        INITIAL, NUM_STEPS, True, "float64", decay=decay
    )
    values = hyperparameters.values()
    expected = 0.02 * (1 + (decay - 1) * np.arange(NUM_STEPS) / (NUM_STEPS - 1))
    np.testing.assert_allclose(values["learning_rate"], expected, rtol=1e-9)
    for name in ("momentum", "beta_2"):
        np.testing.assert_allclose(values[name], [INITIAL[name]] * NUM_STEPS, 1e-12)


@pytest.mark.parametrize("per_step, num_steps", [(False, NUM_STEPS), (True, 1)])
def test_one_learning_rate_does_not_decay(per_step, num_steps):
    values = InnerHyperparameters(INITIAL, num_steps, per_step, decay=0.3).values()
    np.testing.assert_allclose(values["learning_rate"], [0.02] * num_steps, 1e-6)


def test_hyperparameters_are_float32_by_default():
    hyperparameters = InnerHyperparameters(INITIAL, NUM_STEPS, True)
    assert {v.dtype for v in hyperparameters.variables} == {tf.float32}
    assert {v.dtype for v in hyperparameters.values().values()} == {tf.float32}


@pytest.mark.parametrize(
    "name, high", [("learning_rate", np.inf), ("momentum", 1), ("beta_2", 1)]
)
def test_constraints_hold_wherever_the_variable_goes(name, high):
    hyperparameters = InnerHyperparameters(INITIAL, 3, True, "float64")
    index = list(INITIAL).index(name)
    hyperparameters.variables[index].assign([-20.0, 0.0, 20.0])
    values = hyperparameters.values()[name].numpy()
    assert np.all((values > 0) & (values < high))
    assert np.all(np.diff(values) > 0)
    constrain, inverse = CONSTRAINTS[name]
    np.testing.assert_allclose(constrain(tf.constant(inverse(0.3))), 0.3, rtol=1e-6)


def test_one_step_s_hyperparameter_is_its_own():
    hyperparameters = InnerHyperparameters(INITIAL, 4, True, "float64")
    hyperparameters.variables[0].assign([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        hyperparameters.values()["learning_rate"], np.exp([0.0, 1.0, 2.0, 3.0])
    )


@pytest.mark.parametrize("per_step", [True, False])
def test_momentum_zero_is_held(per_step):
    hyperparameters = InnerHyperparameters(
        {"learning_rate": 0.1, "momentum": 0}, NUM_STEPS, per_step, "float64"
    )
    assert len(hyperparameters.variables) == 1
    values = hyperparameters.values()
    assert list(values) == ["learning_rate", "momentum"]
    np.testing.assert_array_equal(values["momentum"], np.zeros(NUM_STEPS))
    assert values["momentum"].dtype == tf.float64


@pytest.mark.parametrize("name", INNER_OPTIMIZERS)
def test_every_hyperparameter_has_a_constraint(name):
    assert set(INNER_OPTIMIZERS[name].names) <= set(CONSTRAINTS)
