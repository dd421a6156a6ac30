"""The weights of a model between two parts of its training on real data."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from gtn_tf.runs import files
from gtn_tf.teaching import batch_statistics

_NUM_BATCHES, _BATCH_SIZE = 8, 64  # that batch norm's statistics are the mean of


def path_of(folder: Path, trial_id: str, epochs: int) -> Path:
    """The file of a trial after so many epochs."""
    return folder / f"{trial_id}-{epochs}.weights.h5"  # Keras asks for the ending


def save(model: keras.Model, path: Path) -> None:
    """Writes weights, layers' seeds and the optimizer's state.

    Raises:
      OSError: it cannot be written; what was there is as it was.
    """
    path.parent.mkdir(exist_ok=True)
    files.write_atomically(path, lambda new: model.save_weights(new))


def load(model: keras.Model, path: Path) -> None:
    """Gives a model, built in the same way, what `save` has written of another."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:  # where it has no variables, Keras leaves them out
        optimizer.build(model.trainable_variables)
    model.load_weights(path)


def settle(model: keras.Model, images: tf.Tensor) -> None:
    """Sets batch norm's statistics to those of some images with the present weights.

    After an epoch or two the moving averages are still on their way, and a model that
    is as good as another seems worse.

    Args:
      images: preprocessed training images [N, H, W, C]; some from all parts are taken.
    """
    step = max(1, len(images) // (_NUM_BATCHES * _BATCH_SIZE))
    some = images[::step]
    num_batches = min(_NUM_BATCHES, len(some))
    batches = ((some[i::num_batches][:_BATCH_SIZE], None) for i in range(num_batches))
    batch_statistics.average(model, batches)
