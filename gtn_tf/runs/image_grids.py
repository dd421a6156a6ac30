"""Figures from teachers: images of the curriculum."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gtn_tf.teachers.base import Teacher

_MAX_ROWS = 10
_MAX_COLUMNS = 20


def curriculum_grid(teacher: Teacher, class_names: tuple[str, ...]) -> np.ndarray:
    """What is shown when: one column for each class (the first twenty), one row for
    each of up to ten evenly spaced inner steps, the first at the top (Figure 2c).

    A class that does not occur in a batch leaves its place empty. Returns a picture
    uint8 [H, W, 3].
    """
    class_names = class_names[:_MAX_COLUMNS]
    num_steps = teacher.spec.num_inner_steps
    num_rows = min(_MAX_ROWS, num_steps)
    steps = np.linspace(0, num_steps - 1, num_rows).round().astype(int)
    rows = [_row(teacher, int(step), len(class_names)) for step in steps]
    images = np.stack(rows)  # [rows, K, H, W, C]
    low, high = np.nanmin(images), np.nanmax(images)
    images = np.nan_to_num((images - low) / max(high - low, 1e-6), nan=1.0)
    return _draw(images, [str(step + 1) for step in steps], class_names)


def _row(teacher: Teacher, step: int, num_classes: int) -> np.ndarray:
    """One image for each class from the batch of an inner step, [K, H, W, C]."""
    x, targets = teacher.batch(step, tf.constant([0, 0]))
    labels = np.argmax(targets, axis=-1)
    row = np.full((num_classes, *x.shape[1:]), np.nan, np.float32)
    for label in range(num_classes):
        found = np.flatnonzero(labels == label)
        if found.size:
            row[label] = x[int(found[0])]
    return row


def _draw(images: np.ndarray, row_names, column_names) -> np.ndarray:
    rows, columns, height, width, channels = images.shape
    padded = np.pad(images, [(0, 0), (0, 0), (1, 0), (1, 0), (0, 0)], constant_values=1)
    mosaic = padded.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + 1), columns * (width + 1), channels
    )
    if channels not in (1, 3):
        mosaic = mosaic.mean(-1, keepdims=True)
    figure = Figure(figsize=(0.6 * columns + 1, 0.6 * rows + 1), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(mosaic.squeeze(-1) if mosaic.shape[-1] == 1 else mosaic, cmap="gray")
    axes.set_xticks([(i + 0.5) * (width + 1) for i in range(columns)], column_names)
    axes.set_yticks([(i + 0.5) * (height + 1) for i in range(rows)], row_names)
    axes.tick_params(length=0, labelsize=7)
    if max(map(len, column_names)) > 3:
        axes.tick_params(axis="x", rotation=45)
    axes.set_xlabel("class")
    axes.set_ylabel("inner step")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
