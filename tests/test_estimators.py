"""Estimators of the meta-gradient: what each promises, and values that are known."""

import dataclasses
import functools
import shutil
import types
from typing import ClassVar

import numpy as np
import problems
import pytest
import tensorflow as tf
from scipy import stats
from test_replicas import Strategy

from gtn_tf.meta import combined, inner_loop
from gtn_tf.meta.combined import CombinedEstimator, Moments
from gtn_tf.meta.estimators import BACKPROPAGATION
from gtn_tf.meta.evolution import EvolutionStrategies, PersistentEvolutionStrategies
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.registry import ESTIMATORS
from gtn_tf.meta.replicas import ONE_REPLICA, DeviceReplicas
from gtn_tf.meta.truncated_windows import TruncatedWindows
from gtn_tf.runs import meta_training, run_setup

RUN = dataclasses.replace(
    problems.SMALL_RUN,
    teacher="distillation",  # no generator is traced
    learner="fully_connected:4",
    num_inner_steps=4,
    learners_per_step=2,
    es_pairs=2,
    truncation_length=3,
    window_length=2,
    num_outer_steps=4,
    checkpoint_every_seconds=0,
)


def arrays(tensors):
    return [np.array(tensor) for tensor in tensors]


# ---- every member


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_shares_out_learners_and_goes_on_after_a_kill(name, tmp_path):
    config = dataclasses.replace(RUN, estimator=name, workdir=str(tmp_path / "whole"))
    setup = run_setup.prepare(config)
    step = run_setup.build_outer_step(setup, tf.Variable(1.0), problems.KEPT)
    assert step.estimator == ESTIMATORS[name].of_run(config)
    assert type(step.estimator) is ESTIMATORS[name]
    variables = setup.problem.variables
    before = arrays(variables)

    parts = [
        functools.partial(step._part, spec, tf.constant([5, 6]), i)
        for i, spec in enumerate(step.drawn(6, 5))
    ]
    program = parts[0]().func
    (told, gradients), (told_again, again), (_, other) = (
        program(tf.constant(seed)) for seed in ([5, 6], [5, 6], [5, 7])
    )
    assert [g.shape for g in gradients] == [v.shape for v in variables]
    assert np.all(np.isfinite(told)) and float(told.gradient_norm) > 0
    np.testing.assert_array_equal(told, told_again)
    for own, same, seed in zip(gradients, again, other, strict=True):
        assert np.all(np.isfinite(own)) and np.any(own != 0)
        np.testing.assert_array_equal(own, same)
        assert np.any(own != seed)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)

    # Two learners, by one replica and by two.
    alone = ONE_REPLICA.add_up(parts)
    shared = DeviceReplicas(Strategy(2, 2)).add_up(parts)
    np.testing.assert_array_equal(shared[0], alone[0])  # of each learner
    for own, both in zip(shared[1], alone[1], strict=True):
        np.testing.assert_allclose(own, both, rtol=1e-6)
    result = step(6, seed=5)
    np.testing.assert_allclose(result, np.mean(alone[0], axis=0), rtol=1e-6)
    assert all(np.any(np.array(v) != b) for v, b in zip(variables, before, strict=True))

    # A run, and one that a kill has left at its second step.
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    folder, left = tmp_path / "whole", tmp_path / "killed"
    folder.mkdir()
    meta_training.meta_train(setup, folder)
    whole = arrays(variables)
    shutil.copytree(folder, left)
    for path in sorted((left / "checkpoints").iterdir())[1:]:
        path.unlink()
    assert [p.name for p in (left / "checkpoints").iterdir()] == [
        "outer_step_00000002.ckpt"
    ]
    again = run_setup.prepare(config)
    assert meta_training.meta_train(again, left).progress.outer_step == 4
    for own, expected in zip(arrays(again.problem.variables), whole, strict=True):
        np.testing.assert_array_equal(own, expected)


# ---- a quadratic objective

