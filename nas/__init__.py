"""Architecture search judged by a teacher.

`TeacherTuner` is imported when it is first asked for, so that TensorFlow is.
"""

__all__ = ["TeacherTuner"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nas.search import tuner

    return getattr(tuner, name)
