"""Data sets, and batches of them. `load` and `Dataset` are what users need.

They are imported when they are first asked for, because names of data sets are read
without TensorFlow.
"""

import importlib

_MODULES = {"Dataset": "gtn_tf.data.dataset", "load": "gtn_tf.data.loaders"}

__all__ = ["Dataset", "load"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
