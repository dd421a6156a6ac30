"""An evaluation gives an architecture's network a score; all have one signature.

    evaluation(context, build, seed) -> Result

`build(style, regularization)` gives a Keras model, images -> logits, and is all that an
evaluation sees of an architecture. A new evaluation is a function and an entry in
`nas.evaluations.registry`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.data.dataset import Dataset, Split, normalize
from gtn_tf.networks.initial_weights import initialize
from gtn_tf.teaching.loaded_teacher import LoadedTeacher
from nas.evaluations.dismissal import Dismissal
from nas.evaluations.hypernetwork import Hypernetwork
from nas.evaluations.shared_weights import SharedWeights
from nas.spaces.base import Build

_CHUNK_SIZE = 250  # images per forward pass: bounds memory, not the result


class Result(NamedTuple):
    """What an evaluation says of one architecture."""

    score: float  # more is better; of a network that diverged the least there is
    seconds: float  # building and tracing included
    diverged: bool
    num_params: int  # trainable, of the network that was judged
    dismissed: bool = False  # early: the score is no accuracy
    early_loss: float | None = None  # by which it was or was not (see `dismissal`)
    accuracy: float | None = None  # where the score is made of it and something else

    def as_json(self) -> str:
        """One line of text."""
        return json.dumps(self._asdict())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Procedure:
    """Training on real data; the values are NAO's for the final evaluation.

    Attributes:
      num_epochs: over which the learning rate falls along a cosine to 0; parts of
        epochs may be given.
      weight_decay: factor of the weights in the gradient.
      clip_norm: of the gradient over all weights.
      cutout: side of the square that is cut out of each image, in pixels; 0: none.
    """

    num_epochs: float = 600
    batch_size: int = 128
    learning_rate: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip_norm: float = 5
    cutout: int = 0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Context:
    """What all architectures of a search are evaluated with.

    Attributes:
      teacher: for the evaluations that use one.
      procedure: of training on real data, whole or in part.
      num_steps: of the evaluations that train in few steps on real data.
      early_epochs: after which early-stopped training is.
      num_validation_images: that few-step learners are scored on.
      num_networks: that the teacher teaches of one architecture.
      early_loss_weight: beside the accuracy, in the score of what the teacher teaches.
      dismissal: of networks that are behind after some of the teacher's steps.
      shared_weights: that networks taught by the teacher begin with, by place.
      hypernetwork: that makes these for each architecture, if one does.
    """

    dataset: Dataset
    teacher: LoadedTeacher | None
    procedure: Procedure
    num_steps: int
    early_epochs: float
    num_validation_images: int
    num_networks: int = 1
    early_loss_weight: float = 0.0
    dismissal: Dismissal | None = None
    shared_weights: SharedWeights = dataclasses.field(default_factory=dict)
    hypernetwork: Hypernetwork | None = None

    @property
    def scoring_split(self) -> Split:
        """The validation images that few-step learners are scored on."""
        validation = self.dataset.validation
        count = self.num_validation_images
        return Split(validation.images[:count], validation.labels[:count])

    def normalize(self, images) -> tf.Tensor:
        """Raw images [N, H, W, C] -> x."""
        return normalize(images, self.dataset.mean, self.dataset.std)


def accuracy(context: Context, model: keras.Model, split: Split) -> float:
    """Fraction of a split's raw images that a model labels right; NaN where it
    gives no numbers."""
    return accuracy_measure(context, model, split)()


def accuracy_measure(
    context: Context, model: keras.Model, split: Split
) -> Callable[[], float]:
    """What measures `accuracy` as often as asked, traced once."""

    def num_right(images, labels):
        outputs = model(context.normalize(images), training=False)
        logits = tf.nest.flatten(outputs)[0]
        right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
        is_finite = tf.reduce_all(tf.math.is_finite(logits))
        count = tf.reduce_sum(tf.cast(right, tf.float32))
        return tf.where(is_finite, count, float("nan"))

    traced = tf.function(num_right, autograph=False).get_concrete_function(
        tf.TensorSpec([None, *context.dataset.image_shape], split.images.dtype),
        tf.TensorSpec([None], tf.int32),
    )
    num_images = len(split.labels)
    num_chunks = -(-num_images // _CHUNK_SIZE)
    chunks = np.array_split(np.arange(num_images), num_chunks)  # of like sizes

    def measure() -> float:
        counts = [traced(split.images[i], split.labels[i]) for i in chunks]
        return float(tf.add_n(counts)) / num_images

    return measure


def timed_result(
    build: Build,
    seed: int,
    score: Callable[[keras.Model], float],
    worst: float = 0.0,
    **options,
) -> Result:
    """The score of a network with fresh weights, and what it took.

    Args:
      seed: of the weights, which are drawn by the network's own initializers.
      worst: the score where that of the network is not finite.
      options: style and regularization of the network.
    """
    began = time.perf_counter()
    model = initialize(build(**options), seed)
    value = float(score(model))
    seconds = time.perf_counter() - began
    num_params = sum(math.prod(v.shape) for v in model.trainable_variables)
    if not math.isfinite(value):
        return Result(worst, seconds, True, num_params)
    return Result(value, seconds, False, num_params)
