"""RESULTS.md quotes the stored records of the studies that made it."""

import json
import re
from pathlib import Path

import pytest

from gtn_tf import comparisons, studies
from nas import correlation, report

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


def test_the_correlations_are_those_of_the_journals(tmp_path, monkeypatch):
    monkeypatch.setattr(correlation, "NUM_RESAMPLES", 2)  # intervals are not compared
    journals = sorted((MEASURED / "cifar10_search").glob("*/journal.jsonl"))
    folders = [path.parent for path in journals]
    assert {folder.name for folder in folders} >= {"search", "teacher", "params"}
    config = report.ReportConfig(",".join(map(str, folders)), str(tmp_path))
    report.run(config)

    def rows(text):
        return {re.sub(r" \([^)]* to [^)]*\)", "", r) for r in text.splitlines()}

    made = (tmp_path / "report.md").read_text()
    start = made.index("## Rank correlation")
    table = made[start:].split("\n\n")[1]
    assert rows(table) <= rows(RESULTS)
