"""Images resized to --image_size."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from gtn_tf.data.splits import Split

_CHUNK = 1000  # images in float32 at once


def resize(split: Split, size: tuple[int, int]) -> Split:
    """Images stretched to a size, bilinear and antialiased, of the type they had."""
    images = split.images
    if images.shape[1:3] == size:
        return split
    resized = np.empty((len(images), *size, images.shape[3]), images.dtype)
    for start in range(0, len(images), _CHUNK):
        part = tf.image.resize(images[start : start + _CHUNK], size, antialias=True)
        if images.dtype == np.uint8:
            part = tf.cast(tf.clip_by_value(tf.round(part), 0, 255), tf.uint8)
        resized[start : start + _CHUNK] = part
    return Split(resized, split.labels)
