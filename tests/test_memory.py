"""The estimate of what the way back keeps."""

import dataclasses

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.meta import memory, outer_loop, traced_memory
from gtn_tf.meta.memory import Sizes
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.networks import learners
from gtn_tf.runs import divergence, memory_plans, meta_training, run_setup
from gtn_tf.runs.memory_plans import MemoryPlan


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
    "model, numbers", [(two_outputs, 6 + 6 + 4 + 5 + 2 + 2), (one_output, 16 + 12 + 3)]
)
def test_outputs_are_counted(model, numbers):
    assert memory.num_outputs(model()) == numbers


KEEP, ONE, FIVE = (
    MemoryPolicy(recompute=False),
    MemoryPolicy(recompute=True, segment_length=1),
    MemoryPolicy(recompute=True, segment_length=5),
)
TWICE = MemoryPolicy(recompute=True, segment_length=5, part_length=2)


@pytest.mark.parametrize(
    "memory_policy, expected",
    [
        (KEEP, 12 * 1000),
        (ONE, 1000 + 12 * 30),
        (FIVE, 5 * 1000 + 3 * 30),
        (TWICE, 2 * 1000 + (3 + 3) * 30),
    ],
)
def test_what_is_kept_at_the_peak(memory_policy, expected):
    sizes = Sizes(1000, 30, back=400, once=7, program=20)
    found = memory.peak_bytes(sizes, 12, memory_policy)
    assert found == expected + 400 + 7 + 20


@pytest.mark.parametrize(
    "sizes, length", [(Sizes(1000, 1), 1), (Sizes(10, 90), 30), (Sizes(1, 10**6), 100)]
)
def test_segments_that_take_the_least_memory(sizes, length):
    """Of a hundred steps: near the root of 100 * state / step."""
    found = memory.with_least_memory(sizes, 100)
    least = memory.peak_bytes(sizes, 100, found)
    for other in range(1, 101):
        policy = MemoryPolicy(recompute=True, segment_length=other)
        assert least <= memory.peak_bytes(sizes, 100, policy)
    assert abs(found.segment_length - length) <= length / 5


@pytest.mark.parametrize(
    "sizes, part", [(Sizes(1000, 1), 1), (Sizes(10, 90), 20), (Sizes(1, 10**6), 100)]
)
def test_parts_that_take_the_least_memory(sizes, part):
    """Of a hundred steps: near the (2 / 3) power of 10 * state / step."""
    found = memory.twice_with_least_memory(sizes, 100)
    least = memory.peak_bytes(sizes, 100, found)
    for segment in range(1, 101):
        for other in range(1, segment + 1):
            policy = MemoryPolicy(segment_length=segment, part_length=other)
            assert least <= 1.02 * memory.peak_bytes(sizes, 100, policy)
    assert abs(found.part_length - part) <= part / 4


def test_what_a_step_keeps_is_counted_and_bounded():
    config = dataclasses.replace(problems.SMALL_RUN, inner_optimizer="muon")
    digits = loaders.load("digits", None, 0)
    kept = {}
    for num_steps in (3, 6):
        run = dataclasses.replace(config, num_inner_steps=num_steps)
        setup = run_setup.build(run, digits)
        program = outer_loop.trace(setup.problem, setup.specs[0], 1.0, KEEP)
        kept[num_steps] = traced_memory.count(program).step
    bound = memory_plans._bound(setup.specs[0], setup.problem)
    models = [learners.build_model(setup.specs[0]), setup.problem.teacher.generator]
    outputs = config.inner_batch_size * sum(map(memory.num_outputs, models))
    assert 4 * outputs < kept[3] < bound.step
    assert kept[6] == kept[3]


