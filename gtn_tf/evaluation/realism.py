"""How real a teacher's images are, and how that changes along its curriculum (K).

Of each image, in the order shown:

    recognized       a classifier of real images takes it for its own class
    flips            how often that classifier's answer changes from step to step, while
                     it learns from real images (Toneva et al., 2018; Figures 14 and 15)
    boundary         (f_c - f_k) / ||d (f_c - f_k) / dx||, the distance to the boundary
                     between the two likeliest classes, to first order
    nearest          distance to the nearest training image, ||x - x'||
    high_frequency   share of the power of x - mean(x) above half the highest frequency

Test images are measured in the same way, for comparison.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
from sklearn.metrics import pairwise_distances_argmin

from gtn_tf.data.dataset import Dataset, normalize
from gtn_tf.evaluation import real_classifier
from gtn_tf.evaluation.real_classifier import RealClassifier

_FLIP_STEPS = 100
_CHUNK_SIZE = 256
_NUM_REAL = 500

# Names of what is measured of each image.
MEASURED = ("recognized", "flips", "boundary", "nearest", "high_frequency")


def measure(
    x: np.ndarray, labels: np.ndarray, dataset: Dataset, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is measured of images x [N, H, W, C] with label ids [N], and of test images.

    Returns:
      Name -> values [N]; name -> values [M] of the first 500 test images.
    """
    test, scale = (
        dataset.test,
        functools.partial(normalize, mean=dataset.mean, std=dataset.std),
    )
    real, real_labels = scale(test.images[:_NUM_REAL]).numpy(), test.labels[:_NUM_REAL]
    classifier = real_classifier.train(dataset, seed)
    flips = count_flips(np.concatenate([x, real]), dataset, seed)
    train = scale(dataset.train.images).numpy()
    found = []
    for images, own, changes in (
        (x, labels, flips[: len(x)]),
        (real, real_labels, flips[len(x) :]),
    ):
        values = (
            classifier.look(images)[0].argmax(-1) == own,
            changes,
            boundary_distance(classifier, images),
            nearest_distance(images, train),
            high_frequency(images),
        )
        found.append(dict(zip(MEASURED, values, strict=True)))
    return found[0], found[1]


def count_flips(x: np.ndarray, dataset: Dataset, seed: int) -> np.ndarray:
    """Changes of the class that images x [N, H, W, C] are taken for, from each of the
    first hundred steps of a classifier on real images to the next, [N]."""
    flips, before = np.zeros(len(x), np.int64), None

    def compare(classifier: RealClassifier) -> None:
        nonlocal before
        now = classifier.look(x)[0].argmax(-1)
        if before is not None:
            flips[now != before] += 1
        before = now

    real_classifier.train(dataset, seed + 1, _FLIP_STEPS, compare)
    return flips


def boundary_distance(classifier: RealClassifier, x: np.ndarray) -> np.ndarray:
    """To first order, how far each of x [N, H, W, C] is from the boundary between its
    two likeliest classes, [N]."""

    @tf.function(reduce_retracing=True)
    def distance(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            best, _ = tf.math.top_k(classifier.model(images, training=False), 2)
            margin = best[:, 0] - best[:, 1]
        slope = tape.gradient(margin, images)  # images do not depend on each other
        return margin / tf.sqrt(tf.reduce_sum(tf.square(slope), [1, 2, 3]))

    return np.concatenate([distance(tf.constant(chunk)) for chunk in _chunks(x)])


def nearest_distance(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """From each of x [N, H, W, C] to the nearest of others [M, H, W, C], [N]."""
    own, flat = (values.reshape(len(values), -1) for values in (x, others))
    nearest = pairwise_distances_argmin(own, flat)
    return np.linalg.norm(own - flat[nearest], axis=-1)


def high_frequency(x: np.ndarray) -> np.ndarray:
    """The share of power above a quarter of a cycle per pixel of x [N, H, W, C], [N].

    The mean over the image is left out; an image of one color has none.
    """
    power = np.abs(np.fft.fft2(x, axes=(1, 2))) ** 2
    power[:, 0, 0] = 0
    rows, columns = (np.fft.fftfreq(side) for side in x.shape[1:3])
    is_high = np.hypot(rows[:, None], columns) > 0.25
    total = power.sum((1, 2, 3))
    return power[:, is_high].sum((1, 2)) / np.maximum(total, 1e-12)


def class_means(x: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixel-wise mean of each class's images [K, H, W, C] (Figure 11); NaN where a
    class has none."""
    means = np.full((num_classes, *x.shape[1:]), np.nan, np.float32)
    for label in np.unique(labels):
        means[label] = x[labels == label].mean(0)
    return means


def _chunks(x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, range(_CHUNK_SIZE, len(x), _CHUNK_SIZE))
