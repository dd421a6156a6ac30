"""How well a proxy orders architectures: rank correlations with real training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import stats

from nas.search.journal import Entry

NUM_RESAMPLES = 1000  # of an interval


class Scores(NamedTuple):
    """Architectures evaluated in one way; a mean where there are several seeds."""

    scores: dict[str, float]  # key of an architecture -> score
    seconds: dict[str, float]  # of all seeds together; empty where nobody knows
    num_diverged: int

    def mean_seconds(self, keys: Iterable[str]) -> float:
        """For one of these architectures on average; NaN where nobody knows."""
        known = [self.seconds[key] for key in keys if key in self.seconds]
        return float(np.mean(known)) if known else np.nan


class RankAgreement(NamedTuple):
    """A proxy beside the reference, over the architectures that both have scored."""

    num_architectures: int
    spearman: tuple[float, float, float]  # value, 95 % bootstrap interval
    kendall: tuple[float, float, float]
    best_half_spearman: tuple[float, float, float]  # better half by the proxy's score
    best_half_kendall: tuple[float, float, float]
    precision: float  # of the proxy's top tenth, how many are in the reference's
    seconds: float  # of the proxy for one of them, on average; may be NaN


def scores_of(entries: list[Entry]) -> Scores:
    """Entries of one kind of evaluation, whatever journals they come from."""
    scores: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for entry in entries:
        scores.setdefault(entry.key, []).append(entry.score)
        seconds[entry.key] = seconds.get(entry.key, 0) + entry.seconds
    means = {key: float(np.mean(values)) for key, values in scores.items()}
    return Scores(means, seconds, sum(entry.diverged for entry in entries))


def turned(scores: Scores) -> Scores:
    """The same, where a lower score is better."""
    return scores._replace(scores={key: -s for key, s in scores.scores.items()})


def rank_average(*several: Scores) -> Scores:
    """The mean of the ranks that several proxies give an architecture."""
    common = sorted(set.intersection(*(set(each.scores) for each in several)))
    ranks = [stats.rankdata([each.scores[key] for key in common]) for each in several]
    scores = dict(zip(common, np.mean(ranks, axis=0).tolist(), strict=True))
    timed = [key for key in common if all(key in each.seconds for each in several)]
    seconds = {key: sum(each.seconds[key] for each in several) for key in timed}
    return Scores(scores, seconds, sum(each.num_diverged for each in several))


def agreement(proxy: Scores, reference: Scores) -> RankAgreement | None:
    """Rank correlations over the common architectures; None for fewer than four."""
    common = sorted(set(proxy.scores) & set(reference.scores))
    if len(common) < 4:
        return None
    a = np.array([proxy.scores[key] for key in common])
    b = np.array([reference.scores[key] for key in common])
    best = np.argsort(-a, kind="stable")[: (len(a) + 1) // 2]
    return RankAgreement(
        len(common),
        _with_interval(stats.spearmanr, a, b),
        _with_interval(stats.kendalltau, a, b),
        _with_interval(stats.spearmanr, a[best], b[best]),
        _with_interval(stats.kendalltau, a[best], b[best]),
        _precision(a, b),
        proxy.mean_seconds(common),
    )


def _with_interval(statistic, a: np.ndarray, b: np.ndarray):
    """scipy's correlation with a 95 % percentile bootstrap interval."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        value = float(statistic(a, b).statistic)
    if np.isnan(value):  # one of the two has no order
        return value, value, value
    generator = np.random.default_rng(0)
    draws = generator.integers(len(a), size=(NUM_RESAMPLES, len(a)))
    resampled = _RESAMPLED[statistic](a, b, draws)
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return value, float(low), float(high)


def _spearman(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of draws [resamples, n]."""
    x, y = (stats.rankdata(values[draws], axis=1) for values in (a, b))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    return _ratio((x * y).sum(axis=1), (x * x).sum(axis=1), (y * y).sum(axis=1))


def _kendall(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of each row of draws [resamples, n].

    A resample is how often it has each value, w; with S the signs of all differences,
    tau-b = w (Sa Sb) w / sqrt(w Sa^2 w * w Sb^2 w).
    """
    counts = np.zeros([len(draws), len(a)], np.float32)
    np.add.at(counts, (np.arange(len(draws))[:, None], draws), 1)
    x, y = (
        np.sign(np.subtract.outer(values, values)).astype(np.float32)
        for values in (a, b)
    )
    sums = (((counts @ signs) * counts).sum(axis=1) for signs in (x * y, x * x, y * y))
    return _ratio(*sums)


def _ratio(both: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """NaN for resamples in which one of the two has no order."""
    scale = np.sqrt(first * second)
    return np.divide(both, scale, out=np.full_like(both, np.nan), where=scale > 0)


_RESAMPLED = {stats.spearmanr: _spearman, stats.kendalltau: _kendall}


def _precision(a: np.ndarray, b: np.ndarray) -> float:
    count = max(1, round(len(a) / 10))
    chosen = set(np.argsort(-a, kind="stable")[:count].tolist())
    best = set(np.argsort(-b, kind="stable")[:count].tolist())
    return len(chosen & best) / count