NUM_STEPS, SIZE = 4, 3
CURVATURE = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 3.0]])
SLOPE = np.array([1.0, -2.0, 0.5])
START = np.array([0.3, -0.1, 0.2])


class Adding:
    """A learner whose parameters are what its steps have shown it, added up."""

    def apply(self, params, batch_stats, x, training):
        return params, batch_stats


class Quadratic:
    """p A p / 2 + b p of a learner's parameters p, whatever the batch."""

    variables: ClassVar[list] = []

    def loss(self, apply, batch):
        p = apply(batch)
        return tf.tensordot(p, tf.linalg.matvec(CURVATURE, p), 1) / 2 + tf.tensordot(
            SLOPE, p, 1
        )


class Shown(problems.Teacher):
    """Shows a variable of its own at each step."""

    def __init__(self, values):
        super().__init__(None)
        self._use([tf.Variable(values)])

    @classmethod
    def of_run(cls, spec, config, dataset):
        raise NotImplementedError

    def plan(self, seed):
        return (tf.convert_to_tensor(self.variables[0]),)

    def show(self, weights, shown):
        return shown, None


@pytest.fixture
def quadratic(monkeypatch):
    """(every, values of the variable) -> a function: estimator, seed -> Estimate."""

    def add(learner, optimizer, inner_loss, state, batch, hyperparameters, feedback):
        return state._replace(params=state.params + batch[0]), None

    monkeypatch.setattr(inner_loop, "inner_step", add)

    def build(every, values):
        problem = dataclasses.replace(
            problems.build_case(num_steps=NUM_STEPS, every=every).problem,
            teacher=Shown(values),
            objective=Quadratic(),
        )
        # No rates: they have no part in it.
        hyperparameters = types.SimpleNamespace(
            num_inner_steps=NUM_STEPS,
            variables=[],
            values=lambda: {},
            at=lambda _: hyperparameters,
        )
        problem = dataclasses.replace(
            problem,
            hyperparameters=hyperparameters,
            optimizer=types.SimpleNamespace(names=()),
        )
        count = problem.num_intermediate_losses + 1

        def compiled(estimator):
            @tf.function(autograph=False)
            def estimate(seed):
                state = InnerState(tf.constant(START), tf.zeros([0]), ())
                batches = tf.zeros([count, 1])
                return estimator(problem, Adding(), state, seed, batches, problems.KEPT)

            return estimate

        return compiled

    return build


NUM_PAIRS = 30
VALUES = np.random.default_rng(3).normal(size=[NUM_STEPS, SIZE])


def exact(every, first=0, end=NUM_STEPS):
    """Losses after the steps that have one, and their gradient, by hand; steps before
    `first` are held constant."""
    sums = START + np.cumsum(VALUES, axis=0)
    losses, gradient = [], np.zeros_like(VALUES)
    for t in range(first, end):
        if t + 1 == end or (every and (t + 1) % every == 0):
            losses.append(sums[t] @ CURVATURE @ sums[t] / 2 + SLOPE @ sums[t])
            gradient[first : t + 1] += CURVATURE @ sums[t] + SLOPE
    return losses, gradient


@pytest.mark.parametrize("every", [0, 1, 2])
def test_backpropagation_is_the_gradient_by_hand(quadratic, every):
    losses, gradient = exact(every)
    found = quadratic(every, VALUES)(BACKPROPAGATION)(tf.constant([1, 2]))
    np.testing.assert_allclose(found.gradients[0], gradient, rtol=1e-12)
    assert float(found.meta_loss) == pytest.approx(losses[-1])
    expected = np.mean(losses[:-1]) if losses[:-1] else 0
    assert float(found.intermediate_loss) == pytest.approx(expected)