def test_what_is_held_throughout_is_counted():
    """Latents [3, 10, 4], a generator, rates; three batches of ten digits."""
    config = dataclasses.replace(problems.SMALL_RUN, num_inner_steps=3)
    digits = loaders.load("digits", None, 0)
    problem = run_setup.build(config, digits).problem
    learned = sum(variable.numpy().nbytes for variable in problem.variables)
    assert learned > 4 * 3 * 10 * 4
    image, label = digits.train.images[0].nbytes, digits.train.labels[0].nbytes
    drawn = 3 * 10 * (image + label)
    assert memory.held_throughout(problem) == 4 * learned + 1.5 * drawn


# SMALL_RUN's learner has 306 parameters.
STEP, STATE, BACK = 100_000, 2 * 4 * 306, 70_000
COUNTED = traced_memory.Counted(STEP, BACK, 0)


@pytest.fixture
def plan_with(monkeypatch):
    """A function (bytes that are available, changes) -> the plan of eight steps."""
    digits = loaders.load("digits", None, 0)
    monkeypatch.setattr(memory, "_PROGRAM_BYTES", 0)  # of bounds
    monkeypatch.setattr(memory, "held_throughout", lambda _: 0)
    monkeypatch.setattr(outer_loop, "trace", lambda *_: None)
    monkeypatch.setattr(traced_memory, "count", lambda _: COUNTED)

    def make(available, **changes):
        monkeypatch.setattr(memory, "available_bytes", lambda: available)
        config = dataclasses.replace(problems.SMALL_RUN, num_inner_steps=8, **changes)
        setup = run_setup.build(config, digits)
        return memory_plans.make(config, setup.problem, setup.specs)

    return make


def test_what_fits_is_kept_and_more_is_recomputed(plan_with):
    enough = int((8 * STEP + BACK) / 0.8) + 1
    assert plan_with(0).policy == plan_with(enough).policy == KEEP
    less = plan_with(enough - 2)
    assert (less.is_bound, less.sizes) == (False, Sizes(STEP, STATE, BACK))
    assert less.policy == memory.with_least_memory(less.sizes, 8) == ONE
    assert less.peak_bytes == STEP + BACK + 8 * STATE
    assert plan_with(enough - 2, segment_length=5).policy == FIVE
    assert plan_with(enough, recompute="always", segment_length=5).policy == FIVE
    with pytest.raises(ValueError, match=r"would take about .* GB, .*--recompute=auto"):
        plan_with(enough - 2, recompute="never")


def test_segments_are_cut_again_where_nothing_else_fits(plan_with):
    enough = int((STEP + BACK + 8 * STATE) / 0.8) + 1
    assert plan_with(enough).policy == ONE
    twice = MemoryPolicy(recompute=True, segment_length=3, part_length=1)
    less = plan_with(enough - 2)
    assert less.policy == twice
    assert less.peak_bytes == STEP + BACK + (3 + 3) * STATE
    assert "computed again for segments of 3 inner steps, in parts of 1, about" in (
        less.describe()
    )
    with pytest.raises(ValueError, match="would take about"):
        plan_with(int((STEP + BACK + 6 * STATE) / 0.8) - 1)


@pytest.mark.parametrize(
    "estimator, num_steps, words",
    [
        ("es", 0, "no activations are kept for a way back"),
        ("pes", 0, "no activations are kept for a way back"),
        ("combined", 8, "activations of all 8 inner steps are kept"),
        ("truncated_windows", 3, "activations of all 3 inner steps are kept"),
    ],
)
def test_an_estimator_keeps_the_steps_that_it_differentiates(
    plan_with, estimator, num_steps, words
):
    options = {"estimator": estimator, "window_length": 3, "recompute": "never"}
    enough = int((num_steps * STEP + BACK) / 0.8) + 1
    plan = plan_with(enough, **options)
    assert (plan.policy, plan.is_bound) == (KEEP, False)
    assert plan.peak_bytes == num_steps * STEP + BACK
    assert plan.describe().startswith(f"{words}, about 0.0 GB more")
    with pytest.raises(ValueError, match="would take about"):
        plan_with(enough - 2, **options)
    if not num_steps:  # there is nothing that recomputing could save
        with pytest.raises(ValueError, match="would take about"):
            plan_with(enough - 2, estimator=estimator)


