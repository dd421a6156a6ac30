"""Shared weights: networks begin as others with the same operations at the same places.

    weights = {}
    for each of N drawn architectures in turn:
        network's weights = fresh, but for those that weights has
        the teacher's T steps
        weights = weights | the network's

After that the weights stay as they are, so that no score depends on what was judged
before it, and each network begins with what they have of it. The paper names sharing
as a way to cheaper searches (section 4); a supernet of single paths is from Guo et al.
(2020).

A place is where a space builds a layer, as its `keras.name_scope` says, without the
running numbers that Keras gives to layers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import keras
import tensorflow as tf

_NUMBERED = re.compile(r"(_\d+)?(/[^/]+)$")  # of a layer, then its variable's name

SharedWeights = dict[tuple, tf.Tensor]  # by place


def train(
    models: Iterable[keras.Model], teach: Callable[[keras.Model], object]
) -> SharedWeights:
    """The weights of models that are taught one after the other.

    Args:
      models: with fresh weights.
      teach: trains a model in place.
    """
    weights: SharedWeights = {}
    for model in models:
        give(weights, model)
        teach(model)
        weights |= {
            place: tf.identity(variable.value) for place, variable in places(model)
        }
    return weights


def give(weights: SharedWeights, model: keras.Model) -> int:
    """Sets those weights of a model that others have had, and says how many."""
    given = 0
    for place, variable in places(model):
        if place in weights:
            variable.assign(weights[place])
            given += 1
    return given


def places(model: keras.Model) -> Iterator[tuple[tuple, keras.Variable]]:
    """Trainable variables, each with its place, its number there and its shape."""
    seen: Counter = Counter()
    for variable in model.trainable_variables:
        place = _NUMBERED.sub(r"\2", variable.path), tuple(variable.shape)
        seen[place] += 1
        yield (*place, seen[place]), variable
