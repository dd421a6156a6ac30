"""Data sets, and batches of them. `load` and `Dataset` are what users need."""

from gtn_tf.data.dataset import Dataset
from gtn_tf.data.loaders import load

__all__ = ["Dataset", "load"]
