"""A teacher that responds to the learner, in the loop, evaluated, and exported."""

import dataclasses

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf
from test_loaded_teacher import K, T, export_case

import gtn_tf
from gtn_tf.evaluation import few_step
from gtn_tf.evaluation.compiled_learner import CompiledLearner
from gtn_tf.meta.outer_loop import Progress
from gtn_tf.runs import run_setup
from gtn_tf.runs.meta_training import Trained
from gtn_tf.studies import feedback

SEED = tf.constant(problems.SEED)
CASE = dict(teacher="closed_loop", learner="dense", num_steps=3)
TOLD = tf.random.stateless_uniform([K, 3], [1, 2], dtype=tf.float64)


def test_it_begins_as_an_open_loop():
    closed = problems.build_case(**CASE, every=1, moved=False)
    opened = problems.build_case(**CASE | {"teacher": "gtn"}, every=1)
    *losses, gradients = problems.compute(closed)
    *expected, others = problems.compute(opened)
    assert losses == expected
    own = [name.startswith("response_") for name in problems.names(closed)]
    assert sum(own) == 3
    response = [g for g, is_own in zip(gradients, own, strict=True) if is_own]
    rest = [g for g, is_own in zip(gradients, own, strict=True) if not is_own]
    for gradient, reference in zip(rest, others, strict=True):
        np.testing.assert_allclose(gradient, reference, rtol=1e-9, atol=1e-14)
    kernel, bias, output = response
    assert not np.any(kernel) and not np.any(bias) and np.abs(output).max() > 1e-3


def test_feedback_is_what_the_learner_says_of_each_class():
    teacher = problems.build_case(**CASE).problem.teacher
    outputs = np.array([[1.0, 2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 0.0, 0.0]])
    powers = np.exp(outputs)
    probabilities = powers / powers.sum(1, keepdims=True)
    targets = np.eye(3)[[1, 1, 0]]
    (told,) = teacher.feedback(tf.constant(targets), tf.constant(outputs))
    one, two = probabilities[0, 1], probabilities[1, 1]
    expected = [
        [1 / 3, probabilities[2, 0], -np.log(probabilities[2, 0])],
        [2 / 3, (one + two) / 2, -np.log(one * two) / 2],
        [0, 0, 0],  # not among the targets
    ]
    np.testing.assert_allclose(told, expected, rtol=1e-12)


def test_what_is_shown_depends_on_what_was_said():
    teacher = problems.build_case(**CASE).problem.teacher
    opened = problems.build_case(**CASE | {"teacher": "gtn"}).problem.teacher
    nothing, _ = teacher.batch(1, SEED)
    np.testing.assert_array_equal(nothing, opened.batch(1, SEED)[0])
    shown = [teacher.batch(1, SEED, (factor * TOLD,))[0] for factor in (1, 1, 1.1)]
    np.testing.assert_array_equal(shown[0], shown[1])
    assert np.abs(shown[0] - nothing).max() > 0.05
    assert np.abs(shown[2] - shown[0]).max() > 1e-3
    # And on how far training is: the latents of both steps are the same here.
    teacher.latents.assign(tf.repeat(teacher.latents[:1], 3, axis=0))
    inputs = [values[1] for values in teacher.plan(SEED)]
    later = inputs[:-1] + [tf.constant(2 / 3, tf.float64)]
    one, other = (teacher.show(teacher.weights(), *i, TOLD)[0] for i in (inputs, later))
    assert np.abs(one - other).max() > 1e-3


def test_the_loop_tells_the_teacher_of_the_step_before():
    problem, learner, _ = problems.build_case(**CASE)
    state, plan = problem.begin(learner, SEED), problem.teacher.plan(SEED)
    np.testing.assert_array_equal(state.feedback[0], np.zeros([K, 3]))
    x, targets = problem.teacher.batch(0, SEED)
    logits, _ = learner.apply(state.params, state.batch_stats, x, training=True)
    rates = [values[0] for values in problem.hyperparameters.values().values()]
    shown = [values[0] for values in plan]
    after, _ = problem.step(learner, problem.weights(), state, shown, rates)
    (expected,) = problem.teacher.feedback(targets, logits)
    np.testing.assert_allclose(after.feedback[0], expected, rtol=1e-12)


def test_the_problem_at_other_values_is_that_with_these_values():
    """What evolution strategies perturb."""
    case = problems.build_case(**CASE, every=1, inner_loss="learned")
    values = [v + 0.1 * tf.cos(3.0 + v) for v in case.problem.variables]
    moved = problems.compute(case._replace(problem=case.problem.at(values)))
    for variable, value in zip(case.problem.variables, values, strict=True):
        variable.assign(value)
    assigned = problems.compute(case)
    for value, expected in zip(moved[:2], assigned[:2], strict=True):
        assert value == pytest.approx(expected, rel=1e-12)


