"""Proxies: a few steps in place of real training.

The proxy evaluation of the paper is `teacher`: a learner's accuracy on real validation
data after the few steps on generated data (sections 2 and 3.4). Here its score is

    accuracy + weight (log(num_classes) - early loss)

since of two networks that end alike, the one that has learned faster is more often the
better one. The early loss is the mean over the second half of the first T / 4 steps.
With a weight of 0, the score is the paper's.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from gtn_tf.errors import UserError
from gtn_tf.networks.initial_weights import initialize
from nas.evaluations import real_training, shared_weights
from nas.evaluations.base import (
    Context,
    Result,
    accuracy,
    accuracy_measure,
    timed_result,
)
from nas.evaluations.dismissal import early_loss
from nas.spaces.base import Build
from nas.spaces.operations import Style

LEARNER = Style(weight_norm=True)  # of all that train in few steps (A.2)


def teacher(context: Context, build: Build, seed: int) -> Result:
    """Validation accuracy after the teacher's T steps, weight-normalized (A.2), and the
    early loss as it is weighed; the mean over networks of seeds `seed`, `seed` + 1, ...
    Of a search that dismisses early, the first network decides for all (see
    `dismissal`).

    Raises:
      UserError: no teacher, or one for other images or classes.
    """
    if context.teacher is None:
        raise UserError("--evaluation=teacher needs a teacher: give --teacher=FOLDER")
    dismissal, weight = context.dismissal, context.early_loss_weight
    early = []  # the loss that decides, then whether the network is behind
    accuracies, gains = [], []

    def goes_on(losses):
        if dismissal and not early and len(losses) == dismissal.after:
            loss = early_loss(losses, dismissal.after)
            early.extend((loss, dismissal.is_behind(loss)))
        return not any(early[1:])

    def score(model):
        # At the learned rates: trials of others would take several times as long.
        trainer = context.teacher.trainer(model, seed)
        for index in range(context.num_networks):
            if index:  # the first has its weights
                initialize(model, seed + index)
            shared_weights.give(context.shared_weights, model)
            losses = trainer.train(goes_on=goes_on)
            if any(early[1:]):
                return -early[0]
            if not index:
                measure = accuracy_measure(context, model, context.scoring_split)
            accuracies.append(measure())
            gains.append(_early_gain(context, losses) if weight else 0.0)
        return np.mean(accuracies) + weight * np.mean(gains)

    worst = -1e9 if dismissal or weight else 0.0  # below all others
    result = timed_result(build, seed, score, worst, style=LEARNER)
    if weight and not result.diverged and not any(early[1:]):
        result = result._replace(accuracy=float(np.mean(accuracies)))
    if not early:
        return result
    loss, is_behind = early
    finite = loss if math.isfinite(loss) else None
    return result._replace(dismissed=is_behind, early_loss=finite)


def _early_gain(context: Context, losses: list[float]) -> float:
    """How far the early loss is below that of a guess."""
    after = max(1, len(losses) // 4)
    return math.log(context.dataset.num_classes) - early_loss(losses, after)


def real_steps(context: Context, build: Build, seed: int) -> Result:
    """Validation accuracy after as many steps on real data."""
    return _few_real_steps(context, build, seed)[0]


def sum_of_losses(context: Context, build: Build, seed: int) -> Result:
    """Minus the sum of the training losses of these steps (Ru et al., 2021)."""
    result, total = _few_real_steps(context, build, seed)
    diverged = not math.isfinite(total)
    return result._replace(score=-1e9 if diverged else -total, diverged=diverged)


def early_stopped(context: Context, build: Build, seed: int) -> Result:
    """Validation accuracy of the search evaluation's first epochs."""

    def score(model):
        num_steps = real_training.count_steps(context, context.early_epochs)
        real_training.train(context, model, context.procedure, num_steps, seed)
        return accuracy(context, model, context.scoring_split)

    return timed_result(build, seed, score)


def _few_real_steps(context: Context, build: Build, seed: int) -> tuple[Result, float]:
    """Accuracy, and the sum of the losses."""
    procedure = context.procedure
    steps_per_epoch = real_training.count_steps(context, 1)
    few = dataclasses.replace(procedure, num_epochs=context.num_steps / steps_per_epoch)
    losses = []

    def score(model):
        losses.append(real_training.train(context, model, few, context.num_steps, seed))
        return accuracy(context, model, context.scoring_split)

    result = timed_result(build, seed, score, style=LEARNER)
    return result, losses[0].total
