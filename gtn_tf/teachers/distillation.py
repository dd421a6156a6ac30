"""Dataset distillation: the images themselves are learned."""

from __future__ import annotations

import tensorflow as tf

from gtn_tf.teachers.base import Teacher, TeacherSpec, normal_variable


class Distillation(Teacher):
    """Dataset distillation (Wang et al., 2019b): the pixels are the variables."""

    stores = True

    def __init__(self, spec: TeacherSpec, seed: int):
        super().__init__(spec)
        shape = (spec.num_inner_steps, spec.inner_batch_size, *spec.image_shape)
        self._use([normal_variable(shape, spec.dtype, seed, "pixels")])

    def _use(self, variables: list[tf.Variable]) -> None:
        (self.pixels,) = self.variables = variables

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [T, B, H, W, C] and targets [T, B, K]."""
        return self._ordered(tf.cast(self.pixels, self.spec.dtype), seed)

    def show(self, weights, images, targets) -> tuple[tf.Tensor, tf.Tensor]:
        return images, targets
