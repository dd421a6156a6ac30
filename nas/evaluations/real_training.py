"""Search and final evaluation: training on real data (sections 2 and 3.4).

The procedure is NAO's (Luo et al., 2018): SGD with momentum, a learning rate that
falls along a cosine to 0, weight decay, clipping, crops and flips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.data.dataset import Split, augment
from gtn_tf.meta.inner_losses import cross_entropy
from gtn_tf.meta.registry import INNER_OPTIMIZERS
from gtn_tf.networks.stateless import layout
from nas.evaluations.base import Context, Procedure, Result, accuracy, timed_result
from nas.spaces.base import Build
from nas.spaces.heads import MIN_AUXILIARY_SIZE
from nas.spaces.regularization import Regularization, cutout, set_progress

_AUXILIARY_WEIGHT = 0.4  # NAO


class Losses(NamedTuple):
    """What training tells of itself."""

    total: float  # sum of the training losses of all steps
    is_finite: bool


def search_evaluation(context: Context, build: Build, seed: int) -> Result:
    """Validation accuracy after training (paper: N=3, F=32, 100 epochs)."""

    def score(model):
        return _after_training(context, model, seed, context.dataset.validation)

    return timed_result(build, seed, score)


def final_evaluation(context: Context, build: Build, seed: int) -> Result:
    """Test accuracy after NAO's full procedure (paper: N=6, F=36, 600 epochs).

    Dropout, drop path, and, where images are large enough, an auxiliary head.
    """

    is_large = min(context.dataset.image_shape[:2]) >= MIN_AUXILIARY_SIZE
    regularization = Regularization(auxiliary_head=is_large, seed=seed)

    def score(model):
        return _after_training(context, model, seed, context.dataset.test)

    return timed_result(build, seed, score, regularization=regularization)


def _after_training(
    context: Context, model: keras.Model, seed: int, split: Split
) -> float:
    num_steps = count_steps(context, context.procedure.num_epochs)
    losses = train(context, model, context.procedure, num_steps, seed)
    return accuracy(context, model, split) if losses.is_finite else math.nan


def count_steps(context: Context, num_epochs: float) -> int:
    """Steps in so many epochs, at least one."""
    num_images = len(context.dataset.train.labels)
    return max(1, round(num_epochs * num_images / context.procedure.batch_size))


def train(
    context: Context,
    model: keras.Model,
    procedure: Procedure,
    num_steps: int,
    seed: int,
) -> Losses:
    """Trains a model on real data for the first `num_steps` of a procedure.

    It stops after an epoch in which a loss was not finite.

    Args:
      procedure: its num_epochs are what the learning rate's cosine goes over.
      seed: of the data order, crops, flips and cutout.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        procedure.learning_rate, count_steps(context, procedure.num_epochs)
    )
    step = _compile(model, procedure)
    shown = iter(batches(context, procedure.batch_size, procedure.cutout, seed))
    steps_per_epoch = count_steps(context, 1)
    losses: list[tf.Tensor] = []
    for number in range(num_steps):
        if number % steps_per_epoch == 0:
            if not np.all(np.isfinite(losses[-steps_per_epoch:])):
                break
            set_progress(model, min(1, (number + steps_per_epoch) / num_steps))
        losses.append(step(*next(shown), schedule(number)))
    total = float(np.sum(losses))
    return Losses(total, math.isfinite(total))


def _compile(model: keras.Model, procedure: Procedure) -> Callable:
    """x [B, H, W, C], targets [B, K], learning rate -> loss; moves the weights.

    The update is the inner loop's: momentum sums gradients, as NAO's does. (A Keras
    optimizer keeps the graph of every step that was traced with it, some 20 to 65 MB
    an architecture.)
    """
    optimizer = INNER_OPTIMIZERS["sgd"]
    variables = [v.value for v in model.trainable_variables]
    layouts = [layout([variable]) for variable in model.trainable_variables]
    velocities = [
        tf.Variable(slot)
        for v, own in zip(variables, layouts, strict=True)
        for slot in optimizer.init(v, own)
    ]

    def step(x, targets, learning_rate):
        with tf.GradientTape() as tape:
            logits, *auxiliary = tf.nest.flatten(model(x, training=True))
            loss = cross_entropy(targets, logits)
            total = loss
            for head in auxiliary:
                total += _AUXILIARY_WEIGHT * cross_entropy(targets, head)
        gradients = tape.gradient(total, variables, unconnected_gradients="zero")
        # Part of the gradient, so that momentum and clipping see it, as in NAO.
        decayed = [
            g + procedure.weight_decay * v
            for g, v in zip(gradients, variables, strict=True)
        ]
        if procedure.clip_norm:
            decayed, _ = tf.clip_by_global_norm(decayed, procedure.clip_norm)
        hyperparameters = (learning_rate, procedure.momentum)
        for v, velocity, g, own in zip(
            variables, velocities, decayed, layouts, strict=True
        ):
            value, (slot,) = optimizer.update(g, (velocity,), v, hyperparameters, own)
            v.assign(value)
            velocity.assign(slot)
        return loss

    return tf.function(step, autograph=False)


def batches(
    context: Context, batch_size: int, cutout_size: int, seed: int
) -> tf.data.Dataset:
    """Endless batches of training data, x [B, H, W, C] and targets [B, K].

    Every epoch is in another order; crops, flips and cutout are of each batch's own.
    """
    dataset = context.dataset

    def prepare(index, batch):
        images, labels = batch
        seeds = tf.random.split([seed, index], 2)
        if dataset.augment:
            images = augment(images, seeds[0])
        x = cutout(context.normalize(images), cutout_size, seeds[1])
        return x, tf.one_hot(labels, dataset.num_classes)

    train_split = dataset.train
    num_images = len(train_split.labels)
    size = min(batch_size, num_images)
    options = tf.data.Options()
    # Its thread can hold back the end of the iterator for a minute.
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_tensor_slices((train_split.images, train_split.labels))
        .shuffle(num_images, seed=seed)
        .repeat()
        .batch(size, drop_remainder=True)
        .enumerate()
        .map(prepare)
        .prefetch(2)
        .with_options(options)
    )


def first_batch(context: Context, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """One batch of training data, x [B, H, W, C] and targets [B, K]."""
    return next(iter(batches(context, context.procedure.batch_size, 0, seed)))
