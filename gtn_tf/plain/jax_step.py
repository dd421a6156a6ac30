"""The outer step in plain JAX: a scan, compiled by XLA."""

from __future__ import annotations

import jax
import numpy as np
from jax import numpy as jnp

from gtn_tf.plain.step import EPSILON, NUM_HIDDEN, SLOPE, Inputs, Step


def build() -> Step:
    """The step, compiled when it is first called."""
    compiled = jax.jit(jax.value_and_grad(_loss))

    def call(inputs: Inputs) -> tuple[float, np.ndarray]:
        loss, gradient = compiled(*inputs)
        return float(loss), np.asarray(gradient)

    return call


def _loss(pixels, targets, params, learning_rate, momentum, images, labels):
    def inner_loss(params, x, own_targets):
        logits, statistics = _learner(params, x)
        losses = -jnp.sum(own_targets * jax.nn.log_softmax(logits), -1)
        return jnp.mean(losses), statistics

    def inner_step(carry, batch):
        params, velocities = carry
        gradients, statistics = jax.grad(inner_loss, has_aux=True)(params, *batch)
        velocities = jax.tree.map(
            lambda velocity, gradient: momentum * velocity + gradient,
            velocities,
            gradients,
        )
        params = jax.tree.map(
            lambda value, velocity: value - learning_rate * velocity,
            params,
            velocities,
        )
        return (params, velocities), statistics

    start = (params, jax.tree.map(jnp.zeros_like, params))
    (params, _), statistics = jax.lax.scan(inner_step, start, (pixels, targets))
    last = jax.tree.map(lambda values: values[-1], statistics)
    logits, _ = _learner(params, images, last)
    own = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)
    return -jnp.mean(own)


def _learner(params, x, statistics=None):
    """Logits [B, K], and each layer's mean and variance; or normalized by those."""
    found = []
    for layer in range(NUM_HIDDEN):
        kernel, beta, gamma = params[3 * layer : 3 * layer + 3]
        if layer < NUM_HIDDEN - 1:
            x = jax.lax.conv_general_dilated(
                x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        else:
            x = x.reshape(x.shape[0], -1) @ kernel
        axes = tuple(range(x.ndim - 1))
        if statistics is None:
            mean = jnp.mean(x, axes)
            variance = jnp.mean(jnp.square(x - mean), axes)
            found.append((mean, variance))
        else:
            mean, variance = statistics[layer]
        x = (x - mean) * (gamma * jax.lax.rsqrt(variance + EPSILON)) + beta
        x = jnp.where(x > 0, x, SLOPE * x)
    kernel, bias = params[3 * NUM_HIDDEN :]
    return x @ kernel + bias, found
