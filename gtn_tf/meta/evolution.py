"""Evolution strategies: the meta-gradient from losses alone, without a way back.

What is estimated is the gradient of a smoothed objective, the mean of the losses where
the meta-parameters theta (the teacher's variables and the inner hyperparameters) are
moved by Gaussian noise of standard deviation sigma. It differs from the gradient at
theta itself by what the noise averages out, of the order of sigma^2.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.meta import meta_gradients
from gtn_tf.meta.estimators import Estimate
from gtn_tf.meta.truncated_windows import length_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvolutionStrategies:
    """Antithetic pairs, each perturbed anew in each of M truncations.

        e_(p, k) ~ normal(0, 1),    theta_(p, k) = theta + or - sigma e_(p, k)
        slope_(p, k) = (losses of truncation k with + less those with -) / (2 sigma)
        gradient = mean over p of sum over k of slope_(p, k) sum over j <= k of e_(p, j)

    Both learners of a pair have the same initial weights and are shown the same data.
    With one truncation of T steps this is antithetic evolution strategies: unbiased for
    the gradient of the smoothed objective. It costs 2 num_pairs trainings forward and
    the memory of one inner step. The noise grows with the number of variables: one
    pair's estimate is about sqrt(number of variables) times as long as the gradient.

    The losses that it tells are means over the perturbed learners.

    Attributes:
      sigma: standard deviation of the perturbation of each variable, as it is kept
        (rates and momenta as logarithms and logits).
      num_pairs: of one estimate.
      truncation_length: inner steps with one perturbation; None: all.
    """

    sigma: float
    num_pairs: int
    truncation_length: int | None = None

    @classmethod
    def of_run(cls, config) -> EvolutionStrategies:
        """Of --es_sigma and --es_pairs.

        Raises:
          UserError: activations are to be computed again, and none are needed.
        """
        refuse_recomputation(config)
        return cls(sigma=config.es_sigma, num_pairs=config.es_pairs)

    def num_differentiated(self, num_inner_steps: int) -> int:
        """None."""
        return 0

    def __call__(self, problem, learner, state, seed, outer_batches, memory_policy):
        """As of `Estimator`; `memory_policy` is not read."""
        noise = Noise(problem.variables, self.sigma, seed)

        def train(particle):
            return self._train(
                problem, learner, state, seed, outer_batches, noise, particle
            )

        num_truncations = self._num_truncations(problem)
        dtype = state.params.dtype
        losses, meta_losses = tf.map_fn(
            train,
            tf.range(2 * self.num_pairs),
            parallel_iterations=1,  # in the memory of one
            fn_output_signature=(
                tf.TensorSpec([num_truncations], dtype),
                tf.TensorSpec([], dtype),
            ),
        )  # [particles, M], [particles]
        slopes = (losses[0::2] - losses[1::2]) / (2 * self.sigma)  # [pairs, M]
        # The noise of truncation j counts for the losses of that and later ones.
        weights = tf.cumsum(slopes, axis=1, reverse=True) / self.num_pairs
        meta_loss = tf.reduce_mean(meta_losses)
        total = tf.reduce_mean(tf.reduce_sum(losses, 1))
        count = max(problem.num_intermediate_losses, 1)
        return Estimate(
            meta_loss, (total - meta_loss) / count, noise.weighted_sum(weights)
        )

    def _num_truncations(self, problem) -> int:
        num_steps = problem.hyperparameters.num_inner_steps
        return -(-num_steps // (self.truncation_length or num_steps))

    def _train(self, problem, learner, state, seed, outer_batches, noise, particle):
        """Losses of each truncation [M], the meta-loss, of one perturbed learner."""
        num_steps = problem.hyperparameters.num_inner_steps
        length = self.truncation_length or num_steps
        num_truncations = self._num_truncations(problem)
        sign = 1 - 2 * (particle % 2)

        def truncation(k, state, losses):
            moved = problem.at(noise.moved(problem.variables, particle // 2, k, sign))
            lesson = meta_gradients.plan_lesson(moved, seed, outer_batches, num_steps)
            first, last = k * length, tf.minimum((k + 1) * length, num_steps)
            state, loss = meta_gradients.forward(
                moved, learner, state, lesson, first, last
            )
            own = tf.one_hot(k, num_truncations, dtype=loss.dtype)
            return k + 1, state, losses + own * loss

        _, state, losses = tf.while_loop(
            lambda k, *_: k < num_truncations,
            truncation,
            (tf.constant(0), state, tf.zeros([num_truncations], state.params.dtype)),
        )
        meta_loss = problem.score(learner, state, outer_batches, -1)
        if not problem.scores_every_step:
            last = tf.one_hot(num_truncations - 1, num_truncations, dtype=losses.dtype)
            losses += last * meta_loss
        return losses, meta_loss


class PersistentEvolutionStrategies(EvolutionStrategies):
    """PES (Vicol, Metz & Sohl-Dickstein, 2021): a new perturbation in each truncation.

    A truncation's losses are set against the sum of all perturbations so far, which is
    what makes short truncations unbiased: for the gradient of the objective smoothed
    by independent noise in each truncation. Where losses depend most on what came
    shortly before, their noise is less than that of one perturbation for all steps;
    where there is one loss, at the end, it is more.

    Here an outer step runs all truncations of its inner loop to the end with theta as
    it is, instead of changing theta after each: it costs as much as evolution
    strategies, and has neither a state between outer steps nor the error of a theta
    that moves within an inner loop.
    """

    @classmethod
    def of_run(cls, config) -> PersistentEvolutionStrategies:
        """Of --es_sigma, --es_pairs and --truncation_length.

        Raises:
          UserError: truncations longer than the inner loop, or recomputation.
        """
        refuse_recomputation(config)
        return cls(
            sigma=config.es_sigma,
            num_pairs=config.es_pairs,
            truncation_length=length_of(config, "truncation_length"),
        )


class Noise:
    """Gaussian perturbations of variables, drawn again wherever they are needed.

    Args:
      variables: what is perturbed.
      sigma: standard deviation of the perturbation.
      seed: int [2]; each pair and truncation has noise of its own.
    """

    def __init__(self, variables: list, sigma: float, seed: tf.Tensor):
        self._specs = [(tuple(v.shape), v.dtype) for v in variables]
        self._sigma = sigma
        self._seed = tf.random.experimental.stateless_fold_in(seed, 2)

    def unit(self, pair, truncation) -> list[tf.Tensor]:
        """Of variance 1, one tensor for each variable."""
        seed = tf.random.experimental.stateless_fold_in(self._seed, pair)
        seed = tf.random.experimental.stateless_fold_in(seed, truncation)
        seeds = tf.random.split(seed, len(self._specs))
        return [
            tf.random.stateless_normal(shape, seeds[index], dtype=dtype)
            for index, (shape, dtype) in enumerate(self._specs)
        ]

    def moved(self, variables: list, pair, truncation, sign) -> list[tf.Tensor]:
        """The variables' values and sign * sigma * noise."""
        unit = self.unit(pair, truncation)
        return [
            v + tf.cast(sign, v.dtype) * self._sigma * noise
            for v, noise in zip(variables, unit, strict=True)
        ]

    def weighted_sum(self, weights: tf.Tensor) -> list[tf.Tensor]:
        """The sum over pairs and truncations of weights [pairs, M] times unit noise."""
        num_pairs, num_truncations = weights.shape
        flat = tf.reshape(weights, [-1])

        def add(index, sums):
            unit = self.unit(index // num_truncations, index % num_truncations)
            return index + 1, [
                total + tf.cast(flat[index], noise.dtype) * noise
                for total, noise in zip(sums, unit, strict=True)
            ]

        zeros = [tf.zeros(shape, dtype) for shape, dtype in self._specs]
        end = num_pairs * num_truncations
        _, sums = tf.while_loop(lambda i, _: i < end, add, (tf.constant(0), zeros))
        return sums


def refuse_recomputation(config) -> None:
    """Refuses --recompute=always where nothing is kept that it could save.

    Raises:
      UserError: it is given.
    """
    if config.recompute == "always":
        raise UserError(
            f"--recompute=always contradicts --estimator={config.estimator}: there is "
            "no way back on which to compute activations again; drop one of the two"
        )
