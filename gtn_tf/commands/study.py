"""Studies: what the paper compares, and what it leaves open.

    bin/study --study=curricula --num_seeds=5 [flags of bin/train]

Each writes a table and figures into its folder, and goes on where it was when it is
started again.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from gtn_tf.commands import command_line
from gtn_tf.data import loaders
from gtn_tf.runs import run_setup, workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.fields import field
from gtn_tf.studies import comparisons, tuning
from gtn_tf.studies.catalog import COMPARISONS


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

    study: str = field("curricula", "What is compared.", group="study", choices=STUDIES)
    num_seeds: int = field(
        5,
        "Runs of each variant. Their seeds are 0, 1, ...",
        group="study",
        low=1,
        high=1000,
        may_change=True,
    )
    num_trials: int = field(
        20,
        "Trials of the weight_norm study: so many with it and so many without.",
        group="study",
        low=1,
        high=10_000,
        may_change=True,
    )
    num_test_learners: int = field(
        5,
        "Fresh learners of each run. Comparisons follow each of them step by step.",
        group="run",
        low=2,
        high=10_000,
        may_change=True,
    )

    @property
    def run_folder(self) -> str:
        """The workdir, or runs/DATASET-STUDY."""
        return self.workdir or f"runs/{loaders.short_name(self.dataset)}-{self.study}"

    def base(self) -> TrainingConfig:
        """The run that is varied."""
        names = [f.name for f in dataclasses.fields(TrainingConfig)]
        return TrainingConfig(**{name: getattr(self, name) for name in names})


def run(config: StudyConfig) -> None:
    """Runs what has not been run, and prints the table.

    Raises:
      UserError: a run that cannot be, before the first has begun; a folder that holds
        a study with other flags.
    """
    run_setup.prepare(config.base())
    folder = Path(config.run_folder).expanduser()
    workdirs.open_workdir(folder, config)
    print(STUDIES[config.study](config, folder))


def main() -> int:
    """The command line's exit code."""
    return command_line.run(StudyConfig, run, sys.argv)
