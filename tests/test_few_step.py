"""Few-step accuracy of fresh learners, and its interval."""

import dataclasses
import json

import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.data.dataset import Split
from gtn_tf.evaluation import few_step
from gtn_tf.evaluation.compiled_learner import CompiledLearner
from gtn_tf.evaluation.few_step import Evaluator, summarize
from gtn_tf.meta import objectives
from gtn_tf.networks import learners
from gtn_tf.teaching import rate_scale

NUM_STEPS = 3
NUM_IMAGES = 11
SPECS = [
    learners.LearnerSpec(
        "digits",
        widths,
        problems.IMAGE_SHAPE,
        problems.NUM_CLASSES,
        normalization="batch",
    )
    for widths in ((8, 8, 16), (8, 6, 12))
]
SPLIT = Split(
    problems.random_images([NUM_IMAGES, *problems.IMAGE_SHAPE], 8).numpy(),
    problems.random_labels([NUM_IMAGES], 9).numpy(),
)


@pytest.fixture(scope="module")
def case():
    """Intermediate losses belong to the outer loop: no real batch is given here."""
    return problems.build_case(precision="float32", num_steps=NUM_STEPS, every=1)


@pytest.fixture(scope="module")
def evaluator(case):
    return Evaluator(case.problem, SPECS)


def predicted(case, evaluator, index, seed):
    """Classes [N] that the trained learner gives, all images at once."""
    learner, state = evaluator.train(index, seed)
    x = case.problem.objective.normalize(SPLIT.images)
    logits, _ = learner.apply(state.params, state.batch_stats, x, training=False)
    return np.argmax(logits, axis=-1)


@pytest.mark.parametrize("chunk_size", [1, 4, 10, 11, 12, 500])
def test_accuracy_is_that_of_the_trained_learner(
    case, evaluator, monkeypatch, chunk_size
):
    """Chunks that divide the split, leave a rest, and hold all of it."""
    monkeypatch.setattr(objectives, "_CHUNK_SIZE", chunk_size)
    expected = np.mean(predicted(case, evaluator, 0, 0) == SPLIT.labels)
    assert evaluator.score(SPLIT, 0, seed=0).accuracy == pytest.approx(
        expected, abs=1e-12
    )
    assert 0 < expected < 1


def test_accuracy_counts_each_image_once(case, evaluator, monkeypatch):
    monkeypatch.setattr(objectives, "_CHUNK_SIZE", 4)
    right = predicted(case, evaluator, 1, 0).astype(np.int32)
    wrong = (right + 1) % problems.NUM_CLASSES
    for num_right in (0, 1, 7, NUM_IMAGES):
        labels = np.where(np.arange(NUM_IMAGES) < num_right, right, wrong)
        split = Split(SPLIT.images, labels.astype(np.int32))
        accuracy = evaluator.score(split, 1, seed=0).accuracy
        assert accuracy == num_right / NUM_IMAGES
        assert type(accuracy) is float


def test_learners_take_turns(evaluator):
    def num_params(spec):
        weights = learners.build_model(spec).trainable_weights
        return sum(np.prod(weight.shape) for weight in weights)

    first, second = map(num_params, SPECS)
    assert first != second
    sizes = [len(evaluator.train(index, 0)[1].params) for index in range(4)]
    assert sizes == [first, second, first, second]


def test_each_learner_is_fresh_and_its_own(evaluator):
    def params(index, seed):
        return evaluator.train(index, seed)[1].params.numpy()

    first = params(0, 0)
    np.testing.assert_array_equal(first, params(0, 0))
    assert np.max(np.abs(first - params(2, 0))) > 0.1  # the same architecture
    assert np.max(np.abs(first - params(0, 1))) > 0.1
    assert np.max(np.abs(params(2, 0) - params(0, 2))) > 0.1


def test_accuracies_are_those_of_the_first_learners(evaluator):
    values = evaluator.accuracies(SPLIT, 5, seed=4)
    assert values == [
        evaluator.score(SPLIT, index, seed=4).accuracy for index in range(5)
    ]
    assert values == evaluator.accuracies(SPLIT, 5, seed=4)
    assert len(set(values)) > 1
    assert all(type(value) is float for value in values)


def test_curve_ends_where_training_ends(evaluator):
    curve = evaluator.curve(SPLIT, 1, seed=3)
    assert len(curve) == NUM_STEPS
    assert curve[-1].accuracy == evaluator.score(SPLIT, 1, seed=3).accuracy
    assert curve[-1].loss == pytest.approx(evaluator.score(SPLIT, 1, 3).loss, rel=1e-5)
    assert len({score.loss for score in curve}) == NUM_STEPS


