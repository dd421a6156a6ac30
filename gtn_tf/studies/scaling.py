"""What more learners and more workers would bring, from measured parts.

A meta-gradient of one learner is the mean gradient G plus noise of covariance C, and
that of K learners has noise C / K. The gradient noise scale

    N = trace(C) / |G|^2                                  (McCandlish et al., 2018)

is the K from which averaging more learners stops paying: to come as far, K learners a
step need 1 + N / K of the outer steps that noiseless gradients would need.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gtn_tf.studies import gradient_statistics


class NoiseScale(NamedTuple):
    """Of n learners' meta-gradients.

    Attributes:
      signal: estimate of |G|^2, without bias: it can be negative.
      noise: of trace(C), likewise.
      error: the jackknife's standard error of `signal`.
    """

    signal: float
    noise: float
    error: float

    @property
    def scale(self) -> float:
        """N in learners; infinite where no signal was found."""
        return self.noise / self.signal if self.signal > 0 else float("inf")

    @property
    def range(self) -> tuple[float, float]:
        """N where the signal is two standard errors larger, and smaller."""
        ends = (self.signal + 2 * self.error, self.signal - 2 * self.error)
        return tuple(self.noise / end if end > 0 else float("inf") for end in ends)


def noise_scale(products: np.ndarray) -> NoiseScale:
    """The noise scale from the products g_i . g_j [n, n] of n learners' gradients."""
    n = len(products)
    signal, *without = gradient_statistics.pair_products(products[None])[0]
    error = float(np.sqrt((n - 1) * np.var(without)))
    noise = np.trace(products) / n - signal
    return NoiseScale(float(signal), float(noise), error)


def all_reduce_seconds(num_bytes: int, num_workers: int, gigabits: float) -> float:
    """Of a ring of workers that add up so many bytes each, at their network's rate."""
    share = 2 * (num_workers - 1) / num_workers
    return share * 8 * num_bytes / (1e9 * gigabits)


def synchronous_seconds(
    seconds: Sequence[float],
    learners_per_step: int,
    num_workers: int,
    reduce_seconds: float,
    num_outer_steps: int = 1000,
) -> float:
    """Mean seconds of an outer step whose learners are shared out: all workers wait for
    the slowest.

    Args:
      seconds: that one meta-gradient of each kind of learner takes; kinds are gone
        through in random order.
      learners_per_step: K, num_workers or more; worker r has r, r + num_workers, ...
    """
    generator = np.random.default_rng(0)
    count = num_outer_steps * learners_per_step
    rounds = [
        generator.permutation(np.asarray(seconds, float))
        for _ in range(-(-count // len(seconds)))
    ]
    drawn = np.concatenate(rounds)[:count].reshape(num_outer_steps, -1)
    shares = [drawn[:, r::num_workers].sum(1) for r in range(num_workers)]
    return float(np.max(shares, 0).mean() + reduce_seconds)


def makespan(seconds: Iterable[float], num_workers: int) -> float:
    """Seconds until the last of these is done, each given to the first free worker."""
    free = [0.0] * num_workers
    for own in seconds:
        heapq.heappush(free, heapq.heappop(free) + own)
    return max(free)
