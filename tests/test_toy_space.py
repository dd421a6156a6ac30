"""A space that nothing else knows goes through search, journal and report."""

import dataclasses

import keras
import keras_tuner
import problems
import pytest

from gtn_tf.commands import train
from gtn_tf.errors import UserError
from nas.commands import report, search
from nas.commands.report import ReportConfig
from nas.search.config import SearchConfig
from nas.search.journal import Journal
from nas.search.registry import ORACLES
from nas.spaces.base import SearchSpace
from nas.spaces.registry import SPACES


@dataclasses.dataclass(frozen=True)
class Perceptron:
    depth: int
    activation: str


class Perceptrons(SearchSpace):
    """Dense networks, as DEPTH ACTIVATION."""

    name = "perceptrons"

    def encode(self, architecture):
        return f"{architecture.depth} {architecture.activation}"

    def decode(self, text):
        depth, _, activation = text.partition(" ")
        if not depth.isdecimal():
            raise UserError(f"{text!r} is no perceptron: give DEPTH ACTIVATION")
        return Perceptron(int(depth), activation)

    def hyperparameters(self):
        space = keras_tuner.HyperParameters()
        space.Int("depth", 0, 40)
        space.Choice("activation", ["relu", "tanh"])
        return space

    def to_values(self, architecture):
        return dataclasses.asdict(architecture)

    def from_values(self, values):
        return Perceptron(**values)

    def canonical(self, architecture):
        """Without a hidden layer there is no activation."""
        has_layers = architecture.depth > 0
        return architecture if has_layers else Perceptron(0, "relu")

    def build(self, architecture, size, style=None, regularization=None):
        hidden = [
            keras.layers.Dense(size.num_filters, architecture.activation)
            for _ in range(architecture.depth)
        ]
        layers = [keras.Input(size.image_shape), keras.layers.Flatten(), *hidden]
        return keras.Sequential([*layers, keras.layers.Dense(size.num_classes)])


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(SPACES, "perceptrons", Perceptrons)


def run(folder, **changes):
    options = {"space": "perceptrons", "num_filters": 4, "max_trials": 24} | changes
    return search.run(SearchConfig(workdir=str(folder), **options))


@pytest.mark.parametrize("oracle", ORACLES)
def test_every_oracle_searches_it(tmp_path, oracle):
    entries = run(tmp_path, evaluation="params", oracle=oracle)
    assert len({entry.key for entry in entries}) == len(entries) == 24
    journal = Journal(tmp_path / "journal.jsonl", Perceptrons())
    assert journal.entries == entries
    for entry in entries:
        depth = int(entry.architecture.split()[0])
        inputs = 64 if depth == 0 else 4
        hidden = 65 * 4 + (depth - 1) * 5 * 4 if depth else 0
        assert entry.num_params == entry.score == hidden + (inputs + 1) * 10


def test_a_teacher_scores_it_and_the_report_compares(tmp_path):
    given = tmp_path / "list.txt"
    given.write_text("0 relu\n1 relu\n0 tanh\n2 tanh\n3 relu\n")
    config = dataclasses.replace(
        problems.SMALL_RUN, workdir=str(tmp_path / "run"), compare_with_real=False
    )
    train.run(config)
    folders = []
    for evaluation in ("teacher", "search"):
        folders.append(str(tmp_path / evaluation))
        entries = run(
            folders[-1],
            evaluation=evaluation,
            architectures=str(given),
            teacher=str(tmp_path / "run"),
            num_epochs=0.1,
        )
        shown = [entry.architecture for entry in entries]
        assert shown == ["0 relu", "1 relu", "2 tanh", "3 relu"]
        accuracy = "accuracy" if evaluation == "teacher" else "score"
        assert all(0 <= getattr(entry, accuracy) <= 1 for entry in entries)
    report.run(ReportConfig(",".join(folders), str(tmp_path / "page")))
    assert "| teacher | 4 |" in (tmp_path / "page" / "report.md").read_text()


def test_its_errors_reach_the_user(tmp_path):
    given = tmp_path / "list.txt"
    given.write_text("1 relu\nwide\n")
    with pytest.raises(ValueError, match="line 2: 'wide' is no perceptron: give"):
        run(tmp_path / "a", architectures=str(given))


def test_a_space_that_is_not_registered_is_refused(monkeypatch):
    monkeypatch.delitem(SPACES, "perceptrons")
    with pytest.raises(ValueError, match="--space=perceptrons is unknown: give one of"):
        SearchConfig(space="perceptrons")