def test_curve_is_of_the_first_steps(evaluator):
    """After t steps of T, a learner is as it is after t steps of t."""
    short = problems.build_case(precision="float32", num_steps=2)
    teacher, stored = short.problem.teacher, evaluator.problem.teacher
    teacher.pixels.assign(stored.pixels[:2])
    hyperparameters = evaluator.problem.hyperparameters.variables
    for own, longer in zip(
        short.problem.hyperparameters.variables, hyperparameters, strict=True
    ):
        own.assign(longer[:2])
    expected = Evaluator(short.problem, SPECS).score(SPLIT, 0, seed=5)
    measured = evaluator.curve(SPLIT, 0, seed=5)[1]
    assert measured.accuracy == expected.accuracy
    assert measured.loss == pytest.approx(expected.loss, rel=1e-5)


def test_loss_is_the_mean_over_images(case, evaluator, monkeypatch):
    learner, state = evaluator.train(0, 2)
    x = case.problem.objective.normalize(SPLIT.images)
    logits, _ = learner.apply(state.params, state.batch_stats, x, training=False)
    expected = float(case.problem.objective.outer_loss(logits, SPLIT.labels))
    monkeypatch.setattr(objectives, "_CHUNK_SIZE", 4)
    assert evaluator.score(SPLIT, 0, seed=2).loss == pytest.approx(expected, rel=1e-5)


def test_a_new_evaluator_measures_the_same(case, evaluator):
    again = Evaluator(case.problem, SPECS)
    assert again.score(SPLIT, 0, seed=7) == evaluator.score(SPLIT, 0, seed=7)
    state, expected = (e.train(0, 7)[1] for e in (again, evaluator))
    np.testing.assert_array_equal(state.params, expected.params)
    np.testing.assert_array_equal(state.batch_stats, expected.batch_stats)


def test_the_teacher_of_now_is_measured(case, evaluator):
    """Variables are read when learners are trained, not when that is compiled."""
    (pixels,) = case.problem.teacher.variables
    before = evaluator.train(0, 0)[1].params.numpy()
    original = pixels.numpy()
    pixels.assign(-original)
    after = evaluator.train(0, 0)[1].params.numpy()
    pixels.assign(original)
    assert np.max(np.abs(after - before)) > 0.01
    np.testing.assert_array_equal(evaluator.train(0, 0)[1].params, before)


def test_a_good_teacher_gives_a_high_accuracy(case, evaluator):
    """One image for each class: most learners know them, none has them exchanged."""
    prototypes = problems.random_images([3, *problems.IMAGE_SHAPE], 2)
    labels = np.arange(NUM_IMAGES, dtype=np.int32) % 3
    images = tf.gather(prototypes, labels).numpy()
    teacher = case.problem.teacher
    (pixels,) = teacher.variables  # [T, B, H, W, C]
    taught = [
        tf.argmax(teacher.batch(step, tf.constant([0, 0]))[1], axis=-1)
        for step in range(NUM_STEPS)
    ]
    original = pixels.numpy()
    pixels.assign(tf.gather(case.problem.objective.normalize(prototypes), taught))
    right = evaluator.accuracies(Split(images, labels), 8, seed=0)
    wrong = evaluator.accuracies(Split(images, (labels + 1) % 3), 8, seed=0)
    pixels.assign(original)
    assert np.mean(right) > 0.7 > 0.3 > np.mean(wrong)


def scaled_problem(problem, scale):
    """The same teacher, its learning rates multiplied."""
    hyperparameters = problem.hyperparameters.resized(NUM_STEPS)
    hyperparameters.variables[0].assign_add([np.log(scale)] * NUM_STEPS)
    return dataclasses.replace(problem, hyperparameters=hyperparameters)


def test_a_scale_of_rates_is_chosen_for_each_architecture(case, monkeypatch):
    """With its first learner; the others of its kind take the same."""
    tried, scales = [], [0.25, 2.0]

    def choose(trial):
        tried.append((trial(1.0), trial(0.5)))
        return scales[len(tried) - 1]

    monkeypatch.setattr(rate_scale, "choose", choose)
    fitted = Evaluator(case.problem, SPECS, fits_rates=True)
    states = {index: fitted.train(index, 6)[1] for index in (2, 1, 0, 3)}
    assert len(tried) == 2
    assert all(np.isfinite(losses).all() for losses in tried)
    assert all(one != other for one, other in tried)
    for index, state in states.items():
        problem = scaled_problem(case.problem, scales[index % 2])
        expected = Evaluator(problem, SPECS).train(index, 6)[1]
        np.testing.assert_allclose(state.params, expected.params, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            state.batch_stats, expected.batch_stats, rtol=1e-4, atol=1e-5
        )


