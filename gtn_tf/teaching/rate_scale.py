"""How far a network's rates are from the learned ones, found without real data.

A network that the teacher was not learned with may want smaller or larger rates. Every
batch that it is shown tells how well it has learned from those before: the loss before
the step. `choose` takes the scale of all learning rates with which that loss is least
towards the end, of a few whole trials from the same initial weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_FACTOR = 2.0
_MOST = 3  # steps of the factor away from one


def choose(trial: Callable[[float], float]) -> float:
    """The scale with the least loss among 1, 1/2, 1/4, 1/8 or 1, 2, 4, 8.

    Goes on in a direction while the loss falls, and down from rates that are so large
    that training diverges: three to five trials.

    Args:
      trial: scale -> loss, not finite where training has diverged.
    """
    losses = {1.0: trial(1.0)}
    best = 1.0
    for factor in (1 / _FACTOR, _FACTOR):
        for steps in range(1, _MOST + 1):
            scale = factor**steps
            losses[scale] = trial(scale)
            if _is_less(losses[scale], losses[best]):
                best = scale
            elif math.isfinite(losses[best]):
                break
        if best != 1.0 or not math.isfinite(losses[1.0]):
            break
    return best


def late_loss(losses: Sequence) -> float:
    """Mean over the last third of the losses of shown batches, before their steps."""
    num_last = math.ceil(len(losses) / 3)
    return sum(losses[-num_last:]) / num_last


def _is_less(loss: float, other: float) -> bool:
    return math.isfinite(loss) and not loss >= other
