"""Variance and bias of gradient estimates against a reference, with intervals.

Estimates of one row belong together: the same learner and data. Products of means are
taken over pairs of different rows only,

    U(a, b) = mean over i != j of a_i . b_j

which is unbiased for E[a] . E[b], however large the noise; intervals are those of the
jackknife over rows.
"""

from __future__ import annotations

import numpy as np
from scipy import stats


def describe(estimates: np.ndarray, reference: np.ndarray) -> dict:
    """Statistics of estimates a and a reference b, both [samples, variables].

    Returns:
      relative_variance: the summed variance of one estimate / U(b, b).
      median_norm, largest_norm: of one estimate.
      projection: U(a, b) / U(b, b); 1 where nothing along b is missing.
      cosine: U(a, b) / sqrt(U(a, a) U(b, b)).
      norm_ratio: sqrt(U(a, a) / U(b, b)).

      Each of the last three is a dictionary of value, low and high (95 %), or None
      where the noise is larger than what it hides: some U(a, a) is not positive.
    """
    a, b = (values.astype(np.float64) for values in (estimates, reference))
    grams = np.stack([a @ a.T, a @ b.T, b @ b.T])
    products = pair_products(grams)  # [3, 1 + samples]: of all rows, and without each
    aa, ab, bb = products
    norms = np.linalg.norm(a, axis=1)
    values = {
        "relative_variance": float(a.var(axis=0, ddof=1).sum() / bb[0]),
        "median_norm": float(np.median(norms)),
        "largest_norm": float(norms.max()),
        "projection": _interval(ab / bb),
    }
    resolved = np.all(aa > 0) and np.all(bb > 0)
    if not resolved:
        return values | {"cosine": None, "norm_ratio": None}
    return values | {
        "cosine": _interval(ab / np.sqrt(aa * bb)),
        "norm_ratio": _interval(np.sqrt(aa / bb)),
    }


def pair_products(grams: np.ndarray) -> np.ndarray:
    """U of each matrix of products a_i . b_j: of all rows, then without each of them.

    Args:
      grams: [matrices, rows, rows].

    Returns:
      [matrices, 1 + rows].
    """
    count = grams.shape[1]
    off = grams * (1 - np.eye(count))
    total = off.sum((1, 2))
    without = total[:, None] - off.sum(1) - off.sum(2)  # [matrices, rows]
    whole = total / (count * (count - 1))
    return np.c_[whole, without / ((count - 1) * (count - 2))]


def _interval(values: np.ndarray) -> dict[str, float]:
    """95 % interval by the jackknife of a value, followed by those without each row."""
    value, without = values[0], values[1:]
    count = len(without)
    error = np.sqrt((count - 1) * np.var(without))
    width = stats.t.ppf(0.975, count - 1) * error
    return {
        "value": float(value),
        "low": float(value - width),
        "high": float(value + width),
    }
