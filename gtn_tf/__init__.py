"""Generative Teaching Networks on TensorFlow and Keras.

`load_teacher` and `LoadedTeacher` are imported when they are first asked for, so that
the commands can set TensorFlow's environment before it is loaded.
"""

__all__ = ["LoadedTeacher", "load_teacher"]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gtn_tf.teaching import loaded_teacher

    return getattr(loaded_teacher, name)
