"""Random batches of a split, drawn statelessly: the seed is the data order."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from gtn_tf.data import dataset
from gtn_tf.data.dataset import Split


def sampler(split: Split, augment: bool) -> Callable:
    """A function (num_batches, batch_size, seed) -> images, labels.

    Images are raw, [num_batches, batch_size, H, W, C], and labels ids
    [num_batches, batch_size]. Within one call no image comes twice until all have
    come once. With `augment`, each image is cropped and flipped at random.
    """
    num_images = len(split.labels)

    def draw(num_batches: int, batch_size: int, seed: tf.Tensor):
        images, labels = split.tensors
        order_seed, augment_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        wanted = num_batches * batch_size
        rounds = -(-wanted // num_images)
        order = tf.concat(
            [
                tf.random.experimental.stateless_shuffle(
                    tf.range(num_images),
                    tf.random.experimental.stateless_fold_in(order_seed, index),
                )
                for index in range(rounds)
            ],
            axis=0,
        )[:wanted]
        drawn = tf.gather(images, order)  # [num_batches * batch_size, H, W, C]
        if augment:
            drawn = dataset.augment(drawn, augment_seed)
        shape = [num_batches, batch_size]
        return (
            tf.reshape(drawn, [*shape, *images.shape[1:]]),
            tf.reshape(tf.gather(labels, order), shape),
        )

    return draw
