"""The outer step in plain PyTorch: eager, its graph kept by `create_graph`."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from gtn_tf.plain.step import EPSILON, NUM_HIDDEN, SLOPE, Inputs, Step


def build() -> Step:
    """The step."""

    def call(inputs: Inputs) -> tuple[float, np.ndarray]:
        pixels, targets, images = map(
            _channels_first, (inputs.pixels, inputs.targets, inputs.images)
        )
        pixels.requires_grad_()
        params = [torch.tensor(value) for value in _ordered(inputs)]
        for value in params:
            value.requires_grad_()
        loss = _loss(pixels, targets, params, inputs, images)
        (gradient,) = torch.autograd.grad(loss, pixels)
        return loss.item(), gradient.movedim(-3, -1).numpy()

    return call


def _channels_first(values: np.ndarray) -> torch.Tensor:
    tensor = torch.tensor(values)
    return tensor.movedim(-1, -3).contiguous() if tensor.ndim > 3 else tensor


def _ordered(inputs: Inputs):
    """Kernels as PyTorch has them: filters first, and features of channels first."""
    height, width = inputs.images.shape[1:3]
    for index, value in enumerate(inputs.params):
        if value.ndim == 4:
            yield np.ascontiguousarray(value.transpose(3, 2, 0, 1))
        elif index == 3 * (NUM_HIDDEN - 1):
            for _ in range(NUM_HIDDEN - 1):
                height, width = -(-height // 2), -(-width // 2)
            units = value.shape[-1]
            value = value.reshape(height, width, -1, units).transpose(2, 0, 1, 3)
            yield np.ascontiguousarray(value.reshape(-1, units))
        else:
            yield value


def _loss(pixels, targets, params, inputs: Inputs, images):
    velocities = [torch.zeros_like(value) for value in params]
    for x, own_targets in zip(pixels, targets, strict=True):
        logits, statistics = _learner(params, x)
        loss = functional.cross_entropy(logits, own_targets)
        gradients = torch.autograd.grad(loss, params, create_graph=True)
        velocities = [
            inputs.momentum * velocity + gradient
            for velocity, gradient in zip(velocities, gradients, strict=True)
        ]
        params = [
            value - inputs.learning_rate * velocity
            for value, velocity in zip(params, velocities, strict=True)
        ]
    logits, _ = _learner(params, images, statistics)
    return functional.cross_entropy(logits, torch.tensor(inputs.labels).long())


def _learner(params, x, statistics=None):
    """Logits [B, K], and each layer's mean and variance; or normalized by those."""
    found = []
    for layer in range(NUM_HIDDEN):
        kernel, beta, gamma = params[3 * layer : 3 * layer + 3]
        if layer < NUM_HIDDEN - 1:
            # "same" as TensorFlow has it: the odd row and column are the last.
            first = [1 if side % 2 else 0 for side in x.shape[-2:]]
            x = functional.pad(x, (first[1], 1, first[0], 1))
            x = functional.conv2d(x, kernel, stride=2)
        else:
            x = x.flatten(1) @ kernel
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        if statistics is None:
            mean = x.mean(axes)
            variance = (x - mean.view(shape)).square().mean(axes)
            found.append((mean, variance))
        else:
            mean, variance = statistics[layer]
        scale = gamma * torch.rsqrt(variance + EPSILON)
        x = (x - mean.view(shape)) * scale.view(shape) + beta.view(shape)
        x = functional.leaky_relu(x, SLOPE)
    kernel, bias = params[3 * NUM_HIDDEN :]
    return x @ kernel + bias, found
