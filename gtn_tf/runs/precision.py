"""Which precision suits this machine: what --precision=auto stands for."""

from __future__ import annotations

import re
from pathlib import Path

# Of /proc/cpuinfo: products of bfloat16 numbers in one instruction.
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}
_FIRST_CAPABILITY = (8, 0)  # of NVIDIA's GPUs whose tensor cores take bfloat16


def resolve(precision: str) -> str:
    """The precision, or for "auto" bfloat16 where the machine multiplies it.

    Elsewhere bfloat16 is rounded from float32, and takes more time.
    """
    if precision != "auto":
        return precision
    return "bfloat16" if _cpu_multiplies() or _gpu_multiplies() else "float32"


def _cpu_multiplies(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    if not cpuinfo.is_file():
        return False
    found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.M)
    return bool(found and _INSTRUCTIONS & set(found[1].split()))


def _gpu_multiplies() -> bool:
    import tensorflow as tf  # a second, which only those who ask for it wait

    details = map(
        tf.config.experimental.get_device_details,
        tf.config.list_physical_devices("GPU"),
    )
    found = [each.get("compute_capability") for each in details]
    return bool(found) and all(each and each >= _FIRST_CAPABILITY for each in found)
