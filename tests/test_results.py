"""RESULTS.md quotes the stored records of the studies that made it."""

import json
from pathlib import Path

import pytest

from gtn_tf import comparisons, studies

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
