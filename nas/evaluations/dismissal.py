"""Early dismissal: networks that are behind after K of the T steps go no further.

    loss = mean(losses[K / 2 : K])
    is behind: loss > median(those of all networks that were judged before)

The losses are of the teacher's batches, each before its step, and come with the steps:
what is dismissed saves the other steps, batch norm's statistics and validation, and
what goes on pays nothing. Its score is minus the loss, so that it is below every
accuracy, and what was dismissed has an order, too.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence

MIN_KNOWN = 10  # losses without which nothing is dismissed


def early_loss(losses: Sequence[float], after: int) -> float:
    """Mean over the second half of the first `after` losses, K."""
    return statistics.fmean(losses[after // 2 : after])


@dataclasses.dataclass(frozen=True)
class Dismissal:
    """When a network is behind.

    Attributes:
      after: K.
      known: () -> the early losses of the networks that were judged before.
    """

    after: int
    known: Callable[[], Sequence[float]]

    def is_behind(self, early_loss: float) -> bool:
        """Whether it is above the median, or no number."""
        if not math.isfinite(early_loss):
            return True
        known = self.known()
        return len(known) >= MIN_KNOWN and early_loss > statistics.median(known)
