"""The estimate of what the way back keeps."""

import dataclasses

import keras
import numpy as np
import problems
import pytest

from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.meta import costs, outer_loop
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.runs import divergence, meta_training, run_setup
from gtn_tf.runs.config import TrainingConfig


class Halves(keras.layers.Layer):
    """A layer with two outputs."""

    def call(self, inputs):
        return keras.ops.split(inputs, 2, axis=-1)


def two_outputs() -> keras.Model:
    """3x2x1 images: 6 numbers, flattened, then 4 and 5, then 2 and 2."""
    images = keras.Input((3, 2, 1))
    features = keras.layers.Flatten()(images)
    first, second = (keras.layers.Dense(units)(features) for units in (4, 5))
    return keras.Model(images, [second, *Halves()(first)])


def one_output() -> keras.Model:
    images = keras.Input((4, 4, 1))  # 16
    features = keras.layers.Conv2D(3, 3, strides=2, padding="same")(images)  # 12
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(features))  # 3


@pytest.mark.parametrize(
    "models, numbers",
    [
        ([two_outputs], 6 + 6 + 4 + 5 + 2 + 2),
        ([one_output], 16 + 12 + 3),
        ([two_outputs, one_output], 25 + 31),
    ],
)
def test_bytes_of_counted_outputs(models, numbers):
    built = [build() for build in models]
    for batch_size in (1, 100):
        expected = numbers * batch_size * 4 * 1.35
        assert costs.activation_bytes(built, batch_size) == int(expected)


@pytest.mark.parametrize(
    "bytes_per_step, num_inner_steps, expected",
    [
        (2**30, 1, False),
        (2**30 + 1, 1, True),
        (2**20, 1024, False),
        (2**20, 1025, True),
        (1, 10, False),
    ],
)
def test_up_to_one_gibibyte_is_kept(bytes_per_step, num_inner_steps, expected):
    assert costs.should_recompute(bytes_per_step, num_inner_steps) is expected


KEEP, FIVE = (
    MemoryPolicy(recompute=False),
    MemoryPolicy(recompute=True, segment_length=5),
)


@pytest.mark.parametrize(
    "memory_policy, expected",
    [
        (KEEP, 12 * (1000 + 30)),
        (MemoryPolicy(recompute=True, segment_length=1), 12 * 30 + 1000),
        (FIVE, 3 * 30 + 5 * 1000),
    ],
)
def test_what_is_kept_at_the_peak(memory_policy, expected):
    assert costs.kept_bytes(1000, 30, 12, memory_policy) == expected


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(costs, "available_bytes", lambda: 2 * 10**9)
    costs.check_fits(2 * 10**9)
    with pytest.raises(ValueError, match=r"3.5 GB, and 2.0 GB .*--recompute=always"):
        costs.check_fits(3_500_000_000)
    monkeypatch.setattr(costs, "available_bytes", lambda: 0)  # not known
    costs.check_fits(10**18)


@pytest.mark.parametrize(
    "meminfo, limit, expected",
    [
        ("MemTotal: 9 kB\nMemAvailable:   5 kB\n", None, 5 * 1024),
        ("MemAvailable:   5 kB\n", "4096\n", 3096),
        ("MemAvailable:   5 kB\n", "900\n", 0),
        ("MemAvailable:   5 kB\n", "max\n", 5 * 1024),
        ("nothing known\n", None, 0),
        (None, None, 0),
    ],
)
@pytest.mark.parametrize(
    "limit_file, usage_file",
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_available_memory(tmp_path, meminfo, limit, expected, limit_file, usage_file):
    """A limit less the 1,000 bytes that are in use."""
    texts = {"meminfo": meminfo, limit_file: limit, usage_file: "1000\n"}
    for name, text in texts.items():
        if text is not None:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
    assert costs.available_bytes(tmp_path / "meminfo", tmp_path) == expected


def test_a_run_that_cannot_fit_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "available_bytes", lambda: 10**6)
    config = TrainingConfig(workdir=str(tmp_path / "run"), recompute="never")
    with pytest.raises(ValueError, match="would keep about"):
        train.run(config)
    assert not (tmp_path / "run").exists()


def test_a_run_that_would_not_fit_here_is_restored(tmp_path, monkeypatch):
    config = dataclasses.replace(problems.SMALL_RUN, workdir=str(tmp_path))
    digits = loaders.load("digits", None, 0)
    trained = meta_training.meta_train(run_setup.build(config, digits), tmp_path)
    monkeypatch.setattr(costs, "available_bytes", lambda: 1)
    monkeypatch.setattr(outer_loop, "build_optimizer", None)
    monkeypatch.setattr(divergence, "Guard", None)
    restored = meta_training.restore(run_setup.build(config, digits), tmp_path)
    assert restored.progress == trained.progress
    both = (run.setup.problem.variables for run in (restored, trained))
    for own, other in zip(*both, strict=True):
        np.testing.assert_array_equal(own, other)
