"""Fresh weights of any Keras model, drawn by its own initializers from a given seed.

Keras' initializers remember a seed of their own and give the same numbers whenever they
are asked; here each is asked with a seed that the caller gives, also inside a compiled
function. Keras does not say which initializer a variable came from, so that it is
looked up: `NAME_initializer` of the layer that owns a variable called NAME.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from gtn_tf.networks import layers

# What a tensor of weights is to its network. Rates are learned for each.
KINDS = ("kernel", "gain", "bias", "embedding")
_BY_NAME = {"bias": "bias", "beta": "bias", "gamma": "gain", "gain": "gain"}
_LARGEST_STATE = 2**20  # of a random layer's seed: exact as a float32, with room


def kind(variable: keras.Variable) -> str:
    """One of `KINDS`.

    Products' weights are kernels, factors gains, and terms biases; a matrix that
    multiplies nothing, such as a table of positions, is an embedding.
    """
    if variable.name in _BY_NAME:
        return _BY_NAME[variable.name]
    if variable.name.endswith("kernel"):
        return "kernel"
    return "embedding" if len(variable.shape) > 1 else "bias"


def draw(model: keras.Model, seed: tf.Tensor) -> dict[int, tf.Tensor]:
    """Initial values of all of a model's variables, by the variables' ids.

    A weight whose initializer cannot be found (a layer that calls `add_weight` with one
    and keeps no `NAME_initializer`) gets the values it has, in random order: a new draw
    wherever its numbers are independent and alike. What is not trained then keeps them.

    Args:
      seed: int [2].
    """
    owners = _owners(model)
    variables = model.variables
    seeds = tf.unstack(tf.random.split(seed, len(variables)), num=len(variables))
    values: dict[int, tf.Tensor] = {}
    for variable, own_seed in zip(variables, seeds, strict=True):
        values[id(variable)] = _value(variable, owners.get(id(variable)), own_seed)
    for layer in _flat_layers(model):
        if isinstance(layer, layers.WeightNorm):
            # A weight-normalized layer starts as the plain one.
            kernel = values[id(layer.raw_kernel)]
            values[id(layer.gain)] = layers.initial_gain(kernel)
    return values


def initialize(model: keras.Model, seed: int) -> keras.Model:
    """The model with fresh trainable weights, as `draw` gives them."""
    values = draw(model, tf.constant([seed, 0]))
    for variable in model.trainable_variables:
        variable.assign(values[id(variable)])
    return model


def _flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    return list(model._flatten_layers())


def _owners(model: keras.Model) -> dict[int, keras.layers.Layer]:
    """Variable's id -> the innermost layer that has it."""
    owners = {}
    for layer in _flat_layers(model):  # outer ones come first
        owners |= {id(variable): layer for variable in layer.variables}
    return owners


def _value(variable, layer, seed: tf.Tensor) -> tf.Tensor:
    if not variable.dtype.startswith(("float", "bfloat")):
        if variable.trainable or layer is None or "seed" not in variable.path:
            return tf.convert_to_tensor(variable.value)
        shape = tuple(variable.shape)
        state = tf.random.stateless_uniform(shape, seed, 0, _LARGEST_STATE, tf.int32)
        return tf.cast(state, variable.dtype)
    initializer = _initializer(variable, layer)
    if initializer is not None:
        shape = tuple(variable.shape)
        return _reseeded(initializer, seed)(shape, dtype=variable.dtype)
    current = tf.convert_to_tensor(variable.value)
    if not variable.trainable:
        return current
    shuffled = tf.random.experimental.stateless_shuffle(tf.reshape(current, [-1]), seed)
    return tf.reshape(shuffled, current.shape)


def _initializer(variable, layer):
    """The initializer that the layer names for its variable, or None."""
    stem = variable.name.removesuffix("_kernel")  # depthwise, pointwise, recurrent
    for name in (variable.name, stem, "depthwise"):
        found = getattr(layer, f"{name}_initializer", None)
        if callable(found):
            return found
    return None


class _FixedSeed(keras.random.SeedGenerator):
    """Hands out one given seed; a tensor, where Keras' own take integers."""

    def __init__(self, seed: tf.Tensor):
        self._seed = seed

    def next(self, ordered=True):
        del ordered
        return self._seed


def _reseeded(initializer, seed: tf.Tensor):
    """A copy of an initializer that draws from this seed.

    One without a seed, such as zeros or a user's function, is used as it is.
    """
    if not hasattr(initializer, "seed"):
        return initializer
    copied = type(initializer).from_config(initializer.get_config())
    copied.seed = _FixedSeed(seed)
    return copied
