"""Evaluations by name."""

from __future__ import annotations

from gtn_tf.registry import Registry

# Name -> (context, build, seed) -> `base.Result`.
EVALUATIONS = Registry(
    {
        "teacher": "nas.evaluations.few_steps:teacher",
        "real_steps": "nas.evaluations.few_steps:real_steps",
        "sum_of_losses": "nas.evaluations.few_steps:sum_of_losses",
        "early_stopped": "nas.evaluations.few_steps:early_stopped",
        "params": "nas.evaluations.zero_cost:params",
        "flops": "nas.evaluations.zero_cost:flops",
        "naswot": "nas.evaluations.zero_cost:naswot",
        "synflow": "nas.evaluations.zero_cost:synflow",
        "jacov": "nas.evaluations.zero_cost:jacov",
        "swap": "nas.evaluations.zero_cost:swap",
        "l2_norm": "nas.evaluations.saliencies:l2_norm",
        "grad_norm": "nas.evaluations.saliencies:grad_norm",
        "snip": "nas.evaluations.saliencies:snip",
        "fisher": "nas.evaluations.saliencies:fisher",
        "zico": "nas.evaluations.saliencies:zico",
        "search": "nas.evaluations.real_training:search_evaluation",
        "final": "nas.evaluations.real_training:final_evaluation",
    }
)