@pytest.mark.parametrize(
    "every, truncation_length", [(0, None), (2, None), (0, 3), (1, 1), (2, 3)]
)
def test_evolution_strategies_are_unbiased(quadratic, every, truncation_length):
    """On a quadratic the smoothed objective's gradient is that at the point itself."""
    kind = PersistentEvolutionStrategies if truncation_length else EvolutionStrategies
    estimator = kind(
        sigma=0.1, num_pairs=NUM_PAIRS, truncation_length=truncation_length
    )
    estimate = quadratic(every, VALUES)(estimator)
    found = [estimate(tf.constant([4, seed])) for seed in range(60)]
    samples = np.array([each.gradients[0] for each in found])
    mean, error = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(len(samples))
    losses, gradient = exact(every)
    scores = (mean - gradient) / error
    assert np.abs(scores).max() < 4.5 and np.mean(scores**2) < 3
    assert np.linalg.norm(error) < 0.2 * np.linalg.norm(gradient)  # or it says little
    # Along the gradient alone the error is smaller, and shows a wrong factor.
    along = np.sum(samples * gradient, (1, 2)) / np.sum(gradient**2)
    assert np.mean(along) == pytest.approx(1, abs=4 * stats.sem(along))
    assert stats.sem(along) < 0.06
    told = np.mean([float(each.meta_loss) for each in found])
    assert told == pytest.approx(losses[-1], abs=0.5)
    assert told > losses[-1]  # the noise costs half the trace of A times its variance


def test_the_noise_of_an_estimate_falls_with_the_pairs(quadratic):
    compiled = quadratic(0, VALUES)
    spread = []
    for num_pairs in (1, 16):
        estimate = compiled(EvolutionStrategies(sigma=0.1, num_pairs=num_pairs))
        samples = [estimate(tf.constant([9, s])).gradients[0] for s in range(100)]
        spread.append(np.linalg.norm(np.std(samples, axis=0)))
    assert spread[0] / spread[1] == pytest.approx(4, rel=0.2)


