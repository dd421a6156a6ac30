"""Few-step accuracy: what a fresh learner knows after T steps with a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from gtn_tf.data.dataset import Split
from gtn_tf.evaluation.compiled_learner import CompiledLearner
from gtn_tf.meta.inner_loop import InnerState
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.meta.objectives import ACCURACY, Measured
from gtn_tf.networks import learners
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.teaching import rate_scale

_NOT_TRAINING = 1  # folded into seeds: no learner that the outer loop has seen


class Score(NamedTuple):
    """How a trained learner does on a split."""

    accuracy: float  # fraction right, 0 to 1
    loss: float  # mean of the outer loss


class Evaluator:
    """Trains fresh learners with a teacher and measures how well they do.

    Args:
      problem: the teacher and its inner hyperparameters.
      specs: the learners to draw from, hashable.
      build: spec -> Keras model with logits, whose batch norms keep the last batch's
        statistics in training.
      fits_rates: multiply the learned rates by a scale that is chosen for each
        architecture with its first learner, as `teach` does (see `rate_scale`).
    """

    def __init__(
        self,
        problem: MetaProblem,
        specs: list,
        build: Callable[..., keras.Model] = learners.build_model,
        fits_rates: bool = False,
    ):
        self.problem = problem
        self._specs = specs
        self._build = build
        self._fits_rates = fits_rates
        self._compiled: dict = {}
        self._scales: dict = {}

    def of(self, specs: list, fits_rates: bool) -> Evaluator:
        """One of other learners with the same teacher.

        What is compiled so far need not be compiled again; what it compiles itself goes
        with it, so that memory does not grow with the number of evaluators.
        """
        evaluator = Evaluator(self.problem, specs, self._build, fits_rates)
        evaluator._compiled.update(self._compiled)
        return evaluator

    def train(self, index: int, seed: int) -> tuple[StatelessModel, InnerState]:
        """The index-th fresh learner of this seed after T steps.

        Its architecture goes through the predefined set in turn; its weights and the
        data order come from (seed, index). Its batch norms have the mean of their
        statistics over the T batches, as `teach` leaves them in a user's model.
        """
        functions = self._functions(index)
        scale = self._rate_scale(index, seed)
        state, _ = functions.train(_fresh_seed(index, seed), tf.constant(scale))
        return functions.learner, state

    def _rate_scale(self, index: int, seed: int) -> float:
        if not self._fits_rates:
            return 1.0
        first = index % len(self._specs)
        if first not in self._scales:
            functions, own_seed = self._functions(first), _fresh_seed(first, seed)
            self._scales[first] = rate_scale.choose(
                lambda scale: float(functions.train(own_seed, tf.constant(scale))[1])
            )
        return self._scales[first]

    def score(self, split: Split, index: int, seed: int) -> Score:
        """The index-th fresh learner on a split, after T steps."""
        _, state = self.train(index, seed)
        return _score(self._functions(index), self.problem.objective, state, split)

    def accuracies(self, split: Split, num_learners: int, seed: int) -> list[float]:
        """Few-step accuracy of each of `num_learners` fresh learners."""
        return [
            self.score(split, index, seed).accuracy for index in range(num_learners)
        ]

    def curve(self, split: Split, index: int, seed: int) -> list[Score]:
        """The index-th fresh learner on a split, after 1, 2, ... T steps (Fig. 2b)."""
        functions = self._functions(index)
        state, shown = functions.begin(_fresh_seed(index, seed))
        scores = []
        for step in range(self.problem.hyperparameters.num_inner_steps):
            state, shown = functions.step(state, shown, tf.constant(step))
            settled = functions.settle(state, shown, tf.constant(step + 1))
            scores.append(_score(functions, self.problem.objective, settled, split))
        return scores

    def probabilities(self, split: Split, index: int, seed: int) -> np.ndarray:
        """What the index-th fresh learner says of a split after T steps, [N, K]."""
        learner, state = self.train(index, seed)
        model = learner.assign(state.params, state.batch_stats)
        objective = self.problem.objective
        chunks = [
            tf.nn.softmax(model(objective.normalize(images), training=False))
            for images, _ in objective.examples(split)
        ]
        return np.concatenate(chunks)

    def _functions(self, index: int) -> CompiledLearner:
        spec = self._specs[index % len(self._specs)]
        if spec not in self._compiled:
            self._compiled[spec] = CompiledLearner(self.problem, self._build(spec))
        return self._compiled[spec]


def _fresh_seed(index: int, seed: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in([seed, index], _NOT_TRAINING)


def _score(functions: CompiledLearner, objective, state: InnerState, split) -> Score:
    totals = np.zeros(3)
    for example in objective.examples(split):
        totals += functions.measure(state, example).numpy()
    return Score(float(totals[1] / totals[0]), float(totals[2] / totals[0]))


def summarize(values: list[float], seed: int) -> dict:
    """Mean and 95 % percentile bootstrap interval (n = 1,000, section 3).

    Args:
      values: one for each of at least two fresh learners.
    """
    if len(set(values)) == 1:  # every resample is the same: no interval to compute
        mean = low = high = values[0]
    else:
        interval = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=1000,
            confidence_level=0.95,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        mean, low, high = np.mean(values), interval.low, interval.high
    numbers = {"mean": float(mean), "low": float(low), "high": float(high)}
    return numbers | {"values": values}


def interval(values: list[float], measured: Measured = ACCURACY) -> str:
    """Mean and interval of `summarize` as text, in percent where it is accuracy."""
    summary = summarize(values, 0)
    mean, low, high = (
        measured.factor * summary[key] for key in ("mean", "low", "high")
    )
    return f"{mean:.2f}{measured.unit} ({low:.2f} to {high:.2f})"
