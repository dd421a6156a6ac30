"""Figures from teachers of policies: which actions they teach in which states."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gtn_tf.teachers.base import Teacher

_MAX_PANELS = 8
_BINS = 30


def state_histograms(teacher: Teacher, class_names: tuple[str, ...]) -> np.ndarray:
    """How often each component of a state (the first eight) has which value, by action.

    All that is shown in the inner steps, normalized. A picture uint8 [H, W, 3].
    """
    seed = tf.constant([0, 0])
    shown = [teacher.batch(t, seed) for t in range(teacher.spec.num_inner_steps)]
    x, targets = (np.concatenate(parts) for parts in zip(*shown, strict=True))
    actions = targets.argmax(-1)
    panels = min(_MAX_PANELS, x.shape[-1])
    figure = Figure(figsize=(2.5 * panels, 2.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
        bins = np.linspace(x[:, index].min(), x[:, index].max() + 1e-6, _BINS + 1)
        for action, name in enumerate(class_names):
            values = x[actions == action, index]
            axes.hist(values, bins, alpha=0.6, label=name)
        axes.set_xlabel(f"component {index + 1}")
    axes.legend(fontsize="small")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
