"""The optimization of hyperparameters with and without weight normalization."""

import dataclasses
import json
import math
from pathlib import Path

import keras_tuner
import problems
import pytest

from gtn_tf.errors import Diverged
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.locks import locked
from gtn_tf.studies import records, tuning

CONFIG = TrainingConfig(num_outer_steps=3)


@pytest.fixture
def trained(monkeypatch):
    """Configurations that were trained, in place of training them."""
    configs = []

    def loss(config):
        configs.append(config)
        folder = Path(config.workdir)
        folder.mkdir(parents=True, exist_ok=True)
        diverged = not config.weight_norm and len(configs) % 2
        value = None if diverged else config.outer_learning_rate + 1
        (folder / "record.json").write_text(json.dumps({"loss": value}))
        return math.inf if diverged else value

    monkeypatch.setattr(tuning, "_validation_loss", loss)
    return configs


def test_both_optimizations_run_all_their_trials(trained, tmp_path):
    table = tuning.run(CONFIG, tmp_path, num_trials=4)
    assert [config.weight_norm for config in trained] == 4 * [True] + 4 * [False]
    rates = {config.outer_learning_rate for config in trained[:4]}
    assert len(rates) == 4
    assert min(rates) >= 1e-4 and max(rates) <= 0.1
    assert all(config.num_outer_steps == 3 for config in trained)
    rows = [line.split("|") for line in table.splitlines()[2:]]
    assert [row[1].strip() for row in rows] == ["weight norm", "no weight norm"]
    assert [int(row[2]) for row in rows] == [4, 4]
    assert [int(row[3]) for row in rows] == [0, 2]
    best = min(rates) + 1
    assert rows[0][4].strip() == f"{best:.3f}"
    assert (tmp_path / "figure_1b.png").is_file()
    assert (tmp_path / "table.md").read_text() == table


def test_a_finished_optimization_is_not_run_again(trained, tmp_path):
    table = tuning.run(CONFIG, tmp_path, num_trials=2)
    trained.clear()
    assert tuning.run(CONFIG, tmp_path, num_trials=2) == table
    assert not trained


def test_trials_with_another_number_of_outer_steps_are_others(trained, tmp_path):
    tuning.run(CONFIG, tmp_path, num_trials=2)
    trained.clear()
    longer = dataclasses.replace(CONFIG, num_outer_steps=4)
    table = tuning.run(longer, tmp_path, num_trials=2)
    assert [config.num_outer_steps for config in trained] == 4 * [4]
    assert [int(line.split("|")[2]) for line in table.splitlines()[2:]] == [2, 2]


def test_a_trial_with_another_number_of_learners_is_measured_again(tmp_path):
    config = dataclasses.replace(problems.SMALL_RUN, workdir=str(tmp_path / "run"))
    tuning._validation_loss(config)
    more = dataclasses.replace(config, num_test_learners=config.num_test_learners + 1)
    tuning._validation_loss(more)
    record = json.loads((tmp_path / "run/record.json").read_text())
    assert record["asked"][-1] == more.num_test_learners


def test_a_folder_in_use_is_refused(trained, tmp_path):
    with locked(tmp_path), pytest.raises(ValueError, match="in use by process"):
        tuning.run(CONFIG, tmp_path, num_trials=2)
    assert not trained


def test_all_may_diverge(monkeypatch, tmp_path):
    def diverge(config):
        folder = Path(config.workdir)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps({"loss": None}))
        return math.inf

    monkeypatch.setattr(tuning, "_validation_loss", diverge)
    table = tuning.run(CONFIG, tmp_path, num_trials=4)
    rows = [line.split("|")[2:4] for line in table.splitlines()[2:]]
    assert [[cell.strip() for cell in row] for row in rows] == 2 * [["4", "4"]]


def test_suggestions_are_fields_in_their_range():
    low, high = keras_tuner.HyperParameters(), keras_tuner.HyperParameters()
    for space, end in ((low, 0), (high, 1 - 1e-9)):
        tuning.suggest(space)
        for parameter in space.space:
            space.values[parameter.name] = parameter.prob_to_value(end)
        TrainingConfig(**tuning.suggest(space))
    assert tuning.suggest(low)["outer_learning_rate"] == pytest.approx(1e-4)
    assert tuning.suggest(high)["inner_momentum"] == pytest.approx(0.95)


def test_a_trial_is_a_training_measured_on_validation_data(tmp_path):
    config = dataclasses.replace(problems.SMALL_RUN, workdir=str(tmp_path / "run"))
    loss = tuning._validation_loss(config)
    record = json.loads((tmp_path / "run/record.json").read_text())
    assert record["loss"] == loss
    assert 0.5 < loss < 10
    assert tuning._validation_loss(config) == loss


def test_a_diverged_trial_counts_as_infinite(tmp_path, monkeypatch):
    def diverge(*_):
        raise Diverged("training diverged at outer step 1")

    monkeypatch.setattr(records.meta_training, "meta_train", diverge)
    config = TrainingConfig(workdir=str(tmp_path / "run"))
    assert tuning._validation_loss(config) == math.inf
    record = json.loads((tmp_path / "run/record.json").read_text())
    assert record["diverged"] and "loss" not in record
