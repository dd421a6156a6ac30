"""Scores of a network from one batch of data or none: what costs next to nothing.

Each is what a user would try before training anything.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.meta import costs
from nas.evaluations import real_training
from nas.evaluations.base import Context, Result, timed_result
from nas.spaces.base import Build
from nas.spaces.operations import Style

_NUM_PATTERN_BITS = 32  # whatever the batch: scores of one size compare


def params(context: Context, build: Build, seed: int) -> Result:
    """The number of trainable parameters."""

    def score(model):
        return sum(math.prod(v.shape) for v in model.trainable_variables)

    return timed_result(build, seed, score)


def flops(context: Context, build: Build, seed: int) -> Result:
    """Multiplications and additions of convolutions and dense layers, for one image."""

    return timed_result(build, seed, costs.forward_flops)


def naswot(context: Context, build: Build, seed: int) -> Result:
    """Log-determinant of how alike images' patterns of active ReLUs are.

    K_ij is the number of ReLUs that images i and j both switch on or both switch off
    (Mellor et al., 2021, Equation 2), of untrained weights.
    """

    def score(model):
        x, _ = real_training.first_batch(context, seed)
        kernel = 0.0
        for active in _active(model, x):
            active = tf.cast(active, tf.float32)  # [B, units]
            kernel += tf.matmul(active, active, transpose_b=True)  # [B, B]
            kernel += tf.matmul(1 - active, 1 - active, transpose_b=True)
        if isinstance(kernel, float):  # there is no ReLU
            return -math.inf
        return np.linalg.slogdet(np.float64(kernel))[1]

    return timed_result(build, seed, score, worst=-1e9)


def swap(context: Context, build: Build, seed: int) -> Result:
    """How many patterns there are of the images that a ReLU lets through (Peng et al.,
    2024, SWAP-Score).

    A ReLU's pattern has a bit for each of a batch's first 32 images: whether it is
    active. It is of untrained weights, and ReLUs with equal patterns count once.
    """

    def score(model):
        x, _ = real_training.first_batch(context, seed)
        patterns = set()
        for active in _active(model, x):
            bits = np.packbits(active.numpy()[:_NUM_PATTERN_BITS], axis=0)  # [4, units]
            patterns.update(map(bytes, np.unique(bits, axis=1).T))
        return len(patterns)

    return timed_result(build, seed, score)


def _active(model: keras.Model, x: tf.Tensor) -> list[tf.Tensor]:
    """Which ReLUs are active for images x [B, H, W, C], a [B, units] for each layer."""
    relus = [
        layer.output for layer in model.layers if isinstance(layer, keras.layers.ReLU)
    ]
    if not relus:
        return []
    outputs = keras.Model(model.inputs, relus)(x, training=True)
    return [tf.reshape(each > 0, [len(x), -1]) for each in tf.nest.flatten(outputs)]


def jacov(context: Context, build: Build, seed: int) -> Result:
    """How little alike the images' input gradients are (Mellor et al., 2020, first
    version).

    Row i of the Jacobian is the gradient of the sum of all logits with respect to image
    i; with the eigenvalues e of the rows' correlations and k = 1e-5, the score is
    -sum(log(e + k) + 1 / (e + k)).
    """

    def score(model):
        x, _ = real_training.first_batch(context, seed)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(model(x, training=True))
        gradient = tape.gradient(total, x, unconnected_gradients="zero")
        jacobian = gradient.numpy().reshape(len(x), -1).astype(np.float64)
        if not jacobian.std(axis=1).all():  # nothing of an image reaches the logits
            return -math.inf
        shifted = np.linalg.eigvalsh(np.corrcoef(jacobian)) + 1e-5
        return -np.sum(np.log(shifted) + 1 / shifted)

    return timed_result(build, seed, score, worst=-1e9)


def synflow(context: Context, build: Build, seed: int) -> Result:
    """Log of the sum of |w dR/dw| (Tanaka et al., 2020).

    R is the sum of the outputs for an image of ones, of the absolute weights and
    without batch norm.
    """

    style = Style(batch_norm=False, dtype="float64")

    def score(model):
        variables = [v.value for v in model.trainable_variables]
        for variable in variables:
            variable.assign(tf.abs(variable))
        with tf.GradientTape() as tape:
            outputs = model(tf.ones([1, *context.dataset.image_shape], tf.float64))
            total = tf.reduce_sum(outputs)
        gradients = tape.gradient(total, variables, unconnected_gradients="zero")
        saliencies = zip(variables, gradients, strict=True)
        return math.log(sum(float(tf.reduce_sum(v * g)) for v, g in saliencies))

    return timed_result(build, seed, score, worst=-1e9, style=style)
