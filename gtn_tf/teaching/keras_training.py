"""A Keras model trained in place, a step on each batch by learned rates.

What Keras asks of a loop is here: callbacks, mixed precision, frozen and constrained
weights, batch norm. The step itself is that of `inner_optimizers`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.meta import inner_losses
from gtn_tf.meta.registry import INNER_LOSSES, INNER_OPTIMIZERS
from gtn_tf.teaching import batch_statistics, learned_schedule, rate_scale
from gtn_tf.teaching.learned_schedule import Plan
from gtn_tf.teaching.lessons import ClosedLessons, OpenLessons

_FIRST_LOSS_SCALE = 2.0**15  # as of Keras' LossScaleOptimizer


class Trainer:
    """Trains one model in place, compiled once for all the times it is trained.

    Args:
      lessons: what is shown at each step.
      plan: the optimizer and its rates at each step.
      loss: (targets, outputs) -> scalar.

    Attributes:
      lessons, loss: as given.
    """

    def __init__(
        self,
        model: keras.Model,
        lessons: OpenLessons | ClosedLessons,
        plan: Plan,
        loss: Callable,
    ):
        self._model = model
        self.lessons = lessons
        self.loss = loss
        self._plan = plan
        optimizer = INNER_OPTIMIZERS[plan.rule]
        self._new_steps = _compiled_steps(model, optimizer, loss)

    def choose_rate_scale(self) -> float:
        """By trials from the weights that the model has, which it keeps."""

        def trial(scale):
            kept = [tf.identity(variable.value) for variable in self._model.variables]
            try:
                losses = self._losses(scale)
            finally:
                for variable, value in zip(self._model.variables, kept, strict=True):
                    variable.assign(value)
            return rate_scale.late_loss(losses)

        return rate_scale.choose(trial)

    def _losses(self, scale: float) -> list[float]:
        return [loss for _, loss in self._steps(scale, lambda index: None)]

    def _steps(self, scale: float, begin: Callable) -> Iterator[tuple]:
        """Takes the steps; yields the x of each and its loss before the step.

        Args:
          begin: called with the number of each step before it.
        """
        step, feedback = self._new_steps(), None
        rates = self._plan.scaled(scale).rates
        for index, own in zip(range(len(self.lessons)), rates, strict=True):
            begin(index)
            x, targets = self.lessons.batch(index, feedback)
            loss, outputs = step(x, targets, tf.unstack(own))
            feedback = self.lessons.feedback(targets, outputs)
            yield x, float(loss)

    def train(
        self,
        scale: float = 1.0,
        verbose=0,
        callbacks=None,
        goes_on: Callable[[list[float]], bool] = lambda losses: True,
    ) -> list[float]:
        """One step on each batch; batch norm gets the mean of its statistics.

        Args:
          scale: of the learning rates.
          goes_on: asked after each step with the losses so far. Where it does not,
            that step was the last, and batch norm is left as the step has left it.

        Returns:
          The loss of each batch, before its step.
        """
        model, shown = self._model, []
        with _one_epoch(self._callbacks(verbose, callbacks)) as (callbacks, losses):
            model.stop_training = False
            steps = self._steps(scale, callbacks.on_train_batch_begin)
            for index, (x, loss) in enumerate(steps):
                losses.append(loss)
                shown.append((x, None))
                callbacks.on_train_batch_end(index, {"loss": loss})
                if not goes_on(losses):
                    return losses
                if model.stop_training:
                    break
            batch_statistics.average(model, self._all_of(shown))
        return losses

    def _all_of(self, shown: list) -> list:
        """The batches of all steps: those not reached are shown as to nobody."""
        rest = range(len(shown), len(self.lessons))
        return shown + [self.lessons.batch(index, None) for index in rest]

    def _callbacks(self, verbose, callbacks) -> keras.callbacks.CallbackList:
        if isinstance(callbacks, keras.callbacks.CallbackList):
            return callbacks
        return keras.callbacks.CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            model=self._model,
            verbose=verbose,
            epochs=1,
            steps=len(self.lessons),
        )


def inner_loss(name: str, weights: dict, for_probabilities: bool) -> Callable:
    """(targets, outputs) -> mean, at least in float32.

    Args:
      weights: name -> values of the loss's weights, where it is learned.
    """
    loss = INNER_LOSSES[name]()
    own = [weights[weight] for weight in loss.names]

    def of_logits(targets, outputs):
        outputs = inner_losses.widened(outputs)
        return loss(tf.cast(targets, outputs.dtype), outputs, own)

    def of_probabilities(targets, outputs):
        return loss.of_probabilities(targets, outputs, own)

    return of_probabilities if for_probabilities else of_logits


@contextlib.contextmanager
def _one_epoch(callbacks: keras.callbacks.CallbackList):
    """Around the batches of an epoch, as in `model.fit`; yields losses too."""
    losses: list[float] = []
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    yield callbacks, losses
    logs = {"loss": float(np.mean(losses))}
    callbacks.on_epoch_end(0, logs)
    callbacks.on_train_end(logs)


def _compiled_steps(model: keras.Model, optimizer, loss: Callable) -> Callable:
    """() -> a function (x, targets, rates) -> loss, outputs, both before the step, that
    moves the model's weights, and begins with nothing remembered.

    Models that compute in float16 have their loss scaled, since gradients would
    vanish, by less from then on where they overflow. No step is left out.
    """
    dtypes = {layer.compute_dtype for layer in model._flatten_layers()}
    first_scale = tf.constant(_FIRST_LOSS_SCALE) if "float16" in dtypes else None
    inner_step = tf.function(_inner_step(model, optimizer, loss), autograph=False)

    def new_steps():
        slots = [
            learned_schedule.slots(optimizer, variables)
            for variables in _by_type(model.trainable_variables)
        ]
        scale = first_scale

        def step(x, targets, rates):
            nonlocal slots, scale
            while True:
                with batch_statistics.of_last_batch(model):  # not while callbacks look
                    told, has_moved, new_slots = inner_step(
                        slots, x, targets, rates, scale
                    )
                if has_moved:
                    slots = new_slots
                    return told
                scale /= 2

        return step

    return new_steps


def _inner_step(model: keras.Model, optimizer, loss: Callable) -> Callable:
    """(slots, x, targets, rates, scale) -> (loss, outputs), whether moved, slots.

    Moves the model's weights. Where the loss is scaled, it does not if the gradient
    overflows; with None for a scale it always does.
    """

    def inner_step(slots, x, targets, rates, scale):
        groups = _by_type(model.trainable_variables)
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            value = loss(targets, outputs)
            scaled = value if scale is None else value * tf.cast(scale, value.dtype)
        gradients = tape.gradient(
            scaled,
            [[v.value for v in variables] for variables in groups],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        moves = True
        if scale is not None:
            gradients, moves = _unscaled(gradients, scale)
        new_slots = []
        for variables, own, slot in zip(groups, gradients, slots, strict=True):
            moved, slot = learned_schedule.update(
                optimizer, variables, own, slot, rates
            )
            for variable, new in zip(variables, moved, strict=True):
                if variable.constraint is not None:
                    new = variable.constraint(new)
                if scale is not None:
                    new = tf.where(moves, new, variable.value)
                variable.assign(new)
            new_slots.append(slot)
        return (value, outputs), moves, new_slots

    return inner_step


def _by_type(variables: Sequence) -> list[list]:
    """The variables of each type, which one vector can hold."""
    groups: dict[str, list] = {}
    for variable in variables:
        groups.setdefault(variable.dtype, []).append(variable)
    return list(groups.values())


def _unscaled(gradients: list[list], scale: tf.Tensor) -> tuple[list[list], tf.Tensor]:
    """Gradients of the loss itself, and whether they may be followed."""
    unscaled = [
        [tf.convert_to_tensor(g) / tf.cast(scale, g.dtype) for g in group]
        for group in gradients
    ]
    finite = [tf.reduce_all(tf.math.is_finite(g)) for g in tf.nest.flatten(unscaled)]
    return unscaled, (scale <= 1) | tf.reduce_all(finite)
