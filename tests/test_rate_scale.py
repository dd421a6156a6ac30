"""The scale of learned rates, chosen by trials."""

import math

import pytest

from gtn_tf.teaching import rate_scale


class Trials:
    """Losses by scale, and the scales that were tried."""

    def __init__(self, loss):
        self.loss, self.scales = loss, []

    def __call__(self, scale):
        self.scales.append(scale)
        return self.loss(scale)


def best_at(best):
    return Trials(lambda scale: abs(math.log2(scale / best)))


@pytest.mark.parametrize(
    "best, chosen, tried",
    [
        (1, 1, [1, 1 / 2, 2]),
        (1 / 2, 1 / 2, [1, 1 / 2, 1 / 4]),
        (1 / 4, 1 / 4, [1, 1 / 2, 1 / 4, 1 / 8]),
        (1 / 8, 1 / 8, [1, 1 / 2, 1 / 4, 1 / 8]),
        (1 / 1000, 1 / 8, [1, 1 / 2, 1 / 4, 1 / 8]),
        (2, 2, [1, 1 / 2, 2, 4]),
        (8, 8, [1, 1 / 2, 2, 4, 8]),
        (1000, 8, [1, 1 / 2, 2, 4, 8]),
    ],
)
def test_it_goes_on_while_the_loss_falls(best, chosen, tried):
    trials = best_at(best)
    assert rate_scale.choose(trials) == chosen
    assert trials.scales == tried
    assert 2 < len(trials.scales) <= 5


@pytest.mark.parametrize("diverged", [math.nan, math.inf])
def test_trials_that_diverge_are_not_chosen(diverged):
    trials = Trials(lambda scale: diverged if scale > 1 / 3 else 1 - scale)
    assert rate_scale.choose(trials) == 1 / 4
    trials = Trials(lambda scale: diverged if scale < 1 else -scale)
    assert rate_scale.choose(trials) == 8
    trials = Trials(lambda scale: diverged if scale > 3 else -scale)
    assert rate_scale.choose(trials) == 2
    assert trials.scales == [1, 1 / 2, 2, 4]


@pytest.mark.parametrize(
    "loss, tried",
    [
        (1.0, [1, 1 / 2, 2]),
        (math.nan, [1, 1 / 2, 1 / 4, 1 / 8]),
        (math.inf, [1, 1 / 2, 1 / 4, 1 / 8]),
    ],
)
def test_rates_stay_as_they_are_where_no_scale_is_better(loss, tried):
    trials = Trials(lambda scale: loss)
    assert rate_scale.choose(trials) == 1
    assert trials.scales == tried


@pytest.mark.parametrize(
    "losses, expected",
    [([5.0], 5), ([5.0, 3.0], 3), ([9, 8, 2.0], 2), ([9, 9, 1, 3.0], 2)],
)
def test_the_late_loss_is_of_the_last_third(losses, expected):
    assert rate_scale.late_loss(losses) == expected
