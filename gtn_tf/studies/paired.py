"""A variant of a comparison beside its reference: seed by seed, learner by learner."""

from __future__ import annotations

import numpy as np

from gtn_tf.evaluation import few_step, measures

_WITHOUT = "without feedback"


def headers(reference: str, records: list[dict]) -> list[str]:
    """Of the columns that a reference adds to a table; none without one. Teachers that
    listen add their accuracies without feedback."""
    if not reference:
        return []
    listens = any(record.get("without_feedback") for record in records)
    return [_difference(reference), "p", *([_WITHOUT] if listens else [])]


def _difference(reference: str) -> str:
    return f"points more than {reference}"


def cells(reference: str, done: list[dict], records: list[dict]) -> dict[str, str]:
    """Header -> the mean difference of seeds with its interval, p over all learners,
    and accuracy without feedback; what there is not is left out.

    Args:
      done: records of one variant that did not diverge.
      records: those of all variants.
    """
    told = [value for record in done for value in record.get("without_feedback", [])]
    found = {_WITHOUT: f"{np.mean(told):.2%}"} if told else {}
    others = {
        record["seed"]: record["accuracy"]
        for record in records
        if record["variant"] == reference and not record["diverged"]
    }
    own = {record["seed"]: record["accuracy"] for record in done}
    seeds = sorted(own.keys() & others.keys())
    if not seeds or done[0]["variant"] == reference:
        return found
    points = [100 * float(np.mean(own[s]) - np.mean(others[s])) for s in seeds]
    summary = few_step.summarize(points, 0)
    mean, low, high = (summary[name] for name in ("mean", "low", "high"))
    values = [[v for seed in seeds for v in side[seed]] for side in (own, others)]
    return found | {
        _difference(reference): f"{mean:+.2f} ({low:+.2f} to {high:+.2f})",
        "p": f"{measures.p_value(*values):.2g}",
    }
