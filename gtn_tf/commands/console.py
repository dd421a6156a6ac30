"""What the console scripts gtn-train, gtn-evaluate, ... and those in bin/ run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from gtn_tf.commands import command_line, configs
from gtn_tf.runs.config import TrainingConfig


def use_onednn() -> None:
    """Has TensorFlow compute with oneDNN, unless TF_ENABLE_ONEDNN_OPTS says otherwise.

    TensorFlow left it off on a CPU without AVX-512, where an outer step on digits took
    0.5 to 0.7 of the time with it, and a judged cell about 0.6.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _script(name: str, config_class: type) -> Callable[[], int]:
    def script() -> int:
        use_onednn()
        return command_line.run(config_class, f"gtn_tf.commands.{name}", sys.argv)

    return script


train = _script("train", TrainingConfig)
evaluate = _script("evaluate", configs.EvaluationConfig)
export = _script("export", configs.ExportConfig)
study = _script("study", configs.StudyConfig)
benchmark = _script("benchmark", configs.BenchmarkConfig)
