"""A run that is trained and measured once, and known from its record after that.

WORKDIR/record.json has what was measured, and what was asked for: a run that is asked
for more outer steps, seconds or learners is measured again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from gtn_tf.errors import Diverged
from gtn_tf.runs import files, meta_training, run_setup, workdirs
from gtn_tf.runs.config import TrainingConfig


def once(
    config: TrainingConfig,
    label: dict,
    measure: Callable,
    observe: Callable | None = None,
) -> dict:
    """The record of the run in the configuration's workdir, made where there is none.

    Args:
      label: what tells the run from others; recorded with the rest.
      measure: trained run -> what to record.
      observe: as of `meta_training.meta_train`.

    Returns:
      What was measured, with "diverged": whether training has ended in that, which
      leaves nothing to measure.
    """
    folder = Path(config.workdir)
    workdirs.open_workdir(folder, config)
    path = folder / "record.json"
    asked = what_is_asked(config)
    if path.is_file():
        record = json.loads(path.read_text())
        if record.get("asked") == asked:
            return record
    name = ", ".join(f"{key} {value}" for key, value in label.items())
    print(f"{name}: {folder}", file=sys.stderr)
    setup = run_setup.prepare(config)
    try:
        trained = meta_training.meta_train(setup, folder, observe)
    except Diverged as error:
        print(f"{name}: {error}", file=sys.stderr)
        record = label | {"diverged": True, "asked": asked}
    else:
        found = measure(trained)
        record = label | {"diverged": False, "asked": asked} | found
    files.write_text_atomically(path, json.dumps(record) + "\n")
    return record


def what_is_asked(config: TrainingConfig) -> list:
    """The fields that may change between two calls, and make a record another one."""
    return [
        config.num_outer_steps,
        config.time_limit_seconds,
        config.num_test_learners,
    ]
