"""What the console scripts gtn-train, gtn-evaluate, ... and those in bin/ run."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable


def use_onednn() -> None:
    """Has TensorFlow compute with oneDNN, unless TF_ENABLE_ONEDNN_OPTS says otherwise.

    TensorFlow left it off on a CPU without AVX-512, where an outer step on digits took
    0.5 to 0.7 of the time with it. The search does without: its small cells then got
    other scores when judged again, and TensorFlow 2.21 aborted.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _script(name: str) -> Callable[[], int]:
    def script() -> int:
        use_onednn()
        return importlib.import_module(f"gtn_tf.commands.{name}").main()

    return script


train, evaluate, export, study, benchmark = map(
    _script, ("train", "evaluate", "export", "study", "benchmark")
)
