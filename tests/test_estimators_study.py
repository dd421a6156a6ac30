"""The study of estimators: what it runs, and its tables; runs are stood in for."""

import json

import numpy as np
import problems
import pytest

from gtn_tf.meta.registry import ESTIMATORS
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.studies import estimators
from gtn_tf.studies.estimators import Budget, Cell

CELLS = [Cell(2, True), Cell(3, False)]
# What an estimate of each costs, and how noisy it is.
SECONDS = dict(zip(ESTIMATORS, (0.5, 1.0, 2.0, 4.0, 0.25), strict=True))
SPREAD = dict(zip(ESTIMATORS, (1.0, 30.0, 20.0, 0.5, 2.0), strict=True))
BUDGET = Budget(num_estimates=12, seconds=10.0, num_seeds=2)


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A function that runs it -> table; what it asked for."""
    asked = {"estimates": [], "runs": []}

    def estimates(config, count):
        asked["estimates"].append(config)
        name = config.estimator
        generator = np.random.default_rng(len(name))
        noise = SPREAD[name] * generator.normal(size=[count, 50])
        return 1 + noise, SECONDS[name]

    def once(config, label, measure):
        asked["runs"].append(config)
        accuracy = 0.5 + 0.1 * list(ESTIMATORS).index(config.estimator) / 10
        found = {"num_outer_steps": config.num_outer_steps, "accuracy": [accuracy] * 2}
        diverged = config.estimator == "pes" and config.seed == 1
        return label | {"diverged": diverged} | ({} if diverged else found)

    monkeypatch.setattr(estimators, "CELLS", CELLS)
    monkeypatch.setattr(estimators, "LENGTHS", (2, 3))
    monkeypatch.setattr(estimators, "estimates", estimates)
    monkeypatch.setattr(estimators.records, "once", once)
    return lambda: estimators.run(problems.SMALL_RUN, tmp_path, BUDGET), asked


def test_every_estimator_is_asked_for_in_every_cell(study, tmp_path):
    run, asked = study
    table = run()
    cells = {
        (c.num_inner_steps, c.weight_norm, c.estimator) for c in asked["estimates"]
    }
    assert cells == {(*cell, name) for cell in CELLS for name in ESTIMATORS}
    assert len(asked["estimates"]) == len(cells) == 10
    assert (tmp_path / "table.md").read_text() == table
    assert (tmp_path / "estimators.png").stat().st_size > 10_000
    # Gradients that have been measured are read.
    assert run() == table and len(asked["estimates"]) == 10


def test_trainings_take_equal_time(study):
    run, asked = study
    run()
    runs = asked["runs"]
    assert len({config.workdir for config in runs}) == len(runs) == 20
    for config in runs:
        assert type(config) is TrainingConfig
        assert config.num_outer_steps == round(10 / SECONDS[config.estimator])
    assert {config.seed for config in runs} == {0, 1}


def test_the_tables_have_the_worst_first(study, tmp_path):
    run, _ = study
    gradients, accuracies = run().split("\n\n")
    rows = [line.strip("|").split("|") for line in gradients.splitlines()[2:]]
    assert [[cell.strip() for cell in row[:3]] for row in rows[:5]] == [
        ["2", "yes", name]
        for name in ("es", "pes", "truncated_windows", "backpropagation", "combined")
    ]
    stored = json.loads((tmp_path / "gradients" / "T_2.json").read_text())
    own = stored["estimators"]["backpropagation"]
    assert own["seconds"] == 0.5 and own["projection"]["value"] == pytest.approx(1)
    assert f"| {own['relative_variance']:.2g} |" in gradients
    rows = accuracies.splitlines()[2:]
    assert rows[0] == (
        "| 2 | yes | backpropagation | 50.00 % (50.00 to 50.00) | 20 | 2 | 0 |"
    )
    assert rows[2].startswith("| 2 | yes | pes | 52.00 %") and rows[2].endswith(
        "| 2 | 1 |"
    )
    assert rows[5].startswith("| 3 | no |") and len(rows) == 10
