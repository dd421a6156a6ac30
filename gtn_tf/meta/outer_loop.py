"""The outer loop: Adam on the teacher and the inner hyperparameters.

    gradient = mean over K learners of d meta_loss / d (teacher, hyperparameters), as
               `estimators` has it, each clipped by its global norm
    variables = Adam(gradient), its rate decayed along a cosine

`train` knows cadence, stopping and what to call; how to validate, save and write is
handed to it.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.meta.adversary import Adversary
from gtn_tf.meta.estimators import BACKPROPAGATION, Estimator
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.meta.replicas import ONE_REPLICA, Part, Replicas
from gtn_tf.networks import learners
from gtn_tf.networks.stateless import StatelessModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class OuterOptimizerSpec:
    """Adam's values (Tables 2 and 3) and decay.

    Attributes:
      final_fraction: of the learning rate at the end of the cosine; 1: no decay.
    """

    learning_rate: float
    final_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float


class _Schedule(keras.optimizers.schedules.CosineDecay):
    """Cosine decay, times a variable factor."""

    def __init__(self, factor: tf.Variable, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._factor = factor

    def __call__(self, step):
        return self._factor * super().__call__(step)


def build_optimizer(
    spec: OuterOptimizerSpec,
    num_outer_steps: int,
    variables,
    rate_factor: tf.Variable | None = None,
):
    """Keras' Adam with cosine decay over `num_outer_steps`, slots made.

    Args:
      rate_factor: what the decayed rate is multiplied by; None: 1.
    """
    factor = tf.Variable(1.0) if rate_factor is None else rate_factor
    schedule = _Schedule(
        factor, spec.learning_rate, num_outer_steps, alpha=spec.final_fraction
    )
    optimizer = keras.optimizers.Adam(
        schedule, beta_1=spec.beta_1, beta_2=spec.beta_2, epsilon=spec.epsilon
    )
    optimizer.build(variables)
    return optimizer


class StepResult(NamedTuple):
    """What one outer step tells: scalars."""

    meta_loss: tf.Tensor  # of the trained learner, on real training data
    intermediate_loss: tf.Tensor  # mean over the L intermediate losses, or 0
    gradient_norm: tf.Tensor  # before clipping


# Of clip_norm. Gradients of larger norm come from training that the smallest change of
# its data throws elsewhere: they point nowhere, and count less the larger they are.
_CHAOTIC = 100.0


@dataclasses.dataclass(eq=False)
class OuterStep:
    """One outer step over one or several learners, each kind compiled once.

    Each replica computes its meta-gradients one after the other, in the memory of one.
    Kinds of networks have gradients of different sizes, by factors of ten and more;
    each is clipped before they are averaged, so that no kind outweighs the others.

    Attributes:
      problem: what is learned and how it is scored.
      specs: the predefined set of learners.
      optimizer: from `build_optimizer`, for the variables of `problem`.
      clip_norm: of each learner's meta-gradient over all variables; 0: not clipped.
      memory_policy: how memory is spent.
      learners_per_step: K.
      replicas: what the K learners are shared out among.
      estimator: of each learner's meta-gradient.
      adversary: a second term of the outer loss, or None.
      compiled: what `trace` made of learners so far; the others follow when drawn.
    """

    problem: MetaProblem
    specs: list[learners.LearnerSpec]
    optimizer: keras.optimizers.Optimizer
    clip_norm: float
    memory_policy: MemoryPolicy
    learners_per_step: int = 1
    replicas: Replicas = ONE_REPLICA
    estimator: Estimator = BACKPROPAGATION
    adversary: Adversary | None = None
    compiled: dict[learners.LearnerSpec, Callable] = dataclasses.field(
        default_factory=dict
    )

    def __post_init__(self):
        self._update = tf.function(self._apply, autograph=False)

    @property
    def num_compiled(self) -> int:
        """Programs traced so far: one for each spec that has been drawn."""
        return len(self.compiled)

    def __call__(self, outer_step: int, seed: int) -> StepResult:
        """Trains the step's learners, and moves the variables by one step of Adam.

        The variables stay as they are where a meta-loss or gradient is not finite.
        """
        own_seed = tf.constant([seed, outer_step])
        parts = [
            functools.partial(self._part, spec, own_seed, index)
            for index, spec in enumerate(self.drawn(outer_step, seed))
        ]
        told, sums = self.replicas.add_up(parts)
        means = StepResult(*map(tf.reduce_mean, zip(*told, strict=True)))
        is_finite = tf.math.is_finite(means.meta_loss + means.gradient_norm)
        self._update(sums, own_seed, is_finite)
        return means

    def drawn(self, outer_step: int, seed: int) -> list[learners.LearnerSpec]:
        """The learners of an outer step: the set is gone through in random order, and
        again in another, so that none waits long."""
        num_specs = len(self.specs)
        first = outer_step * self.learners_per_step
        rounds, places = np.divmod(
            np.arange(first, first + self.learners_per_step), num_specs
        )
        return [
            self.specs[np.random.default_rng([seed, r]).permutation(num_specs)[place]]
            for r, place in zip(rounds, places, strict=True)
        ]

    def _part(self, spec: learners.LearnerSpec, seed: tf.Tensor, index: int) -> Part:
        """What trains and scores the step's learner of this index, compiled."""
        if index:
            seed = tf.random.experimental.stateless_fold_in(seed, index)
        return functools.partial(self._meta_gradient(spec), seed)

    def _meta_gradient(self, spec: learners.LearnerSpec) -> Callable:
        """seed [2] -> StepResult, clipped gradients."""
        if spec not in self.compiled:
            self.compiled[spec] = self._compile(spec)
        return self.compiled[spec]

    def _compile(self, spec: learners.LearnerSpec) -> Callable:
        policy = self.memory_policy
        return trace(self.problem, spec, self.clip_norm, policy, self.estimator)

    def _apply(self, sums, seed, finite) -> None:
        gradients = [total / self.learners_per_step for total in sums]
        if self.adversary is not None:
            gradients = self.adversary.added(seed, gradients, self.problem.variables)

        def update():
            self.optimizer.apply(gradients, self.problem.variables)
            return True

        tf.cond(finite, update, lambda: False)


