"""Dataset distillation: the images themselves are learned."""

from __future__ import annotations

import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.teachers.base import Teacher, TeacherSpec, normal_variable
from gtn_tf.teachers.registry import CURRICULA


class Distillation(Teacher):
    """Dataset distillation (Wang et al., 2019b): the pixels are the variables."""

    has_fixed_batches = True
    possible_labels = ("hard", "learned")

    def __init__(self, spec: TeacherSpec, seed: int):
        super().__init__(spec)
        shape = (spec.num_inner_steps, spec.inner_batch_size, *spec.image_shape)
        variables = [normal_variable(shape, spec.dtype, seed, "pixels")]
        if spec.labels == "learned":
            variables.append(self._first_label_scores())
        self._use(variables)

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
        self.variables = variables
        self.pixels, *scores = variables
        self.label_scores = scores[0] if scores else None

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [T, B, H, W, C] and targets [T, B, K]."""
        pixels = tf.cast(self.pixels, self.spec.dtype)
        return self._ordered(seed, pixels, self._stored_labels()[-1])

    def show(self, weights, images, targets) -> tuple[tf.Tensor, tf.Tensor]:
        """The stored images and targets as they are."""
        return images, targets
