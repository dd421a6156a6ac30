"""Estimates of what more learners and workers bring."""

import numpy as np
import pytest

from gtn_tf.studies import scaling


def products(seed, num_learners=40, signal=0.5, noise=2.0, size=300):
    generator = np.random.default_rng(seed)
    mean = np.full(size, np.sqrt(signal / size))
    own = mean + generator.normal(0, np.sqrt(noise / size), (num_learners, size))
    return own @ own.T


def test_the_noise_scale_of_known_gradients():
    found = [scaling.noise_scale(products(seed)) for seed in range(200)]
    signals = np.array([each.signal for each in found])
    noises = np.array([each.noise for each in found])
    assert signals.mean() == pytest.approx(0.5, abs=4 * signals.std() / 200**0.5)
    assert noises.mean() == pytest.approx(2.0, abs=4 * noises.std() / 200**0.5)
    errors = np.array([each.error for each in found])
    assert errors.mean() == pytest.approx(signals.std(), rel=0.15)
    low, high = found[0].range
    assert low < found[0].scale < high and low < 4 < high


def test_gradients_without_signal_have_no_finite_scale():
    found = scaling.noise_scale(np.eye(5))
    assert found.signal == 0 and found.noise == 1
    assert found.scale == found.range[1] == float("inf")


def test_workers_wait_for_the_slowest():
    kinds = [1.0, 3.0]
    assert scaling.synchronous_seconds(kinds, 1, 1, 0.0) == pytest.approx(2)
    assert scaling.synchronous_seconds(kinds, 2, 1, 0.0) == pytest.approx(4)
    # Both kinds are in every step, one for each worker.
    assert scaling.synchronous_seconds(kinds, 2, 2, 0.25) == pytest.approx(3.25)
    # Four learners for two workers: 2, 4 or 6 for a worker, the other has the rest.
    mean = scaling.synchronous_seconds(kinds, 4, 2, 0.0, 20_000)
    assert mean == pytest.approx(0.5 * 4 + 0.5 * 6, rel=0.01)


def test_a_ring_of_workers():
    assert scaling.all_reduce_seconds(10**9, 1, 8) == 0
    assert scaling.all_reduce_seconds(10**9, 2, 8) == pytest.approx(1)
    assert scaling.all_reduce_seconds(10**9, 4, 16) == pytest.approx(0.75)


def test_the_first_free_worker_takes_the_next():
    assert scaling.makespan([3, 1, 1, 2], 1) == 7
    assert scaling.makespan([3, 1, 1, 2], 2) == 4
    assert scaling.makespan([3, 1, 1, 2], 9) == 3
