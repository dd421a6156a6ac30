"""What every test module leaves behind is given back."""

import gc

import keras
import pytest


@pytest.fixture(autouse=True, scope="module")
def memory_given_back():
    """Keras keeps every model that was built; a process would grow by gigabytes."""
    yield
    keras.utils.clear_session()
    gc.collect()
