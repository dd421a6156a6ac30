"""Teachers that begin as real training images instead of noise.

    min over generator and latents of  mean (G(z_t, y_t) - x_t)^2

for one real image x_t of class y_t in every place of the curriculum, so that
meta-training begins about where real data is. Latents learned with the generator:
Bojanowski et al., 2018. Distilled pixels are set to the images themselves.
"""

from __future__ import annotations

import numpy as np

from gtn_tf.data.dataset import Dataset, Split, normalize
from gtn_tf.teachers import curricula
from gtn_tf.teachers.base import Teacher


def warm_start(teacher: Teacher, dataset: Dataset, num_steps: int, seed: int) -> float:
    """Makes the teacher's batches resemble real training images.

    Args:
      num_steps: of Adam for a GTN, one batch of the curriculum each, in turn.

    Returns:
      The mean squared difference to the images that is left, in the units of x.

    Raises:
      UserError: a teacher that stores nothing for its places to be set.
    """
    spec = teacher.spec
    shape = (spec.num_inner_steps, spec.inner_batch_size)
    labels = curricula.even_labels(*shape, spec.num_classes).numpy()
    images = dataset.train.images[_one_for_each(labels, dataset.train, seed)]
    x = normalize(images, dataset.mean, dataset.std)  # [T, B, H, W, C]
    return teacher.begin_as(x, labels, num_steps)


def _one_for_each(labels: np.ndarray, split: Split, seed: int) -> np.ndarray:
    """Indices of images with these labels, none twice before its class is used up."""
    random = np.random.default_rng([seed, 0x3A63])
    chosen = np.empty(labels.shape, np.int64)
    for label in np.unique(labels):
        places = labels == label
        own = random.permutation(np.flatnonzero(split.labels == label))
        chosen[places] = np.resize(own, places.sum())
    return chosen
