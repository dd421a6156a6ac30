"""A hypernetwork: the weights with which an architecture begins, made from the
architecture.

    c(a) = tanh(A e(a))                                                   [R]
    weights(place, a) = W_0[place] + sum_r c_r(a) W_r[place]

with e(a) what is chosen at each of the space's decisions. N drawn architectures train
it on the teacher's T batches:

    for each batch t of T, for each architecture a of N in turn:
        W, A = Adam(gradient of the loss of weights(., a) on batch t)

After that W and A stay as they are, so that no score depends on what was judged before
it. The paper names hypernetworks as a way to cheaper searches (section 4); weights
made from an encoding of the architecture are from Brock et al. (2018, SMASH), there
by a network with layers, here by a linear one.

A place is that of `shared_weights`. W_0 begins as the first fresh weights at it, W_r
as zero, and A is drawn, so that first W_r moves and then all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.teaching.keras_training import Trainer
from nas.evaluations import shared_weights
from nas.evaluations.shared_weights import SharedWeights
from nas.spaces.base import Architecture, SearchSpace

NUM_DIRECTIONS = 4  # R
LEARNING_RATE = 0.001


class Pupil(NamedTuple):
    """A network that the hypernetwork is trained on.

    Attributes:
      model: as of its architecture; its own weights are left as they are.
      encoding: e(a) [E].
      trainer: with the teacher's lessons and loss for the model.
    """

    model: keras.Model
    encoding: np.ndarray
    trainer: Trainer


def encode(space: SearchSpace, architecture: Architecture) -> np.ndarray:
    """e(a): one for each value that the architecture has, zeros else, [E]."""
    values = space.to_values(architecture)
    return np.array(
        [
            float(values.get(each.name) == value)
            for each in space.hyperparameters().space
            for value in each.values
        ],
        np.float32,
    )


class Hypernetwork:
    """encoding [E] -> weights by place.

    Args:
      pupils: whose models' fresh weights W_0 begins with; all places are theirs.
      seed: of A.

    Attributes:
      directions: W, [1 + R, *shape] at each place.
      mixing: A, [R, E].
    """

    def __init__(self, pupils: Sequence[Pupil], seed: int):
        self.directions: dict[tuple, keras.Variable] = {}
        for pupil in pupils:
            for place, variable in shared_weights.places(pupil.model):
                if place not in self.directions:
                    fresh = variable.numpy()
                    rest = np.zeros((NUM_DIRECTIONS, *fresh.shape), fresh.dtype)
                    self.directions[place] = keras.Variable(
                        np.concatenate([fresh[None], rest]), dtype=variable.dtype
                    )
        encoding = pupils[0].encoding
        drawn = tf.random.stateless_normal([NUM_DIRECTIONS, len(encoding)], [seed, 0])
        # Products of about one: tanh tells architectures apart, and is not flat.
        self.mixing = keras.Variable(drawn / np.sqrt(encoding.sum()))

    def weights(self, encoding, places: Iterable[tuple] | None = None) -> SharedWeights:
        """What a network of that encoding begins with, at these places or all."""
        products = tf.linalg.matvec(self.mixing.value, encoding)
        factors = tf.concat([[1.0], tf.tanh(products)], 0)  # [1 + R]
        chosen = self.directions if places is None else places
        return {
            place: tf.tensordot(
                tf.cast(factors, self.directions[place].dtype),
                self.directions[place].value,
                1,
            )
            for place in chosen
        }


def train(
    hypernetwork: Hypernetwork,
    pupils: Sequence[Pupil],
    num_steps: int,
    learning_rate: float = LEARNING_RATE,
) -> list[list[float]]:
    """Trains W and A in place, and gives each pupil's loss at each step before it.

    Args:
      num_steps: T.
    """
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build([hypernetwork.mixing, *hypernetwork.directions.values()])
    steps = [_compiled_step(hypernetwork, optimizer, pupil) for pupil in pupils]
    feedback = [None] * len(pupils)
    losses = []
    for index in range(num_steps):
        losses.append([])
        for number, (pupil, step) in enumerate(zip(pupils, steps, strict=True)):
            lessons = pupil.trainer.lessons
            x, targets = lessons.batch(index, feedback[number])
            loss, outputs = step(x, targets)
            feedback[number] = lessons.feedback(targets, outputs)
            losses[-1].append(float(loss))
    return losses


def gradient(hypernetwork: Hypernetwork, pupil: Pupil, x, targets) -> tuple:
    """Loss and outputs of a pupil with the hypernetwork's weights, and the loss's
    gradients with respect to the variables that these come from.

    Args:
      x: [B, H, W, C].
      targets: [B, K].

    Returns:
      loss, outputs [B, K], (gradient, variable) pairs.
    """
    model = pupil.model
    places = [place for place, _ in shared_weights.places(model)]
    variables = [hypernetwork.mixing, *map(hypernetwork.directions.get, places)]
    with tf.GradientTape() as tape:
        made = hypernetwork.weights(pupil.encoding, places)
        outputs, _ = model.stateless_call(
            [made[place] for place in places],
            [variable.value for variable in model.non_trainable_variables],
            x,
            training=True,
        )
        loss = pupil.trainer.loss(targets, outputs)
    gradients = tape.gradient(
        loss,
        [variable.value for variable in variables],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return loss, outputs, list(zip(gradients, variables, strict=True))


def _compiled_step(
    hypernetwork: Hypernetwork, optimizer: keras.optimizers.Optimizer, pupil: Pupil
) -> Callable:
    def step(x, targets):
        loss, outputs, moves = gradient(hypernetwork, pupil, x, targets)
        optimizer.apply_gradients(moves)
        return loss, outputs

    return tf.function(step, autograph=False)
