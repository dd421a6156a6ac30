"""What an outer step costs in floating point operations."""

from __future__ import annotations

import math

import keras

from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.meta_problem import MetaProblem

# In forward passes. Training: forward, and backward twice that. Differentiating it:
# each of its products becomes two more.
_TRAINING = 3
_DIFFERENTIATED = 3 * _TRAINING
_SCORED = 3  # the meta-loss and its gradient


def forward_flops(model: keras.Model) -> int:
    """Multiplications and additions of convolutions and dense layers, for one image."""
    return sum(
        2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        if hasattr(layer, "kernel")
    )


def training_flops(problem: MetaProblem, learner: keras.Model) -> int:
    """Of T steps of a learner on the teacher's data."""
    spec = problem.teacher.spec
    per_image = _TRAINING * forward_flops(learner) + _generator_flops(problem)
    return spec.num_inner_steps * spec.inner_batch_size * per_image


def outer_step_flops(
    problem: MetaProblem,
    learner: keras.Model,
    outer_batch_size: int,
    memory_policy: MemoryPolicy,
) -> int:
    """Of one meta-gradient: for a kept inner step nine forward passes of the learner
    and three of the generator; recomputed, the training comes on top once more."""
    spec = problem.teacher.spec
    forward = forward_flops(learner)
    generator = _generator_flops(problem)
    shown = _DIFFERENTIATED * forward + 3 * generator
    scored = _SCORED * forward
    num_scored = 1 + problem.num_intermediate_losses
    if memory_policy.recompute:
        shown += _TRAINING * forward + generator
        scored += forward
    return (
        spec.num_inner_steps * spec.inner_batch_size * shown
        + num_scored * outer_batch_size * scored
    )


def _generator_flops(problem: MetaProblem) -> int:
    generator = problem.teacher.generator
    return forward_flops(generator) if generator else 0
