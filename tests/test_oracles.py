"""Oracles: nothing twice, the same after a stop, dead workers' trials."""

import time

import pytest

from nas.evaluations.base import Result
from nas.search import oracles
from nas.search.journal import Entry, Journal
from nas.search.registry import ORACLES
from nas.spaces import nao
from nas.spaces.nao_space import NaoSpace


def build(folder, kind="random", **changes):
    options = {"max_trials": 8, "seed": 3} | changes
    space = NaoSpace(options.pop("num_nodes", 2))
    journal = Journal(folder / "journal.jsonl", space)
    made = ORACLES.get(kind, oracles.ListOracle)(journal, **options)
    made._set_project_dir(str(folder), "tuner")
    return made


def journaled(folder):
    """What the journal holds."""
    return Journal(folder / "journal.jsonl", NaoSpace()).entries


def score(spec):
    """Made up: how often 3x3 convolutions are in it."""
    return sum(7 in node.operations for node in spec.conv_cell.nodes)


def end(made, trial, **changes):
    spec = made.space.from_values(trial.hyperparameters.values)
    result = Result(float(score(spec)), 0.5, False, 9)._replace(**changes)
    trial.hyperparameters.values[oracles.RESULT] = result.as_json()
    trial.status = "COMPLETED"
    made.end_trial(trial)
    return spec


def search(made, count=1000):
    """The architectures of up to `count` trials, one after the other."""
    specs = []
    while len(specs) < count:
        trial = made.create_trial("a")
        if trial.status == "STOPPED":
            break
        specs.append(end(made, trial))
    return specs


@pytest.mark.parametrize("kind", ORACLES)
def test_every_architecture_once(tmp_path, kind, monkeypatch):
    # A space of few: one node; the search ends when all are there.
    monkeypatch.setattr(oracles, "_NUM_ATTEMPTS", 30)
    specs = search(build(tmp_path, kind, num_nodes=1, max_trials=30))
    assert len({spec.canonical() for spec in specs}) == len(specs) == 30
    entries = journaled(tmp_path)
    assert [entry.architecture for entry in entries] == list(map(str, specs))


@pytest.mark.parametrize("kind", ORACLES)
def test_a_search_that_was_stopped_goes_on_as_if_not(tmp_path, kind):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = search(build(tmp_path / "whole", kind, max_trials=23))
    parts = search(build(tmp_path / "parts", kind, max_trials=23), 11)
    build(tmp_path / "parts", kind, max_trials=23).create_trial("a")  # and killed
    parts += search(build(tmp_path / "parts", kind, max_trials=23), 11)
    parts += search(build(tmp_path / "parts", kind, max_trials=23))
    assert parts == whole


def test_random_search_is_the_papers(tmp_path):
    specs = search(build(tmp_path))
    assert specs == [nao.sample(2, 3, index) for index in range(8)]


def test_evolution_mutates_one_place_of_a_good_parent(tmp_path, monkeypatch):
    monkeypatch.setattr(oracles.EvolutionOracle, "population_size", 6)
    monkeypatch.setattr(oracles.EvolutionOracle, "tournament_size", 6)
    specs = search(build(tmp_path, "evolution", max_trials=12))
    for index in range(6, 12):
        population = specs[index - 6 : index]
        best = max(map(score, population))
        values = NaoSpace().to_values(specs[index])
        parents = [NaoSpace().to_values(p) for p in population if score(p) == best]
        changed = [sum(values[k] != p[k] for k in values) for p in parents]
        assert min(changed) == 1


def test_bayesian_optimization_uses_the_scores(tmp_path, monkeypatch):
    for name in ("scored", "alike"):
        (tmp_path / name).mkdir()
    scored = search(build(tmp_path / "scored", "bayesian", max_trials=22))
    monkeypatch.setitem(globals(), "score", lambda spec: 0)
    alike = search(build(tmp_path / "alike", "bayesian", max_trials=22))
    assert scored[:20] == alike[:20]
    assert scored[20] != alike[20]


def test_given_architectures_in_their_order(tmp_path):
    given = [nao.sample(2, 9, index) for index in (4, 2, 4, 7)]
    specs = search(build(tmp_path, "list", architectures=given))
    assert specs == [given[0], given[1], given[3]]


def test_an_architecture_is_done_whose_equal_is_in_the_journal(tmp_path):
    first = nao.decode("0 7 1 15 2 8 1 7 0 7 1 15 2 8 1 7")
    equal = nao.decode("1 15 0 7 1 7 2 8 0 7 1 15 2 8 1 7")
    search(build(tmp_path, "list", architectures=[first]))
    other = nao.sample(2, 9)
    again = build(tmp_path, "list", architectures=[equal, other])
    assert search(again) == [other]


def test_another_evaluation_seed_begins_anew(tmp_path):
    first = search(build(tmp_path))
    second = search(build(tmp_path, evaluation_seed=1))
    assert first == second
    seeds = [entry.seed for entry in journaled(tmp_path)]
    assert seeds == [0] * 8 + [1] * 8


def test_a_time_limit(tmp_path):
    assert search(build(tmp_path, time_limit_seconds=1e-9)) == []


def test_a_restarted_workers_trial_is_its_own_again(tmp_path):
    made = build(tmp_path)
    first, other = made.create_trial("a"), made.create_trial("b")
    assert other.hyperparameters.values != first.hyperparameters.values
    assert made.create_trial("a").trial_id == first.trial_id


def test_a_silent_workers_trial_goes_to_another(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    made = build(tmp_path, max_trials=2)
    lost, other = made.create_trial("dead"), made.create_trial("alive")
    now[0] = 50.0
    made.get_trial(other.trial_id)  # a sign of life
    end(made, other)
    assert made.create_trial("alive").status == "IDLE"  # the last trial is not done
    now[0] = 70.0
    assert made.create_trial("alive").trial_id == lost.trial_id
    assert made.tuner_ids == {"alive"}
    end(made, lost)
    assert made.create_trial("alive").status == "STOPPED"
    assert not made.ongoing_trials and not made.tuner_ids
    assert len(journaled(tmp_path)) == 2


def test_a_late_result_is_dropped(tmp_path):
    made = build(tmp_path)
    trial = made.create_trial("a")
    end(made, trial)
    end(made, trial)
    stranger = made.create_trial("a")
    stranger.hyperparameters = made._with_values(nao.sample(2, 77))
    waited_for = made.create_trial("b")
    foreign = type(waited_for)(stranger.hyperparameters, waited_for.trial_id)
    end(made, foreign)
    assert len(journaled(tmp_path)) == 1


def test_results_keep_all_their_digits(tmp_path):
    made = build(tmp_path)
    end(made, made.create_trial("a"), score=0.1 + 0.2, diverged=True)
    (entry,) = journaled(tmp_path)
    assert entry.score == 0.1 + 0.2 and entry.diverged
    assert isinstance(entry, Entry)
