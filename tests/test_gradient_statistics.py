"""Variance and bias of gradient estimates, on samples whose truth is known."""

import itertools

import numpy as np
import pytest

from gtn_tf.studies import gradient_statistics

TRUTH = np.array([3.0, -4.0, 0.0, 0.0])  # of norm 5
GENERATOR = np.random.default_rng(0)


def samples(mean, spread, count=400):
    return mean + spread * GENERATOR.normal(size=[count, len(mean)])


def product_of_pairs(a, b):
    pairs = itertools.permutations(range(len(a)), 2)
    return np.mean([a[i] @ b[j] for i, j in pairs])


def test_products_are_those_of_different_rows():
    a, b = GENERATOR.normal(size=[2, 5, 3]) + 2
    found = gradient_statistics.describe(a, b)
    aa, ab, bb = (product_of_pairs(*pair) for pair in ((a, a), (a, b), (b, b)))
    assert found["projection"]["value"] == pytest.approx(ab / bb)
    assert found["cosine"]["value"] == pytest.approx(ab / np.sqrt(aa * bb))
    assert found["norm_ratio"]["value"] == pytest.approx(np.sqrt(aa / bb))
    variance = a.var(axis=0, ddof=1).sum() / bb
    assert found["relative_variance"] == pytest.approx(variance)
    norms = np.linalg.norm(a, axis=1)
    assert found["median_norm"] == pytest.approx(np.median(norms))
    assert found["largest_norm"] == pytest.approx(norms.max())
    # The interval, by leaving out one row after the other.
    left = []
    for row in range(5):
        own, other = np.delete(a, row, 0), np.delete(b, row, 0)
        left.append(product_of_pairs(own, other) / product_of_pairs(other, other))
    error = np.sqrt(4 / 5 * np.sum((left - np.mean(left)) ** 2))
    low, high = (found["projection"][end] for end in ("low", "high"))
    assert (low + high) / 2 == pytest.approx(ab / bb)
    assert (high - low) / 2 == pytest.approx(2.7764451 * error)  # t of 4 degrees


def test_the_reference_is_itself():
    reference = samples(TRUTH, 1.0)
    found = gradient_statistics.describe(reference, reference)
    for name in ("projection", "cosine", "norm_ratio"):
        own = found[name]
        np.testing.assert_allclose([own["value"], own["low"], own["high"]], 1)
    assert found["relative_variance"] == pytest.approx(4 / 25, rel=0.15)


def test_noise_is_no_bias():
    """Means of a thousandfold variance are as long as they are without it."""
    reference = samples(TRUTH, 0.1)
    found = gradient_statistics.describe(samples(TRUTH, 10.0), reference)
    assert found["relative_variance"] == pytest.approx(400 / 25, rel=0.15)
    for name in ("projection", "cosine", "norm_ratio"):
        own = found[name]
        assert own["low"] < 1 < own["high"]
        assert own["high"] - own["low"] < 1.5


def test_a_bias_is_seen():
    turned = 0.5 * np.array([3.0, -4.0, 5.0, 0.0])  # of half the length, by 45 degrees
    found = gradient_statistics.describe(samples(turned, 1.0), samples(TRUTH, 0.1))
    expected = {"projection": 0.5, "cosine": 0.5**0.5, "norm_ratio": 0.5**0.5}
    for name, value in expected.items():
        assert found[name]["low"] < value < found[name]["high"]
        assert found[name]["high"] - found[name]["low"] < 0.15


def test_what_noise_hides_is_not_told():
    noise = np.array([[5.0, 0, 0, 0], [-5, 0, 0, 0], [5, 0, 0, 0], [-5, 0, 0, 0]])
    found = gradient_statistics.describe(noise, samples(TRUTH, 0.1, count=4))
    assert found["cosine"] is found["norm_ratio"] is None
    assert found["projection"]["low"] < 0 < found["projection"]["high"]
