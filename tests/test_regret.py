"""What a search by a judge finds, over random orders."""

import numpy as np

from nas.reporting import plots, regret
from nas.reporting.regret import Gain

TRUTH = np.random.default_rng(0).permutation(np.linspace(80, 90, 21))


def test_a_perfect_judge_reaches_the_best():
    gain = regret.after_architectures(TRUTH, TRUTH)
    assert (np.diff(gain.mean) > 0).all()
    assert [values[-1] for values in gain] == [90, 90, 90]
    # Of k of n numbers from 0 to 1 in equal steps the greatest is k (n + 1) / (k + 1)
    # - 1 steps on average.
    k = np.arange(1, 22)
    expected = 80 + 10 * (k * 22 / (k + 1) - 1) / 20
    np.testing.assert_allclose(gain.mean, expected, atol=0.3)
    assert (gain.low[:-1] < gain.mean[:-1]).all()


def test_a_constant_judge_equals_the_mean():
    gain = regret.after_architectures(np.zeros(21), TRUTH)
    np.testing.assert_allclose(gain.mean, TRUTH.mean(), atol=0.3)
    assert gain.low[-1] < 82 and gain.high[-1] > 88  # luck stays luck


def test_a_judge_that_is_wrong_reaches_the_worst():
    assert regret.after_architectures(-TRUTH, TRUTH).mean[-1] == 80


def test_judges_see_the_same_orders():
    first, again, other = (
        regret.after_architectures(scores, TRUTH, seed)
        for scores, seed in ((TRUTH, 0), (10 * TRUTH, 0), (TRUTH, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first.mean, other.mean)


def test_a_slow_judge_is_the_fast_one_stretched():
    gain = regret.after_architectures(TRUTH, TRUTH)
    for seconds in (1, 3.3, 7, 50):
        fast = regret.at(gain, 0.7, seconds)
        assert fast == regret.at(gain, 7.0, 10 * seconds)
    assert regret.at(gain, 0.1, 0.3) == tuple(values[2] for values in gain)
    assert regret.at(gain, 1.0, 1.99) == tuple(values[0] for values in gain)
    assert np.isnan(regret.at(gain, 1.0, 0.99)).all()
    assert regret.at(gain, 1.0, np.inf) == (90, 90, 90)


def test_lines_of_the_figure(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    gain = Gain(*np.array([[1.0, 2.0], [0.0, 1.0], [2.0, 3.0]]))
    plots.search_gains(tmp_path / "a.png", {"a": (1.0, gain), "b": (4.0, gain)}, 5.0)
    first, second, best = drawn[0].axes[0].get_lines()
    np.testing.assert_array_equal(first.get_xydata(), [[1, 1], [2, 2], [8, 2]])
    np.testing.assert_array_equal(second.get_xydata(), [[4, 1], [8, 2], [8, 2]])
    assert set(best.get_ydata()) == {5.0}
