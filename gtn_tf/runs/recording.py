"""What TensorBoard shows of a run, and the image grids beside it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from gtn_tf.meta.inner_optimizers import InnerHyperparameters
from gtn_tf.meta.outer_loop import Progress, StepResult
from gtn_tf.runs import files


class Summaries:
    """Writes event files into a run's folder and PNG files into its samples/."""

    def __init__(self, folder: Path):
        self._samples = folder / "samples"
        self._writer = tf.summary.create_file_writer(str(folder))

    def step(self, progress: Progress, result: StepResult) -> None:
        """Scalars of one outer step."""
        with self._appending(progress):
            for name, value in zip(result._fields, result, strict=True):
                tf.summary.scalar(name, value)

    def validation(
        self,
        progress: Progress,
        accuracy: float,
        hyperparameters: InnerHyperparameters,
        grid: np.ndarray,
    ) -> None:
        """Few-step accuracy, each learned value by inner step, the curriculum."""
        self._samples.mkdir(exist_ok=True)
        path = self._samples / f"outer_step_{progress.outer_step:06d}.png"
        path.write_bytes(tf.io.encode_png(grid).numpy())
        with self._appending(progress):
            tf.summary.scalar("few_step_accuracy/validation", accuracy)
            for name, value in hyperparameters.by_step():
                tf.summary.scalar(name, value)
            tf.summary.image("curriculum", grid[None])

    @contextlib.contextmanager
    def _appending(self, progress: Progress):
        step = progress.outer_step
        with files.file_errors(), self._writer.as_default(step=step):
            yield
