"""What runs of policies contribute to the page: returns, curves, an episode."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.evaluation import tables
from gtn_tf.runs import workdirs
from gtn_tf.studies.policies import GIF
from nas.reporting import charts, training_figures
from nas.reporting.comparisons import A2C, TEACHER
from nas.reporting.content import Figure, Part, Section, Table

_HEADERS = ("run", "policies", "test return", "95 % interval", "frames")


class PolicyRun(NamedTuple):
    """The folder of a run of bin/train in an environment.

    Attributes:
      environment: its name.
      results: results.json, or {} of a run that is not finished.
      curve: (frames, mean return of fresh policies in validation), [points, 2].
    """

    folder: Path
    environment: str
    results: dict
    curve: np.ndarray


def is_one(folder: Path) -> bool:
    """Whether a training run is of policies."""
    path = folder / "flags.txt"
    prefix = f"--dataset={dataset_flags.ENVIRONMENT}:"
    return path.is_file() and prefix in path.read_text()


def read(folder: Path) -> PolicyRun:
    """A run's folder, finished or not.

    Raises:
      UserError: files that are not those of a run.
    """
    config = workdirs.read_config(folder)
    curve = workdirs.validations(folder)
    curve[:, 0] *= config.frames_per_step
    path, results = folder / "results.json", {}
    if path.is_file():
        try:
            results = json.loads(path.read_text())
            list(_rows(PolicyRun(folder, "", results, curve)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} is no results file of bin/train ({error!r}): run it again"
            ) from None
    name = dataset_flags.environment(config.dataset)
    return PolicyRun(folder, name, results, curve)


def _rows(run: PolicyRun) -> Iterator[tuple[str, ...]]:
    """Of fresh policies by kind, and of A2C's one."""
    results, name = run.results, run.folder.name
    if not results:
        return
    frames = f"{int(run.curve[-1, 0])}" if len(run.curve) else ""
    for kind, own in results["teacher"]["kinds"].items():
        mean, low, high = (float(own[key]) for key in ("mean", "low", "high"))
        label = f"{kind} (unseen)" if own["unseen"] else kind
        yield name, label, f"{mean:.1f}", f"{low:.1f} to {high:.1f}", frames
    if "a2c" in results:
        own = results["a2c"]
        value, frames = float(own["test_return"]), str(own["frames"])
        yield name, "A2C, one policy", f"{value:.1f}", "", frames


def part(runs: list[PolicyRun]) -> Part:
    """The page's part on policies; its sections may be none."""
    rows = [row for run in runs for row in _rows(run)]
    sections = [
        Section(
            "policies",
            "Return of fresh policies",
            "Fresh policies are taught for the run's few steps and act in full "
            "episodes that training has not had, by their most probable actions. A2C "
            "is one policy that has learned in the environment itself.",
            (("Return in the test episodes", Table(_HEADERS, rows)),),
            tuple(_figures(runs)),
        )
    ]
    unfinished = [run.folder.name for run in runs if not run.results]
    told = ", ".join(unfinished)
    return Part(
        tuple(dict.fromkeys(run.environment for run in runs)),
        training_figures.commands(runs),
        tuple(_conclusion(run) for run in runs if run.results),
        (f"Not finished, and without test returns: {told}.",) if unfinished else (),
        tuple(s for s in sections if runs),
    )


def _conclusion(run: PolicyRun) -> str:
    own = run.results["teacher"]["test_return"]
    return (
        f"Fresh policies that {run.folder.name} has taught reach a return of "
        f"{own['mean']:.1f} in {run.environment} (95 % interval {own['low']:.1f} to "
        f"{own['high']:.1f} over {len(own['values'])} policies of one run, the worst "
        f"{min(own['values']):.1f})."
    )


def _figures(runs: list[PolicyRun]) -> Iterator[Figure]:
    commands = training_figures.commands(runs)
    lines = [(TEACHER, run.folder.name, run.curve) for run in runs]
    lines += [
        (A2C, f"A2C beside {run.folder.name}", np.array(run.results["a2c"]["curve"]))
        for run in runs
        if "a2c" in run.results
    ]
    rows = [
        {"source": source, "line": name, "x": int(x), "y": float(y)}
        | {"low": None, "high": None}
        for source, name, curve in lines
        for x, y in curve
    ]
    if any(len(curve) > 1 for _, _, curve in lines):
        yield Figure(
            "policy-returns",
            "Return by frames",
            "Mean return in validation episodes, of fresh policies that the teacher "
            "teaches after so many frames, and of the one policy of A2C (Figure 8).",
            Table(("line", "frames", "return"), [tuple(r.values())[1:4] for r in rows]),
            commands,
            charts.curves(rows, "frames", "return", percent=False),
        )
    for number, run in enumerate(runs):
        path = run.folder / GIF
        if not path.is_file():
            continue
        content = base64.b64encode(path.read_bytes()).decode()
        text = f"An episode of {run.environment}, as a fresh policy of the run acts."
        yield Figure(
            f"episode-{number}",
            f"An episode of {run.folder.name}",
            text,
            Table(("file",), [(str(path),)]),
            training_figures.commands([run]),
            None,
            Markup('<img src="data:image/gif;base64,{}" alt="{}">').format(
                content, text
            ),
        )


def sections(runs: list[PolicyRun], output: Path) -> Iterable[str]:
    """Markdown of each run; episodes go to the output folder."""
    for number, run in enumerate(runs):
        table = (
            tables.markdown(_rows(run), _HEADERS) if run.results else "Not finished."
        )
        yield f"## Policies of {run.folder.name}\n\n{table}"
        if (run.folder / GIF).is_file():
            name = f"run_{number}_{GIF}"
            shutil.copyfile(run.folder / GIF, output / name)
            yield f"![an episode]({name})"
