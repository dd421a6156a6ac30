"""Scores of a network from one batch of data or none: what costs next to nothing.

Each is what a user would try before training anything.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.meta import costs
from gtn_tf.meta.inner_loop import cross_entropy
from gtn_tf.networks.stateless import layout
from nas.evaluations.base import Context, Result, timed_result
from nas.evaluations.real_training import batches
from nas.spaces.base import Build
from nas.spaces.operations import Style


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
        relus = [
            layer.output
            for layer in model.layers
            if isinstance(layer, keras.layers.ReLU)
        ]
        if not relus:
            return -math.inf
        x, _ = _batch(context, seed)
        kernel = 0.0
        outputs = keras.Model(model.inputs, relus)(x, training=True)
        for features in tf.nest.flatten(outputs):
            active = tf.reshape(tf.cast(features > 0, tf.float32), [len(x), -1])
            kernel += tf.matmul(active, active, transpose_b=True)  # [B, B]
            kernel += tf.matmul(1 - active, 1 - active, transpose_b=True)
        return np.linalg.slogdet(np.float64(kernel))[1]

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


def grad_norm(context: Context, build: Build, seed: int) -> Result:
    """Sum of the gradient norms of the weights of convolutions and dense layers for
    one batch (Abdelfattah et al., 2021); batch norm and biases do not count."""

    def score(model):
        x, targets = _batch(context, seed)
        kinds = layout(model.trainable_variables).kinds
        variables = [
            variable.value
            for variable, kind in zip(model.trainable_variables, kinds, strict=True)
            if kind == "kernel"
        ]
        with tf.GradientTape() as tape:
            loss = cross_entropy(targets, model(x, training=True))
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return sum(float(tf.norm(gradient)) for gradient in gradients)

    return timed_result(build, seed, score, worst=-1e9)


def _batch(context: Context, seed: int):
    shown = batches(context, context.procedure.batch_size, 0, seed)
    return next(iter(shown))
