"""--image_size: what images are resized to."""

from __future__ import annotations

import re

import numpy as np
import tensorflow as tf

from gtn_tf.data.arrays import MIN_SIDE
from gtn_tf.data.splits import Split
from gtn_tf.errors import UserError

_CHUNK = 1000  # images in float32 at once


def parse(text: str) -> tuple[int, int] | None:
    """(height, width) that "N" or "HxW" stands for; None for "".

    Raises:
      UserError: anything else.
    """
    if not text:
        return None
    matched = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text, re.ASCII)
    sides = [int(side or matched[1]) for side in matched.groups()] if matched else []
    if not sides or min(sides) < MIN_SIDE:
        raise UserError(
            f"--image_size={text} is no size: give a side from {MIN_SIDE} to 9999 "
            "pixels, as in 32, or height and width, as in 24x32"
        )
    height, width = sides
    return height, width


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
