"""Evaluations by name."""

from __future__ import annotations

from collections.abc import Callable

from nas.evaluations import few_steps, real_training, saliencies, zero_cost
from nas.evaluations.base import Context, Result
from nas.spaces.base import Build

# Name -> (context, build, seed) -> Result.
EVALUATIONS: dict[str, Callable[[Context, Build, int], Result]] = {
    "teacher": few_steps.teacher,
    "real_steps": few_steps.real_steps,
    "sum_of_losses": few_steps.sum_of_losses,
    "early_stopped": few_steps.early_stopped,
    "params": zero_cost.params,
    "flops": zero_cost.flops,
    "naswot": zero_cost.naswot,
    "synflow": zero_cost.synflow,
    "jacov": zero_cost.jacov,
    "swap": zero_cost.swap,
    "l2_norm": saliencies.l2_norm,
    "grad_norm": saliencies.grad_norm,
    "snip": saliencies.snip,
    "fisher": saliencies.fisher,
    "zico": saliencies.zico,
    "search": real_training.search_evaluation,
    "final": real_training.final_evaluation,
}
