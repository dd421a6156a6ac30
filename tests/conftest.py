"""What every test module leaves behind is given back."""

import gc

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry


@pytest.fixture(autouse=True, scope="module")
def memory_given_back():
    """TensorFlow and Keras keep for good what was traced and built; a process would
    grow by gigabytes."""
    known = set(gradient_registry.list())
    yield
    # A search switches it off for its process: what is traced then takes twice as much.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    # Each use of tf.custom_gradient in a graph registers a function that holds the
    # graph. Nothing public takes it back.
    for name in set(gradient_registry.list()) - known:
        if name.startswith("CustomGradient-"):
            del gradient_registry._registry[name]
    keras.utils.clear_session()
    gc.collect()
