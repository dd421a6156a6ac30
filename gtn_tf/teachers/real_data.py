"""Real data as a teacher: the control."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from gtn_tf.data import batches
from gtn_tf.data.dataset import normalize
from gtn_tf.errors import UserError
from gtn_tf.teachers.base import Teacher, TeacherSpec
from gtn_tf.teachers.registry import CURRICULA


class Real(Teacher):
    """Random batches of real training data, without replacement within one run.

    Nothing here is learned; the inner hyperparameters are, as for the others
    (section 3.3).

    Args:
      draw: (num_steps, batch_size, seed) -> raw images uint8 [T, B, H, W, C] and
        labels [T, B].
      normalize_images: raw images -> x.
    """

    learns = False

    def __init__(self, spec: TeacherSpec, draw: Callable, normalize_images: Callable):
        super().__init__(spec)
        self._draw = draw
        self._normalize_images = normalize_images

    @classmethod
    def of_run(cls, spec: TeacherSpec, config, dataset) -> Real:
        """Batches of the data set's training images."""
        draw = batches.sampler(dataset.train, augment=False)
        scale = functools.partial(normalize, mean=dataset.mean, std=dataset.std)
        return cls(spec, draw, scale)

    @classmethod
    def check_curriculum(cls, name: str) -> None:
        """Raises UserError for a curriculum that shuffles stored batches."""
        if CURRICULA[name].shuffled:
            raise UserError(
                f"--curriculum={name} contradicts --teacher=real: real batches are "
                "always drawn at random; drop --curriculum"
            )

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw images [T, B, H, W, C] and label ids [T, B]."""
        return self._draw(self.spec.num_inner_steps, self.spec.inner_batch_size, seed)

    def show(self, weights, images, labels) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalized images and targets of a drawn batch."""
        return self._normalize_images(images), self._targets(labels)
