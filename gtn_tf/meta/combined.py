"""Backpropagation and evolution strategies, weighted by their variances."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.meta import meta_gradients
from gtn_tf.meta.estimators import Estimate
from gtn_tf.meta.evolution import Noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class CombinedEstimator:
    """Inverse-variance weighting, for each parameter (Metz et al., 2019).

        g_p = mean of the gradients by backpropagation at theta +- sigma e_p
        h_p = (loss at theta + sigma e_p - loss at theta - sigma e_p) e_p / (2 sigma)
        gradient = w mean(h_p) + (1 - w) mean(g_p),  w = var(g) / (var(g) + var(h))

    Both are unbiased for the objective smoothed by the noise, as in `evolution`. Their
    empirical variances over the pairs of one learner are taken from the same samples
    as the means, by which the combination is slightly biased for few pairs. Where
    backpropagation is not finite, evolution strategies count alone.

    It costs 2 num_pairs trainings forward and backward, and the memory of one. The
    losses that it tells are means over the perturbed learners.

    Attributes:
      sigma: as of `evolution.EvolutionStrategies`.
      num_pairs: two or more.
    """

    sigma: float
    num_pairs: int

    @classmethod
    def of_run(cls, config) -> CombinedEstimator:
        """Of --es_sigma and --es_pairs.

        Raises:
          UserError: one pair, which has no empirical variance.
        """
        if config.es_pairs < 2:
            raise UserError(
                f"--es_pairs={config.es_pairs} has no variance, by which "
                "--estimator=combined weights: give 2 or more"
            )
        return cls(sigma=config.es_sigma, num_pairs=config.es_pairs)

    def num_differentiated(self, num_inner_steps: int) -> int:
        """All."""
        return num_inner_steps

    def __call__(self, problem, learner, state, seed, outer_batches, memory_policy):
        """As of `Estimator`."""
        variables = problem.variables
        noise = Noise(variables, self.sigma, seed)
        dtype = state.params.dtype

        def differentiate(pair, sign):
            moved = problem.at(noise.moved(variables, pair, 0, sign))
            return meta_gradients.meta_gradient(
                moved, learner, state, seed, outer_batches, memory_policy
            )

        def add(pair, losses, backward, evolved):
            meta_losses, rests, gradients = tf.map_fn(
                lambda sign: differentiate(pair, sign),
                tf.constant([1, -1]),
                parallel_iterations=1,
                fn_output_signature=(dtype, dtype, [v.dtype for v in variables]),
            )
            totals = meta_losses + rests
            slope = (totals[0] - totals[1]) / (2 * self.sigma)
            unit = noise.unit(pair, 0)
            return (
                pair + 1,
                losses + tf.stack([tf.reduce_sum(meta_losses), tf.reduce_sum(rests)]),
                backward.add([tf.reduce_mean(g, 0) for g in gradients]),
                evolved.add([tf.cast(slope, e.dtype) * e for e in unit]),
            )

        start = (
            tf.constant(0),
            tf.zeros([2], dtype),
            Moments.zeros(variables),
            Moments.zeros(variables),
        )
        _, losses, backward, evolved = tf.while_loop(
            lambda pair, *_: pair < self.num_pairs, add, start
        )
        meta_loss, rest = tf.unstack(losses / (2 * self.num_pairs))
        count = max(problem.num_intermediate_losses, 1)
        return Estimate(meta_loss, rest / count, combine(backward, evolved))


class Moments(NamedTuple):
    """Of samples, one tensor for each variable (Welford's recursion).

    Attributes:
      count: of samples, a float.
      means: of the samples.
      squares: sums of squared deviations from the mean.
    """

    count: tf.Tensor
    means: list[tf.Tensor]
    squares: list[tf.Tensor]

    @classmethod
    def zeros(cls, variables: list) -> Moments:
        """Of no sample."""
        zeros = [tf.zeros(v.shape, v.dtype) for v in variables]
        return cls(tf.constant(0.0), zeros, zeros)

    def add(self, samples: list[tf.Tensor]) -> Moments:
        """With one more."""
        count = self.count + 1
        means, squares = [], []
        for x, mean, square in zip(samples, self.means, self.squares, strict=True):
            moved = mean + (x - mean) / tf.cast(count, x.dtype)
            means.append(moved)
            squares.append(square + (x - mean) * (x - moved))
        return Moments(count, means, squares)


def combine(backward: Moments, evolved: Moments) -> list[tf.Tensor]:
    """The means of both, weighted for each parameter."""
    combined = []
    for g, g_squares, h, h_squares in zip(*backward[1:], *evolved[1:], strict=True):
        weight = evolution_weight(g_squares, h_squares)
        # The product with a weight of 0 is 0, whatever the other factor is.
        combined.append(
            tf.math.multiply_no_nan(h, weight) + tf.math.multiply_no_nan(g, 1 - weight)
        )
    return combined


def evolution_weight(backward: tf.Tensor, evolved: tf.Tensor) -> tf.Tensor:
    """backward / (backward + evolved), of variances of the same shape.

    0 where that of backpropagation is 0 or the other is infinite; 1 where that of
    backpropagation is not finite.
    """
    ratio = evolved / backward  # 0 / 0 is not a number, and counts as infinite
    zero, one = tf.zeros_like(ratio), tf.ones_like(ratio)
    weight = tf.where(tf.math.is_nan(ratio), zero, one / (one + ratio))
    weight = tf.where(tf.math.is_finite(backward), weight, one)
    return tf.where(tf.math.is_finite(evolved), weight, zero)
