"""Figures of training runs: learning curves, accuracy by kind of network."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

import numpy as np

from nas.reporting import charts, run_groups
from nas.reporting.comparisons import REAL
from nas.reporting.content import Figure, Table
from nas.reporting.run_groups import Group
from nas.reporting.training_runs import TrainingRun

_WINDOWS = 40  # of outer steps, of which the meta-loss is told
_FEWEST = 4  # outer steps in such a window


def commands(runs: Iterable[TrainingRun], script: str = "train") -> tuple[str, ...]:
    """What makes these runs again, a line each."""
    flag = "flagfile" if script == "train" else "workdir"
    suffix = "/flags.txt" if script == "train" else ""
    return tuple(
        f"bin/{script} --{flag}={shlex.quote(f'{run.folder}{suffix}')}" for run in runs
    )


def figures(groups: list[Group]) -> Iterator[Figure]:
    """Those for which there is something to draw."""
    rows = [row for group in groups for row in _validations(group)]
    yield from _curves(
        "outer-loop",
        "Validation accuracy by outer step",
        "Few-step accuracy on validation images while the teacher is trained: of one "
        "fresh network for each run and point; the mean over seeds, and a band from "
        "the lowest to the highest where there are several.",
        (rows, "outer step", "validation accuracy", True),
        commands(run for group in groups for run in group.runs),
    )
    rows = [row for group in groups for row in _meta_losses(group)]
    yield from _curves(
        "meta-loss",
        "Meta-loss by outer step",
        "Loss on real images of the network that an outer step has trained: the median "
        "of a window of outer steps, each of which has another network, and a band "
        "with 80 % of them.",
        (rows, "outer step", "meta-loss", False),
        commands(run for group in groups for run in group.runs),
    )
    rows = [row for group in groups for row in _inner_steps(group)]
    yield from _curves(
        "inner-loop",
        "Accuracy after each inner step",
        "Accuracy of fresh networks while a finished teacher teaches them, mean and "
        "range over the learners of bin/evaluate.",
        (rows, "inner step", "accuracy", True),
        commands(
            (run for g in groups for run in g.runs if run.inner_steps), "evaluate"
        ),
    )


def _curves(
    key: str, title: str, text: str, drawn: tuple, made_by: tuple[str, ...]
) -> Iterator[Figure]:
    """A figure, where a line has at least two points.

    Args:
      drawn: the arguments of `charts.curves`.
    """
    rows, x, y, percent = drawn
    lines = [row["line"] for row in rows]
    if max(map(lines.count, lines), default=0) < 2:
        return
    is_log = not percent and min(row["low"] or row["y"] for row in rows) > 0
    headers = ("line", x, y, "low", "high")
    values = [
        tuple(
            np.nan if row[c] is None else row[c]
            for c in ("line", "x", "y", "low", "high")
        )
        for row in rows
    ]
    spec = charts.curves(rows, x, y, percent, is_log)
    yield Figure(key, title, text, Table(headers, values), made_by, spec)


def _validations(group: Group) -> Iterator[dict]:
    for source in group.sources():
        curves = [r.validations[source] for r in group.runs if source in r.validations]
        known = [{int(step) for step in curve[:, 0]} for curve in curves]
        # Where a run ended earlier, a mean over those left would jump.
        steps = sorted(set.intersection(*known) or set.union(*known)) if known else []
        for step in steps:
            values = [
                float(c[c[:, 0] == step, 1][0]) for c in curves if step in c[:, 0]
            ]
            yield _row(group, source, step, np.mean(values), values)


def _meta_losses(group: Group) -> Iterator[dict]:
    losses = np.concatenate([run.meta_losses for run in group.runs])
    losses = losses[np.isfinite(losses).all(axis=1)]
    if not len(losses):
        return
    end = int(losses[:, 0].max())
    width = max(_FEWEST, -(-end // _WINDOWS))
    for start in range(0, end, width):
        own = losses[(losses[:, 0] > start) & (losses[:, 0] <= start + width), 1]
        if len(own):
            ends = np.percentile(own, [10, 90]).tolist()
            step = min(start + width, end)
            yield _row(group, group.own_source, step, np.median(own), ends)


def _inner_steps(group: Group) -> Iterator[dict]:
    found: dict[tuple[str, int], list[float]] = {}
    for run in group.runs:
        for row in run.inner_steps:
            source = REAL if row.source == "real" else group.own_source
            found.setdefault((source, row.condition), []).append(row.accuracy)
    for (source, step), values in sorted(found.items()):
        yield _row(group, source, step, np.mean(values), values)


def _row(group: Group, source: str, x: int, y: float, values: list[float]) -> dict:
    low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    line = group.name(source)
    return {
        "source": source,
        "line": line,
        "x": x,
        "y": float(y),
        "low": low,
        "high": high,
    }


def kinds(groups: list[Group]) -> Iterator[Figure]:
    """Test accuracy by kind of network, a figure for each group; unseen kinds last."""
    for number, group in enumerate(groups):
        unseen = group.kinds()
        rows = []
        for kind in sorted(unseen, key=unseen.get):
            label = f"{kind} (unseen)" if unseen[kind] else kind
            for source in group.sources():
                found = run_groups.estimate(group.accuracies(source, kind))
                if found:
                    row = {"label": label, "source": source}
                    rows.append(row | found._asdict())
        if not rows:
            continue
        text = (
            "Few-step test accuracy of fresh networks of each kind, with 95 % "
            f"intervals over {rows[0]['over']}. The teacher has never seen kinds that "
            "are marked unseen."
        )
        columns = ("label", "source", "mean", "low", "high", "count", "over")
        headers = ("kind of network", *columns[1:])
        table = Table(headers, [tuple(row[c] for c in columns) for row in rows])
        drawn = [row | {"value": row["mean"]} for row in rows]
        title = f"Accuracy by kind of network {group.label}".strip()
        yield Figure(
            f"kinds-{number}",
            title,
            text,
            table,
            commands(group.runs),
            charts.intervals(drawn, "few-step test accuracy", True),
        )
