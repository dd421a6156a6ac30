"""RESULTS.md quotes the stored records of the studies that made it."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gtn_tf import comparisons, studies
from nas import correlation, report
from nas.journal import Journal

MEASURED = Path(__file__).parent / "measured"
RESULTS = (MEASURED.parent.parent / "RESULTS.md").read_text()


@pytest.mark.parametrize(
    "name, study", [("mnist_curricula", "curricula"), ("digits_recipe", "recipe")]
)
def test_the_table_is_that_of_the_records(name, study):
    comparison = studies.COMPARISONS[study]
    paths = (MEASURED / name).glob("*/seed_*/record.json")
    records = sorted(
        (json.loads(path.read_text()) for path in paths), key=lambda r: r["seed"]
    )
    assert {record["variant"] for record in records} == set(comparison.variants)
    assert comparisons.format_table(comparison, records) in RESULTS


@pytest.mark.parametrize("teacher", ["gtn", "distillation", "real"])
def test_the_sources_on_mnist_are_those_of_the_records(teacher):
    folder = MEASURED / "mnist_sources" / teacher
    results = json.loads((folder / "results.json").read_text())
    accuracy = results["teacher"]["test_accuracy"]
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["values"]))
    with (folder / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert int(last["outer_step"]) == results["num_outer_steps"]
    assert float(last["seconds"]) == pytest.approx(results["seconds"], abs=0.01)
    assert (
        f"| {teacher} | {accuracy['mean']:.2%} | {accuracy['low']:.2%} to "
        f"{accuracy['high']:.2%} | {results['num_outer_steps']} "
        f"| {results['seconds']:,.0f} |"
    ) in RESULTS


def test_twenty_learners_on_mnist_are_those_of_the_record():
    path = MEASURED / "mnist_sources" / "twenty_learners.json"
    values = {name: np.array(v) for name, v in json.loads(path.read_text()).items()}
    assert {len(v) for v in values.values()} == {20}
    gtn, distillation = (f"{values[n].mean():.2%}" for n in ("gtn", "distillation"))
    assert (gtn, distillation) == ("98.63%", "98.51%")
    assert "it has 98.63 % (98.58 to 98.68), distillation 98.51 %" in RESULTS


def test_the_run_on_mnist_was_repeated():
    def rows(name):
        with (MEASURED / "mnist_sources" / name / "metrics.csv").open(newline="") as f:
            return [row | {"seconds": None} for row in csv.DictReader(f)]

    again = rows("gtn_again")
    assert again == rows("gtn")[: len(again)]
    assert f"equal to the last digit in all {len(again)} outer steps" in RESULTS


@pytest.mark.parametrize("teacher", ["teacher", "noise_teacher"])
def test_the_correlations_are_those_of_the_journals(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(correlation, "NUM_RESAMPLES", 2)  # intervals are not compared
    journals = sorted((MEASURED / "cifar10_search").glob("*/journal.jsonl"))
    seeds = {teacher, f"{teacher}_seed_1"}
    folders = [
        path.parent
        for path in journals
        if "teacher" not in path.parent.name or path.parent.name in seeds
    ]
    assert {folder.name for folder in folders} >= {"search", "params"} | seeds
    config = report.ReportConfig(",".join(map(str, folders)), str(tmp_path))
    report.run(config)

    def rows(text):
        return {re.sub(r" \([^)]* to [^)]*\)", "", r) for r in text.splitlines()}

    made = (tmp_path / "report.md").read_text()
    start = made.index("## Rank correlation")
    table = made[start:].split("\n\n")[1]
    assert rows(table) <= rows(RESULTS)


def test_two_seeds_of_the_reference():
    def scores(folder):
        entries = Journal(MEASURED / folder / "journal.jsonl").entries
        return {entry.architecture: entry.score for entry in entries}

    first, second = scores("cifar10_search/search"), scores("cifar10_reference_seed_1")
    pairs = np.array([(first[name], score) for name, score in second.items()])
    agreement = stats.spearmanr(*pairs.T).statistic
    noise = 100 * np.std(pairs[:, 0] - pairs[:, 1], ddof=1) / 2**0.5
    text = " ".join(RESULTS.split())
    assert f"the first {len(pairs)} cells in the order" in text
    assert f"correlate by {agreement:.2f} with themselves" in text
    assert f"standard deviation of {noise:.1f} points" in text
