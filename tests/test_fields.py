"""Fields of configurations and their ranges."""

from __future__ import annotations

import dataclasses

import pytest

from gtn_tf.runs import fields
from gtn_tf.runs.fields import field


@dataclasses.dataclass(frozen=True)
class Config:
    size: int = field(3, "of it", low=1, high=5)
    rate: float = field(1, "how fast", low=0, high=2)
    kind: str = field("a", "which", choices=("a", "b"), may_change=True)

    def __post_init__(self):
        fields.check(self)


def test_values_in_range_are_kept_and_floats_made():
    assert Config() == Config(3, 1.0, "a")
    assert type(Config(rate=2).rate) is float
    assert dataclasses.astuple(Config(1, 0.0, "b")) == (1, 0.0, "b")
    assert dataclasses.astuple(Config(5, 2.0)) == (5, 2.0, "a")


@pytest.mark.parametrize(
    "values, message",
    [
        ({"size": 0}, "--size=0 is out of range: give a value from 1 to 5 (of it)"),
        ({"size": 6}, "--size=6 is out of range: give a value from 1 to 5 (of it)"),
        (
            {"rate": 2.5},
            "--rate=2.5 is out of range: give a value from 0 to 2 (how fast)",
        ),
        ({"kind": "c"}, "--kind=c is unknown: give one of a, b"),
    ],
)
def test_others_are_refused_by_name(values, message):
    with pytest.raises(ValueError) as error:
        Config(**values)
    assert str(error.value) == message


@dataclasses.dataclass(frozen=True)
class Extended(Config):
    rate: float = field(2, "how fast now", low=0, high=3)
    seed: int = field(0, "of it", group="mine", low=0, high=2**31 - 1)


def test_what_is_allowed_in_words():
    allowed = {f.name: fields.allowed(f) for f in dataclasses.fields(Extended)}
    assert allowed == {
        "size": "from 1 to 5",
        "rate": "from 0 to 3",
        "kind": "one of a, b",
        "seed": "from 0 to 2147483647",
    }


def test_groups_in_order_those_that_a_class_adds_first():
    def names(config_class):
        groups = fields.grouped(config_class).items()
        return [(group, [f.name for f in members]) for group, members in groups]

    assert names(Config) == [("flags", ["size", "rate", "kind"])]
    assert names(Extended) == [("mine", ["seed"]), *names(Config)]


def test_metadata_says_what_may_change():
    changing = [f.name for f in dataclasses.fields(Config) if f.metadata["may_change"]]
    assert changing == ["kind"]


@pytest.mark.parametrize(
    "names", [[], ["a"], ["a", "b"], ["a,b", "c"], ['say "x"', "b, c"]]
)
def test_names_that_have_commas_come_back(names):
    assert fields.split_names(fields.join_names(names)) == names


def test_plain_lists_are_read_as_ever():
    assert fields.split_names("runs/a,,b c") == ["runs/a", "b c"]
    assert fields.split_names('"a,b",c') == ["a,b", "c"]
