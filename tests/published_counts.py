"""Parameters and operations as NAS-Bench-Suite-Zero counts them, and its numbers."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import keras
import pytest

POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


def num_params(model: keras.Model) -> int:
    """Trainable ones."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def num_operations(model: keras.Model) -> int:
    """Its "flops", of one image: multiply-accumulates of convolutions and dense layers,
    1 for a number that ReLU gives, 2 for one that batch norm does (1 without gamma and
    beta), and for one that pooling does the size of its window.

    The window over the whole image counts as larger by a pixel along each side.
    """
    return sum(map(_operations, model.layers))


def _operations(layer: keras.layers.Layer) -> int:
    size = math.prod(layer.output.shape[1:])
    if hasattr(layer, "kernel"):
        return math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
    if isinstance(layer, keras.layers.Cropping2D):
        # What a factorized reduction computes beside the image is not in its counts.
        convolution = layer.input._keras_history.operation
        beside = math.prod(layer.input.shape[1:]) - size
        return -beside * convolution.input.shape[-1]
    if isinstance(layer, keras.layers.BatchNormalization):
        return size * (2 if layer.scale else 1)
    if isinstance(layer, keras.layers.ReLU):
        return size
    if isinstance(layer, POOLING):
        window = math.prod(layer.pool_size)
        return window * size if window > 1 else 0
    if isinstance(layer, keras.layers.GlobalAveragePooling2D):
        return size * math.prod(side + 1 for side in layer.input.shape[1:3])
    return 0


def published(name: str) -> dict[str, tuple[int, int]]:
    """Architecture -> its published numbers of parameters and operations; skips where
    the file is not there.

    Args:
      name: of the file in $GTN_DATA_DIR/nasbench, without .json.
    """
    folder = Path(os.environ.get("GTN_DATA_DIR", "../shared/data")) / "nasbench"
    path = folder / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"GTN_DATA_DIR has no nasbench/{name}.json")
    return {
        text: tuple(round(1e6 * cell[count]) for count in ("params", "flops"))
        for text, cell in json.loads(path.read_text())["cifar10"].items()
    }
