"""Data sets, and batches of them. `load` is what users need."""

from gtn_tf.data.loaders import load

__all__ = ["load"]
