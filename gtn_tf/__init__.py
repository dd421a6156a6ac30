"""Generative Teaching Networks on TensorFlow and Keras."""

from gtn_tf.teaching.loaded_teacher import LoadedTeacher, load_teacher

__all__ = ["LoadedTeacher", "load_teacher"]
__version__ = "0.1.0"
