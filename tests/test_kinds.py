"""Accuracy by kind of network: what is measured, and the table of it."""

import dataclasses
import json

import numpy as np
import problems
import pytest

from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.evaluation import few_step, measures
from gtn_tf.meta.outer_loop import Progress
from gtn_tf.networks.families import FAMILIES
from gtn_tf.runs import run_setup
from gtn_tf.runs.meta_training import Trained
from gtn_tf.studies import kinds

CONFIG = dataclasses.replace(problems.SMALL_RUN, learner="any", num_learners=6)

FOUND = {
    "gtn": {
        "digits": [0.5, 0.7],
        "residual": [0.9, 0.8],
        "mnist": [0.1, 0.2],
    },
    "real": {
        "digits": [0.25, 0.5],
        "residual": [0.75, 1.0],
        "mnist": [0.3, 0.1],
    },
}


@pytest.fixture(scope="module")
def digits():
    return loaders.load("digits", None, 0)


def rows(table):
    """The table's cells by row, its line under the header left out."""
    header, _, *lines = table.splitlines()
    edges = [0, *(i for i in range(2, len(header)) if header[i - 2 : i] == "  ")]
    edges = [i for i in edges if header[i] != " "] + [None]
    cells = [
        [line[a:b].strip() for a, b in zip(edges, edges[1:], strict=False)]
        for line in (header, *lines)
    ]
    assert len({row[0] for row in cells}) == len(cells)
    return {row[0]: row[1:] for row in cells}


def cell(values):
    summary = few_step.summarize(values, 0)
    assert summary["mean"] == pytest.approx(np.mean(values))
    mean, low, high = (100 * summary[key] for key in ("mean", "low", "high"))
    return f"{mean:.2f} % ({low:.2f} to {high:.2f})"


def percent(fraction):
    return f"{100 * fraction:.2f} %"


def p_text(values, others):
    return f"{measures.p_value(values, others):.2g}"


def test_a_row_for_each_kind_and_one_for_all_that_are_seen():
    table = rows(kinds.format_table(FOUND, ("mnist",)))
    names = ["all seen kinds", "digits", "residual", "mnist (unseen)"]
    assert list(table) == ["kind of network", *names]
    assert table["kind of network"] == ["gtn", "real", "p (real)"]
    seen = [FOUND[s]["digits"] + FOUND[s]["residual"] for s in ("gtn", "real")]
    assert table["all seen kinds"] == [*map(cell, seen), p_text(*seen)]
    assert table["all seen kinds"][0].startswith("72.50 % (")
    for name, family in zip(names[1:], ("digits", "residual", "mnist"), strict=True):
        values = [FOUND[source][family] for source in ("gtn", "real")]
        assert table[name] == [*map(cell, values), p_text(*values)]


def test_one_seen_kind_needs_no_row_for_all():
    found = {"gtn": {name: FOUND["gtn"][name] for name in ("digits", "mnist")}}
    table = rows(kinds.format_table(found, ("mnist",)))
    assert list(table) == ["kind of network", "digits", "mnist (unseen)"]
    assert table["kind of network"] == ["gtn"]
    assert table["digits"] == [cell([0.5, 0.7])]


def test_nothing_is_unseen_where_nothing_is_left_out():
    table = kinds.format_table(FOUND, ())
    assert "unseen" not in table
    every = [a for values in FOUND["real"].values() for a in values]
    assert rows(table)["all seen kinds"][1] == cell(every)


def test_what_is_trained_with_is_measured_and_what_is_left_out_is_drawn(digits):
    config = dataclasses.replace(CONFIG, leave_out="mnist,shallow", num_learners=8)
    setup = run_setup.build(config, digits)
    found = kinds.specs_by_kind(setup)
    every = [name for name, family in FAMILIES.items() if family.in_any]
    seen = [name for name in every if name not in ("mnist", "shallow")]
    assert list(found) == [*seen, "mnist", "shallow"]
    trained = setup.specs
    assert sorted(map(repr, trained)) == sorted(
        repr(spec) for name in seen for spec in found[name]
    )
    assert [len(found[name]) for name in seen] == [2, 2, 1, 1, 1, 1]
    for name in ("mnist", "shallow"):
        assert {spec.family for spec in found[name]} == {name}
        assert len(set(found[name])) == 4
        assert not set(found[name]) & set(trained)


def test_unseen_kinds_are_drawn_like_those_of_any(digits):
    """The widths are of the ranges that `any` draws from, also beside named ones."""
    for learner in ("any", "digits:4-4-4"):
        config = dataclasses.replace(CONFIG, learner=learner, leave_out="mnist")
        setup = run_setup.build(config, digits)
        for spec in kinds.unseen_specs(setup, "mnist"):
            for width, (low, high) in zip(
                spec.widths, FAMILIES["mnist"].width_ranges, strict=True
            ):
                assert round(low / 2) <= width <= round(high / 2)


def test_results_have_the_numbers_of_the_table(tmp_path, capsys):
    config = dataclasses.replace(
        CONFIG,
        teacher="distillation",
        learner="digits:4-4-4,fully_connected:4,fully_connected:5",
        leave_out="shallow",
        num_outer_steps=1,
        num_test_learners=3,
        compare_with_real=False,
        workdir=str(tmp_path / "run"),
    )
    results = train.run(config)
    assert results == json.loads((tmp_path / "run" / "results.json").read_text())
    by_kind = results["teacher"]["kinds"]
    assert list(by_kind) == ["digits", "fully_connected", "shallow"]
    assert [by_kind[name]["unseen"] for name in by_kind] == [False, False, True]
    values = {name: by_kind[name]["values"] for name in by_kind}
    assert all(len(own) == 3 for own in values.values())
    seen = values["digits"] + values["fully_connected"]
    accuracy = results["teacher"]["test_accuracy"]
    assert accuracy["values"] == seen
    assert accuracy["mean"] == pytest.approx(np.mean(seen))
    for own in by_kind.values():
        assert own["mean"] == pytest.approx(np.mean(own["values"]))
        assert own["low"] <= own["mean"] <= own["high"]
    title, table = capsys.readouterr().out.strip().split("\n", 1)
    assert "3 fresh learners of each kind" in title
    means = {name: row[0].split(" (")[0] for name, row in rows(table).items()}
    assert means == {
        "kind of network": "distillation",
        "all seen kinds": percent(accuracy["mean"]),
        "digits": percent(by_kind["digits"]["mean"]),
        "fully_connected": percent(by_kind["fully_connected"]["mean"]),
        "shallow (unseen)": percent(by_kind["shallow"]["mean"]),
    }


def test_learners_of_a_kind_take_its_architectures_in_turn(digits, monkeypatch):
    asked = []

    def accuracies(self, split, num_learners, seed):
        assert self._fits_rates
        asked.append((self.problem, tuple(self._specs), split, num_learners, seed))
        return [0.5] * num_learners

    monkeypatch.setattr(few_step.Evaluator, "accuracies", accuracies)
    config = dataclasses.replace(CONFIG, num_test_learners=7, seed=11)
    setup = run_setup.build(config, digits)
    by_kind = kinds.specs_by_kind(setup)
    evaluator = few_step.Evaluator(setup.problem, setup.specs)
    trained = Trained(setup, evaluator, Progress(0, 0.0))
    found = kinds.accuracies(trained, by_kind, digits.test)
    assert found == {name: [0.5] * 7 for name in by_kind}
    assert asked == [
        (setup.problem, tuple(specs), digits.test, 7, 11) for specs in by_kind.values()
    ]
