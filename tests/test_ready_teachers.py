"""The teachers that come with the package, on models that they have never seen."""

import functools
import os

import numpy as np
import pytest

import gtn_tf
from gtn_tf.data import loaders, original_files
from gtn_tf.networks import initial_weights
from gtn_tf.networks.stock_models import STOCK_MODELS
from gtn_tf.teaching import ready_teachers

# Fewest share of 500 validation images that a taught model must get right.
BOUNDS = {
    "digits": {"residual": 0.88, "depthwise separable": 0.8, "vision transformer": 0.4},
    "mnist": {"residual": 0.9, "depthwise separable": 0.85, "vision transformer": 0.5},
    "fashion_mnist": {
        "residual": 0.7,
        "depthwise separable": 0.65,
        "vision transformer": 0.5,
    },
    "cifar10": {
        "residual": 0.34,
        "depthwise separable": 0.32,
        "vision transformer": 0.3,
    },
}

# Splits that a folder has, or None.
FILES = {
    "mnist": functools.partial(original_files.read_idx_files, "mnist"),
    "fashion_mnist": functools.partial(original_files.read_idx_files, "fashion_mnist"),
    "cifar10": original_files.read_cifar10_files,
}


@functools.cache
def load(name):
    """The data that a ready teacher is of; skips where its files are not there."""
    if name == "digits":
        return loaders.load(name, None, 0)
    folder = os.environ.get("GTN_DATA_DIR")
    if not folder or not FILES[name](folder):
        pytest.skip(f"GTN_DATA_DIR has no original files of {name}")
    return loaders.load(name, folder, 0)


def test_every_ready_teacher_has_bounds_and_a_card():
    assert set(ready_teachers.names()) == set(BOUNDS)
    for name in BOUNDS:
        card = gtn_tf.load_teacher(name).card
        assert "What it fails at" in card and "--outer_learning_rate=" in card


def test_ready_teachers_are_small():
    sizes = {
        name: sum(
            path.stat().st_size
            for path in (ready_teachers.FOLDER / name).rglob("*")
            if path.is_file()
        )
        for name in ready_teachers.names()
    }
    assert max(sizes.values()) < 10e6
    assert sum(sizes.values()) < 25e6


@pytest.mark.parametrize(
    "name, model", [(name, model) for name, own in BOUNDS.items() for model in own]
)
def test_a_stock_model_is_taught(name, model):
    dataset = load(name)
    teacher = gtn_tf.load_teacher(name)
    network = STOCK_MODELS[model](dataset.image_shape, dataset.num_classes)
    initial_weights.initialize(network, 0)
    # On MNIST the trials of other rates would take minutes.
    teacher.teach(network, rate_scale=None if name == "digits" else 1.0)
    split = dataset.validation
    accuracy = teacher.evaluate(network, split.images[:500], split.labels[:500])
    assert accuracy > BOUNDS[name][model]


def test_the_readmes_model_is_taught_from_any_seed():
    teacher = gtn_tf.load_teacher("digits")
    dataset = load("digits")
    build = STOCK_MODELS["one convolution (the README's)"]
    network = build(dataset.image_shape, dataset.num_classes)
    split = dataset.validation
    trainer = teacher.trainer(network)  # what `teach` does, compiled once
    accuracies = []
    for seed in range(10):
        initial_weights.initialize(network, seed)
        trainer.train(trainer.choose_rate_scale())
        accuracies.append(teacher.evaluate(network, split.images, split.labels))
    assert np.min(accuracies) >= 0.92


def test_a_name_is_taken_from_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gtn_tf.load_teacher("digits").folder == ready_teachers.folder("digits")
