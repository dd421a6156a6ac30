"""Searches of hypermodels: their trials, their finalists, and how the two agree."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import keras_tuner
from keras_tuner.engine.trial import Trial

from gtn_tf.errors import UserError
from gtn_tf.evaluation.tables import markdown
from gtn_tf.runs import workdirs
from nas.reporting import comparisons, tables
from nas.reporting.comparisons import Comparison
from nas.reporting.correlation import Scores
from nas.search import halving, tuner_oracles
from nas.search.config import SearchConfig
from nas.search.halving import Training
from nas.search.real_epochs import Finalist

_MOST_TRIALS = 50  # in the report
_FEWEST_RANKED = 4  # of which an agreement is told
CHOSEN = (
    "Finalists are the best by the teacher's score: of all trials, the order by the "
    "teacher may agree with that by real accuracy better or worse than of these."
)


class HypermodelSearch(NamedTuple):
    """A folder of a TeacherTuner, or of bin/search --hypermodel."""

    name: str
    trials: list[Trial]
    trainings: list[Training]  # of halving
    commands: tuple[str, ...]  # that made it, where there is one


def find(folder: Path) -> Path | None:
    """Where in a folder a tuner's files are, if it is one of these."""
    for candidate in (folder / "keras_tuner", folder):
        if (candidate / "oracle.json").is_file():
            return candidate
    return None


def read(folder: Path) -> HypermodelSearch:
    """The trials and trainings of a folder in which there are some.

    Raises:
      UserError: files that are damaged.
    """
    tuner_folder = find(folder)
    name, commands = str(folder), ()
    if (folder / "flags.txt").is_file():
        flagfile = shlex.quote(f"{folder}/flags.txt")
        commands = (f"bin/search --flagfile={flagfile}",)
        name = workdirs.read(SearchConfig, folder).hypermodel
    trials = [_read_trial(p) for p in sorted(tuner_folder.glob("trial_*/trial.json"))]
    record, trainings = tuner_folder / halving.FILE, []
    if record.is_file():
        _, trainings = halving.read(record)
    there = {trial.trial_id for trial in trials}
    known = [training for training in trainings if training.trial_id in there]
    return HypermodelSearch(name, trials, known, commands)


def _read_trial(path: Path) -> Trial:
    try:
        return Trial.load(str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no trial of keras-tuner ({error!r}): remove its folder"
        ) from None


def sections(searches: list[HypermodelSearch]) -> Iterable[str]:
    """Markdown of each search."""
    for search in searches:
        table = trials_table(search.trials, _MOST_TRIALS)
        yield f"## Trials of {search.name}, scored by the teacher\n\n{table}"
        if search.trainings:
            yield f"## Finalists of {search.name}\n\n{_trainings_table(search)}"
            yield from _agreements(search)


def trials_table(trials: list[Trial], count: int = 10) -> str:
    """Markdown: keras-tuner's best trials, best first, and how many failed."""
    completed = [trial for trial in trials if trial.status == "COMPLETED"]
    rows = []
    for trial in sorted(completed, key=lambda trial: -trial.score)[:count]:
        values = values_of(trial.hyperparameters)
        rows.append([f"{trial.score:.4g}", f"{seconds_of(trial):.1f}", values])
    table = markdown(rows, ["score", "seconds", "values"])
    num_failed = _num_failed(trials)
    failed = f"\n\n{num_failed} of {len(trials)} trials failed." if num_failed else ""
    return table + failed


def finalists_table(finalists: list[Finalist]) -> str:
    """Markdown: what halving has made of the best trials, in its order."""
    rows = [
        [
            f"{finalist.accuracy:.4g}",
            finalist.epochs,
            f"{finalist.score:.4g}",
            values_of(finalist.hyperparameters),
        ]
        for finalist in finalists
    ]
    return markdown(rows, ["real accuracy", "epochs", "score", "values"])


def _trainings_table(search: HypermodelSearch) -> str:
    """A row for each trial that trained: those who did for longest first."""
    rungs = _by_epochs(search.trainings)
    trials = {trial.trial_id: trial for trial in search.trials}
    seconds = {name: 0.0 for name in rungs[min(rungs)]}
    for training in search.trainings:
        seconds[training.trial_id] += training.seconds
    longest_first = sorted(rungs, reverse=True)
    order = sorted(
        seconds, key=lambda name: [-rungs[e].get(name, -1) for e in longest_first]
    )
    rows = [
        [
            *(f"{rungs[e][name]:.4g}" if name in rungs[e] else "" for e in rungs),
            f"{seconds[name]:.1f}",
            f"{trials[name].score:.4g}",
            values_of(trials[name].hyperparameters),
        ]
        for name in order
    ]
    headers = [f"accuracy, epochs: {epochs}" for epochs in rungs]
    return markdown(rows, [*headers, "seconds", "score", "values"])


def _agreements(search: HypermodelSearch) -> Iterable[str]:
    """How the teacher's order agrees with that of each rung."""
    told = [
        f"{compared.title}\n\n{tables.correlation_table(compared)}"
        for compared in compare(search)
    ]
    text = "\n\n".join([*told, CHOSEN])
    if not told:
        text = f"None: it takes {_FEWEST_RANKED} finalists that trained equally long."
    yield f"## Rank agreement of teacher and real data, {search.name}\n\n{text}"


def compare(search: HypermodelSearch) -> list[Comparison]:
    """The teacher's scores beside the real accuracies of each rung that has enough
    finalists."""
    scored = [trial for trial in search.trials if trial.status == "COMPLETED"]
    teacher = Scores(
        {trial.trial_id: trial.score for trial in scored},
        {trial.trial_id: seconds_of(trial) for trial in scored},
        _num_failed(search.trials),
    )
    found = []
    for epochs, accuracies in _by_epochs(search.trainings).items():
        if len(accuracies) >= _FEWEST_RANKED:
            times = {
                t.trial_id: t.seconds for t in search.trainings if t.epochs == epochs
            }
            compared = comparisons.compare(
                f"After epochs of real data: {epochs}.",
                f"finalists after {epochs} real epochs, {search.name}",
                {"teacher": teacher},
                Scores(accuracies, times, 0),
                texts={t.trial_id: values_of(t.hyperparameters) for t in scored},
            )
            found.append(compared)
    return found


def _by_epochs(trainings: list[Training]) -> dict[int, dict[str, float]]:
    """Epochs, fewest first -> accuracy of each trial that trained for so many."""
    rungs: dict[int, dict[str, float]] = {}
    for training in sorted(trainings, key=lambda training: training.epochs):
        rungs.setdefault(training.epochs, {})[training.trial_id] = training.accuracy
    return rungs


def _num_failed(trials: list[Trial]) -> int:
    return sum(trial.status == "FAILED" for trial in trials)


def seconds_of(trial: Trial) -> float:
    """What the teacher took for a trial."""
    return trial.metrics.get_best_value(tuner_oracles.SECONDS)


def values_of(hyperparameters: keras_tuner.HyperParameters) -> str:
    """A trial's choices in one line."""
    values = hyperparameters.values
    return ", ".join(f"{name}={value}" for name, value in values.items())
