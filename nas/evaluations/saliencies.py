"""Scores summed over convolutions and dense layers, mostly from one batch's gradient.

Each is what Abdelfattah et al. (2021) compare: weights count where they are kernels,
batch norm and biases do not. The loss is the mean cross-entropy of one training batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from gtn_tf.meta.inner_losses import cross_entropy
from gtn_tf.networks.stateless import layout
from nas.evaluations import real_training
from nas.evaluations.base import Context, Result, timed_result
from nas.spaces.base import Build


def l2_norm(context: Context, build: Build, seed: int) -> Result:
    """Sum of the norms of the kernels, untrained and without any data."""

    def score(model):
        return sum(float(tf.norm(kernel)) for kernel in _kernels(model))

    return timed_result(build, seed, score, worst=-1e9)


def grad_norm(context: Context, build: Build, seed: int) -> Result:
    """Sum of the norms of the kernels' gradients (Abdelfattah et al., 2021)."""
    return _over_kernels(context, build, seed, lambda kernel, g: tf.norm(g))


def snip(context: Context, build: Build, seed: int) -> Result:
    """Sum of |w dL/dw| over the weights of the kernels (Lee et al., 2019)."""

    def saliency(kernel, gradient):
        return tf.reduce_sum(tf.abs(kernel * gradient))

    return _over_kernels(context, build, seed, saliency)


def fisher(context: Context, build: Build, seed: int) -> Result:
    """What cutting channels would cost, summed over all channels.

    A channel's part is half the batch's mean of (sum over positions of a dL/da)^2,
    where a is the output of a convolution or a dense layer (Theis et al., 2018;
    Turner et al., 2020).
    """

    def score(model):
        x, targets = real_training.first_batch(context, seed)
        with tf.GradientTape() as tape:
            logits, activations = _with_activations(model)(x, training=True)
            loss = cross_entropy(targets, logits)
        gradients = tape.gradient(loss, activations, unconnected_gradients="zero")
        total = 0.0
        for activation, gradient in zip(activations, gradients, strict=True):
            positions = range(1, len(activation.shape) - 1)
            by_channel = tf.reduce_sum(activation * gradient, axis=positions)  # [B, C]
            total += float(tf.reduce_sum(tf.square(by_channel))) / (2 * len(x))
        return total

    return timed_result(build, seed, score, worst=-1e9)


def zico(context: Context, build: Build, seed: int) -> Result:
    """How large gradients are beside their changes from batch to batch (Li et al.,
    2023, ZiCo).

    The sum over kernels of log(sum over their weights of mean(|g|) / std(|g|)), of the
    gradients g of two batches. Weights whose gradients are alike do not count.
    """

    def score(model):
        kernels = _kernels(model)
        procedure = context.procedure
        both = real_training.batches(context, procedure.batch_size, 0, seed).take(2)
        sizes = []
        for x, targets in both:
            with tf.GradientTape() as tape:
                loss = cross_entropy(targets, model(x, training=True))
            gradients = tape.gradient(loss, kernels, unconnected_gradients="zero")
            sizes.append([tf.abs(gradient) for gradient in gradients])
        total = 0.0
        for first, second in zip(*sizes, strict=True):
            ratios = tf.math.divide_no_nan(first + second, tf.abs(first - second))
            ratio = float(tf.reduce_sum(ratios))
            total += math.log(ratio) if ratio else 0.0
        return total

    return timed_result(build, seed, score, worst=-1e9)


def _over_kernels(
    context: Context, build: Build, seed: int, saliency: Callable
) -> Result:
    """The sum of `saliency(kernel, gradient)` over the kernels."""

    def score(model):
        x, targets = real_training.first_batch(context, seed)
        kernels = _kernels(model)
        with tf.GradientTape() as tape:
            loss = cross_entropy(targets, model(x, training=True))
        gradients = tape.gradient(loss, kernels, unconnected_gradients="zero")
        pairs = zip(kernels, gradients, strict=True)
        return sum(float(saliency(kernel, gradient)) for kernel, gradient in pairs)

    return timed_result(build, seed, score, worst=-1e9)


def _kernels(model: keras.Model) -> list[tf.Variable]:
    """The weights of convolutions and dense layers."""
    kinds = layout(model.trainable_variables).kinds
    pairs = zip(model.trainable_variables, kinds, strict=True)
    return [variable.value for variable, kind in pairs if kind == "kernel"]


def _with_activations(model: keras.Model) -> keras.Model:
    """x -> logits, and the outputs of all layers that have a kernel."""
    outputs = [
        layer.output
        for layer in model.layers
        if any(v.name.endswith("kernel") for v in layer.trainable_variables)
    ]
    return keras.Model(model.inputs, [model.output, outputs])
