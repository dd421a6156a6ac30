"""Which latents and labels are shown at inner step t: the curricula of section 3.2.

A curriculum orders T batches of B stored items (a GTN's latents, distillation's
pixels), shuffling without replacement, or draws fresh latents. In the order of the
control that learning has over the presentation:

    none < all_shuffled < shuffled_batch < full
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf


def _all_shuffled(num_steps: int, batch_size: int, seed: tf.Tensor) -> tf.Tensor:
    """Every item once, in random order."""
    items = tf.range(num_steps * batch_size)
    shuffled = tf.random.experimental.stateless_shuffle(items, seed)
    return tf.reshape(shuffled, [num_steps, batch_size])  # [T, B]


def _shuffled_batch(num_steps: int, batch_size: int, seed: tf.Tensor) -> tf.Tensor:
    """Learned batches, each once, in random order."""
    steps = tf.random.experimental.stateless_shuffle(tf.range(num_steps), seed)
    return steps[:, None] * batch_size + tf.range(batch_size)  # [T, B]


def _full(num_steps: int, batch_size: int, seed: tf.Tensor) -> tf.Tensor:
    """A learned sequence of learned batches."""
    del seed
    return tf.reshape(tf.range(num_steps * batch_size), [num_steps, batch_size])


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """An order of presentation.

    Attributes:
      order: (T, B, seed) -> [T, B] indices into T * B stored items, or None where
        nothing is stored and every item is drawn afresh.
      shuffled: whether the order depends on the seed.
    """

    order: Callable[[int, int, tf.Tensor], tf.Tensor] | None
    shuffled: bool


NONE = Curriculum(None, shuffled=False)
ALL_SHUFFLED = Curriculum(_all_shuffled, shuffled=True)
SHUFFLED_BATCH = Curriculum(_shuffled_batch, shuffled=True)
FULL = Curriculum(_full, shuffled=False)


def present(stored: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Stored items [T, B, ...] in the order [T, B]; differentiable in `stored`."""
    items = tf.reshape(stored, [-1, *stored.shape[2:]])  # [T * B, ...]
    return tf.gather(items, order)  # [T, B, ...]


def even_labels(num_steps: int, batch_size: int, num_classes: int) -> tf.Tensor:
    """Label ids [T, B], every class equally often in a row of K: labels that stay
    fixed throughout meta-training ("keeping y_t fixed", section 2)."""
    labels = tf.range(num_steps * batch_size) % num_classes
    return tf.reshape(labels, [num_steps, batch_size])
