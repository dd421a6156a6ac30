"""keras-tuner's files, written whole: a kill in the midst leaves the old content."""

from __future__ import annotations

import tensorflow as tf
from keras_tuner.src import utils

_save_json = utils.save_json


def install() -> None:
    """Has keras-tuner save every oracle, tuner and trial of this process so.

    It opens the file that it is about to write and so empties it: a search killed
    at that moment could not be gone on with.
    """
    utils.save_json = _save_whole


def _save_whole(path: str, obj: dict) -> str:
    """keras-tuner's save_json to another name, which then takes the path's place."""
    new = f"{path}.new"
    text = _save_json(new, obj)
    tf.io.gfile.rename(new, path, overwrite=True)
    return text
