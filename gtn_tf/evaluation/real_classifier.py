"""A classifier trained on real images: what a teacher's images are looked at with."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.data.dataset import Dataset, normalize
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.networks.stock_models import STOCK_MODELS

_MODEL = "convolutions and pooling"
_BATCH_SIZE = 64
_NUM_STEPS = 1000
_CHUNK_SIZE = 500


class RealClassifier:
    """Logits and features of normalized images.

    Args:
      model: x [N, H, W, C] -> logits [N, K], its last layer dense.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        outputs = [model.outputs[0], model.layers[-1].input]
        both = keras.Model(model.inputs[0], outputs)
        self._both = tf.function(
            lambda x: both(x, training=False), autograph=False, reduce_retracing=True
        )

    def look(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits [N, K] and features [N, F] of x [N, H, W, C]."""
        chunks = np.split(x, range(_CHUNK_SIZE, len(x), _CHUNK_SIZE))
        found = [self._both(tf.constant(chunk)) for chunk in chunks]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def train(
    dataset: Dataset,
    seed: int = 0,
    num_steps: int | None = None,
    on_step: Callable[[RealClassifier], None] | None = None,
) -> RealClassifier:
    """A convolutional classifier of the training images, by steps of Adam.

    Args:
      num_steps: None for 1,000.
      on_step: called after each step.
    """
    num_steps = num_steps or _NUM_STEPS
    model = STOCK_MODELS[_MODEL](dataset.image_shape, dataset.num_classes)
    stateless_model = StatelessModel(model)
    stateless_model.assign(*stateless_model.init(tf.constant([seed, 0])))
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(1e-3, num_steps)
    )
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(autograph=False)
    def step(images, labels):
        with tf.GradientTape() as tape:
            x = normalize(images, dataset.mean, dataset.std)
            value = loss(labels, model(x, training=True))
        variables = model.trainable_variables
        gradients = tape.gradient(value, [v.value for v in variables])
        optimizer.apply(gradients, variables)

    random = np.random.default_rng([seed, 0xC1A5])
    images, labels = dataset.train.images, dataset.train.labels
    classifier = RealClassifier(model)
    for _ in range(num_steps):
        own = random.integers(0, len(labels), _BATCH_SIZE)
        step(tf.constant(images[own]), tf.constant(labels[own]))
        if on_step is not None:
            on_step(classifier)
    return classifier
