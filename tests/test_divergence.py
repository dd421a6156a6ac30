"""The guard: what is bad, what is put back, and when it is too much."""

import dataclasses
import math

import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.data import loaders
from gtn_tf.errors import Diverged
from gtn_tf.meta.outer_loop import StepResult
from gtn_tf.runs import meta_training, run_setup, workdirs
from gtn_tf.runs.divergence import Guard


class Run:
    """Outer steps that add one to a variable and have given losses."""

    def __init__(self, max_divergences=3):
        self.variable = tf.Variable([0.0, 10.0])
        self.rate_factor = tf.Variable(1.0)
        self.guard = Guard([self.variable], self.rate_factor, max_divergences)
        self.outer_step = 0

    def step(self, loss=1.0, norm=1.0):
        def step(outer_step):
            assert outer_step == self.outer_step
            self.variable.assign_add([1.0, 1.0])
            return StepResult(loss, 0.5 * loss, norm)

        result = self.guard(step, self.outer_step)
        self.outer_step += 1
        return result

    @property
    def value(self):
        return float(self.variable[0])


def healthy(run, count):
    for loss in 1 + 0.1 * np.sin(np.arange(count)):
        run.step(loss)


def test_healthy_steps_are_left_alone():
    run = Run()
    healthy(run, 50)
    assert run.value == 50 and run.guard.num_divergences == 0


@pytest.mark.parametrize(
    "loss, norm", [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (30.0, 1.0)]
)
def test_a_bad_state_gives_way_to_the_last_good_one(capsys, loss, norm):
    run = Run()
    healthy(run, 30)  # the state before the 30th step was measured good: it is 29
    result = run.step(loss, norm)
    assert run.value == 29 and float(run.variable[1]) == 39
    assert float(run.rate_factor) == 1
    np.testing.assert_equal(result, StepResult(loss, 0.5 * loss, norm))
    err = capsys.readouterr().err
    assert "diverged at outer step 30" in err and "last good state" in err
    healthy(run, 5)
    assert run.value == 34 and run.guard.num_divergences == 1


def test_what_is_high_among_high_ones_is_not_bad():
    run = Run()
    for loss in np.random.default_rng(0).lognormal(0, 1, 200):
        run.step(loss)
    assert run.guard.num_divergences == 0


def test_the_first_steps_have_no_level():
    run = Run()
    healthy(run, 5)
    run.step(1000.0)
    assert run.value == 6


def test_the_rate_is_halved_where_it_recurs():
    run = Run(max_divergences=9)
    healthy(run, 30)
    run.step(math.nan)
    healthy(run, 150)
    run.step(math.nan)
    assert float(run.rate_factor) == 1  # long ago
    healthy(run, 20)
    run.step(math.nan)
    assert float(run.rate_factor) == 0.5
    run.step(math.nan)
    assert float(run.rate_factor) == 0.25


def test_it_is_bounded_and_says_what_to_do():
    run = Run(max_divergences=2)
    healthy(run, 30)
    run.step(math.nan)
    run.step(math.nan)
    with pytest.raises(Diverged) as caught:
        run.step(math.nan)
    for words in ("outer step 32", "3 times now", "--max_divergences=2", "--clip_norm"):
        assert words in str(caught.value)


def test_its_state_can_be_saved_at_any_moment():
    losses = [*np.linspace(2, 1, 40), math.nan, *[1.0] * 10, 40.0, *[1.1] * 10]
    whole = Run()
    for loss in losses:
        whole.step(loss)
    for stop in (0, 10, 41, 52):
        first, second = Run(), Run()
        for loss in losses[:stop]:
            first.step(loss)
        second.variable.assign(first.variable)
        second.rate_factor.assign(first.rate_factor)
        second.guard.set_state(first.guard.state())
        second.outer_step = stop
        for loss in losses[stop:]:
            second.step(loss)
        assert second.value == whole.value
        assert float(second.rate_factor) == float(whole.rate_factor) == 0.5
        assert second.guard.num_divergences == whole.guard.num_divergences == 2


@pytest.mark.parametrize("max_divergences", [0, 20])
def test_a_run_whose_state_is_ruined_once(tmp_path, monkeypatch, max_divergences):
    """Without the guard it ends, with it it goes on as if that step had not been."""
    config = dataclasses.replace(
        problems.SMALL_RUN,
        teacher="distillation",
        learner="fully_connected:4-4",
        num_outer_steps=30,
        workdir=str(tmp_path),
        max_divergences=max_divergences,
    )
    build = run_setup.build_outer_step

    def ruined(*args):
        step = build(*args)

        def call(outer_step, seed):
            result = step(outer_step, seed)
            if outer_step == 24:  # its own loss is still that of a healthy state
                for variable in step.problem.variables:
                    variable.assign(tf.fill(variable.shape, float("nan")))
            return result

        call.optimizer, call.adversary = step.optimizer, step.adversary
        return call

    monkeypatch.setattr(run_setup, "build_outer_step", ruined)
    workdirs.open_workdir(tmp_path, config)
    digits = loaders.load("digits", None, config.seed)
    if not max_divergences:
        with pytest.raises(Diverged, match="--max_divergences=0 are allowed"):
            meta_training.meta_train(run_setup.build(config, digits), tmp_path)
        return
    trained = meta_training.meta_train(run_setup.build(config, digits), tmp_path)
    assert trained.progress.outer_step == 30
    rows = [row.split(",") for row in (tmp_path / "metrics.csv").open()][1:]
    losses = np.array([float(row[2]) for row in rows])
    assert np.flatnonzero(~np.isfinite(losses)).tolist() == [25]
    assert [int(row[-1]) for row in rows] == [0] * 25 + [1] * 5
