"""What studies compare: by name, the variants of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

from gtn_tf.networks.families import FAMILIES
from gtn_tf.runs.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Variants of one run.

    Attributes:
      split: "test" for a result; "validation" where a variant is to be chosen.
      variants: name -> fields that differ from the base run.
      unseen: families that every variant is measured on as well; where there are none,
        those that it leaves out, or else other widths of its first family.
      against: name -> the variant that it is compared with on unseen architectures.
      by_kind: a row of the table for each family that was left out, of the first
        variant without it, in place of one for each variant.
      sees_images: what the images are like is measured over meta-training too.
      reference: the variant that all others are compared with, learner by learner; ""
        for none.
    """

    split: str
    variants: dict[str, dict[str, Any]]
    unseen: tuple[str, ...] = ()
    against: dict[str, str] = dataclasses.field(default_factory=dict)
    by_kind: bool = False
    sees_images: bool = False
    reference: str = ""


REAL = {
    "teacher": "real",
    "labels": "hard",
    "adversarial_weight": 0.0,
    "warm_start_steps": 0,
}
_TEST_KINDS = ("residual", "transformer")  # that no variant of `kinds` trains with
_KINDS = [name for name, family in FAMILIES.items() if family.in_any]
_TRAINING_KINDS = [name for name in _KINDS if name not in _TEST_KINDS]


def _of_kinds(number: int) -> dict:
    """Learners of the first kinds, as many specs whatever the number of kinds."""
    seen = _TRAINING_KINDS[:number]
    return {
        "learner": "any",
        "num_learners": len(_TRAINING_KINDS),
        "leave_out": ",".join(name for name in _KINDS if name not in seen),
    }


# Name -> what is left out beside what the default run leaves out.
_BY_DEFAULT = TrainingConfig.leave_out.split(",")
_LEFT_OUT = {"default": {}} | {
    f"without {family}": {"leave_out": ",".join([*_BY_DEFAULT, family])}
    for family in _KINDS
    if family not in _BY_DEFAULT
}
_BASELINES = {
    "distillation": {"teacher": "distillation"},
    "real": REAL,
}

COMPARISONS = {
    # Section 3.2, Figure 1c; Figures 2a and 2b.
    "curricula": Comparison(
        "test",
        {
            "full": {},
            "shuffled_batch": {"curriculum": "shuffled_batch"},
            "all_shuffled": {"curriculum": "all_shuffled"},
            "none": {"curriculum": "none", "warm_start_steps": 0},
        }
        | _BASELINES,
    ),
    # Section 3.3, Figure 2.
    "sources": Comparison("test", {"gtn": {}} | _BASELINES),
    # Appendix F, Figure 4.
    "soft_labels": Comparison(
        "test",
        {
            "hard": {},
            "learned": {"labels": "learned"},
            "generated": {"labels": "generated"},
        },
    ),
    # Appendix I, Figures 9 and 10. A GAN has fresh latents: --curriculum=none.
    "adversarial": Comparison(
        "test",
        {
            "GTN": {},
            "GTN and GAN": {"adversarial_weight": 0.5},
            "GAN": {"adversarial_weight": 1.0},
        },
        sees_images=True,
    ),
    # How many kinds of learners it takes to teach kinds that were left out.
    "kinds": Comparison(
        "test",
        {"1 kind": _of_kinds(1), "2 kinds": _of_kinds(2), "4 kinds": _of_kinds(4)}
        | {"all kinds": _of_kinds(len(_TRAINING_KINDS))}
        | {"real": _of_kinds(len(_TRAINING_KINDS)) | REAL},
        unseen=_TEST_KINDS,
        against={
            name: "real" for name in ("1 kind", "2 kinds", "4 kinds", "all kinds")
        },
    ),
    # Every kind left out, one at a time of those that the default run trains with,
    # beside real data with rates learned with the same kinds.
    "left_out": Comparison(
        "test",
        {
            name + suffix: {"learner": "any"} | leave_out | own
            for name, leave_out in _LEFT_OUT.items()
            for suffix, own in (("", {}), (", real", REAL))
        },
        against={name: f"{name}, real" for name in _LEFT_OUT},
        by_kind=True,
    ),
    # Section 4 (future work) and section 2: a curriculum that responds to the learner,
    # and a loss that is learned.
    "closed_loop": Comparison(
        "test",
        {
            "open loop": {},
            "closed loop": {"teacher": "closed_loop"},
            "learned loss": {"inner_loss": "learned"},
            "closed loop, learned loss": {
                "teacher": "closed_loop",
                "inner_loss": "learned",
            },
        },
        reference="open loop",
    ),
    # Whether products of bfloat16 numbers, which --precision=auto takes, cost accuracy.
    "precision": Comparison(
        "validation",
        {"float32": {"precision": "float32"}, "bfloat16": {"precision": "bfloat16"}},
        reference="float32",
    ),
    # What the paper leaves open, one change of the defaults at a time.
    "recipe": Comparison(
        "validation",
        {
            "defaults": {},
            "shared rates": {"inner_hyperparameters": "shared"},
            "last loss only": {"intermediate_loss_every": 0},
            "every fifth loss": {"intermediate_loss_every": 5},
            "one learner": {"learner": "digits:64-128-128", "vary": "none"},
            "SGD": {"inner_optimizer": "sgd", "inner_learning_rate": 0.1},
            "center-only batch norm": {
                "normalization": "center",
                "vary": "weight_norm,activation,initializer",
            },
            "no decay": {"outer_decay": 1.0},
            "no clipping": {"clip_norm": 0.0},
            "tanh to 1": {"generator_output_scale": 1.0},
        },
    ),
}

# What bin/study can do, by name; for the last three see `estimators`, `policies` and
# `tuning`.
STUDIES = (*COMPARISONS, "estimators", "policies", "weight_norm")
