"""Early dismissal: who is behind, what the journal says of it, and going on."""

import json
import types

import numpy as np
import pytest

from nas.commands import search
from nas.evaluations import registry
from nas.evaluations.base import Context, Procedure, Result
from nas.evaluations.dismissal import MIN_KNOWN, Dismissal, early_loss
from nas.reporting import tables
from nas.search import context
from nas.search.config import SearchConfig
from nas.search.journal import Journal
from nas.spaces.nao_space import NaoSpace

SMALL = {"num_nodes": 1, "num_filters": 2, "teacher": "given", "dismiss_after": 4}


def test_the_second_half_of_the_first_steps_counts():
    assert early_loss([9.0, 9.0, 1.0, 2.0, 6.0, 9.0], 5) == 3
    assert early_loss([9.0, 4.0, 9.0], 2) == 4
    assert early_loss([9.0, 4.0, 9.0], 1) == 9


def test_behind_is_above_the_median_of_enough():
    known = list(range(MIN_KNOWN - 1))
    dismissal = Dismissal(2, lambda: known)
    assert not dismissal.is_behind(1e9)
    known.append(MIN_KNOWN - 1)
    assert dismissal.is_behind(4.6) and not dismissal.is_behind(4.5)
    known.clear()
    assert dismissal.is_behind(float("nan")) and dismissal.is_behind(float("inf"))


def losses_of(build):
    """A made-up early loss of the architecture that would be built."""
    text = str(build.args[0])
    return 1 + np.random.default_rng([ord(c) for c in text]).random()


@pytest.fixture
def judged(monkeypatch):
    """What a made-up teacher's steps were asked for."""
    asked = []

    def evaluate(context, build, seed):
        loss = losses_of(build)
        asked.append(str(build.args[0]))
        behind = context.dismissal.is_behind(loss)
        return Result(-loss if behind else 0.5, 0.1, False, 7, behind, loss)

    made = Context(
        dataset=types.SimpleNamespace(image_shape=(8, 8, 1), num_classes=10),
        teacher=None,
        procedure=Procedure(),
        num_steps=1,
        early_epochs=1,
        num_validation_images=1,
    )
    monkeypatch.setitem(registry.EVALUATIONS, "teacher", evaluate)
    monkeypatch.setattr(search, "build_context", lambda config: made)
    return asked


def run(folder, num_trials):
    config = SearchConfig(workdir=str(folder), max_trials=num_trials, **SMALL)
    entries = search.run(config)
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return entries, list(map(json.loads, lines))


def test_a_search_that_is_gone_on_with_dismisses_the_same(tmp_path, judged):
    entries, whole = run(tmp_path / "a", 30)
    run(tmp_path / "b", 17)
    again, in_parts = run(tmp_path / "b", 30)
    assert in_parts == whole and again == entries
    losses = [entry.early_loss for entry in entries]
    for index, entry in enumerate(entries):
        median = np.median(losses[:index]) if index >= MIN_KNOWN else np.inf
        assert entry.dismissed == (entry.early_loss > median)
    assert 0 < sum(entry.dismissed for entry in entries) < 20
    assert "dismissed" in whole[-1] or "early_loss" in whole[-1]
    told = tables.best_table(entries, count=30)
    assert told.count("(dismissed)") == sum(entry.dismissed for entry in entries)


def test_a_journal_of_before_dismissal(tmp_path, judged):
    entries, _ = run(tmp_path, 1)
    line = entries[0]._replace(early_loss=None)
    journal = Journal(tmp_path / "other.jsonl", NaoSpace())
    journal.append(line)
    text = journal.path.read_text()
    assert "dismissed" not in text and "early_loss" not in text
    assert Journal(journal.path, NaoSpace()).entries == [line]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dismiss_after": 1}, "too early to tell: give 2"),
        ({"evaluation": "naswot"}, "--evaluation=naswot has none: leave it out"),
        ({"role": "chief"}, "does not go with --role=chief"),
        ({"role": "worker"}, "does not go with --role=worker"),
        ({"hypermodel": "a:b"}, "does not go with --hypermodel=a:b"),
    ],
)
def test_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        SearchConfig(**{"dismiss_after": 8} | changes)


def test_after_the_last_step_there_is_nothing_to_save(monkeypatch):
    teacher = types.SimpleNamespace(
        description={"flags": {"seed": 0, "dataset": "digits"}},
        num_inner_steps=8,
        image_shape=(8, 8, 1),
        class_names=list("0123456789"),
    )
    monkeypatch.setattr("gtn_tf.load_teacher", lambda folder: teacher)
    with pytest.raises(ValueError, match="is the end, the teacher has 8 steps"):
        context.build_context(SearchConfig(teacher="given", dismiss_after=8))
    found = context.build_context(SearchConfig(teacher="given", dismiss_after=7))
    assert found.teacher is teacher
