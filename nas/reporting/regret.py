"""What a search by a judge finds, averaged over the order in which it looks.

A search sees the judged architectures in random order and chooses the one that its
judge scores best. Which it is after a few is luck; the mean over many orders is not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NUM_SEARCHES = 1000


class Gain(NamedTuple):
    """True accuracy of the choice after 1, 2, ... architectures, [architectures] each.

    Attributes:
      mean: over the resampled searches.
      low, high: between which 95 % of them lie.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def after_architectures(scores: np.ndarray, truth: np.ndarray, seed: int = 0) -> Gain:
    """What a judge's choice is worth after each number of architectures.

    Judges with one seed see the same orders. Of equal scores the first seen is chosen,
    so that a judge that cannot tell chooses at random.

    Args:
      scores: of the judge, [architectures]; more is better.
      truth: accuracies, [architectures].
    """
    generator = np.random.default_rng(seed)
    indices = np.tile(np.arange(len(scores)), (NUM_SEARCHES, 1))
    orders = generator.permuted(indices, axis=1)  # [searches, architectures]
    seen = scores[orders]
    best = np.maximum.accumulate(seen, axis=1)
    is_new = np.ones_like(seen, dtype=bool)
    is_new[:, 1:] = seen[:, 1:] > best[:, :-1]
    place = np.maximum.accumulate(np.where(is_new, indices, 0), axis=1)
    chosen = truth[np.take_along_axis(orders, place, axis=1)]
    low, high = np.percentile(chosen, [2.5, 97.5], axis=0)
    return Gain(chosen.mean(axis=0), low, high)


def at(gain: Gain, seconds_each: float, seconds: float) -> tuple[float, float, float]:
    """Mean, low and high of the choice after so many seconds.

    Until the first architecture is judged they are NaN, and after the last they stay.

    Args:
      seconds_each: what the judge takes for an architecture; above 0.
    """
    # A little more than the ratio: 0.3 / 0.1 is below 3 in floating point.
    num_seen = int(min(seconds / seconds_each * (1 + 1e-9), len(gain.mean)))
    if not num_seen:
        return np.nan, np.nan, np.nan
    return tuple(float(values[num_seen - 1]) for values in gain)
