"""What the card of a ready teacher says."""

import csv
import json

import pytest

from gtn_tf.evaluation import measures
from gtn_tf.export import cards
from gtn_tf.runs.config import TrainingConfig

CONFIG = TrainingConfig(dataset="digits", num_inner_steps=7, leave_out="residual")


def summary(mean, unseen=False):
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.02, "unseen": unseen}


@pytest.fixture
def run(tmp_path):
    """A folder with what a card quotes: two models, taught well and not so well."""
    kinds = {"digits": summary(0.9), "residual": summary(0.8, unseen=True)}
    real = {"digits": summary(0.7), "residual": summary(0.6, unseen=True)}
    results = {
        "num_outer_steps": 12,
        "seconds": 3456.7,
        "teacher": {"kinds": kinds},
        "real": {"kinds": real},
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "evaluation").mkdir()
    with (tmp_path / "evaluation" / "evaluation.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(measures.Row._fields)
        for learner in range(11):
            for model, own in (("good", 0.9), ("bad", 0.5)):
                for source, accuracy in (("gtn", own), ("real", 0.6)):
                    value = accuracy + learner / 1000
                    writer.writerow(["stock_models", source, model, learner, value])
        writer.writerow(["ensembles", "gtn", "4", 0, 0.123])
    return tmp_path


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_card_quotes_what_was_measured(run):
    text = cards.card(run, CONFIG)
    found = {row[0]: row[1:] for row in rows(text)}
    assert found["digits"] == ["90.0 % (89.0 to 92.0)", "70.0 % (69.0 to 72.0)"]
    assert found["residual (unseen)"][1] == "60.0 % (59.0 to 62.0)"
    assert found["good"][0].startswith("90.5 % (") and found["good"][2] == "0.00098"
    assert found["bad"][1].startswith("60.5 % (")
    assert "7 steps of 32 images. 12 outer steps, 3,457 s" in text
    assert "--leave_out=residual" in text
    assert "0.123" not in text


def test_a_card_says_what_the_teacher_fails_at(run):
    text = cards.card(run, CONFIG)
    failures = text.split("## What it fails at")[1].split("##")[0]
    assert "Less than 80% right: bad." in failures
    assert "Not clearly better than real data (p < 0.05): bad." in failures


@pytest.mark.parametrize(
    "missing, command",
    [("results.json", "bin/train"), ("evaluation/evaluation.csv", "bin/evaluate")],
)
def test_a_card_needs_what_it_quotes(run, missing, command):
    (run / missing).unlink()
    with pytest.raises(ValueError, match=f"{missing} is not there.*run {command} on"):
        cards.card(run, CONFIG)
