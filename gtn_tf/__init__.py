"""Generative Teaching Networks on TensorFlow and Keras.

Public names are imported when they are first asked for, so that the commands can set
TensorFlow's environment before it is loaded.
"""

import importlib

_MODULES = {
    "LoadedTeacher": "gtn_tf.teaching.loaded_teacher",
    "load_teacher": "gtn_tf.teaching.loaded_teacher",
    "meta_train": "gtn_tf.commands.meta_train",
}

__all__ = ["LoadedTeacher", "data", "load_teacher", "meta_train"]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "data":
        return importlib.import_module("gtn_tf.data")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