def test_persistent_ones_with_one_truncation_are_evolution_strategies(quadratic):
    compiled, seed = quadratic(2, VALUES), tf.constant([1, 2])
    options = dict(sigma=0.1, num_pairs=3)
    plain = compiled(EvolutionStrategies(**options))(seed)
    one, two = (
        compiled(PersistentEvolutionStrategies(**options, truncation_length=n))(seed)
        for n in (NUM_STEPS, NUM_STEPS // 2)
    )
    np.testing.assert_array_equal(one.gradients[0], plain.gradients[0])
    assert float(one.meta_loss) == float(plain.meta_loss)
    assert np.any(two.gradients[0] != plain.gradients[0])


def test_what_is_left_out_of_a_window(quadratic):
    """The end is uniform in [W, T]; steps before the window have no gradient."""
    estimate = quadratic(2, VALUES)(TruncatedWindows(window_length=2))
    counts = dict.fromkeys((2, 3, 4), 0)
    for seed in range(90):
        found = estimate(tf.constant([seed, 1]))
        gradient = np.array(found.gradients[0])
        end = 1 + np.flatnonzero(np.any(gradient != 0, axis=1)).max()
        losses, expected = exact(2, end - 2, end)
        np.testing.assert_allclose(gradient, expected, rtol=1e-12)
        assert float(found.meta_loss) == pytest.approx(losses[-1])
        # Of the steps whose losses are due, only that of 2 is within [2, 3).
        assert float(found.intermediate_loss) == pytest.approx(sum(losses[:-1]))
        counts[end] += 1
    assert min(counts.values()) >= 18 and sum(counts.values()) == 90


@pytest.mark.parametrize(
    "every, policy",
    [(1, problems.KEPT), (0, problems.KEPT), (2, MemoryPolicy(segment_length=2))],
)
def test_a_window_of_all_steps_is_backpropagation(every, policy):
    case = problems.build_case(every=every, num_steps=4)
    problem, learner, outer_batches = case

    def compiled(estimator):
        def estimate(seed, outer_batches):
            state = inner_loop.initial_state(learner, problem.optimizer, seed)
            return estimator(problem, learner, state, seed, outer_batches, policy)

        return tf.function(estimate, autograph=False)

    whole, windowed = (
        compiled(estimator)(tf.constant(problems.SEED), outer_batches)
        for estimator in (BACKPROPAGATION, TruncatedWindows(window_length=4))
    )
    for own, expected in zip(windowed.gradients, whole.gradients, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(windowed[:2], whole[:2], rtol=1e-12)


# ---- the combination


def test_weights_are_those_of_the_inverse_variances():
    inf, nan = np.inf, np.nan
    backward = np.array([1.0, 3.0, 1.0, 0.0, inf, nan, 0.0, 2.0])
    evolved = np.array([3.0, 1.0, inf, 1.0, 1.0, 1.0, 0.0, 0.0])
    weights = combined.evolution_weight(tf.constant(backward), tf.constant(evolved))
    assert weights.numpy().tolist() == [0.25, 0.75, 0, 0, 1, 1, 0, 1]
    # Those of both sum to 1 for each parameter.
    v, u = np.random.default_rng(0).exponential(size=[2, 50])
    both = combined.evolution_weight(v, u) + combined.evolution_weight(u, v)
    np.testing.assert_allclose(both, 1, rtol=1e-12)


def test_moments_are_those_of_numpy():
    samples = np.random.default_rng(1).normal(5, 2, size=[7, 4]).astype("float32")
    moments = Moments.zeros([tf.zeros([4])])
    for sample in samples:
        moments = moments.add([tf.constant(sample)])
    np.testing.assert_allclose(moments.means[0], samples.mean(0), rtol=1e-6)
    np.testing.assert_allclose(
        moments.squares[0] / 6, samples.var(0, ddof=1), rtol=1e-5
    )


def moments(mean, variance):
    return Moments(2.0, [tf.constant(mean)], [tf.constant(variance)])


def test_an_infinite_variance_leaves_the_other_alone():
    g, h = [1.0, 2.0], [30.0, 40.0]
    (only_g,) = combined.combine(moments(g, [1.0, 2.0]), moments(h, [np.inf] * 2))
    (only_h,) = combined.combine(
        moments([np.inf, np.nan], [np.nan, np.inf]), moments(h, [1.0, 2.0])
    )
    (mixed,) = combined.combine(moments(g, [1.0, 3.0]), moments(h, [3.0, 1.0]))
    assert only_g.numpy().tolist() == g
    assert only_h.numpy().tolist() == h
    np.testing.assert_allclose(mixed, [0.75 * 1 + 0.25 * 30, 0.25 * 2 + 0.75 * 40])


@pytest.mark.parametrize("every", [0, 2])
def test_the_combination_takes_the_better_one(quadratic, monkeypatch, every):
    compiled, seed = quadratic(every, VALUES), tf.constant([1, 2])
    options = dict(sigma=0.1, num_pairs=3)
    # The mean of a quadratic's gradients at both of a pair is that at the point.
    found = compiled(CombinedEstimator(**options))(seed)
    np.testing.assert_allclose(found.gradients[0], exact(every)[1], rtol=1e-9)
    evolved = compiled(EvolutionStrategies(**options))(seed)
    assert float(found.meta_loss) == pytest.approx(float(evolved.meta_loss))
    assert float(found.intermediate_loss) == pytest.approx(
        float(evolved.intermediate_loss)
    )
    # Without a finite gradient the combination is what the losses say.
    whole = combined.meta_gradients.meta_gradient

    def exploded(*arguments):
        loss, rest, gradients = whole(*arguments)
        return loss, rest, [g * np.inf for g in gradients]

    monkeypatch.setattr(combined.meta_gradients, "meta_gradient", exploded)
    found = compiled(CombinedEstimator(**options))(seed)
    np.testing.assert_allclose(found.gradients[0], evolved.gradients[0], rtol=1e-9)
