"""Variants of one run: what is run, what is kept, what the table says."""

import csv
import dataclasses
import json

import numpy as np
import problems
import pytest

from gtn_tf.errors import Diverged
from gtn_tf.evaluation import few_step, measures, real_classifier
from gtn_tf.runs import meta_training
from gtn_tf.runs.locks import locked
from gtn_tf.studies import comparisons, paired
from gtn_tf.studies.catalog import Comparison

CONFIG = dataclasses.replace(
    problems.SMALL_RUN, learner="fully_connected:4", validate_every=1
)
COMPARISON = Comparison("test", {"gtn": {}, "real data": {"teacher": "real"}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    return folder, comparisons.run(COMPARISON, CONFIG, folder, num_seeds=2)


def records(folder):
    paths = sorted(folder.glob("*/seed_*/record.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_each_variant_runs_once_for_each_seed(finished):
    folder, table = finished
    runs = [(record["variant"], record["seed"]) for record in records(folder)]
    assert runs == [("gtn", 0), ("gtn", 1), ("real data", 0), ("real data", 1)]
    flags = (folder / "real_data/seed_1/flags.txt").read_text()
    assert "--teacher=real\n" in flags and "--seed=1\n" in flags
    assert (folder / "table.md").read_text() == table
    for name in ("outer_loop.png", "inner_loop.png"):
        assert (folder / name).is_file()


def test_records_hold_what_was_measured(finished):
    folder, _ = finished
    for record in records(folder):
        assert record["split"] == "test" and not record["diverged"]
        assert record["num_outer_steps"] == 2
        assert len(record["accuracy"]) == len(record["loss"]) == 2
        assert len(record["curve"]) == 2
        assert record["curve"][-1] == pytest.approx(np.mean(record["accuracy"]))
        assert len(record["held_out"]) == 2
    with (folder / "results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8


def test_images_are_measured_over_meta_training(tmp_path, monkeypatch):
    monkeypatch.setattr(real_classifier, "_NUM_STEPS", 2)
    comparison = Comparison("test", {"gtn": {}}, sees_images=True)
    table = comparisons.run(comparison, CONFIG, tmp_path, num_seeds=1)
    (record,) = records(tmp_path)
    images = record["images"]
    assert images["outer_step"] == [1, 2]
    assert images["distance"][0] != images["distance"][1]
    assert 0 <= images["real_distance"] < min(images["distance"])
    assert f"| {images['num_classes'][1]:.1f} | {images['entropy'][1]:.2f} |" in table
    assert "classes covered | entropy (bits) | Fréchet distance" in table
    assert (tmp_path / "image_modes.png").is_file()
    samples = tmp_path / "gtn" / "seed_0" / "samples"
    with np.load(samples / "outer_step_000002.npz") as file:
        assert file["x"].shape == (20, 8, 8, 1)  # all that it stores


def test_a_finished_comparison_is_read_not_run(finished, monkeypatch):
    folder, table = finished
    monkeypatch.setattr(meta_training, "meta_train", None)
    assert comparisons.run(COMPARISON, CONFIG, folder, num_seeds=2) == table


def test_a_run_with_another_budget_goes_on(finished, monkeypatch):
    folder, _ = finished
    longer = dataclasses.replace(CONFIG, num_outer_steps=3)
    table = comparisons.run(COMPARISON, longer, folder, num_seeds=1)
    rows = [line.split("|") for line in table.splitlines()[2:]]
    assert [row[7].strip() for row in rows] == ["3", "3"]


def test_the_split_is_the_comparisons_own(tmp_path, monkeypatch):
    """What chooses a variant never reads the test split."""
    splits = []
    curve = few_step.Evaluator.curve

    def spy(self, split, index, seed):
        splits.append(len(split.labels))
        return curve(self, split, index, seed)

    monkeypatch.setattr(few_step.Evaluator, "curve", spy)
    comparison = Comparison("validation", {"only": {}})
    comparisons.run(comparison, CONFIG, tmp_path, num_seeds=1)
    assert splits == [200, 200]  # digits: 200 for validation, 300 for test


def test_divergence_is_counted(tmp_path, monkeypatch):
    def diverge(*_):
        raise Diverged("training diverged")

    monkeypatch.setattr(meta_training, "meta_train", diverge)
    table = comparisons.run(COMPARISON, CONFIG, tmp_path, num_seeds=2)
    assert table.splitlines()[2] == "| gtn |  |  |  | 2 | 2 |  |  |"


def test_a_variant_that_cannot_be_stops_before_the_first_run(tmp_path):
    comparison = Comparison("test", {"good": {}, "bad": {"num_inner_steps": 0}})
    with pytest.raises(ValueError, match="--num_inner_steps=0 is out of range"):
        comparisons.run(comparison, CONFIG, tmp_path, num_seeds=1)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_refused(finished):
    folder, _ = finished
    with locked(folder), pytest.raises(ValueError, match="in use by process"):
        comparisons.run(COMPARISON, CONFIG, folder, num_seeds=2)


def test_table_means_over_seeds():
    def record(seed, accuracy):
        return {
            "variant": "gtn",
            "seed": seed,
            "diverged": False,
            "accuracy": accuracy,
            "held_out": [0.5, 0.25],
            "num_outer_steps": 7,
            "seconds": 3.4,
        }

    runs = [record(0, [0.5, 0.7]), record(1, [0.8, 0.8])]
    comparison = Comparison("test", {"gtn": {}})
    row = comparisons.format_table(comparison, runs).splitlines()[2]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == [
        *("gtn", "70.00%", "60.00% to 80.00%", "37.50%", "2", "0", "7", "3")
    ]
    row = comparisons.format_table(comparison, runs[:1]).splitlines()[2]
    assert "50.00% to 70.00%" in row  # one seed: over its learners


def kind_record(variant, seed, diverged=False, **kinds):
    record = {"variant": variant, "seed": seed, "diverged": diverged}
    if diverged:
        return record
    held_out = [value for values in kinds.values() for value in values]
    return record | {
        "accuracy": [0.5, 0.7],
        "held_out": held_out,
        "kinds": kinds,
        "num_outer_steps": 7,
        "seconds": 3.4,
    }


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_kinds_that_were_left_out_are_paired_by_seed_and_learner():
    comparison = Comparison(
        "test",
        {name: {} for name in ("all", "all, real", "less", "less, real")},
        against={"all": "all, real", "less": "less, real"},
        by_kind=True,
    )
    records = [
        kind_record("all", 0, residual=[0.9, 0.8]),
        kind_record("less, real", 1, residual=[0.1, 0.1], digits=[0.6, 0.7]),
        kind_record("all, real", 1, residual=[0.3, 0.35]),
        kind_record("all, real", 0, residual=[0.5, 0.6]),
        kind_record("all", 1, residual=[0.7, 0.75]),
        kind_record("all", 2, residual=[1.0, 1.0]),
        kind_record("all, real", 2, diverged=True),
        kind_record("less", 0, diverged=True),
        kind_record("less", 1, residual=[0.2, 0.2], digits=[0.65, 0.8]),
        kind_record("less, real", 0, residual=[0.1, 0.1], digits=[0.3, 0.3]),
    ]
    lines = comparisons.format_table(comparison, records).splitlines()
    headers = ["left out", "variant", "teacher", "rival", "p", "seeds"]
    assert cells_of(lines[0]) == headers
    rows = {cells_of(line)[0]: cells_of(line)[1:] for line in lines[2:]}
    own, others = [0.9, 0.8, 0.7, 0.75], [0.5, 0.6, 0.3, 0.35]
    p = f"{measures.p_value(own, others):.2g}"
    interval = few_step.interval
    assert rows == {
        "digits": [
            *("less", interval([0.65, 0.8]), interval([0.6, 0.7])),
            *(f"{measures.p_value([0.65, 0.8], [0.6, 0.7]):.2g}", "1"),
        ],
        # Also left out by "less"; the first variant without a kind tells of it.
        "residual": ["all", interval(own), interval(others), p, "2"],
    }
    assert list(rows) == ["digits", "residual"]


def test_kinds_without_a_rival_have_no_row():
    comparison = Comparison(
        "test",
        {"all": {}, "all, real": {}},
        against={"all": "all, real"},
        by_kind=True,
    )
    for records in ([], [kind_record("all", 0, residual=[0.9, 0.8])]):
        lines = comparisons.format_table(comparison, records).splitlines()
        assert lines[2:] == []


def test_a_variant_is_compared_with_its_rival_on_unseen_architectures():
    comparison = Comparison("test", {"gtn": {}, "real": {}}, against={"gtn": "real"})
    records = [
        kind_record("gtn", 0, residual=[0.9, 0.8], digits=[0.7, 0.95]),
        kind_record("gtn", 1, residual=[0.1, 0.1], digits=[0.1, 0.1]),
        kind_record("real", 0, residual=[0.5, 0.6], digits=[0.65, 0.7]),
        kind_record("real", 1, diverged=True),
    ]
    headers, _, gtn, real = map(
        cells_of, comparisons.format_table(comparison, records).splitlines()
    )
    p = measures.p_value([0.9, 0.8, 0.7, 0.95], [0.5, 0.6, 0.65, 0.7])
    assert gtn[headers.index("p")] == f"{p:.2g}"
    assert real[headers.index("p")] == ""


def test_a_reference_is_compared_seed_by_seed_and_learner_by_learner():
    def record(variant, seed, accuracy, without=(), diverged=False):
        values = {"variant": variant, "seed": seed, "diverged": diverged}
        return values | {"accuracy": accuracy, "without_feedback": list(without)}

    own = [
        record("new", 0, [0.9, 0.8], without=[0.7, 0.8]),
        record("new", 1, [0.6, 0.8], without=[0.6, 0.7]),
        record("new", 2, [0.1, 0.1]),  # its rival has diverged
    ]
    others = [
        record("old", 0, [0.5, 0.6]),
        record("old", 1, [0.65, 0.7]),
        record("old", 2, [], diverged=True),
    ]
    cells = paired.cells("old", own, [*own, *others])
    p = measures.p_value([0.9, 0.8, 0.6, 0.8], [0.5, 0.6, 0.65, 0.7])
    # Means 0.85 and 0.7 beside 0.55 and 0.675.
    assert cells == {
        "points more than old": "+16.25 (+2.50 to +30.00)",
        "p": f"{p:.2g}",
        "without feedback": "70.00%",
    }
    assert set(cells) == set(paired.headers("old", own))
    assert paired.cells("old", others[:2], [*own, *others]) == {}
    assert paired.headers("", own) == []
    assert paired.headers("old", others) == ["points more than old", "p"]


@pytest.mark.parametrize(
    "comparison, leave_out, expected",
    [
        (Comparison("test", {"only": {}}, unseen=("shallow",)), "mnist", ["shallow"]),
        (Comparison("test", {"only": {}}), "mnist,shallow", ["mnist", "shallow"]),
        (Comparison("test", {"only": {}}), "", ["fully_connected"]),
    ],
)
def test_architectures_that_are_unseen(
    tmp_path, monkeypatch, comparison, leave_out, expected
):
    """The comparison's, or those left out, or other widths of the family seen."""
    measured = {}

    def accuracies(setup, specs, split):
        measured.update(specs)
        return {family: [0.5, 0.25] for family in specs}

    monkeypatch.setattr(comparisons.kinds, "accuracies", accuracies)
    config = dataclasses.replace(
        CONFIG,
        teacher="distillation",
        learner="fully_connected:4",
        leave_out=leave_out,
        num_outer_steps=1,
    )
    comparisons.run(comparison, config, tmp_path, num_seeds=1)
    assert list(measured) == expected
    for family, specs in measured.items():
        assert {spec.family for spec in specs} == {family} and len(set(specs)) > 1
        assert all(spec.widths != (4,) for spec in specs)
    (record,) = records(tmp_path)
    assert record["kinds"] == {family: [0.5, 0.25] for family in expected}
    assert record["held_out"] == [0.5, 0.25] * len(expected)
