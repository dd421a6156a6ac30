"""The outer step in plain TensorFlow: tapes in a loop of Python."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from gtn_tf.plain.step import EPSILON, NUM_HIDDEN, SLOPE, Inputs, Step


def build() -> Step:
    """The step, traced when it is first called."""
    compiled = tf.function(_step, autograph=False)

    def call(inputs: Inputs) -> tuple[float, np.ndarray]:
        loss, gradient = compiled(*tf.nest.map_structure(tf.constant, tuple(inputs)))
        return float(loss), gradient.numpy()

    return call


def _step(pixels, targets, params, learning_rate, momentum, images, labels):
    with tf.GradientTape() as outer:
        outer.watch(pixels)
        velocities = [tf.zeros_like(value) for value in params]
        for x, own_targets in zip(tf.unstack(pixels), tf.unstack(targets), strict=True):
            with tf.GradientTape() as inner:
                inner.watch(params)
                logits, statistics = _learner(params, x)
                losses = tf.nn.softmax_cross_entropy_with_logits(own_targets, logits)
                loss = tf.reduce_mean(losses)
            gradients = inner.gradient(loss, params)
            velocities = [
                momentum * velocity + gradient
                for velocity, gradient in zip(velocities, gradients, strict=True)
            ]
            params = [
                value - learning_rate * velocity
                for value, velocity in zip(params, velocities, strict=True)
            ]
        logits, _ = _learner(params, images, statistics)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
    return loss, outer.gradient(loss, pixels)


def _learner(params, x, statistics=None):
    """Logits [B, K], and each layer's mean and variance; or normalized by those."""
    found = []
    for layer in range(NUM_HIDDEN):
        kernel, beta, gamma = params[3 * layer : 3 * layer + 3]
        if layer < NUM_HIDDEN - 1:
            x = tf.nn.conv2d(x, kernel, 2, "SAME")
        else:
            x = tf.reshape(x, [x.shape[0], -1]) @ kernel
        axes = list(range(len(x.shape) - 1))
        if statistics is None:
            mean = tf.reduce_mean(x, axes)
            variance = tf.reduce_mean(tf.square(x - mean), axes)
            found.append((mean, variance))
        else:
            mean, variance = statistics[layer]
        x = (x - mean) * (gamma * tf.math.rsqrt(variance + EPSILON)) + beta
        x = tf.nn.leaky_relu(x, SLOPE)
    kernel, bias = params[3 * NUM_HIDDEN :]
    return x @ kernel + bias, found
