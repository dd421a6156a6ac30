"""Whether a teacher's images cover the classes, and how near they are to real ones.

    entropy    -sum_k p_k log2 p_k,  p_k the share of images that a classifier of real
               images takes for class k; log2 K if all are equal, 0 if it is one class
    distance   ||m - m'||^2 + trace(C + C' - 2 (C C')^(1/2)),  m, C the mean and the
               covariance of the classifier's features for the teacher's images, m', C'
               those for real ones

The latter is the Fréchet distance of Heusel et al., 2017, with features of the data
set's own classifier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gtn_tf.evaluation.real_classifier import RealClassifier
from gtn_tf.teachers.base import Teacher

_COVERED = 0.1  # of the share that a class would have if all had the same


class Modes(NamedTuple):
    """What is told of images."""

    num_classes: int  # with at least a tenth of an even share
    entropy: float  # of the histogram of classes, in bits
    distance: float  # Fréchet, of features, from real images


def of_images(classifier: RealClassifier, x: np.ndarray, real: np.ndarray) -> Modes:
    """The modes of images x [N, H, W, C] beside real ones [M, H, W, C], normalized."""
    logits, features = classifier.look(x)
    count = logits.shape[-1]
    shares = np.bincount(logits.argmax(-1), minlength=count) / len(x)
    covered = int(np.sum(shares >= _COVERED / count))
    found = shares[shares > 0]
    entropy = float(-np.sum(found * np.log2(found)))
    return Modes(covered, abs(entropy), distance(features, classifier.look(real)[1]))


def distance(features: np.ndarray, others: np.ndarray) -> float:
    """The Fréchet distance of Gaussians fitted to features [N, F] and [M, F]."""
    own, other = features.astype(np.float64), others.astype(np.float64)
    difference = own.mean(0) - other.mean(0)
    first, second = np.cov(own, rowvar=False), np.cov(other, rowvar=False)
    # The product's eigenvalues are those of a positive semidefinite matrix.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0))
    total = np.trace(first) + np.trace(second) - 2 * roots.sum()
    return float(difference @ difference + max(total, 0))


def shown(teacher: Teacher, num_images: int, seed: int = 0) -> np.ndarray:
    """Images that a teacher shows, x [N, H, W, C], N at most `num_images`.

    Those of one learner; of several, where each is shown others.
    """
    spec, images = teacher.spec, []
    per_learner = spec.num_inner_steps * spec.inner_batch_size
    rounds = 1 if teacher.has_fixed_batches else -(-num_images // per_learner)
    for index in range(rounds):
        plan_seed = tf.constant([seed, index])
        for step in range(spec.num_inner_steps):
            images.append(teacher.batch(step, plan_seed)[0].numpy())
    return np.concatenate(images)[:num_images]
