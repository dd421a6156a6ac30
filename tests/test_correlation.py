"""Rank correlations, their intervals, and precision."""

import numpy as np
import pytest
from scipy import stats

from nas.reporting import correlation
from nas.reporting.correlation import Scores
from nas.search.journal import Entry
from nas.spaces import nao


def scores_of(scores, seconds=1.0):
    scores = {str(i): float(s) for i, s in enumerate(scores)}
    return Scores(scores, dict.fromkeys(scores, seconds), 0)


def test_agreement_is_scipys_over_all_and_the_better_half():
    generator = np.random.default_rng(0)
    a = generator.normal(size=41)
    b = a + generator.normal(size=41)
    found = correlation.agreement(scores_of(a), scores_of(b))
    best = np.argsort(-a)[:21]
    assert found.num_architectures == 41
    assert found.spearman[0] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found.kendall[0] == pytest.approx(stats.kendalltau(a, b).statistic)
    half = stats.spearmanr(a[best], b[best]).statistic
    assert found.best_half_spearman[0] == pytest.approx(half)
    for value, low, high in found[1:5]:
        assert low < value < high
    width = found.best_half_spearman[2] - found.best_half_spearman[1]
    assert width > found.spearman[2] - found.spearman[1]


@pytest.mark.parametrize("num_values", [5, 40])
def test_resampled_correlations_are_scipys(num_values):
    """Also where values are equal, within a resample and before."""
    generator = np.random.default_rng(num_values)
    a, b = generator.integers(num_values, size=(2, 30)).astype(float)
    draws = generator.integers(30, size=(20, 30))
    for statistic, resampled in correlation._RESAMPLED.items():
        expected = [statistic(a[draw], b[draw]).statistic for draw in draws]
        np.testing.assert_allclose(resampled(a, b, draws), expected, rtol=1e-5)
    constant = np.zeros([1, 30], int)
    assert np.isnan(correlation._kendall(a, b, constant)).all()
    assert np.isnan(correlation._spearman(a, b, constant)).all()


def test_only_common_architectures_count():
    proxy = scores_of(range(10))
    reference = Scores({str(i): i for i in range(5, 30)}, {}, 0)
    assert correlation.agreement(proxy, reference).num_architectures == 5
    assert correlation.agreement(scores_of(range(3)), reference) is None


def test_precision_of_the_top_tenth():
    reference = np.arange(20.0)
    proxy = reference.copy()
    assert correlation.agreement(scores_of(proxy), scores_of(reference)).precision == 1
    proxy[19] = -1  # of the top two, one is left
    assert (
        correlation.agreement(scores_of(proxy), scores_of(reference)).precision == 0.5
    )


def test_a_proxy_that_cannot_tell_is_not_a_number():
    found = correlation.agreement(scores_of(np.zeros(8)), scores_of(range(8)))
    assert np.isnan(found.spearman[0])


def test_seeds_of_an_architecture_are_averaged():
    texts = [str(nao.sample(2, seed)) for seed in range(2)]
    entries = [
        Entry(texts[0], 0.2, 3.0, False, 10, 0, "a"),
        Entry(texts[0], 0.6, 5.0, False, 10, 1, "a"),
        Entry(texts[1], 0.9, 4.0, True, 10, 0, "b"),
    ]
    found = correlation.scores_of(entries)
    assert found.scores == pytest.approx({"a": 0.4, "b": 0.9})
    assert found.seconds == {"a": 8.0, "b": 4.0}
    assert found.num_diverged == 1


def test_rank_averages():
    both = correlation.rank_average(
        scores_of([1, 2, 3], seconds=2.0), scores_of([10, 30, 20], seconds=0.5)
    )
    assert both.scores == {"0": 1.0, "1": 2.5, "2": 2.5}
    assert both.seconds == dict.fromkeys("012", 2.5)


def test_seconds_are_those_of_the_common_architectures():
    proxy = scores_of(range(8))
    proxy.seconds.update({"0": 3.0, "7": 100.0})
    found = correlation.agreement(proxy, scores_of(range(4)))
    assert found.seconds == pytest.approx(1.5)
