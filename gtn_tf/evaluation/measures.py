"""What is measured of teachers side by side, one row for each fresh learner.

Sources are teachers of one data set and T, by name; the split is the same for all, and
so are the learners' initial weights, so that rows of two sources pair up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
from scipy import stats

from gtn_tf.data.dataset import Split
from gtn_tf.evaluation import unseen_architectures
from gtn_tf.evaluation.few_step import Evaluator
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.networks.learners import LearnerSpec
from gtn_tf.networks.stock_models import STOCK_MODELS

_FACTORS = (1, 2, 4, 8)


class Row(NamedTuple):
    """One accuracy."""

    measure: str  # a key of `registry.MEASURES`
    source: str  # which teacher
    condition: str  # an architecture, or a number of steps, learners or images
    learner: int  # which fresh learner
    accuracy: float  # 0 to 1


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is measured, and how often.

    Attributes:
      sources: name -> teacher with its learned rates.
      specs: the learners that it was trained with.
      num_learners: fresh learners for each mean.
      num_ensemble: learners of the largest ensemble.
    """

    sources: dict[str, MetaProblem]
    specs: list[LearnerSpec]
    split: Split
    num_learners: int
    num_ensemble: int
    seed: int


# Each measure comes in parts that can be gone through one after the other; nothing is
# computed before that.
Parts = Iterator[Iterator[Row]]


def inner_steps(setting: Setting) -> Parts:
    """Accuracy after each inner step (Figure 2b)."""
    for source, problem in setting.sources.items():
        yield _curves(source, problem, setting)


def _curves(source: str, problem: MetaProblem, setting: Setting) -> Iterator[Row]:
    evaluator = Evaluator(problem, setting.specs)
    for index in range(setting.num_learners):
        curve = evaluator.curve(setting.split, index, setting.seed)
        for step, score in enumerate(curve, start=1):
            yield Row("inner_steps", source, str(step), index, score.accuracy)


def architectures(setting: Setting) -> Parts:
    """Accuracy of the architectures trained with, and of held-out ones."""
    conditions = {"trained with": setting.specs} | {
        name: [spec] for name, spec in unseen_architectures.specs(setting.specs).items()
    }
    for name, specs in conditions.items():
        for source, problem in setting.sources.items():
            own = dataclasses.replace(setting, specs=specs)
            yield _accuracies("architectures", source, name, problem, own)


def stock_models(setting: Setting) -> Parts:
    """Accuracy of models of Keras' own layers, which no teacher has seen."""
    for name in STOCK_MODELS:
        for source, problem in setting.sources.items():
            yield _stock_accuracies(source, name, problem, setting)


def _stock_accuracies(source, name, problem, setting: Setting) -> Iterator[Row]:
    spec = problem.teacher.spec

    def build(name):
        model = STOCK_MODELS[name](spec.image_shape, spec.num_classes)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0  # the last batch's statistics
        return model

    evaluator = Evaluator(problem, [name], build, fits_rates=True)
    for index in range(setting.num_learners):
        score = evaluator.score(setting.split, index, setting.seed)
        yield Row("stock_models", source, name, index, score.accuracy)


def ensembles(setting: Setting) -> Parts:
    """Accuracy of the mean of 1, 2, 4, ... learners' probabilities (Figure 7)."""
    for source, problem in setting.sources.items():
        yield _growing_ensemble(source, problem, setting)


def _growing_ensemble(source: str, problem, setting: Setting) -> Iterator[Row]:
    """The first n learners together, and each of them alone."""
    evaluator = Evaluator(problem, setting.specs)
    labels = setting.split.labels
    total, size = 0.0, 1
    for index in range(setting.num_ensemble):
        probabilities = evaluator.probabilities(setting.split, index, setting.seed)
        alone = np.mean(probabilities.argmax(-1) == labels)
        yield Row("ensembles", source, "alone", index, float(alone))
        total = total + probabilities
        if index + 1 == size:
            together = np.mean(total.argmax(-1) == labels)
            yield Row("ensembles", source, str(size), 0, float(together))
            size *= 2


def batch_sizes(setting: Setting) -> Parts:
    """Accuracy with larger batches than meta-trained for (Figure 5a)."""
    for source, problem in _unlimited(setting).items():
        spec = problem.teacher.spec
        for factor in _FACTORS:
            size = factor * spec.inner_batch_size
            more = dataclasses.replace(
                problem, teacher=problem.teacher.resized(spec.num_inner_steps, size)
            )
            yield _accuracies("batch_sizes", source, str(size), more, setting)


def more_steps(setting: Setting) -> Parts:
    """Accuracy with more inner steps than meta-trained for, at the last step's rates
    (Figure 5b)."""
    for source, problem in _unlimited(setting).items():
        spec = problem.teacher.spec
        for factor in _FACTORS:
            num_steps = factor * spec.num_inner_steps
            more = dataclasses.replace(
                problem,
                teacher=problem.teacher.resized(num_steps, spec.inner_batch_size),
                hyperparameters=problem.hyperparameters.resized(num_steps),
            )
            yield _accuracies("more_steps", source, str(num_steps), more, setting)


def _unlimited(setting: Setting) -> dict[str, MetaProblem]:
    """The sources that have more data than one learner is shown."""
    sources = setting.sources.items()
    return {
        name: problem
        for name, problem in sources
        if not problem.teacher.has_fixed_batches
    }


def _accuracies(measure, source, condition, problem, setting) -> Iterator[Row]:
    fits_rates = measure == "architectures"
    evaluator = Evaluator(problem, setting.specs, fits_rates=fits_rates)
    for index in range(setting.num_learners):
        accuracy = evaluator.score(setting.split, index, setting.seed).accuracy
        yield Row(measure, source, condition, index, accuracy)


def p_value(values: list[float], others: list[float]) -> float:
    """Of Wilcoxon's signed-rank test on pairs: could both be equally good?"""
    if values == others:
        return 1.0
    return float(stats.wilcoxon(values, others).pvalue)