def test_small_problems_are_not_counted(plan_with, monkeypatch):
    monkeypatch.setattr(outer_loop, "trace", None)
    plan = plan_with(10**10)
    assert plan.is_bound and plan.policy == KEEP
    assert plan.describe() == (
        "activations of all 8 inner steps are kept, at most 0.0 GB more at the peak "
        "of 10.0 GB available"
    )


@pytest.mark.parametrize(
    "changes, num_traced",
    [({}, 1), ({"recompute": "always"}, 2), ({"estimator": "combined"}, 2)],
)
def test_what_was_traced_to_count_trains(monkeypatch, changes, num_traced):
    trace, calls = outer_loop.trace, []
    monkeypatch.setattr(memory_plans, "_SMALL", 0)
    monkeypatch.setattr(
        outer_loop, "trace", lambda *args: calls.append(args) or trace(*args)
    )
    config = dataclasses.replace(problems.SMALL_RUN, **changes)
    setup = run_setup.build(config, loaders.load("digits", None, 0))
    policy = setup.memory_plan.policy
    step = run_setup.build_outer_step(setup, tf.Variable(1.0), policy)
    assert not setup.memory_plan.traced  # which would outlive training there
    assert np.isfinite(step(0, 0).meta_loss)
    assert len(calls) == num_traced


def test_a_run_goes_on_in_the_way_that_it_began(tmp_path, capsys):
    sizes = Sizes(10**6, 1000, program=150_000_000)
    plan = MemoryPlan(FIVE, sizes, False, 10**9, 10, {})
    assert memory_plans.of_run(tmp_path, plan) == FIVE
    assert (
        "again for segments of 5 inner steps, about 0.2 GB" in capsys.readouterr().err
    )
    assert memory_plans.of_run(tmp_path, plan._replace(policy=KEEP)) == FIVE
    assert "warning" not in capsys.readouterr().err
    scarce = plan._replace(policy=ONE, available=1000)
    assert memory_plans.of_run(tmp_path, scarce) == ONE
    told = capsys.readouterr().err
    assert "began in another way, for which there is no memory now" in told
    assert "computed again for each inner step" in told
    assert memory_plans.of_run(tmp_path, plan) == ONE  # which is now its own
    (tmp_path / "memory.json").unlink()
    assert memory_plans.of_run(tmp_path, plan._replace(policy=TWICE)) == TWICE
    assert memory_plans.of_run(tmp_path, plan) == TWICE
    # As it was written before there were parts.
    (tmp_path / "memory.json").write_text('{"recompute": true, "segment_length": 1}')
    assert memory_plans.of_run(tmp_path, plan) == ONE
    (tmp_path / "memory.json").write_text("[]")
    with pytest.raises(ValueError, match=r"memory.json does not say .* remove it"):
        memory_plans.of_run(tmp_path, plan)


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
    assert memory.available_bytes(tmp_path / "meminfo", tmp_path) == expected


def test_a_run_that_cannot_fit_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    config = dataclasses.replace(
        problems.SMALL_RUN, workdir=str(tmp_path / "run"), recompute="never"
    )
    with pytest.raises(ValueError, match="would take about"):
        train.run(config)
    assert not (tmp_path / "run").exists()


def test_a_run_that_would_not_fit_here_is_restored(tmp_path, monkeypatch):
    config = dataclasses.replace(problems.SMALL_RUN, workdir=str(tmp_path))
    digits = loaders.load("digits", None, 0)
    trained = meta_training.meta_train(run_setup.build(config, digits), tmp_path)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1)
    monkeypatch.setattr(outer_loop, "build_optimizer", None)
    monkeypatch.setattr(divergence, "Guard", None)
    restored = meta_training.restore(run_setup.build(config, digits), tmp_path)
    assert restored.progress == trained.progress
    both = (run.setup.problem.variables for run in (restored, trained))
    for own, other in zip(*both, strict=True):
        np.testing.assert_array_equal(own, other)
