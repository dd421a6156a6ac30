"""How much memory a meta-gradient takes at its peak, and which policy fits.

    kept whole      T step + rest
    recomputed      length step + ceil(T / length) state + rest    (Appendix D)
    twice           part step + (ceil(T / length) + ceil(length / part)) state + rest
    rest            back + once + program

`step` is what one inner step keeps for the way back, and `back` what that holds beside
it while it goes through one step; `state` is a learner's parameters and its optimizer's
slots; `length` is that of a segment, `part` that of a part of it; `once` is what is
there whatever is kept, and `program` is TensorFlow's own.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.meta.traced_memory import num_bytes

_SHARE = 0.8  # of the memory that is available; the rest is for what is not counted
_CGROUP_FILES = (  # limit and usage
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
# Of the outputs of all layers and of the parameters. More than was counted for one
# learner of each kind with Muon; attention, within its layer, has kept the most.
_MOST_PER_OUTPUT, _MOST_PER_PARAMETER = 10, 30
# More than was counted for any family of learners; DARTS' cells have 470 MB.
_PROGRAM_BYTES = 150_000_000
# What is learned has two gradients, before and after clipping, and Adam's two slots.
# Both numbers were measured on MNIST, with T of 300 and 600.
_COPIES_OF_LEARNED, _COPIES_OF_DRAWN = 4, 1.5
_FLOAT_BYTES = 4  # bfloat16 casts products only, and their inputs are kept


class Sizes(NamedTuple):
    """What a meta-gradient keeps, in bytes.

    Attributes:
      step: for the way back through one inner step.
      state: between two inner steps.
      back: beside that, while the way back goes through a step.
      once: for all steps together, as of `held_throughout`.
      program: for TensorFlow's graphs and their plans.
    """

    step: int
    state: int
    back: int = 0
    once: int = 0
    program: int = 0


def num_outputs(model: keras.Model) -> int:
    """Numbers that all layers together put out for one example."""
    return sum(
        math.prod(output.shape[1:])
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
    )


def largest_sizes(num_outputs: int, num_params: int, batch_size: int) -> Sizes:
    """Bounds, without tracing anything.

    Args:
      num_outputs: of all models that compute an inner step, for one image.
      num_params: of the learner.
    """
    step = _MOST_PER_OUTPUT * num_outputs * batch_size
    step = _FLOAT_BYTES * (step + _MOST_PER_PARAMETER * num_params)
    state = 2 * _FLOAT_BYTES * num_params
    return Sizes(step, state, back=step, program=_PROGRAM_BYTES)


def held_throughout(problem: MetaProblem) -> int:
    """Bytes for what is learned and for the objective's batches, of all inner steps.

    With T in the hundreds the latents, and one batch for each intermediate loss, take
    more than a learner's activations.
    """
    learned = sum(num_bytes(v.shape, v.dtype) for v in problem.variables)
    sample = functools.partial(
        problem.objective.sample, problem.num_intermediate_losses + 1
    )
    traced = tf.function(sample, autograph=False).get_concrete_function(
        tf.TensorSpec([2], tf.int32)
    )
    drawn = sum(num_bytes(out.shape, out.dtype) for out in traced.outputs)
    return int(_COPIES_OF_LEARNED * learned + _COPIES_OF_DRAWN * drawn)


def peak_bytes(sizes: Sizes, num_inner_steps: int, policy: MemoryPolicy) -> int:
    """Estimated bytes that one meta-gradient adds to the process at its peak."""
    lengths = (num_inner_steps, *policy.lengths)
    states = sum(math.ceil(of / each) for of, each in itertools.pairwise(lengths))
    kept = lengths[-1] * sizes.step + states * sizes.state
    return kept + sizes.back + sizes.once + sizes.program


def with_least_memory(sizes: Sizes, num_inner_steps: int) -> MemoryPolicy:
    """The policy that recomputes, in segments that take the least memory."""
    policies = [
        MemoryPolicy(recompute=True, segment_length=length)
        for length in range(1, num_inner_steps + 1)
    ]
    return min(policies, key=lambda each: peak_bytes(sizes, num_inner_steps, each))


def twice_with_least_memory(sizes: Sizes, num_inner_steps: int) -> MemoryPolicy:
    """The policy that takes the least memory with segments in parts.

    For parts of a length, states are fewest where T / length = length / part.
    """
    policies = [
        MemoryPolicy(
            recompute=True,
            segment_length=part * max(1, round(math.sqrt(num_inner_steps / part))),
            part_length=part,
        )
        for part in range(1, num_inner_steps + 1)
    ]
    return min(policies, key=lambda each: peak_bytes(sizes, num_inner_steps, each))


def fits(needed: int, available: int) -> bool:
    """Whether so much may be planned with; all may where nobody knows what there is."""
    return not available or needed <= _SHARE * available


def check_fits(needed: int, available: int) -> None:
    """Refuses what the machine has no memory for; GPUs are not looked at.

    Raises:
      UserError: more is needed than is available.
    """
    if fits(needed, available) or tf.config.list_physical_devices("GPU"):
        return
    raise UserError(
        f"one outer step would take about {needed / 1e9:.1f} GB, and "
        f"{available / 1e9:.1f} GB are available, of which {_SHARE:.0%} may be planned "
        "with: give --recompute=auto, a smaller --inner_batch_size, fewer "
        "--num_inner_steps, or a narrower --learner"
    )


def available_bytes(
    meminfo: Path = Path("/proc/meminfo"),
    cgroup: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Memory that can still be used; 0 where the system does not say.

    Args:
      meminfo: of the whole machine.
      cgroup: of the container, whose limit less what it uses may be smaller; version
        1 or 2.
    """
    found = []
    if meminfo.is_file():
        kilobytes = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.M)
        found += [1024 * int(kilobytes[1])] if kilobytes else []
    for limit, usage in _CGROUP_FILES:
        values = [_whole_number(cgroup / name) for name in (limit, usage)]
        if None not in values:
            found.append(max(0, values[0] - values[1]))
    return min(found, default=0)


def _whole_number(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else None
