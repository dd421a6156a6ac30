"""The outer step that every library writes out, for timing and as a check.

Distilled pixels teach a learner of two convolutions with strides of 2 and a dense
layer, each with batch norm over the batch and LeakyReLU, for T steps of SGD with
momentum. Its loss on real images is differentiated with respect to the pixels.

    velocity = momentum * velocity + d cross_entropy(targets_t, learner(pixels_t))
    params = params - learning_rate * velocity
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SLOPE = 0.1  # of LeakyReLU
EPSILON = 1e-5  # of batch norm
NUM_HIDDEN = 3  # two convolutions, one dense layer


class Inputs(NamedTuple):
    """What a step computes with, all float32 but the labels.

    Attributes:
      pixels: [T, B, H, W, C].
      targets: [T, B, K].
      params: kernel, beta and gamma of each hidden layer; kernel and bias of the last.
        Kernels of convolutions are [3, 3, inputs, filters], of dense layers
        [inputs, units].
      images: real ones [N, H, W, C].
      labels: their label ids [N].
    """

    pixels: np.ndarray
    targets: np.ndarray
    params: list[np.ndarray]
    learning_rate: float
    momentum: float
    images: np.ndarray
    labels: np.ndarray


# Inputs -> loss, gradient [T, B, H, W, C].
Step = Callable[[Inputs], tuple[float, np.ndarray]]
