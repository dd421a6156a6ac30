"""Training runs that differ by their seed alone, and what they say together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from gtn_tf.evaluation import few_step
from nas.reporting.comparisons import REAL, TEACHER
from nas.reporting.training_runs import TrainingRun

_KEYS = {TEACHER: "teacher", REAL: "real"}  # in results.json


class Estimate(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
      count: how many values the interval is over.
      over: what these are: seeds of a run, or fresh learners of the one run.
    """

    mean: float
    low: float
    high: float
    count: int
    over: str


class Group(NamedTuple):
    """Runs of equal flags but the seed.

    Attributes:
      label: what distinguishes it from other groups; "" of the only one.
    """

    label: str
    runs: list[TrainingRun]

    @property
    def own_source(self) -> str:
        """TEACHER, or REAL for runs with --teacher=real."""
        return self.runs[0].own_source

    def name(self, source: str) -> str:
        """A line of a figure or a row of a table."""
        return f"{source} {self.label}".strip()

    def sources(self) -> list[str]:
        """Of what there are results or curves, the runs' own first."""
        others = (source for run in self.runs for source in run.validations)
        reported = (
            source
            for source, key in _KEYS.items()
            for run in self.runs
            if key in run.results and source != TEACHER
        )
        return list(dict.fromkeys([self.own_source, *others, *reported]))

    def accuracies(self, source: str, kind: str = "") -> list[list[float]]:
        """Test accuracies of fresh learners, [runs][learners], of the finished runs.

        Args:
          kind: of network; "" for all kinds trained with.
        """
        # What a run is trained by stands under "teacher", also real data.
        key = "teacher" if source == self.own_source else _KEYS[source]
        found = []
        for run in self.runs:
            own = run.results.get(key, {})
            place = own.get("kinds", {}).get(kind) if kind else own.get("test_accuracy")
            if place:
                found.append(place["values"])
        return found

    def kinds(self) -> dict[str, bool]:
        """Kind of network -> whether it was left out of training."""
        return {
            kind: own["unseen"]
            for run in self.runs
            for kind, own in run.results.get("teacher", {}).get("kinds", {}).items()
        }


def group(runs: list[TrainingRun]) -> list[Group]:
    """Groups in the order of their first runs.

    Runs whose flags nobody has kept are groups of their own.
    """
    found: dict[tuple, list[TrainingRun]] = {}
    for run in runs:
        key = tuple(sorted(run.settings.items())) or (str(run.folder),)
        found.setdefault(key, []).append(run)
    every = [own[0].settings for own in found.values()]
    return [Group(_label(own, every), own) for own in found.values()]


def _label(runs: list[TrainingRun], every: list[dict[str, str]]) -> str:
    if len(every) == 1:
        return ""
    own = runs[0].settings
    if not own:
        return runs[0].folder.name
    changes = [
        f"--{name}={value}"
        for name, value in own.items()
        if any(other.get(name, value) != value for other in every)
    ]
    return " ".join(changes) or runs[0].folder.name


def estimate(values: list[list[float]]) -> Estimate | None:
    """Of accuracies or differences, [runs][learners]; None where there are none.

    Over seeds by Student's t where there are several runs, no further than from -1 to
    1; else over the learners by `few_step.summarize`.
    """
    if not values:
        return None
    if len(values) == 1:
        found = few_step.summarize(list(values[0]), 0)
        numbers = (found[key] for key in ("mean", "low", "high"))
        return Estimate(*numbers, len(values[0]), "learners")
    means = np.array([np.mean(own) for own in values])
    half = stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)
    mean = float(means.mean())
    low, high = max(mean - half, -1.0), min(mean + half, 1.0)
    return Estimate(mean, low, high, len(means), "seeds")


def difference(ours: list[list[float]], theirs: list[list[float]]) -> Estimate | None:
    """Of ours from theirs, learner by learner where they pair up; None where the runs
    do not."""
    if not ours or len(ours) != len(theirs):
        return None
    pairs = list(zip(ours, theirs, strict=True))
    if any(len(a) != len(b) for a, b in pairs):
        return None
    return estimate([(np.array(a) - np.array(b)).tolist() for a, b in pairs])
