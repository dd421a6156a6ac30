"""How near training comes to what the machine can do: what bin/benchmark prints."""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.commands.configs import BenchmarkConfig
from gtn_tf.evaluation import few_step, tables
from gtn_tf.meta import costs
from gtn_tf.networks import learners
from gtn_tf.runs import files, run_setup
from gtn_tf.runs.run_setup import RunSetup


@dataclasses.dataclass(frozen=True)
class Part:
    """One thing that is timed.

    Attributes:
      flops: floating point operations of one call.
      call: does it once, to its end; its argument makes calls differ.
    """

    name: str
    flops: int
    call: Callable[[int], object]


class Timing(NamedTuple):
    """Seconds that parts took.

    Attributes:
      first: of the first call of each, which traces, [parts].
      later: [num_repeats, parts].
    """

    first: np.ndarray
    later: np.ndarray


def run(config: BenchmarkConfig) -> None:
    """Times a product of matrices, a learner's training and an outer step in turns,
    and prints their ratios. Nothing is written but the file of `--json`.

    Raises:
      UserError: a run that cannot be.
    """
    setup = run_setup.prepare(config)
    parts = build_parts(setup, config.product_size)
    timing = time_in_turns(parts, config.num_repeats)
    # Of Linux, where it is in kilobytes.
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = setup.memory_plan
    print(format_table(parts, timing))
    print(f"Memory: {peak_bytes / 1e9:.2f} GB at the peak; plan: {plan.describe()}.")
    if config.json:
        found = record(parts, timing) | {
            "peak_bytes": peak_bytes,
            "planned_bytes": plan.peak_bytes,
            "flags": config.fixed(),
        }
        text = json.dumps(found, indent=2) + "\n"
        files.write_text_atomically(Path(config.json).expanduser(), text)


def build_parts(setup: RunSetup, size: int) -> list[Part]:
    """The product of matrices with `size` rows, T inner steps of the first learner
    alone, and the outer step around them."""
    setup = dataclasses.replace(setup, specs=setup.specs[:1])
    config, problem = setup.config, setup.problem
    policy = setup.memory_plan.policy
    outer_step = run_setup.build_outer_step(setup, tf.Variable(1.0), policy)
    evaluator = few_step.Evaluator(problem, setup.specs)
    learner = learners.build_model(setup.specs[0])
    matrix = tf.random.stateless_normal([size, size], [config.seed, 0])
    return [
        Part(
            f"product of {size} x {size} matrices",
            2 * size**3,
            lambda _: tf.linalg.matmul(matrix, matrix).numpy(),
        ),
        Part(
            f"{config.num_inner_steps} inner steps",
            costs.training_flops(problem, learner),
            lambda index: evaluator.train(index, config.seed)[1].params.numpy(),
        ),
        Part(
            "outer step",
            costs.outer_step_flops(
                problem,
                learner,
                config.outer_batch_size,
                policy,
            ),
            lambda index: outer_step(index, config.seed).meta_loss.numpy(),
        ),
    ]


def time_in_turns(parts: list[Part], num_repeats: int) -> Timing:
    """What the parts take, one after the other in each repeat: a machine that is slow
    for a while is slow for all of them, and their ratios hold."""
    first = np.array([_seconds(part, 0) for part in parts])
    seconds = np.empty([num_repeats, len(parts)])
    for repeat in tqdm(range(num_repeats), "benchmark", file=sys.stderr):
        for index, part in enumerate(parts):
            seconds[repeat, index] = _seconds(part, repeat + 1)
    return Timing(first, seconds)


def _seconds(part: Part, index: int) -> float:
    began = time.perf_counter()
    part.call(index)
    return time.perf_counter() - began


def record(parts: list[Part], timing: Timing) -> dict:
    """All that was timed, for JSON."""
    return {
        "parts": [
            {
                "name": part.name,
                "flops": part.flops,
                "first_seconds": float(timing.first[index]),
                "seconds": timing.later[:, index].tolist(),
            }
            for index, part in enumerate(parts)
        ],
        "tensorflow": tf.__version__,
        "devices": [device.device_type for device in tf.config.list_logical_devices()],
    }


def format_table(parts: list[Part], timing: Timing) -> str:
    """A Markdown table: medians, and medians of each turn's ratios to the product.

    Args:
      parts: the product first, the inner steps, the outer step.
    """
    seconds = timing.later
    rates = np.array([part.flops for part in parts]) / seconds / 1e9
    shares = rates / rates[:, :1]  # of the product's rate in the same turn
    rows = []
    for index, part in enumerate(parts):
        share = shares[:, index]
        rows.append(
            [
                part.name,
                f"{np.median(seconds[:, index]):.4g}",
                f"{part.flops / 1e9:.4g}",
                f"{np.median(rates[:, index]):.4g}",
                f"{np.median(share):.0%}",
                f"{share.min():.0%}",
                f"{share.max():.0%}",
                f"{timing.first[index]:.3g}",
            ]
        )
    headers = ["what", "seconds", "GFLOP", "GFLOP/s", "of the limit", "least", "most"]
    headers += ["first call, s"]
    ratio = np.median(seconds[:, 2] / seconds[:, 1])
    return (
        tables.markdown(rows, headers)
        + f"\n\nAn outer step takes {ratio:.1f} times the inner steps in it."
    )


def next_steps(config: BenchmarkConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    del config
    return ["bin/train with the same flags"]
