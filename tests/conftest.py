"""What every test module leaves behind is given back."""

import contextlib
import ctypes
import gc

import keras
import pytest


@pytest.fixture(autouse=True, scope="module")
def memory_given_back():
    """Keras keeps every model that was built; a process would grow by gigabytes."""
    yield
    keras.utils.clear_session()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # of another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # or the process stays at its peak
