"""What learners minimize on the teacher's batches, given or learned (section 2).

"The inner-loop objective does not depend on the outer-loop objective and could even be
parameterized and learned through meta-gradients" (Houthooft et al., 2018).
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from typing import ClassVar

import keras
import tensorflow as tf

_HIDDEN = 16


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of softmax(logits [B, K]) from targets [B, K]."""
    return tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    )


def mean_squared_error(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Mean of (outputs - targets)^2, both [B, K] (regression, section 2)."""
    return tf.reduce_mean(tf.square(outputs - targets))


class InnerLoss(abc.ABC):
    """(targets [B, K], outputs [B, K]) -> scalar, twice differentiable in the outputs.

    A call reads no variable: it is traced into inner steps, as `Teacher.show` is, so
    that its weights come as an argument.

    Attributes:
      names: of its weights, as they are exported.
      variables: what is meta-learned beside the teacher, in the order of `names`.
    """

    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, seed: int = 0, dtype: str = "float32"):
        del seed, dtype
        self.variables: list[tf.Variable] = []

    def at(self, values: list[tf.Tensor]) -> InnerLoss:
        """The same loss that reads these tensors in place of its variables."""
        other = copy.copy(self)
        other.variables = list(values)
        return other

    def weights(self) -> list[tf.Tensor]:
        """What a call needs beside its arguments."""
        return [tf.convert_to_tensor(variable) for variable in self.variables]

    @abc.abstractmethod
    def __call__(
        self, targets: tf.Tensor, outputs: tf.Tensor, weights: Sequence = ()
    ) -> tf.Tensor:
        """The loss of logits, or of a regression's outputs."""

    def of_probabilities(
        self, targets: tf.Tensor, probabilities: tf.Tensor, weights: Sequence = ()
    ) -> tf.Tensor:
        """The loss of a model of Keras that ends in a softmax, at least in float32."""
        probabilities = widened(probabilities)
        return self(tf.cast(targets, probabilities.dtype), probabilities, weights)


class CrossEntropy(InnerLoss):
    """`cross_entropy`."""

    def __call__(self, targets, outputs, weights=()):
        """As of `InnerLoss`."""
        return cross_entropy(targets, outputs)

    def of_probabilities(self, targets, probabilities, weights=()):
        """As of `InnerLoss`."""
        # Keras finds the logits behind a softmax, but not behind a cast.
        targets = tf.cast(targets, probabilities.dtype)
        losses = keras.losses.categorical_crossentropy(targets, probabilities)
        return tf.reduce_mean(widened(losses))


class MeanSquaredError(InnerLoss):
    """`mean_squared_error`."""

    def __call__(self, targets, outputs, weights=()):
        """As of `InnerLoss`."""
        return mean_squared_error(targets, outputs)


class LearnedLoss(CrossEntropy):
    """Cross-entropy and a small network of each class's probability and target.

        loss = mean over b of (-sum_k y_bk log p_bk + sum_k g(p_bk, y_bk))
        g(p, y) = tanh([p, y] W + b) v

    with p the softmax of the outputs. v begins at zero, so that learning begins exactly
    at cross-entropy. The classes share g, which thus does not depend on their number or
    order.
    """

    names = ("kernel", "bias", "output")

    def __init__(self, seed: int = 0, dtype: str = "float32"):
        super().__init__(seed, dtype)
        kernel = tf.random.stateless_normal([2, _HIDDEN], [seed, 2], dtype=dtype)
        zeros = tf.zeros([_HIDDEN], dtype)
        values = zip(self.names, (kernel, zeros, zeros), strict=True)
        self.variables = [
            tf.Variable(value, name=f"inner_loss_{name}") for name, value in values
        ]

    def __call__(self, targets, outputs, weights=()):
        """As of `InnerLoss`."""
        probabilities = tf.nn.softmax(outputs)
        own = super().__call__(targets, outputs)
        return own + _added(targets, probabilities, weights)

    def of_probabilities(self, targets, probabilities, weights=()):
        """As of `InnerLoss`."""
        own = super().of_probabilities(targets, probabilities)
        probabilities = widened(probabilities)
        return own + _added(
            tf.cast(targets, probabilities.dtype), probabilities, weights
        )


def _added(targets, probabilities, weights) -> tf.Tensor:
    kernel, bias, output = (tf.cast(w, probabilities.dtype) for w in weights)
    pairs = tf.stack([probabilities, targets], -1)  # [B, K, 2]
    hidden = tf.tanh(tf.tensordot(pairs, kernel, 1) + bias)  # [B, K, hidden]
    values = tf.tensordot(hidden, output, 1)  # [B, K]
    return tf.reduce_mean(tf.reduce_sum(values, -1))


def widened(values: tf.Tensor) -> tf.Tensor:
    """The same in float32, or as it is in float64."""
    return values if values.dtype == tf.float64 else tf.cast(values, tf.float32)
