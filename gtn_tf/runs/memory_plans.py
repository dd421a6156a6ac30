"""How a run spends memory: chosen by what fits, told, and kept with the run.

Which policy fits depends on the machine and on what else runs there. A run that goes
on takes the policy that it began with, from memory.json in its folder, because another
one adds in another order and ends with other bits.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.meta import memory, outer_loop, traced_memory
from gtn_tf.meta.memory import Sizes
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.meta.registry import ESTIMATORS
from gtn_tf.networks import learners
from gtn_tf.networks.learner_spec import LearnerSpec
from gtn_tf.runs import files
from gtn_tf.runs.config import TrainingConfig

_FILE = "memory.json"
_SMALL = 1 << 30  # bytes; up to these a bound will do, and nothing is traced to count
_KEPT = MemoryPolicy(recompute=False)


class MemoryPlan(NamedTuple):
    """A policy, and what it needs.

    Attributes:
      sizes: of the largest learner.
      is_bound: `sizes` are bounds, and were not counted.
      available: bytes when it was made; 0 where nobody knows.
      num_inner_steps: that are differentiated, by the run's estimator.
      traced: what was traced to count, by its learner, where training can go on with
        it; else empty.
    """

    policy: MemoryPolicy
    sizes: Sizes
    is_bound: bool
    available: int
    num_inner_steps: int
    traced: dict[LearnerSpec, tf.types.experimental.ConcreteFunction]

    @property
    def peak_bytes(self) -> int:
        """Of one meta-gradient."""
        return memory.peak_bytes(self.sizes, self.num_inner_steps, self.policy)

    def describe(self) -> str:
        """Choice and expected peak, in words."""
        length = self.policy.segment_length
        each = "each inner step" if length == 1 else f"segments of {length} inner steps"
        if self.policy.part_length:
            each += f", in parts of {self.policy.part_length}"
        way = (
            f"activations are computed again for {each}"
            if self.policy.recompute
            else f"activations of all {self.num_inner_steps} inner steps are kept"
        )
        if not self.num_inner_steps:
            way = "no activations are kept for a way back"
        about = "at most" if self.is_bound else "about"
        text = f"{way}, {about} {self.peak_bytes / 1e9:.1f} GB more at the peak"
        if self.available:
            text += f" of {self.available / 1e9:.1f} GB available"
        return text


def make(
    config: TrainingConfig, problem: MetaProblem, specs: list[LearnerSpec]
) -> MemoryPlan:
    """The plan for the largest learner of a set.

    Raises:
      UserError: the machine has no memory for it.
    """
    estimator = ESTIMATORS[config.estimator].of_run(config)
    steps = estimator.num_differentiated(config.num_inner_steps)
    available = memory.available_bytes()
    bounds = {spec: _bound(spec, problem) for spec in specs}
    largest = max(bounds, key=lambda spec: bounds[spec].step)
    sizes = bounds[largest]._replace(once=memory.held_throughout(problem))
    bound = memory.peak_bytes(sizes, steps, _KEPT)
    one = config.num_inner_steps == 1  # without a loop, in which to count
    is_bound = one or (bound <= _SMALL and memory.fits(bound, available))
    traced = {}
    if not is_bound:
        program = outer_loop.trace(problem, largest, config.clip_norm, _KEPT)
        sizes = sizes._replace(**traced_memory.count(program)._asdict())
        traced[largest] = program
    policy = _choose(config, steps, sizes, available)
    if policy != _KEPT or config.estimator != "backpropagation":
        traced = {}
    plan = MemoryPlan(policy, sizes, is_bound, available, steps, traced)
    memory.check_fits(plan.peak_bytes, available)
    return plan


def _bound(spec: LearnerSpec, problem: MetaProblem) -> Sizes:
    outputs, params = _size(spec)
    if problem.teacher.generator is not None:
        outputs += memory.num_outputs(problem.teacher.generator)
    return memory.largest_sizes(outputs, params, problem.teacher.spec.inner_batch_size)


@functools.cache
def _size(spec: LearnerSpec) -> tuple[int, int]:
    """Outputs for one image and parameters; a model is built once for it."""
    model = learners.build_model(spec)
    return memory.num_outputs(model), model.count_params()


def _choose(
    config: TrainingConfig, steps: int, sizes: Sizes, available: int
) -> MemoryPolicy:
    kept = memory.peak_bytes(sizes, steps, _KEPT)
    if config.recompute == "never" or not steps:
        return _KEPT
    if config.recompute == "auto" and memory.fits(kept, available):
        return _KEPT
    if config.segment_length:
        return MemoryPolicy(recompute=True, segment_length=config.segment_length)
    once_more = memory.with_least_memory(sizes, steps)
    if memory.fits(memory.peak_bytes(sizes, steps, once_more), available):
        return once_more
    twice = memory.twice_with_least_memory(sizes, steps)
    key = functools.partial(memory.peak_bytes, sizes, steps)
    return min(once_more, twice, key=key)


def take_traced(plan: MemoryPlan, policy: MemoryPolicy) -> dict:
    """The plan's programs for whoever trains in this way; the plan forgets them, since
    they would outlive training in it."""
    found = dict(plan.traced) if policy == plan.policy else {}
    plan.traced.clear()
    return found


def of_run(folder: Path, plan: MemoryPlan) -> MemoryPolicy:
    """The policy of the run in this folder: the one that it began with while that
    fits, else the plan's, which is told on stderr and kept."""
    began = _read(folder)
    if began is not None and began != plan.policy:
        before = plan._replace(policy=began)
        if memory.fits(before.peak_bytes, plan.available):
            plan = before
        else:
            print(
                f"warning: {folder} began in another way, for which there is no memory "
                "now: the last bits will differ from those of a run that goes on there",
                file=sys.stderr,
            )
    print(f"memory: {plan.describe()}", file=sys.stderr)
    text = json.dumps(dataclasses.asdict(plan.policy))
    files.write_text_atomically(folder / _FILE, f"{text}\n")
    return plan.policy


def _read(folder: Path) -> MemoryPolicy | None:
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        return MemoryPolicy(
            recompute=bool(found["recompute"]),
            segment_length=max(1, int(found["segment_length"])),
            # Runs begun before there were parts have none.
            part_length=max(0, int(found.get("part_length", 0))),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} does not say how the run spends memory ({error!r}): allowed is "
            "what bin/train has written; remove it, and the way is chosen anew"
        ) from None