def trace(
    problem: MetaProblem,
    spec: learners.LearnerSpec,
    clip_norm: float,
    memory_policy: MemoryPolicy,
    estimator: Estimator = BACKPROPAGATION,
) -> tf.types.experimental.ConcreteFunction:
    """One kind's meta-gradient, compiled: seed [2] -> StepResult, clipped gradients."""
    learner = StatelessModel(learners.build_model(spec))
    num_batches = problem.num_intermediate_losses + 1

    def outer_step(seed):
        seeds = tf.unstack(tf.random.split(seed, 3), num=3)
        meta_loss, intermediate_loss, gradients = estimator(
            problem,
            learner,
            problem.begin(learner, seeds[1]),
            seeds[2],
            problem.objective.sample(num_batches, seeds[0]),
            memory_policy,
        )
        gradients, norm = clipped(gradients, clip_norm)
        return StepResult(meta_loss, intermediate_loss, norm), gradients

    return tf.function(outer_step, autograph=False).get_concrete_function(
        tf.TensorSpec([2], tf.int32)
    )


def clipped(gradients: list, clip_norm: float) -> tuple[list, tf.Tensor]:
    """Gradients of at most this norm over all, less where theirs is chaotic, and the
    norm that they had.

    Args:
      clip_norm: 0: they are left as they are.
    """
    norm = tf.linalg.global_norm(gradients)
    if clip_norm:
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, norm)
        trust = tf.minimum(1.0, _CHAOTIC * clip_norm / norm)
        gradients = [gradient * trust for gradient in gradients]
    return gradients, norm


class Progress(NamedTuple):
    """Where a run stands; saved with its variables."""

    outer_step: int
    seconds: float  # of training, earlier parts of a continued run included


def train(
    step: Callable[[int], StepResult],
    start: Progress,
    num_outer_steps: int,
    time_limit_seconds: float,
    on_step: Callable[[Progress, StepResult], None],
    should_stop: Callable[[], bool] = lambda: False,
    replicas: Replicas = ONE_REPLICA,
) -> Progress:
    """Outer steps until their number or the time is reached.

    Args:
      step: outer step number, from 0 -> StepResult.
      time_limit_seconds: of training, `start.seconds` included; 0: none.
      on_step: called after each step with the progress that includes it.
      should_stop: asked before each step.
      replicas: if one stops, all do.
    """
    progress = start
    began = time.perf_counter() - start.seconds
    while progress.outer_step < num_outer_steps:
        late = 0 < time_limit_seconds <= progress.seconds
        if replicas.any(late or should_stop()):
            break
        result = StepResult(*(float(value) for value in step(progress.outer_step)))
        seconds = time.perf_counter() - began
        progress = Progress(progress.outer_step + 1, seconds)
        on_step(progress, result)
    return progress
