"""Studies: what the paper compares, and what it leaves open.

    bin/study --study=curricula --num_seeds=5 [flags of bin/train]

Each writes a table and figures into its folder, and goes on where it was when it is
started again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from gtn_tf.commands import train
from gtn_tf.networks.families import FAMILIES
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.fields import field
from gtn_tf.studies import comparisons, tuning
from gtn_tf.studies.comparisons import Comparison

REAL = {"teacher": "real", "warm_start_steps": 0}
_TEST_KINDS = ("residual", "transformer")  # that no variant of `kinds` trains with
_TRAINING_KINDS = [name for name in FAMILIES if name not in _TEST_KINDS]


def _of_kinds(number: int) -> dict:
    """Learners of the first kinds, as many specs whatever the number of kinds."""
    seen = _TRAINING_KINDS[:number]
    return {
        "learner": "any",
        "num_learners": len(_TRAINING_KINDS),
        "leave_out": ",".join(name for name in FAMILIES if name not in seen),
    }


# Name -> what is left out beside what the default run leaves out.
_LEFT_OUT = {"default": {}} | {
    f"without {family}": {"leave_out": ",".join([*TrainingConfig().left_out, family])}
    for family in FAMILIES
    if family not in TrainingConfig().left_out
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


def _compare(config: StudyConfig, folder: Path) -> str:
    comparison = COMPARISONS[config.study]
    return comparisons.run(comparison, config.base(), folder, config.num_seeds)


def _tune(config: StudyConfig, folder: Path) -> str:
    return tuning.run(config.base(), folder, config.num_trials)


# (config, folder) -> the table.
STUDIES: dict[str, Callable] = dict.fromkeys(COMPARISONS, _compare) | {
    "weight_norm": _tune
}


@dataclasses.dataclass(frozen=True)
class StudyConfig(TrainingConfig):
    """A study, and the run whose variants it compares."""

    study: str = field("curricula", "what is compared", choices=tuple(STUDIES))
    num_seeds: int = field(
        5, "runs of each variant, with seeds 0, 1, ...", low=1, high=1000
    )
    num_trials: int = field(
        20, "of the weight_norm study, with and without each", low=1, high=10_000
    )
    num_test_learners: int = field(
        5,
        "fresh learners of each run; comparisons follow each step by step",
        low=2,
        high=10_000,
        may_change=True,
    )

    @property
    def run_folder(self) -> str:
        """The workdir, or runs/DATASET-STUDY."""
        return self.workdir or f"runs/{self.dataset.replace('/', '_')}-{self.study}"

    def base(self) -> TrainingConfig:
        """The run that is varied."""
        names = [f.name for f in dataclasses.fields(TrainingConfig)]
        return TrainingConfig(**{name: getattr(self, name) for name in names})


def run(config: StudyConfig) -> None:
    """Runs what has not been run, and prints the table.

    Raises:
      ValueError: a run that cannot be, before the first has begun.
    """
    train.check(config.base())
    print(STUDIES[config.study](config, Path(config.run_folder).expanduser()))
