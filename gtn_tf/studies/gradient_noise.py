"""How much learners' meta-gradients have in common, and how many of them pay."""

from __future__ import annotations

import sys
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.evaluation import tables
from gtn_tf.meta import outer_loop
from gtn_tf.runs.run_setup import RunSetup
from gtn_tf.studies import scaling
from gtn_tf.studies.scaling import NoiseScale

_NUMBERS = (1, 2, 4, 8, 16, 32, 64)
_GIGABITS = 10.0  # a second, of the network that is reckoned with


def measure(setup: RunSetup, num_learners: int) -> dict:
    """Meta-gradients of fresh learners at the teacher as it is, clipped as in training.

    Kinds take turns; each is traced once.

    Returns:
      For JSON: signal, noise, error of the `scaling.NoiseScale`; the seconds of one
      meta-gradient of each kind; the bytes of a gradient.
    """
    config, policy = setup.config, setup.memory_plan.policy
    compiled, gradients = [], []
    seconds: list[list[float]] = [[] for _ in setup.specs]
    bar = tqdm(range(num_learners), "gradients", unit="learner", file=sys.stderr)
    for index in bar:
        kind = index % len(setup.specs)
        if kind == len(compiled):
            compiled.append(
                outer_loop.trace(
                    setup.problem, setup.specs[kind], config.clip_norm, policy
                )
            )
            compiled[kind](tf.constant([config.seed, 0]))  # TensorFlow plans memory
        began = time.perf_counter()
        _, gradient = compiled[kind](tf.constant([config.seed, index]))
        gradients.append(np.concatenate([g.numpy().ravel() for g in gradient]))
        seconds[kind].append(time.perf_counter() - began)
    together = np.stack(gradients).astype(np.float64)
    found = scaling.noise_scale(together @ together.T)
    return found._asdict() | {
        "num_learners": num_learners,
        "seconds": [float(np.median(own)) for own in seconds if own],
        "gradient_bytes": 4 * together.shape[1],
    }


def format_record(record: dict) -> str:
    """The noise scale, and what K learners a step bring on one worker and on K."""
    found = NoiseScale(*(record[name] for name in NoiseScale._fields))
    low, high = found.range
    text = (
        f"Gradient noise scale: {found.scale:.3g} learners ({low:.3g} to {high:.3g}, "
        f"from {record['num_learners']} learners)."
    )
    if not np.isfinite(found.scale):
        return f"{text} The mean gradient is not told from noise: give more learners."
    rows = []
    for count in _NUMBERS:
        steps = (1 + found.scale / count) / (1 + found.scale)
        alone = scaling.synchronous_seconds(record["seconds"], count, 1, 0.0)
        reduced = scaling.all_reduce_seconds(record["gradient_bytes"], count, _GIGABITS)
        shared = scaling.synchronous_seconds(record["seconds"], count, count, reduced)
        once = scaling.synchronous_seconds(record["seconds"], 1, 1, 0.0)
        rows.append(
            [
                count,
                f"{steps:.2g}",
                f"{alone:.3g}",
                f"{steps * alone / once:.2g}",
                f"{shared:.3g}",
                f"{steps * shared / once:.2g}",
            ]
        )
    headers = ["learners a step", "outer steps", "seconds, one worker", "time"]
    headers += ["seconds, a worker each", "time, a worker each"]
    told = (
        "Outer steps and time to come as far as with one learner a step, which has 1; "
        f"estimated, with a network of {_GIGABITS:g} gigabits a second."
    )
    return f"{text}\n\n{tables.markdown(rows, headers)}\n\n{told}"
