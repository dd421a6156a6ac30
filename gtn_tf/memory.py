"""Whether the activations of all inner steps may be kept (Appendix D)."""

from __future__ import annotations

import math

import keras

_BUDGET_BYTES = 1 << 30
# A kept step holds more than its layers' outputs: products of the inner gradient.
# On the MNIST learner 64-128-256 180 MB against 145 MB of outputs; with a reserve.
_KEPT_PER_OUTPUT = 1.35


def activation_bytes(models: list[keras.Model], batch_size: int) -> int:
    """Estimated bytes that one inner step keeps for the way back."""
    numbers = sum(
        math.prod(output.shape[1:])
        for model in models
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
    )
    itemsize = 4  # float32; bfloat16 casts products only, and their inputs are kept
    return int(numbers * batch_size * itemsize * _KEPT_PER_OUTPUT)


def should_recompute(bytes_per_step: int, num_inner_steps: int) -> bool:
    """True where keeping all inner steps' activations would exceed 1 GiB."""
    return bytes_per_step * num_inner_steps > _BUDGET_BYTES
