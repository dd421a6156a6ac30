"""Dataset distillation: the images themselves are learned."""

from __future__ import annotations

import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.teachers.base import Teacher, TeacherSpec, normal_variable
from gtn_tf.teachers.registry import CURRICULA


class Distillation(Teacher):
    """Dataset distillation (Wang et al., 2019b): the pixels are the variables."""

    has_fixed_batches = True

    def __init__(self, spec: TeacherSpec, seed: int):
        super().__init__(spec)
        shape = (spec.num_inner_steps, spec.inner_batch_size, *spec.image_shape)
        self._use([normal_variable(shape, spec.dtype, seed, "pixels")])

    @classmethod
    def of_run(cls, spec: TeacherSpec, config, dataset) -> Distillation:
        """Pixels drawn from the run's seed."""
        return cls(spec, config.seed)

    @classmethod
    def check_curriculum(cls, name: str) -> None:
        """Raises UserError for a curriculum that draws latents afresh."""
        if CURRICULA[name].order is None:
            raise UserError(
                f"--curriculum={name} contradicts --teacher=distillation: pixels are "
                "stored, not drawn; give all_shuffled, shuffled_batch or full"
            )

    def begin_as(self, x, labels, num_steps: int) -> float:
        """The pixels are set to the images themselves."""
        self.pixels.assign(x)
        return 0.0

    def _use(self, variables: list[tf.Variable]) -> None:
        (self.pixels,) = self.variables = variables

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [T, B, H, W, C] and targets [T, B, K]."""
        return self._ordered(tf.cast(self.pixels, self.spec.dtype), seed)

    def show(self, weights, images, targets) -> tuple[tf.Tensor, tf.Tensor]:
        """The stored images and targets as they are."""
        return images, targets
