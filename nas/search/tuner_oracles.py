"""What proposes the trials of a tuner, and what a trial is scored by."""

from __future__ import annotations

import keras_tuner

from gtn_tf.errors import UserError
from nas.search.registry import TUNER_ORACLES

OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")
SECONDS = "seconds"  # a trial's other metric
# Where some architectures cannot be built, keras-tuner's 3 fail in a row by chance.
MAX_FAILURES_IN_A_ROW = 20


def build_oracle(name: str, max_trials: int, seed: int) -> keras_tuner.Oracle:
    """One of keras-tuner's oracles, which asks for the largest accuracy.

    Raises:
      UserError: no such name.
    """
    if name not in TUNER_ORACLES:
        raise UserError(
            f"oracle {name!r} is unknown: give {' or '.join(TUNER_ORACLES)}, or a "
            "keras_tuner.Oracle"
        )
    return TUNER_ORACLES[name](
        objective=OBJECTIVE,
        max_trials=max_trials,
        seed=seed + 1,  # keras-tuner takes 0 for no seed
        max_consecutive_failed_trials=MAX_FAILURES_IN_A_ROW,
    )


def check_objective(oracle: keras_tuner.Oracle) -> None:
    """Refuses an oracle that asks for anything else.

    Raises:
      UserError: with what to give it.
    """
    objective = oracle.objective
    wanted = (OBJECTIVE.name, OBJECTIVE.direction)
    if (objective.name, objective.direction) != wanted:
        raise UserError(
            f"the oracle has {objective}: give it objective=keras_tuner.Objective"
            f"{wanted}"
        )