def test_trials_are_whole_trainings_and_tell_the_late_loss(case, monkeypatch):
    """The loss of the last third of the batches, each before its step."""
    tried = {}

    def choose(trial):
        tried.update({scale: trial(scale) for scale in (1.0, 0.5)})
        return 1.0

    monkeypatch.setattr(rate_scale, "choose", choose)
    evaluator = Evaluator(case.problem, SPECS[:1], fits_rates=True)
    evaluator.train(0, 3)
    seed = tf.random.experimental.stateless_fold_in([3, 0], 1)
    for scale, loss in tried.items():
        problem = scaled_problem(case.problem, scale)
        compiled = CompiledLearner(problem, learners.build_model(SPECS[0]))
        state, shown = compiled.begin(seed)
        for step in range(NUM_STEPS - 1):
            state, shown = compiled.step(state, shown, tf.constant(step))
        x, targets = problem.teacher.batch(NUM_STEPS - 1, tf.constant([0, 0]))
        logits, _ = compiled.learner.apply(
            state.params, state.batch_stats, x, training=True
        )
        expected = float(problem.inner_loss(targets, logits))
        assert loss == pytest.approx(expected, rel=1e-4)
    assert tried[1.0] != pytest.approx(tried[0.5], rel=1e-3)


def test_what_is_compiled_is_shared_with_evaluators_of_other_learners(case):
    """And what those compile goes with them."""
    built = []

    def build(spec):
        built.append(spec)
        return learners.build_model(spec)

    evaluator = Evaluator(case.problem, SPECS[:1], build)
    score = evaluator.score(SPLIT, 0, seed=2)
    other = evaluator.of(SPECS, fits_rates=False)
    assert other.score(SPLIT, 0, seed=2) == score and built == SPECS[:1]
    expected = other.score(SPLIT, 1, seed=2)
    assert built == SPECS[:2]
    assert evaluator.of(SPECS[1:], fits_rates=False).score(SPLIT, 0, seed=2) != score
    assert built == [*SPECS[:2], SPECS[1]] and expected != score


def test_too_large_rates_are_fitted(case):
    problem = scaled_problem(case.problem, 1000.0)
    fitted, unfitted = (Evaluator(problem, SPECS, fits_rates=f) for f in (True, False))
    largest = [
        [float(np.abs(e.train(index, 0)[1].params).max()) for index in range(2)]
        for e in (fitted, unfitted)
    ]
    assert all(own < other / 2 for own, other in zip(*largest, strict=True))


@pytest.mark.parametrize(
    "values, text",
    [([0.5, 0.5], "50.00 % (50.00 to 50.00)"), ([0.0, 1.0], "50.00 % (")],
)
def test_interval_as_text(values, text):
    assert few_step.interval(values).startswith(text)


VALUES = [0.91, 0.93, 0.9, 0.95, 0.94, 0.92, 0.935]


@pytest.mark.parametrize("values", [VALUES, [0.0, 1.0], [0.5, 0.5, 0.5001]])
def test_interval_holds_the_mean_and_stays_within_the_values(values):
    summary = summarize(values, seed=0)
    assert list(summary) == ["mean", "low", "high", "values"]
    assert summary["mean"] == pytest.approx(sum(values) / len(values))
    assert summary["values"] == values
    assert min(values) <= summary["low"] <= summary["mean"] <= summary["high"]
    assert summary["high"] <= max(values)
    assert json.loads(json.dumps(summary)) == summary


def test_interval_is_of_the_mean_and_of_95_percent():
    """Against the normal approximation, which holds for many values."""
    values = list(np.random.default_rng(1).normal(0.9, 0.01, 400))
    summary = summarize(values, seed=0)
    half = 1.96 * np.std(values) / np.sqrt(len(values))
    assert summary["high"] - summary["mean"] == pytest.approx(half, rel=0.15)
    assert summary["mean"] - summary["low"] == pytest.approx(half, rel=0.15)


def test_interval_depends_on_the_seed_alone():
    assert summarize(VALUES, seed=0) == summarize(VALUES, seed=0)
    intervals = {summarize(VALUES, seed)["low"] for seed in range(4)}
    assert len(intervals) > 1


@pytest.mark.parametrize("value", [0.25, 0.1, 0.91, 0.947])
@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_equal_values_have_no_width(value, count):
    expected = {"mean": value, "low": value, "high": value, "values": [value] * count}
    assert summarize([value] * count, seed=0) == expected
