"""What searches of a user's own models contribute to the page."""

from __future__ import annotations

from collections.abc import Iterator

from nas.reporting import hypermodels, search_figures
from nas.reporting.content import Part, Section, Table
from nas.reporting.hypermodels import HypermodelSearch

_NUM_TRIALS = 10  # in the table
_FEW = 20  # finalists


def part(searches: list[HypermodelSearch]) -> Part:
    """The page's part on hypermodels; its sections may be none."""
    sections = []
    for number, search in enumerate(searches):
        compared = hypermodels.compare(search)
        sections.append(
            Section(
                f"hypermodel-{number}",
                f"Trials of {search.name}",
                hypermodels.CHOSEN if compared else "",
                (("The best trials by the teacher's score", _best(search)),),
                tuple(
                    figure
                    for place, each in enumerate(compared)
                    for figure in search_figures.figures(
                        100 * (number + 1) + place, each, search.commands
                    )
                ),
            )
        )
    return Part(
        (),
        tuple(command for search in searches for command in search.commands),
        tuple(line for search in searches for line in _conclusions(search)),
        tuple(line for search in searches for line in _warnings(search)),
        tuple(each for each in sections if each.tables[0][1].rows),
    )


def _completed(search: HypermodelSearch) -> list:
    done = [trial for trial in search.trials if trial.status == "COMPLETED"]
    return sorted(done, key=lambda trial: -trial.score)


def _best(search: HypermodelSearch) -> Table:
    rows = [
        (
            rank,
            float(trial.score),
            float(hypermodels.seconds_of(trial)),
            hypermodels.values_of(trial.hyperparameters),
        )
        for rank, trial in enumerate(_completed(search)[:_NUM_TRIALS], start=1)
    ]
    return Table(("rank", "score", "seconds", "values"), rows)


def _conclusions(search: HypermodelSearch) -> Iterator[str]:
    done = _completed(search)
    if not done:
        return
    values = hypermodels.values_of(done[0].hyperparameters)
    sentence = (
        f"Of {len(done)} trials of {search.name} the teacher scores {values} best, "
        f"with {done[0].score:.4g}"
    )
    if not search.trainings:
        yield f"{sentence}; none has trained on real data, which would show its worth."
        return
    longest = max(training.epochs for training in search.trainings)
    best = max(
        (t for t in search.trainings if t.epochs == longest), key=lambda t: t.accuracy
    )
    (trial,) = (t for t in search.trials if t.trial_id == best.trial_id)
    values = hypermodels.values_of(trial.hyperparameters)
    yield (
        f"{sentence}; on real data {values} is the best after {longest} "
        f"epochs, with {best.accuracy:.1%} in one training, which has no interval."
    )


def _warnings(search: HypermodelSearch) -> Iterator[str]:
    failed = sum(trial.status == "FAILED" for trial in search.trials)
    if failed:
        yield f"{failed} of {len(search.trials)} trials of {search.name} have failed."
    for compared in hypermodels.compare(search):
        found = compared.agreements["teacher"]
        if found.num_architectures < _FEW:
            yield (
                f"Only {found.num_architectures} finalists are compared "
                f"({compared.name}): a correlation over so few says little."
            )
