"""What is timed, in which order, and what is made of it."""

import dataclasses
import json
import re

import numpy as np
import pytest
from problems import SMALL_RUN

from gtn_tf.commands import benchmark
from gtn_tf.commands.benchmark import BenchmarkConfig, Part, Timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that only parts move."""
    seconds = [0.0]
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: seconds[0])
    return seconds


def test_parts_take_turns_after_a_first_call(clock):
    calls = []

    def part(name, duration):
        def call(index):
            calls.append((name, index))
            clock[0] += duration if index else 100

        return Part(name, 1, call)

    timing = benchmark.time_in_turns([part("a", 2), part("b", 3)], 2)
    np.testing.assert_allclose(timing.later, [[2, 3], [2, 3]])
    np.testing.assert_allclose(timing.first, [100, 100])
    assert calls == [(n, i) for i in range(3) for n in "ab"]


def test_ratios_are_those_of_each_turn():
    parts = [
        Part(name, int(flops), None)
        for name, flops in [("product", 4e9), ("steps", 1e9), ("outer", 6e9)]
    ]
    # The machine is half as fast in the second turn, four times slower in the third.
    seconds = np.array([[1, 0.5, 3], [2, 1, 6], [4, 1, 24]])
    timing = Timing(np.array([1.0, 2.0, 12.5]), seconds)
    assert benchmark.format_table(parts, timing).splitlines() == [
        "| what | seconds | GFLOP | GFLOP/s | of the limit | least | most | "
        "first call, s |",
        "|---|---|---|---|---|---|---|---|",
        "| product | 2 | 4 | 2 | 100% | 100% | 100% | 1 |",
        "| steps | 1 | 1 | 1 | 50% | 50% | 100% | 2 |",
        "| outer | 6 | 6 | 1 | 50% | 25% | 50% | 12.5 |",
        "",
        "An outer step takes 6.0 times the inner steps in it.",
    ]


@pytest.mark.parametrize("teacher", ["gtn", "distillation", "real"])
def test_a_run_writes_nothing(teacher, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = dataclasses.asdict(dataclasses.replace(SMALL_RUN, teacher=teacher))
    benchmark.run(BenchmarkConfig(**run, num_repeats=1, product_size=16))
    table = capsys.readouterr().out
    rows = re.findall(r"^\| (.*?) \| [\d.e-]+ \| [\d.e-]+ \|", table, re.M)
    assert rows == ["product of 16 x 16 matrices", "2 inner steps", "outer step"]
    assert re.search(
        r"^Memory: \d\.\d\d GB at the peak; plan: activations", table, re.M
    )
    assert not list(tmp_path.iterdir())


def test_all_that_was_measured_is_in_a_file(tmp_path, capsys):
    path = tmp_path / "found.json"
    run = dataclasses.asdict(dataclasses.replace(SMALL_RUN, teacher="real"))
    benchmark.run(
        BenchmarkConfig(**run, num_repeats=3, product_size=16, json=str(path))
    )
    found = json.loads(path.read_text())
    product, steps, outer = found["parts"]
    assert product["flops"] == 2 * 16**3
    assert all(len(part["seconds"]) == 3 for part in found["parts"])
    assert outer["first_seconds"] > np.median(outer["seconds"])  # it traces
    assert steps["name"] == "2 inner steps" and found["flags"]["num_inner_steps"] == 2
    assert found["peak_bytes"] > found["planned_bytes"] > 0


def test_only_backpropagation_is_counted():
    with pytest.raises(ValueError, match="--estimator=es is for bin/train and bin/st"):
        BenchmarkConfig(estimator="es")
