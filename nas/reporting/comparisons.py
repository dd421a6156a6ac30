"""Ways to judge architectures, held against one reference."""

from __future__ import annotations

from typing import NamedTuple

from nas.reporting import correlation
from nas.reporting.correlation import RankAgreement, Scores

TEACHER, REAL, PROXY, BOTH = (
    "teacher",
    "real data",
    "proxy",
    "teacher and others",
)
A2C = "A2C"  # beside policies
# Evaluations that train on real data.
_REAL = ("real_steps", "sum_of_losses", "early_stopped", "search", "final")


class Comparison(NamedTuple):
    """Judges beside one reference, with the agreements of those that share at least
    four architectures with it.

    Attributes:
      title: of its table.
      name: the space and the data set, or what the reference is.
      proxies: judge -> scores; combinations of judges are among them.
      shown: those judges that figures show; all others are in the table.
      texts: key of an architecture -> how a reader sees it.
      best: the best published accuracy in percent, from which the regret counts; NaN
        where the reference is no published one.
    """

    title: str
    name: str
    proxies: dict[str, Scores]
    reference: Scores
    agreements: dict[str, RankAgreement]
    shown: tuple[str, ...]
    texts: dict[str, str]
    best: float

    @property
    def is_published(self) -> bool:
        """Whether the reference is a file of published accuracies."""
        return self.best == self.best

    def architectures(self, judge: str) -> list[str]:
        """Keys of those that the judge and the reference have scored, in order."""
        return sorted(set(self.proxies[judge].scores) & set(self.reference.scores))


def compare(
    title: str,
    name: str,
    singles: dict[str, Scores],
    reference: Scores,
    combined: dict[str, Scores] | None = None,
    texts: dict[str, str] | None = None,
    best: float = float("nan"),
) -> Comparison:
    """A comparison with its agreements, which are what takes time.

    Args:
      singles: judge -> scores; these are shown.
      combined: those that are in the table alone.
    """
    proxies = singles | (combined or {})
    found = {
        judge: correlation.agreement(own, reference) for judge, own in proxies.items()
    }
    agreements = {judge: each for judge, each in found.items() if each is not None}
    shown = tuple(singles)
    return Comparison(
        title, name, proxies, reference, agreements, shown, texts or {}, best
    )


def source_of(judge: str) -> str:
    """What a judge goes by: TEACHER, REAL, PROXY, or BOTH for a combination with a
    teacher. `judge` begins with the evaluation's name."""
    first = judge.split()[0].rstrip(",")
    is_combined = " and " in judge
    if first == "teacher":
        return BOTH if is_combined else TEACHER
    return REAL if first in _REAL and not is_combined else PROXY