def test_evaluation_listens_and_settles_on_what_was_shown():
    """Also where the steps are taken one by one."""
    problem, _, _ = problems.build_case(**CASE, precision="float32")
    model = problems.build_dense_model(
        problems.CaseSpec(**CASE, precision="float32", weight_norm=False)
    )
    compiled = CompiledLearner(problem, model)
    state, plan = compiled.begin(SEED)
    learner, shown = compiled.learner, []
    plan, stepped, told = plan[:-1], state, plan
    values = problem.hyperparameters.values()
    for t in range(3):
        inputs = [stored[t] for stored in plan]
        weights = problem.weights()
        x, _ = problem.teacher.show(weights.teacher, *inputs, *state.feedback)
        shown.append(x)
        rates = tuple(values[name][t] for name in problem.optimizer.names)
        state, _ = problem.step(learner, weights, state, inputs, rates)
        stepped, told = compiled.step(stepped, told, tf.constant(t))
    statistics = [
        learner.apply(state.params, state.batch_stats, x, training=True)[1]
        for x in shown
    ]
    whole, _ = compiled.train(SEED, tf.constant(1.0))
    settled = compiled.settle(stepped, told, tf.constant(3))
    for found in (whole, settled):
        np.testing.assert_allclose(found.params, state.params, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            found.batch_stats, np.mean(statistics, 0), rtol=1e-4, atol=1e-6
        )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed")
    export_case(folder, teacher="closed_loop", learner="dense")
    return gtn_tf.load_teacher(folder)


def network(activation=None):
    layers = [keras.layers.Flatten(), keras.layers.Dense(K, activation)]
    model = keras.Sequential([keras.Input(problems.IMAGE_SHAPE), *layers])
    kernel = tf.random.stateless_normal([16, K], [3, 4])
    model.set_weights([kernel.numpy(), np.zeros(K)])
    return model


def test_probabilities_tell_as_much_as_logits(exported):
    taught = [
        exported.teach(network(activation), rate_scale=1.0).get_weights()
        for activation in (None, "softmax")
    ]
    for value, expected in zip(*taught, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4)


def test_without_a_learner_there_is_the_stored_curriculum(exported):
    """And teaching with it is not teaching by the closed loop."""
    stored = [x.numpy() for x, _ in exported.dataset()]
    assert exported.is_closed_loop and len(stored) == T
    seen, model = [], network()
    lessons = exported.trainer(model).lessons
    told = None
    for step in range(T):
        x, targets = lessons.batch(step, told)
        told = lessons.feedback(targets, model(x))
        seen.append(np.abs(x - stored[step]).max())
    assert seen[0] == 0 and min(seen[1:]) > 1e-3
    with pytest.raises(ValueError, match="closed-loop, and model.fit does not tell"):
        exported.fit_arguments()


def test_what_feedback_is_worth():
    """Nothing while the response is zero; none is measured of an open loop."""
    config = dataclasses.replace(
        problems.SMALL_RUN,
        teacher="closed_loop",
        learner="fully_connected:8",
        num_inner_steps=4,
        inner_learning_rate=0.5,
    )
    setup = run_setup.build(config, run_setup.load_dataset(config))
    evaluator = few_step.Evaluator(setup.problem, setup.specs)
    trained = Trained(setup, evaluator, Progress(0, 0.0))
    split = setup.dataset.validation
    accuracies = evaluator.accuracies(split, 2, config.seed)
    assert feedback.accuracies_without(trained, split) == accuracies
    problems.move(setup.problem.variables)
    setup.problem.variables[-1].assign(10 * setup.problem.variables[-1])
    without = feedback.accuracies_without(trained, split)
    assert without == accuracies
    listening = evaluator.accuracies(split, 2, config.seed)
    assert listening != accuracies


@pytest.mark.parametrize(
    "base, changes, message",
    [
        (
            problems.SMALL_POLICIES,
            {"teacher": "closed_loop"},
            "--teacher=closed_loop contradicts --dataset=gym:CartPole-v1: it responds "
            "to what a classifier says of each class, and a policy is none; give "
            "--teacher=state_actions or gtn",
        ),
        (
            problems.SMALL_RUN,
            {"teacher": "closed_loop", "adversarial_weight": 0.5},
            "--adversarial_weight=0.5 contradicts --teacher=closed_loop: what it shows "
            "depends on a learner, and the discriminator has none; give 0, or "
            "--teacher=gtn",
        ),
    ],
)
def test_what_it_is_not_made_for_is_refused(base, changes, message):
    config = dataclasses.replace(base, **changes)
    with pytest.raises(ValueError) as caught:
        run_setup.build(config, run_setup.load_dataset(config))
    assert str(caught.value) == message
