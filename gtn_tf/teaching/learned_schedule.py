"""A teacher's learned rates and momenta, step by step, for variables of Keras.

    model.compile("sgd", loss)
    model.fit(..., callbacks=[LearnedSchedule(...)])

Keras' own optimizers read their momentum as a number when they are traced, and keep
the rate inside the velocity: learned ones, other at each step, need an optimizer of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from gtn_tf.meta.inner_optimizers import InnerOptimizer
from gtn_tf.meta.registry import INNER_OPTIMIZERS
from gtn_tf.networks import stateless


class Plan(NamedTuple):
    """How T steps are taken.

    Attributes:
      rule: a key of `INNER_OPTIMIZERS`.
      rates: its hyperparameters [T, R], in the order of its names.
    """

    rule: str
    rates: tf.Tensor

    @classmethod
    def of(cls, rule: str, hyperparameters: dict) -> Plan:
        """From name -> values [T]."""
        names = INNER_OPTIMIZERS[rule].names
        return cls(rule, tf.stack([hyperparameters[name] for name in names], axis=1))

    def scaled(self, scale: float) -> Plan:
        """With the learning rates multiplied."""
        names = INNER_OPTIMIZERS[self.rule].names
        factors = [scale if name == "learning_rate" else 1.0 for name in names]
        return self._replace(rates=self.rates * factors)


def slots(optimizer: InnerOptimizer, variables: Sequence) -> tuple[tf.Tensor, ...]:
    """What the optimizer remembers of variables of one type before its first step."""
    return optimizer.init(_flat(variables), stateless.layout(variables))


def update(
    optimizer: InnerOptimizer, variables: Sequence, gradients: Sequence, slots, rates
) -> tuple[list[tf.Tensor], tuple[tf.Tensor, ...]]:
    """One step of variables of one type: their new values, and the slots.

    One update of many variables is traced and run in less time than many of one.

    Args:
      variables: of Keras, of any floating type.
      gradients: of the variables' shapes, sparse or not.
      slots: as `slots` gives them for these variables.
      rates: scalars in the order of `optimizer.names`.
    """
    layout = stateless.layout(variables)
    values = _flat(variables)
    dtype = values.dtype
    gradient = stateless.flatten(
        [tf.cast(tf.convert_to_tensor(gradient), dtype) for gradient in gradients],
        dtype,
    )
    rates = [tf.cast(rate, dtype) for rate in rates]
    moved, slots = optimizer.update(gradient, slots, values, rates, layout)
    return stateless.unflatten(moved, layout.shapes), slots


def _flat(variables: Sequence) -> tf.Tensor:
    return stateless.flatten(
        [tf.convert_to_tensor(variable) for variable in variables], variables[0].dtype
    )


class LearnedSteps(keras.optimizers.Optimizer):
    """A Keras optimizer whose step t takes the t-th learned rates; then the last ones.

    Args:
      plan: the optimizer that stands behind it, and its rates.
    """

    def __init__(self, plan: Plan):
        super().__init__(learning_rate=float(plan.rates[0][0]), name="learned_steps")
        self._rule, self._rates = plan.rule, tf.cast(plan.rates, tf.float32)

    def build(self, variables):
        """Makes the slots of all variables."""
        if self.built:
            return
        super().build(variables)
        self._slots = [
            [
                self.add_variable(
                    slot.shape,
                    initializer=lambda *_, slot=slot, **__: slot,
                    dtype=slot.dtype.name,
                    name="slot",
                )
                for slot in slots(INNER_OPTIMIZERS[self._rule], [variable])
            ]
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        """Moves one variable; `learning_rate`, Keras' own, is not read."""
        last = self._rates.shape[0] - 1
        step = tf.minimum(tf.cast(self.iterations.value, tf.int32), last)
        index = self._get_variable_index(variable)
        own = self._slots[index]
        [value], new_slots = update(
            INNER_OPTIMIZERS[self._rule],
            # Keras' own, whose name tells a kernel from a bias; given is TensorFlow's.
            [self._trainable_variables[index]],
            [gradient],
            tuple(tf.convert_to_tensor(slot) for slot in own),
            tf.unstack(self._rates[step]),
        )
        self.assign(variable, value)
        for slot, new in zip(own, new_slots, strict=True):
            self.assign(slot, new)


class LearnedSchedule(keras.callbacks.Callback):
    """Within `model.fit`, steps follow a teacher's learned rates and momenta.

    From the beginning of training to its end, `LearnedSteps` stands in place of the
    optimizer that the model was compiled with, whose own rate, momentum and clipping
    do not count. Under mixed_float16 Keras leaves out steps whose scaled gradient
    overflows. Where `fit` is left by an error, compile the model again.

    Args:
      plan: the optimizer and its rates.
      settle: called with the model at the end of an epoch, before validation and
        other callbacks.
    """

    def __init__(self, plan: Plan, settle: Callable[[keras.Model], None]):
        super().__init__()
        self._plan, self._settle = plan, settle
        self._own = None

    def on_train_begin(self, logs=None):
        """Puts the model's own optimizer aside."""
        self._own = self.model.optimizer
        steps = LearnedSteps(self._plan)
        if isinstance(self._own, keras.optimizers.LossScaleOptimizer):
            steps = keras.optimizers.LossScaleOptimizer(steps)
        self._use(steps)

    def on_test_begin(self, logs=None):
        """Validation comes before the end of the epoch."""
        self._settle(self.model)

    def on_epoch_end(self, epoch, logs=None):
        """Settles what other callbacks may save or measure."""
        self._settle(self.model)

    def on_train_end(self, logs=None):
        """Puts the model's own optimizer back."""
        self._use(self._own)

    def _use(self, optimizer):
        self.model.optimizer = optimizer
        self.model.make_train_function(force=True)  # the traced one has the other
