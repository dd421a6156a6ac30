"""Studies: what the paper compares, and what it leaves open.

    bin/study --study=curricula --num_seeds=5 [flags of bin/train]

Each writes a table and figures into its folder, and goes on where it was when it is
started again.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from gtn_tf.commands.configs import StudyConfig
from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.runs import run_setup, workdirs
from gtn_tf.studies import comparisons, estimators, policies, tuning
from gtn_tf.studies.catalog import COMPARISONS


def _compare(config: StudyConfig, folder: Path) -> str:
    comparison = COMPARISONS[config.study]
    return comparisons.run(comparison, config.base(), folder, config.num_seeds)


def _tune(config: StudyConfig, folder: Path) -> str:
    return tuning.run(config.base(), folder, config.num_trials)


def _estimate(config: StudyConfig, folder: Path) -> str:
    budget = estimators.Budget(
        config.num_estimates, config.training_seconds, config.num_seeds
    )
    return estimators.run(config.base(), folder, budget)


def _teach_policies(config: StudyConfig, folder: Path) -> str:
    return policies.run(config.base(), folder, config.num_seeds)


# Those that are no comparisons.
_STUDIES = {
    "estimators": _estimate,
    "policies": _teach_policies,
    "weight_norm": _tune,
}


def run(config: StudyConfig) -> None:
    """Runs what has not been run, and prints the table.

    Raises:
      UserError: a run or a study of it that cannot be, before the first has begun; a
        folder that holds a study with other flags.
    """
    if dataset_flags.environment(config.dataset) and config.study != "policies":
        raise UserError(
            f"--study={config.study} is of images, and --dataset={config.dataset} is "
            "an environment: give --study=policies, or a data set of images"
        )
    run_setup.prepare(config.base())
    folder = Path(config.run_folder).expanduser()
    workdirs.open_workdir(folder, config)
    print(_STUDIES.get(config.study, _compare)(config, folder))


def next_steps(config: StudyConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    folder = shlex.quote(config.run_folder)
    more = "num_trials" if config.study == "weight_norm" else "num_seeds"
    return [
        f"look at the figures in {folder}",
        f"the same command with --{more}={2 * getattr(config, more)}, which adds runs",
    ]
