"""The guard against divergence: back to the last good state, past what broke it.

An outer step measures the meta-loss of the state that it then changes. Where that loss
or its gradient is not finite, or the loss is far above its running level, the state is
bad: the one before it, whose loss was healthy, is put back, and training goes on with
the next learner and data. If it happens again soon, the outer rate is halved.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.errors import Diverged
from gtn_tf.meta.outer_loop import StepResult

_WINDOW = 100  # outer steps that make the running level, and in which to recur
_FEWEST = 20  # before which only what is not finite is bad


class Guard:
    """Watches outer steps.

    Args:
      variables: all that an outer step changes, the optimizer's included.
      rate_factor: scalar variable that the outer rate is multiplied by.
      max_divergences: of the whole run; one more ends it.
    """

    def __init__(
        self,
        variables: list[tf.Variable],
        rate_factor: tf.Variable,
        max_divergences: int,
    ):
        self._variables = variables
        self._rate_factor = rate_factor
        self._max_divergences = max_divergences
        self._good = self._copy()
        self._losses: list[float] = []
        self._last_step = -math.inf
        self.num_divergences = 0

    def __call__(
        self, step: Callable[[int], StepResult], outer_step: int
    ) -> StepResult:
        """step(outer_step), undone where its state turns out to be bad.

        Raises:
          Diverged: more divergences than are allowed.
        """
        before = self._copy()
        result = StepResult(*(float(value) for value in step(outer_step)))
        loss = result.meta_loss + result.intermediate_loss
        if self._is_bad(loss, result.gradient_norm):
            self._roll_back(outer_step, result)
        else:
            self._good = before
            self._losses = [*self._losses[1 - _WINDOW :], loss]
        return result

    def _is_bad(self, loss: float, gradient_norm: float) -> bool:
        if not math.isfinite(loss + gradient_norm):
            return True
        if len(self._losses) < _FEWEST:
            return False
        # Healthy runs stay below half of this: digits and MNIST, all teachers.
        return loss > 2 * np.mean(self._losses) + 10 * np.std(self._losses)

    def _roll_back(self, outer_step: int, result: StepResult) -> None:
        self.num_divergences += 1
        told = (
            f"diverged at outer step {outer_step}: meta-loss {result.meta_loss:g}, "
            f"intermediate loss {result.intermediate_loss:g}, gradient norm "
            f"{result.gradient_norm:g}"
        )
        if self.num_divergences > self._max_divergences:
            raise Diverged(
                f"training {told}, {self.num_divergences} times now, and "
                f"--max_divergences={self._max_divergences} are allowed: lower "
                "--outer_learning_rate or --inner_learning_rate, or set --clip_norm, "
                "in another --workdir"
            )
        for variable, value in zip(self._variables, self._good, strict=True):
            variable.assign(value)
        recurs = outer_step - self._last_step <= _WINDOW
        if recurs:
            self._rate_factor.assign(self._rate_factor / 2)
        self._last_step = outer_step
        rate = f", outer rate times {float(self._rate_factor):g}" if recurs else ""
        tqdm.write(f"warning: {told}; back to the last good state{rate}", sys.stderr)

    def _copy(self) -> list[tf.Tensor]:
        return [tf.identity(variable) for variable in self._variables]

    def state(self) -> dict[str, np.ndarray]:
        """All that the guard remembers, as arrays."""
        good = {f"good_{i}": v.numpy() for i, v in enumerate(self._good)}
        return good | {
            "losses": np.array(self._losses),
            "last_step": np.float64(self._last_step),
            "num_divergences": np.int64(self.num_divergences),
        }

    def set_state(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of `state`."""
        self._good = [
            tf.constant(arrays[f"good_{i}"]) for i in range(len(self._variables))
        ]
        self._losses = arrays["losses"].tolist()
        self._last_step = float(arrays["last_step"])
        self.num_divergences = int(arrays["num_divergences"])
