"""Teachers that begin as real training images instead of noise.

    min over generator and latents of  mean (G(z_t, y_t) - x_t)^2

for one real image x_t of class y_t in every place of the curriculum, so that
meta-training begins about where real data is. Latents learned with the generator:
Bojanowski et al., 2018. Distilled pixels are set to the images themselves.
"""

from __future__ import annotations

import sys

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.data.dataset import Dataset, Split, normalize
from gtn_tf.errors import UserError
from gtn_tf.teachers import curricula
from gtn_tf.teachers.base import Teacher
from gtn_tf.teachers.distillation import Distillation
from gtn_tf.teachers.gtn import GTN

_LEARNING_RATE = 0.01  # of Adam, falling to 0 over the steps


def warm_start(teacher: Teacher, dataset: Dataset, num_steps: int, seed: int) -> float:
    """Makes the teacher's batches resemble real training images.

    Args:
      num_steps: of Adam for a GTN, one batch of the curriculum each, in turn.

    Returns:
      The mean squared difference to the images that is left, in the units of x.

    Raises:
      UserError: a teacher that stores nothing for its places to be set.
    """
    if not teacher.stores:
        raise UserError(
            f"{type(teacher).__name__} with curriculum {teacher.spec.curriculum!r} "
            "stores no batches to begin as real images: use the curriculum full, "
            "shuffled_batch or all_shuffled with a generator or distilled pixels, or "
            "no warm start"
        )
    spec = teacher.spec
    shape = (spec.num_inner_steps, spec.inner_batch_size)
    labels = curricula.even_labels(*shape, spec.num_classes).numpy()
    images = dataset.train.images[_one_for_each(labels, dataset.train, seed)]
    x = normalize(images, dataset.mean, dataset.std)  # [T, B, H, W, C]
    if isinstance(teacher, Distillation):
        teacher.pixels.assign(x)
        return 0.0
    return _fit(teacher, x, labels, num_steps)


def _one_for_each(labels: np.ndarray, split: Split, seed: int) -> np.ndarray:
    """Indices of images with these labels, none twice before its class is used up."""
    random = np.random.default_rng([seed, 0x3A63])
    chosen = np.empty(labels.shape, np.int64)
    for label in np.unique(labels):
        places = labels == label
        own = random.permutation(np.flatnonzero(split.labels == label))
        chosen[places] = np.resize(own, places.sum())
    return chosen


def _fit(teacher: GTN, images, labels, num_steps: int) -> float:
    schedule = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, num_steps)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(teacher.variables)
    targets = tf.one_hot(labels, teacher.spec.num_classes)  # [T, B, K]
    num_batches = len(labels)

    @tf.function(autograph=False)
    def step(t):
        with tf.GradientTape() as tape:
            x, _ = teacher.show(teacher.weights(), teacher.latents[t], targets[t])
            loss = tf.reduce_mean(tf.square(x - images[t]))
        gradients = map(tf.convert_to_tensor, tape.gradient(loss, teacher.variables))
        optimizer.apply(list(gradients))
        return loss

    losses = [
        step(tf.constant(index % num_batches))
        for index in tqdm(range(num_steps), "warm start", unit="step", file=sys.stderr)
    ]
    return float(np.mean(losses[-num_batches:]))
