"""What is timed, in which order, and what is made of it."""

import dataclasses
import json
import re

import numpy as np
import pytest
from problems import SMALL_RUN

from gtn_tf.commands import benchmark, train
from gtn_tf.commands.benchmark import BenchmarkConfig
from gtn_tf.errors import UserError
from gtn_tf.studies import gradient_noise, timing
from gtn_tf.studies.timing import Part, Timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that only parts move."""
    seconds = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: seconds[0])
    return seconds


def test_parts_take_turns_after_a_first_call(clock):
    calls = []

    def part(name, duration):
        def call(index):
            calls.append((name, index))
            clock[0] += duration if index else 100

        return Part(name, 1, call)

    found = timing.time_in_turns([part("a", 2), part("b", 3)], 2)
    np.testing.assert_allclose(found.later, [[2, 3], [2, 3]])
    np.testing.assert_allclose(found.first, [100, 100])
    assert calls == [(n, i) for i in range(3) for n in "ab"]


def test_ratios_are_those_of_each_turn():
    # The machine is half as fast in the second turn, four times slower in the third.
    seconds = np.array([[1, 0.5, 3], [2, 1, 6], [4, 1, 24]])
    found = Timing(
        ["product", "steps", "outer"],
        np.array([4e9, 1e9, 6e9]),
        np.array([1.0, 2.0, 12.5]),
        seconds,
    )
    assert Timing.of_record(found.as_record()).later.tolist() == seconds.tolist()
    assert benchmark.format_table(found).splitlines() == [
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


def test_times_as_long_are_ratios_of_each_turn():
    seconds = np.array([[1.0, 3], [2, 4], [4, 20]])
    found = Timing(["gtn_tf", "a"], np.array([1, 1]), np.array([7.0, 8]), seconds)
    assert benchmark.format_against(found).splitlines()[2:] == [
        "| gtn_tf | 2 | 1.00 | 1.00 | 1.00 | 7 |",
        "| a | 4 | 3.00 | 2.00 | 5.00 | 8 |",
    ]


def test_cases_and_libraries(monkeypatch, tmp_path, capsys):
    """A case in a process of its own, beside plain TensorFlow."""
    small = {k: v for k, v in dataclasses.asdict(SMALL_RUN).items() if k != "dataset"}
    fields = dataclasses.fields(BenchmarkConfig)
    default = {field.name: field.default for field in fields}
    flags = [f"--{k}={v}" for k, v in small.items() if v != default[k]]
    monkeypatch.setitem(benchmark.BENCHMARK_CASES, "digits", flags)
    path = tmp_path / "found.json"
    benchmark.run(
        BenchmarkConfig(
            cases="digits",
            against="tensorflow",
            num_repeats=2,
            product_size=16,
            json=str(path),
        )
    )
    told = capsys.readouterr().out
    assert told.startswith("digits\n\n| what | seconds |")
    assert re.search(r"^\| tensorflow, written out \|", told, re.M)
    found = json.loads(path.read_text())["cases"]["digits"]
    ours, theirs = found["same_step"]
    assert ours["name"] == "gtn_tf" and ours["flops"] == theirs["flops"] > 0
    assert len(found["parts"][2]["seconds"]) == len(theirs["seconds"]) == 2
    assert found["flags"]["num_inner_steps"] == 2


def test_a_case_that_cannot_be(tmp_path):
    config = BenchmarkConfig(cases="mnist", data_dir=str(tmp_path), num_repeats=1)
    with pytest.raises(UserError, match="mnist was not timed, for the reason above"):
        benchmark.run(config)


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ({"cases": "digits,svhn"}, "--cases=digits,svhn names svhn: give some of digi"),
        ({"against": "numpy"}, "--against=numpy names numpy: give some of tensorflow"),
    ],
)
def test_unknown_cases_and_libraries(flag, told):
    with pytest.raises(UserError, match=told):
        BenchmarkConfig(**flag)


def test_a_library_that_is_not_there(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="jax is not installed: install it, or leave"):
        BenchmarkConfig(against="jax")


def test_the_noise_of_a_runs_gradients(tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(SMALL_RUN, teacher="real", workdir=str(tmp_path / "a"))
    train.run(config)
    capsys.readouterr()
    run = dataclasses.asdict(config)
    path = tmp_path / "found.json"
    options = {"num_repeats": 1, "product_size": 16, "json": str(path)}
    benchmark.run(BenchmarkConfig(**run, noise_learners=5, **options))
    told = capsys.readouterr().out
    found = json.loads(path.read_text())["noise"]
    assert re.search(r"^Gradient noise scale: .* from 5 learners\)\.", told, re.M)
    # Two learned hyperparameters of two steps, of which float32 takes four bytes.
    assert found["gradient_bytes"] == 4 * 2 * 2 and found["noise"] > 0
    with pytest.raises(UserError, match="holds no checkpoint"):
        empty = {"workdir": str(tmp_path / "b")}
        benchmark.run(BenchmarkConfig(**run | empty, noise_learners=5, **options))
    with pytest.raises(UserError, match="--noise_learners=2 is too few"):
        BenchmarkConfig(noise_learners=2)


def test_what_learners_and_workers_bring():
    record = {"signal": 1.0, "noise": 8.0, "error": 0.25, "num_learners": 9}
    record |= {"seconds": [2.0], "gradient_bytes": 10**9}
    lines = gradient_noise.format_record(record).splitlines()
    assert lines[0].endswith("scale: 8 learners (5.33 to 16, from 9 learners).")
    rows = [[float(x) for x in line.split("|")[1:-1]] for line in lines[4:11]]
    assert rows[0] == [1, 1, 2, 1, 2, 1]
    # (1 + 8 / 8) / (1 + 8) of the steps, each eight times as long, or 2 + 1.4 s.
    assert rows[3] == [8, 0.22, 16, 1.8, 3.4, 0.38]
    unclear = gradient_noise.format_record(record | {"signal": -0.1})
    assert "is not told from noise: give more learners" in unclear


def test_only_backpropagation_is_counted():
    with pytest.raises(ValueError, match="--estimator=es is for bin/train and bin/st"):
        BenchmarkConfig(estimator="es")
