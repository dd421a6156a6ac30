"""What `realism` measures as files: figures, a table, and a row for each image.

FOLDER/table.md  images.csv  class_means.png  all_images.png  images_by_flips.png
       curriculum.png
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from scipy import stats

from gtn_tf.data.dataset import Dataset
from gtn_tf.evaluation import plots, realism, tables

_LEAST_PIXELS = 24  # of an image in a figure; smaller ones are enlarged

_TITLES = {
    "recognized": "recognized",
    "flips": "changes of label",
    "boundary": "distance to the boundary",
    "nearest": "distance to the nearest real image",
    "high_frequency": "share of high frequencies",
}


def write(folder: Path, x: np.ndarray, targets: np.ndarray, dataset: Dataset) -> None:
    """Measures images x [T, B, H, W, C] with targets [T, B, K], and writes the files.

    Args:
      folder: new, is made.
    """
    folder.mkdir()
    num_steps, batch_size = x.shape[:2]
    images, labels = x.reshape(-1, *x.shape[2:]), targets.argmax(-1).reshape(-1)
    found, real = realism.measure(images, labels, dataset)
    order = np.argsort(found["flips"], kind="stable")
    means = realism.class_means(images, labels, dataset.num_classes)
    _save_mosaic(folder / "class_means.png", means, dataset.num_classes)
    _save_mosaic(folder / "all_images.png", images, batch_size)
    _save_mosaic(folder / "images_by_flips.png", images[order], batch_size)
    by_step = {n: v.reshape(num_steps, batch_size) for n, v in found.items()}
    _save_curves(folder / "curriculum.png", by_step, real)
    _save_rows(folder / "images.csv", labels.reshape(num_steps, batch_size), by_step)
    (folder / "table.md").write_text(format_table(by_step, real))


def format_table(by_step: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> str:
    """Means over the thirds of the curriculum, its last step, and test images.

    With Spearman's rank correlation of images' values with their step.

    Args:
      by_step: name -> values [T, B].
      real: name -> values of test images.
    """
    rows = []
    for name, values in by_step.items():
        values = values.astype(np.float64)
        parts = [*np.array_split(values, 3), values[-1:]]
        cells = [f"{p.mean():.3g}" if p.size else "" for p in parts]
        steps = np.repeat(np.arange(len(values)), values.shape[1])
        trend = stats.spearmanr(steps, values.reshape(-1)).statistic
        told = "" if np.isnan(trend) else f"{trend:+.2f}"
        rows.append([_TITLES[name], *cells, f"{np.mean(real[name]):.3g}", told])
    headers = ["mean of", "first third", "second", "last", "last step", "test images"]
    return tables.markdown(rows, [*headers, "correlation with the step"]) + "\n"


def _save_mosaic(path: Path, images: np.ndarray, columns: int) -> None:
    """Images [N, H, W, C] in rows of so many, black and white at their extremes."""
    low, high = np.nanmin(images), np.nanmax(images)
    values = np.nan_to_num((images - low) / max(high - low, 1e-6), nan=1.0)
    if values.shape[-1] not in (1, 3):
        values = values.mean(-1, keepdims=True)
    count, height, width, channels = values.shape
    rows = -(-count // columns)
    padded = np.ones((rows * columns, height + 1, width + 1, channels))
    padded[:count, 1:, 1:] = values
    padded = padded.reshape(rows, columns, height + 1, width + 1, channels)
    mosaic = padded.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + 1), columns * (width + 1), channels
    )
    scale = max(1, _LEAST_PIXELS // height)
    mosaic = mosaic.repeat(scale, 0).repeat(scale, 1)
    png = tf.io.encode_png((255 * mosaic).round().astype(np.uint8)).numpy()
    path.write_bytes(png)


def _save_curves(path: Path, by_step: dict, real: dict) -> None:
    """Means over the batch by inner step, beside the mean of test images."""
    figure = Figure(figsize=(12, 2.6), layout="constrained")
    for place, (name, values) in enumerate(by_step.items(), start=1):
        axes = figure.add_subplot(1, len(by_step), place, xlabel="inner step")
        axes.set_title(_TITLES[name], fontsize="small")
        axes.plot(1 + np.arange(len(values)), values.mean(1), label="teacher")
        axes.axhline(np.mean(real[name]), color="C2", ls=":", label="test images")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if place == 1:
            axes.legend(fontsize="x-small")
    plots.save(figure, path)


def _save_rows(path: Path, labels: np.ndarray, by_step: dict) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["inner_step", "place", "label", *by_step])
        for (step, place), label in np.ndenumerate(labels):
            values = [f"{float(v[step, place]):g}" for v in by_step.values()]
            writer.writerow([step + 1, place, label, *values])
