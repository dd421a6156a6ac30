"""Optimizers of the inner loop as pure functions, and their learned hyperparameters.

    init(params, layout) -> slots
    update(gradient, slots, params, hyperparameters, layout) -> params, slots

`hyperparameters` are the scalars of one inner step, in the order of `names`; they
are learned with the teacher ("at no additional cost", section 2). `layout` says where
each tensor of weights lies in the flat vectors, for optimizers that tell them apart.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from gtn_tf.meta import muon
from gtn_tf.networks.stateless import Layout


@dataclasses.dataclass(frozen=True)
class InnerOptimizer:
    """A pair of pure functions.

    Attributes:
      names: its hyperparameters, a subset of the keys of `CONSTRAINTS`.
      init: (params [P], layout) -> slots, a tuple of tensors.
      update: see the module.
    """

    names: tuple[str, ...]
    init: Callable
    update: Callable


def _sgd_init(params, layout: Layout):
    return (tf.zeros_like(params),)


def _sgd_update(gradient, slots, params, hyperparameters, layout: Layout):
    """SGD with momentum (Equation 1), as a recursion over the sum of gradients.

    velocity_t = momentum_t * velocity_(t-1) + gradient_t
    params_(t+1) = params_t - learning_rate_t * velocity_t

    Not Nesterov's momentum. With constant hyperparameters this is Equation 1.
    """
    (velocity,) = slots
    learning_rate, momentum = hyperparameters
    velocity = momentum * velocity + gradient
    return params - learning_rate * velocity, (velocity,)


def _adam_init(params, layout: Layout):
    return (tf.zeros_like(params), tf.zeros_like(params), tf.zeros([], params.dtype))


def _adam_update(gradient, slots, params, hyperparameters, layout: Layout):
    """Adam (Kingma & Ba, 2014), bias corrected.

    m = beta_1 m + (1 - beta_1) g,  v = beta_2 v + (1 - beta_2) g^2
    params - learning_rate * m^ / sqrt(v^ + epsilon)

    epsilon (1e-8) stands inside the root, unlike in Keras: the root's derivative at
    a gradient of exactly zero would be infinite and the meta-gradient undefined.
    The powers of the betas are of this step's values.
    """
    mean, square, count = slots
    learning_rate, momentum, beta_2 = hyperparameters
    count += 1
    mean = momentum * mean + (1 - momentum) * gradient
    square = beta_2 * square + (1 - beta_2) * tf.square(gradient)
    corrected_mean = mean / (1 - tf.pow(momentum, count))
    corrected_square = square / (1 - tf.pow(beta_2, count))
    change = corrected_mean * tf.math.rsqrt(corrected_square + 1e-8)
    return params - learning_rate * change, (mean, square, count)


SGD = InnerOptimizer(("learning_rate", "momentum"), _sgd_init, _sgd_update)
ADAM = InnerOptimizer(("learning_rate", "momentum", "beta_2"), _adam_init, _adam_update)
MUON = InnerOptimizer(muon.NAMES, muon.init, muon.update)

# Each name's map from an unconstrained variable to its range, and the inverse.
CONSTRAINTS: dict[str, tuple[Callable, Callable]] = {
    "learning_rate": (tf.exp, math.log),  # above 0
    "momentum": (tf.sigmoid, lambda p: math.log(p / (1 - p))),  # in (0, 1)
    "beta_2": (tf.sigmoid, lambda p: math.log(p / (1 - p))),
} | dict.fromkeys(muon.FACTORS, (tf.exp, math.log))

# Where learning begins for what is no flag. Gains and biases learn best at a third of
# the kernels' rate or less; it is where their factors go, given the time.
INITIAL: dict[str, float] = {
    "beta_2": 0.999,
    "gain_factor": 0.3,
    "bias_factor": 0.3,
    "embedding_factor": 1.0,
}


class InnerHyperparameters:
    """Learned hyperparameters of T inner steps, one for all or one for each.

    Args:
      initial: name -> initial value, one entry for each name of the optimizer; a
        momentum of 0 is held at 0 and not learned.
      num_inner_steps: T.
      per_step: learn one value for every inner step (the paper's text: one for all).
      decay: where there is one for every step, learning rates begin on a line from
        their initial value to this fraction of it at the last step.
    """

    def __init__(
        self,
        initial: dict[str, float],
        num_inner_steps: int,
        per_step: bool,
        dtype: str = "float32",
        decay: float = 1.0,
    ):
        self.num_inner_steps = num_inner_steps
        self.names = tuple(initial)
        shape = [num_inner_steps if per_step else 1]
        self._raw = {
            name: tf.Variable(
                tf.fill(shape, tf.constant(CONSTRAINTS[name][1](value), dtype)),
                name=name,
            )
            for name, value in initial.items()
            if value != 0
        }
        if per_step:
            line = tf.linspace(tf.constant(1.0, dtype), decay, num_inner_steps)
            self._raw["learning_rate"].assign_add(tf.math.log(line))
        self._dtype = dtype

    @property
    def variables(self) -> list[tf.Variable]:
        """Unconstrained variables, [T] or [1] each."""
        return list(self._raw.values())

    def values(self) -> dict[str, tf.Tensor]:
        """name -> constrained values [T]."""
        steps = [self.num_inner_steps]
        values = {}
        for name in self.names:
            if name in self._raw:
                constrained = CONSTRAINTS[name][0](
                    tf.convert_to_tensor(self._raw[name])
                )
                values[name] = tf.broadcast_to(constrained, steps)  # [T]
            else:
                values[name] = tf.zeros(steps, self._dtype)
        return values

    def at(self, values: list[tf.Tensor]) -> InnerHyperparameters:
        """The same that read these tensors in place of the variables."""
        other = copy.copy(self)
        other._raw = dict(zip(self._raw, values, strict=True))
        return other

    def resized(self, num_inner_steps: int) -> InnerHyperparameters:
        """The values as they are now for another T; the last step's go on."""
        other = copy.copy(self)
        other.num_inner_steps = num_inner_steps
        other._raw = {}
        for name, raw in self._raw.items():
            values = tf.convert_to_tensor(raw)
            missing = max(0, num_inner_steps - len(values))
            values = tf.concat([values, tf.repeat(values[-1:], missing)], 0)
            other._raw[name] = tf.Variable(values[:num_inner_steps], name=name)
        return other

    def by_step(self) -> list[tuple[str, float]]:
        """What is learned, as (name, value): one for all steps or one for each."""
        return [
            (f"inner_{name}/step_{step + 1:03d}", float(value))
            for name, raw in self._raw.items()
            for step, value in enumerate(CONSTRAINTS[name][0](raw))
        ]
