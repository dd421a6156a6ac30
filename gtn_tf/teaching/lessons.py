"""What a model of Keras is shown step by step, whether or not it is listened to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

_SMALLEST = 1e-7  # of a probability, as in Keras' cross-entropy

Batch = tuple[tf.Tensor, tf.Tensor]


class OpenLessons:
    """The same batches for every model.

    Args:
      batches: x [B, H, W, C] and targets [B, K] of each step.
    """

    def __init__(self, batches: Sequence[Batch]):
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, step: int, feedback: tf.Tensor | None) -> Batch:
        """What is shown at a step.

        Args:
          feedback: of the step before; None at the first.
        """
        return self._batches[step]

    def feedback(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor | None:
        """What the next step is told of a model, from its outputs before the step."""
        return None


class ClosedLessons:
    """Batches that depend on what the model says of those before.

    Args:
      signatures: `respond` and `feedback` of a SavedModel (see `saved_models`).
      seed: of the order of presentation.
      of_probabilities: whether the outputs are probabilities; otherwise logits.
    """

    def __init__(
        self, signatures: Mapping, num_steps: int, seed: int, of_probabilities: bool
    ):
        self._signatures = signatures
        self._num_steps = num_steps
        self._seed = tf.stack([seed, 0])
        self._of_probabilities = of_probabilities

    def __len__(self) -> int:
        return self._num_steps

    def batch(self, step: int, feedback: tf.Tensor | None) -> Batch:
        """As of `OpenLessons`."""
        given = {"step": tf.constant(step), "seed": self._seed}
        if feedback is None:
            shown = self._signatures["batch"](**given)
        else:
            shown = self._signatures["respond"](**given, feedback=feedback)
        return shown["images"], shown["targets"]

    def feedback(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """As of `OpenLessons`."""
        outputs = tf.cast(outputs, tf.float32)
        if self._of_probabilities:
            outputs = tf.math.log(tf.maximum(outputs, _SMALLEST))
        told = self._signatures["feedback"](targets=targets, outputs=outputs)
        return told["feedback"]
