"""What training runs contribute to the page."""

from __future__ import annotations

from collections.abc import Iterator

from gtn_tf.data.dataset_flags import short_name
from nas.reporting import run_groups, teacher_figures, training_figures
from nas.reporting.comparisons import REAL, TEACHER
from nas.reporting.content import Part, Section, Table
from nas.reporting.run_groups import Estimate, Group
from nas.reporting.teacher_figures import NamedTeacher
from nas.reporting.training_runs import TrainingRun

_WIDEST = 0.1  # an interval of accuracies, beyond which little can be said
_NEAR_CHANCE = 0.1  # of the way from chance to all right


def part(runs: list[TrainingRun]) -> Part:
    """The page's part on training runs; its sections may be none."""
    groups = run_groups.group(runs)
    teachers = _teachers(groups)
    sections = [
        Section(
            "accuracy",
            "Few-step test accuracy",
            "Fresh networks are trained for the run's few steps, by the teacher's data "
            "or by as many steps of real data with learned rates, and tested.",
            (("Test accuracy of the kinds trained with", _accuracies(groups)),),
        ),
        Section(
            "kinds",
            "Accuracy by kind of network",
            figures=tuple(training_figures.kinds(groups)),
        ),
        Section(
            "learning",
            "Learning curves",
            figures=tuple(training_figures.figures(groups)),
        ),
        teacher_figures.section("teacher", teachers),
        Section("training-cost", "Cost of meta-training", tables=_costs(runs)),
    ]
    return Part(
        tuple(dict.fromkeys(filter(None, map(_dataset, runs)))),
        training_figures.commands(runs),
        tuple(sentence for group in groups for sentence in _conclusion(group)),
        tuple(w for group in groups for w in _warnings(group, _chance(teachers))),
        tuple(s for s in sections if s.figures or any(t.rows for _, t in s.tables)),
    )


def _dataset(run: TrainingRun) -> str:
    """The name of its data set, without folders; "" where nobody has kept it."""
    return short_name(run.flags.get("dataset", ""))


def _teachers(groups: list[Group]) -> list[NamedTeacher]:
    found = [
        teacher_figures.load(
            _name_of_teacher(group, run),
            str(run.folder),
            training_figures.commands([run]),
        )
        for group in groups
        for run in group.runs
        if group.own_source == TEACHER
        and teacher_figures.folder_has_teacher(run.folder)
    ]
    return [each for each in found if each is not None]


def _name_of_teacher(group: Group, run: TrainingRun) -> str:
    seed = f"seed {run.seed}" if run.seed else run.folder.name
    return f"the {group.name(TEACHER)}, {seed},"


def _chance(teachers: list[NamedTeacher]) -> float | None:
    return 1 / teacher_figures.num_classes(teachers[0]) if teachers else None


def _accuracies(groups: list[Group]) -> Table:
    rows = []
    for group in groups:
        for source in group.sources():
            found = run_groups.estimate(group.accuracies(source))
            if found:
                interval = f"{found.low:.1%} to {found.high:.1%}"
                over = f"{found.count} {found.over}"
                rows.append((group.name(source), f"{found.mean:.1%}", interval, over))
    return Table(("trained by", "test accuracy", "95 % interval", "over"), rows)


def _costs(runs: list[TrainingRun]) -> tuple[tuple[str, Table], ...]:
    rows = []
    for run in runs:
        steps = len(run.meta_losses)
        if steps:
            name = str(run.folder)
            rows.append(
                (name, steps, f"{run.seconds:.0f}", f"{run.seconds / steps:.2f}")
            )
    headers = ("run", "outer steps", "seconds", "seconds for a step")
    return (
        ("Seconds of meta-training so far, warm start included", Table(headers, rows)),
    )


def _conclusion(group: Group) -> Iterator[str]:
    """A sentence; none of a group without results."""
    ours = group.accuracies(group.own_source)
    found = run_groups.estimate(ours)
    if not found:
        return
    flags = group.runs[0].flags
    steps = flags.get("num_inner_steps")
    after = (
        f"After {steps} steps of {flags['inner_batch_size']} images" if steps else ""
    )
    dataset = _dataset(group.runs[0]) or "the test"
    article = "the " if group.own_source == TEACHER else ""
    sentence = (
        f"{after or 'After a few steps'} fresh networks taught by "
        f"{article}{group.name(group.own_source)} recognize {found.mean:.1%} of "
        f"{dataset} images ({_interval(found)})"
    )
    gained = (
        run_groups.difference(ours, group.accuracies(REAL))
        if group.own_source == TEACHER
        else None
    )
    if gained is None:
        yield f"{sentence}; there is no run on real data beside it."
        return
    points = [100 * value for value in gained[:3]]
    more = "more" if points[0] >= 0 else "fewer"
    sentence += (
        f", {abs(points[0]):.1f} points {more} than by as many steps of real data "
        f"(difference {points[1]:+.1f} to {points[2]:+.1f})"
    )
    is_open = gained.low <= 0 <= gained.high
    yield sentence + (
        "; the interval has zero in it, so neither is shown to be better."
        if is_open
        else "."
    )


def _interval(found: Estimate) -> str:
    over = f"{found.count} {found.over}"
    if found.over == "learners":
        over += " of one run, which says nothing of other seeds"
    return f"95 % interval {found.low:.1%} to {found.high:.1%} over {over}"


def _warnings(group: Group, chance: float | None) -> Iterator[str]:
    name = group.name(group.own_source)
    unfinished = [run.folder.name for run in group.runs if not run.results]
    if unfinished:
        yield f"Not finished, and without test accuracy: {', '.join(unfinished)}."
    for source in group.sources():
        found = run_groups.estimate(group.accuracies(source))
        if not found:
            continue
        name = group.name(source)
        width = found.high - found.low
        if width > _WIDEST:
            yield (
                f"The accuracy by {name} is known to {100 * width:.0f} points only "
                f"({found.low:.1%} to {found.high:.1%}): too wide to conclude "
                "from; use more seeds or --num_test_learners."
            )
        if chance and found.mean < chance + _NEAR_CHANCE * (1 - chance):
            yield (
                f"The accuracy by {name}, {found.mean:.1%}, is near chance "
                f"({chance:.0%}): such networks have learned next to nothing."
            )
