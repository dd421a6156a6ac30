"""How near training comes to what the machine can do: what bin/benchmark prints."""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from gtn_tf.commands.configs import BENCHMARK_CASES, BenchmarkConfig
from gtn_tf.errors import UserError
from gtn_tf.evaluation import few_step, tables
from gtn_tf.meta import costs, outer_loop
from gtn_tf.networks import learners
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.plain import comparison
from gtn_tf.plain.registry import LIBRARIES
from gtn_tf.runs import files, meta_training, run_setup
from gtn_tf.runs.run_setup import RunSetup
from gtn_tf.studies import gradient_noise, timing
from gtn_tf.studies.timing import Part, Timing

_WIDTHS = "64-128-128"  # of the learner that other libraries train


def run(config: BenchmarkConfig) -> None:
    """Times a product of matrices, a learner's training and an outer step in turns,
    and prints their ratios. Nothing is written but the file of `--json`.

    Raises:
      UserError: a run that cannot be.
    """
    if config.cases:
        found = {name: _in_its_own_process(name, config) for name in config.case_names}
        texts = [f"{name}\n\n{format_record(found[name])}" for name in found]
        print("\n\n".join(texts))
        found = {"cases": found}
    else:
        found = measure(config)
        print(format_record(found))
    if config.json:
        text = json.dumps(found, indent=2) + "\n"
        files.write_text_atomically(Path(config.json).expanduser(), text)


def _in_its_own_process(name: str, config: BenchmarkConfig) -> dict:
    """What this command measures of a case: a process has one peak of memory and one
    number of threads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        same = ("data_dir", "num_repeats", "product_size", "against")
        program = "import sys; from gtn_tf.commands import console; "
        done = subprocess.run(
            [
                *(sys.executable, "-c", program + "sys.exit(console.benchmark())"),
                *BENCHMARK_CASES[name],
                *(f"--{field}={getattr(config, field)}" for field in same),
                f"--json={path}",
            ],
            stdout=subprocess.DEVNULL,
        )
        if done.returncode:
            raise UserError(
                f"--cases={config.cases}: {name} was not timed, for the reason above: "
                "mend it, or leave the case out"
            )
        return json.loads(path.read_text())


def measure(config: BenchmarkConfig) -> dict:
    """All that is timed and counted of a run, for JSON."""
    whole = run_setup.prepare(config)
    # The plan is that of the learner which is timed.
    setup = dataclasses.replace(whole, specs=whole.specs[:1])
    parts = build_parts(setup, config.product_size)
    found = timing.time_in_turns(parts, config.num_repeats)
    # Of Linux, where it is in kilobytes.
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = setup.memory_plan
    record = {
        "parts": found.as_record(),
        "peak_bytes": peak_bytes,
        "planned_bytes": plan.peak_bytes,
        "plan": plan.describe(),
        "tensorflow": tf.__version__,
        "devices": [device.device_type for device in tf.config.list_logical_devices()],
        "flags": config.fixed(),
    }
    if config.libraries:
        against = timing.time_in_turns(parts_against(config), config.num_repeats)
        record["same_step"] = against.as_record()
    if config.noise_learners:
        if config.workdir:
            meta_training.restore(whole, Path(config.workdir).expanduser())
        record["noise"] = gradient_noise.measure(whole, config.noise_learners)
    return record


def build_parts(setup: RunSetup, size: int) -> list[Part]:
    """The product of matrices with `size` rows, T inner steps of the first learner
    alone, and the outer step around them."""
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
            _flops(setup),
            lambda index: outer_step(index, config.seed).meta_loss.numpy(),
        ),
    ]


def parts_against(config: BenchmarkConfig) -> list[Part]:
    """One outer step of distilled pixels, by this library and as others write it."""
    setup = run_setup.prepare(comparison.same_step(config, _WIDTHS))
    policy = setup.memory_plan.policy
    spec = setup.specs[0]
    flops = _flops(setup)
    ours = outer_loop.trace(setup.problem, spec, 0.0, policy)
    learner = StatelessModel(learners.build_model(spec))
    seed = tf.constant([config.seed, 0])
    inputs = comparison.draw(setup, learner, seed)

    def part(name: str) -> Part:
        step = LIBRARIES[name]()
        return Part(f"{name}, written out", flops, lambda _: step(inputs))

    own = Part("gtn_tf", flops, lambda _: ours(seed)[0].meta_loss.numpy())
    return [own, *map(part, config.libraries)]


def _flops(setup: RunSetup) -> int:
    return costs.outer_step_flops(
        setup.problem,
        learners.build_model(setup.specs[0]),
        setup.config.outer_batch_size,
        setup.memory_plan.policy,
    )


def format_record(record: dict) -> str:
    """What was measured of a run, in Markdown."""
    found = Timing.of_record(record["parts"])
    text = format_table(found)
    text += f"\nMemory: {record['peak_bytes'] / 1e9:.2f} GB at the peak; plan: "
    text += f"{record['plan']}."
    if "same_step" in record:
        text += f"\n\n{format_against(Timing.of_record(record['same_step']))}"
    if "noise" in record:
        text += f"\n\n{gradient_noise.format_record(record['noise'])}"
    return text


def format_table(found: Timing) -> str:
    """A table: medians, and medians of each turn's ratios to the product.

    Args:
      found: of the product first, the inner steps, the outer step.
    """
    seconds = found.later
    rates = found.flops / seconds / 1e9
    shares = rates / rates[:, :1]  # of the product's rate in the same turn
    rows = []
    for index, name in enumerate(found.names):
        share = shares[:, index]
        rows.append(
            [
                name,
                f"{np.median(seconds[:, index]):.4g}",
                f"{found.flops[index] / 1e9:.4g}",
                f"{np.median(rates[:, index]):.4g}",
                f"{np.median(share):.0%}",
                f"{share.min():.0%}",
                f"{share.max():.0%}",
                f"{found.first[index]:.3g}",
            ]
        )
    headers = ["what", "seconds", "GFLOP", "GFLOP/s", "of the limit", "least", "most"]
    headers += ["first call, s"]
    ratio = np.median(seconds[:, 2] / seconds[:, 1])
    return (
        tables.markdown(rows, headers)
        + f"\n\nAn outer step takes {ratio:.1f} times the inner steps in it."
    )


def format_against(found: Timing) -> str:
    """A table of one step by several libraries, ratios turn by turn.

    Args:
      found: of this library first.
    """
    ratios = found.later / found.later[:, :1]
    rows = [
        [
            name,
            f"{np.median(found.later[:, index]):.4g}",
            f"{np.median(ratios[:, index]):.2f}",
            f"{ratios[:, index].min():.2f}",
            f"{ratios[:, index].max():.2f}",
            f"{found.first[index]:.3g}",
        ]
        for index, name in enumerate(found.names)
    ]
    headers = ["the same step", "seconds", "times as long", "least", "most"]
    return tables.markdown(rows, [*headers, "first call, s"])


def next_steps(config: BenchmarkConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    del config
    return ["bin/train with the same flags"]
