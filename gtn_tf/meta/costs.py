"""What an outer step costs: floating point operations, and memory (Appendix D)."""

from __future__ import annotations

import math
import re
from pathlib import Path

import keras
import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.meta.meta_gradients import MemoryPolicy, MetaProblem

# In forward passes. Training: forward, and backward twice that. Differentiating it:
# each of its products becomes two more.
_TRAINING = 3
_DIFFERENTIATED = 3 * _TRAINING
_SCORED = 3  # the meta-loss and its gradient

_CGROUP_FILES = (  # limit and usage
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
_BUDGET_BYTES = 1 << 30
# A kept step holds more than its layers' outputs: products of the inner gradient.
# On the MNIST learner 64-128-256 180 MB against 145 MB of outputs; with a reserve.
_KEPT_PER_OUTPUT = 1.35


def forward_flops(model: keras.Model) -> int:
    """Multiplications and additions of convolutions and dense layers, for one image."""
    return sum(
        2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        if hasattr(layer, "kernel")
    )


def training_flops(problem: MetaProblem, learner: keras.Model) -> int:
    """Of T steps of a learner on the teacher's data."""
    spec = problem.teacher.spec
    per_image = _TRAINING * forward_flops(learner) + _generator_flops(problem)
    return spec.num_inner_steps * spec.inner_batch_size * per_image


def outer_step_flops(
    problem: MetaProblem,
    learner: keras.Model,
    outer_batch_size: int,
    memory_policy: MemoryPolicy,
) -> int:
    """Of one meta-gradient: for a kept inner step nine forward passes of the learner
    and three of the generator; recomputed, the training comes on top once more."""
    spec = problem.teacher.spec
    forward = forward_flops(learner)
    generator = _generator_flops(problem)
    shown = _DIFFERENTIATED * forward + 3 * generator
    scored = _SCORED * forward
    num_scored = 1 + problem.num_intermediate_losses
    if memory_policy.recompute:
        shown += _TRAINING * forward + generator
        scored += forward
    return (
        spec.num_inner_steps * spec.inner_batch_size * shown
        + num_scored * outer_batch_size * scored
    )


def _generator_flops(problem: MetaProblem) -> int:
    generator = problem.teacher.generator
    return forward_flops(generator) if generator else 0


def activation_bytes(models: list[keras.Model], batch_size: int) -> int:
    """Estimated bytes that one inner step keeps for the way back."""
    numbers = sum(
        math.prod(output.shape[1:])
        for model in models
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
    )
    itemsize = 4  # float32; bfloat16 casts products only, and their inputs are kept
    return int(numbers * batch_size * itemsize * _KEPT_PER_OUTPUT)


def should_recompute(bytes_per_step: int, num_inner_steps: int) -> bool:
    """True where keeping all inner steps' activations would exceed 1 GiB."""
    return bytes_per_step * num_inner_steps > _BUDGET_BYTES


def kept_bytes(
    bytes_per_step: int,
    state_bytes: int,
    num_inner_steps: int,
    memory_policy: MemoryPolicy,
) -> int:
    """Estimated bytes that one meta-gradient keeps at its peak.

    Args:
      bytes_per_step: of `activation_bytes`.
      state_bytes: a learner's parameters and its optimizer's slots.
    """
    if not memory_policy.recompute:
        return num_inner_steps * (bytes_per_step + state_bytes)
    num_segments = math.ceil(num_inner_steps / memory_policy.segment_length)
    return num_segments * state_bytes + memory_policy.segment_length * bytes_per_step


def check_fits(needed: int) -> None:
    """Refuses what the machine has no memory for; GPUs are not looked at.

    Raises:
      UserError: more is needed than is available.
    """
    available = available_bytes()
    if available and needed > available and not tf.config.list_physical_devices("GPU"):
        raise UserError(
            f"one outer step would keep about {needed / 1e9:.1f} GB, and "
            f"{available / 1e9:.1f} GB are available: give --recompute=always "
            "--segment_length=1, a smaller --inner_batch_size, fewer "
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
