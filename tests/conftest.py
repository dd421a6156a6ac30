"""Which test modules come first, seeds, and what a module leaves behind."""

import contextlib
import ctypes
import gc

import keras
import pytest

# Those of a minute and more begin first, so that none is left to one process at the
# end while the other has nothing to do.
LONGEST = (
    *("test_train", "test_loaded_teacher", "test_tuner", "test_search"),
    *("test_hypermodel_commands", "test_comparisons", "test_evaluate", "test_export"),
    *("test_survival", "test_meta_gradients", "test_own_data_runs", "test_halving"),
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(autouse=True, scope="module")
def memory_given_back(request):
    """Keras keeps every model that was built, and a module what it caches, such as data
    sets; a process would grow by gigabytes."""
    keras.utils.set_random_seed(0)  # for fixtures that serve the whole module
    yield
    for cached in vars(request.module).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    keras.utils.clear_session()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # of another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # or the process stays at its peak


@pytest.fixture(autouse=True)
def same_initial_weights():
    """A stock model draws its weights from a global seed; no draw fails a test."""
    keras.utils.set_random_seed(0)
