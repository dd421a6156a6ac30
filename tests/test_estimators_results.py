"""docs/estimators.md quotes the stored records of the study."""

import json
from pathlib import Path

from gtn_tf.studies import estimators

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "results" / "digits_estimators"
PAGE = (ROOT / "docs" / "estimators.md").read_text()


def test_the_tables_are_those_of_the_records():
    gradients = {
        cell: json.loads(path.read_text())["estimators"]
        for cell in estimators.CELLS
        if (path := MEASURED / "gradients" / f"{cell.name}.json").is_file()
    }
    records = [
        json.loads(path.read_text())
        for path in sorted(MEASURED.glob("*/*/seed_*/record.json"))
    ]
    assert len(gradients) >= 4 and len(records) >= 5
    assert estimators.gradient_table(gradients) in PAGE
    assert estimators.accuracy_table(records) in PAGE
