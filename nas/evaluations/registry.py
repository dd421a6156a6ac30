"""Proxies: a few steps in place of real training, and the evaluations by name.

The proxy evaluation of the paper is `teacher`: a learner's accuracy on real validation
data after the few steps on generated data (sections 2 and 3.4).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

from gtn_tf.errors import UserError
from nas.evaluations import real_training, zero_cost
from nas.evaluations.base import Result, Setting, accuracy, judge
from nas.spaces.nao import ArchitectureSpec
from nas.spaces.operations import Style

_LEARNER = Style(weight_norm=True)  # of all that train in few steps (A.2)


def teacher(setting: Setting, spec: ArchitectureSpec, seed: int) -> Result:
    """Validation accuracy after the teacher's T steps, weight-normalized (A.2).

    Raises:
      UserError: no teacher, or one for other images or classes.
    """
    if setting.teacher is None:
        raise UserError("--evaluation=teacher needs a teacher: give --teacher=FOLDER")

    def score(model):
        # At the learned rates: trials of others would take several times as long.
        taught = setting.teacher.teach(model, seed, rate_scale=1.0)
        return accuracy(setting, taught, setting.few_images)

    return judge(lambda: setting.network(spec, seed, _LEARNER), score)


def real_steps(setting: Setting, spec: ArchitectureSpec, seed: int) -> Result:
    """Validation accuracy after as many steps on real data."""
    return _few_real_steps(setting, spec, seed)[0]


def sum_of_losses(setting: Setting, spec: ArchitectureSpec, seed: int) -> Result:
    """Minus the sum of the training losses of these steps (Ru et al., 2021)."""
    result, total = _few_real_steps(setting, spec, seed)
    diverged = not math.isfinite(total)
    return result._replace(score=-1e9 if diverged else -total, diverged=diverged)


def early_stopped(setting: Setting, spec: ArchitectureSpec, seed: int) -> Result:
    """Validation accuracy of the search evaluation's first epochs."""

    def score(model):
        num_steps = real_training.count_steps(setting, setting.early_epochs)
        real_training.train(setting, model, setting.procedure, num_steps, seed)
        return accuracy(setting, model, setting.few_images)

    return judge(lambda: setting.network(spec, seed), score)


@functools.lru_cache(maxsize=1)
def _few_real_steps(
    setting: Setting, spec: ArchitectureSpec, seed: int
) -> tuple[Result, float]:
    """Accuracy, and the sum of the losses: trained once for the two proxies."""
    procedure = setting.procedure
    steps_per_epoch = real_training.count_steps(setting, 1)
    few = dataclasses.replace(procedure, num_epochs=setting.num_steps / steps_per_epoch)
    losses = []

    def score(model):
        losses.append(real_training.train(setting, model, few, setting.num_steps, seed))
        return accuracy(setting, model, setting.few_images)

    result = judge(lambda: setting.network(spec, seed, _LEARNER), score)
    return result, losses[0].total


# Name -> (setting, spec, seed) -> Result.
EVALUATIONS: dict[str, Callable[[Setting, ArchitectureSpec, int], Result]] = {
    "teacher": teacher,
    "real_steps": real_steps,
    "sum_of_losses": sum_of_losses,
    "early_stopped": early_stopped,
    "params": zero_cost.params,
    "flops": zero_cost.flops,
    "naswot": zero_cost.naswot,
    "synflow": zero_cost.synflow,
    "grad_norm": zero_cost.grad_norm,
    "search": real_training.search_evaluation,
    "final": real_training.final_evaluation,
}
