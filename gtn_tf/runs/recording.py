"""What TensorBoard shows of a run, and the image grids beside it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.image import metadata as image_metadata

from gtn_tf.meta.inner_optimizers import InnerHyperparameters
from gtn_tf.meta.outer_loop import Progress
from gtn_tf.runs import files


class Summaries:
    """Writes event files into a run's folder and PNG files into its samples/.

    Args:
      flags: name -> value of the run's flags, for the HParams page.
    """

    def __init__(self, folder: Path, flags: dict[str, bool | int | float | str]):
        self._samples = folder / "samples"
        self._writer = tf.summary.create_file_writer(str(folder))
        self._has_charts = False
        with files.file_errors(), self._writer.as_default(step=0):
            # All variants of a study have a run called seed_0.
            trial = "/".join(folder.absolute().parts[-2:])
            hparams.hparams(flags, trial_id=trial)

    def step(self, progress: Progress, *results: NamedTuple) -> None:
        """Scalars of one outer step, by their names."""
        with self._appending(progress):
            for result in results:
                for name, value in result._asdict().items():
                    tf.summary.scalar(name, value)

    def validation(
        self,
        progress: Progress,
        accuracy: float,
        hyperparameters: InnerHyperparameters,
        grid: np.ndarray,
        name: str = "accuracy",
    ) -> None:
        """Few-step accuracy, each learned value by inner step, the curriculum.

        Args:
          name: of what is measured, as in `objectives.Measured`.
        """
        self._samples.mkdir(exist_ok=True)
        path = self._samples / f"outer_step_{progress.outer_step:06d}.png"
        path.write_bytes(tf.io.encode_png(grid).numpy())
        learned = hyperparameters.by_step()
        with self._appending(progress):
            if not self._has_charts:
                _write_charts(dict.fromkeys(name.split("/")[0] for name, _ in learned))
                self._has_charts = True
            tf.summary.scalar(f"few_step_{name}/validation", accuracy)
            for learned_name, value in learned:
                tf.summary.scalar(learned_name, value)
            tf.summary.image("curriculum", grid[None])

    @contextlib.contextmanager
    def _appending(self, progress: Progress):
        step = progress.outer_step
        with files.file_errors(), self._writer.as_default(step=step):
            yield


def write_test_accuracy(
    folder: Path, progress: Progress, accuracy: float, name: str = "accuracy"
) -> None:
    """The last number of a run, on the test split.

    Args:
      name: of what is measured, as in `objectives.Measured`.
    """
    writer = tf.summary.create_file_writer(str(folder), filename_suffix=".test")
    with files.file_errors(), writer.as_default(step=progress.outer_step):
        tf.summary.scalar(f"few_step_{name}/test", accuracy)
        writer.close()


def write_gif(folder: Path, progress: Progress, content: bytes) -> None:
    """An episode that moves, on TensorBoard's page of images."""
    writer = tf.summary.create_file_writer(str(folder), filename_suffix=".episode")
    width, height = (int.from_bytes(content[i : i + 2], "little") for i in (6, 8))
    with files.file_errors(), writer.as_default(step=progress.outer_step):
        tf.summary.write(
            "episode",
            # As of tf.summary.image, which itself would make PNG files of arrays.
            tf.constant([str(width).encode(), str(height).encode(), content]),
            metadata=image_metadata.create_summary_metadata("episode", ""),
        )
        writer.close()


def _write_charts(names) -> None:
    """For the Custom Scalars page: all inner steps' values of a name in one chart."""
    charts = [
        layout_pb2.Chart(
            title=name.replace("_", " "),
            multiline=layout_pb2.MultilineChartContent(tag=[f"{name}/step_.*"]),
        )
        for name in names
    ]
    category = layout_pb2.Category(title="learned for each inner step", chart=charts)
    layout = custom_scalar.pb(layout_pb2.Layout(category=[category]))
    tf.summary.experimental.write_raw_pb(layout.SerializeToString())
