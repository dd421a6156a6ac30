"""A generator of states and of what a policy is to say of them (Appendix H)."""

from __future__ import annotations

import tensorflow as tf

from gtn_tf.errors import UserError
from gtn_tf.teachers.base import TeacherSpec
from gtn_tf.teachers.gtn import GTN


class StateActions(GTN):
    """(x, targets) = G(z_t, y_t): both sides of a regression are generated.

    Where labels stay one-hot, a policy's initial outputs are as large as they, and one
    step of gradient descent cannot outweigh them; generated targets can be larger.
    """

    possible_labels = ("hard",)
    generates_targets = True

    @classmethod
    def of_run(cls, spec: TeacherSpec, config, dataset) -> StateActions:
        """A generator of the run's widths for the environment's states and actions.

        Raises:
          UserError: images, or a loss for which targets are probabilities.
        """
        if len(dataset.image_shape) != 1 or config.inner_loss != "mean_squared_error":
            raise UserError(
                f"--teacher=state_actions contradicts --dataset={config.dataset} with "
                f"--inner_loss={config.inner_loss}: it generates vectors, and targets "
                "of a regression; give --dataset=gym:NAME and "
                "--inner_loss=mean_squared_error, or --teacher=gtn"
            )
        return super().of_run(spec, config, dataset)

    def _labeled(self, made, labels) -> tuple[tf.Tensor, tf.Tensor]:
        """States [B, S] and action values [B, A]."""
        return tuple(tf.split(made, [*self.spec.image_shape, -1], axis=1))
