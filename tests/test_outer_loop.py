"""The outer step and the loop around it."""

import dataclasses
import math
import types

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.meta import inner_loop, meta_gradients, objectives, outer_loop
from gtn_tf.meta.outer_loop import OuterOptimizerSpec, OuterStep, Progress, StepResult
from gtn_tf.networks import layers, learners, stateless

NUM_STEPS = 3
SPECS = [
    learners.LearnerSpec("digits", widths, problems.IMAGE_SHAPE, problems.NUM_CLASSES)
    for widths in ((3, 1, 1), (4, 1, 1), (5, 1, 1))
]
ADAM = OuterOptimizerSpec(
    learning_rate=0.02, final_fraction=0.1, beta_1=0.8, beta_2=0.9, epsilon=0.01
)


def build_dense_model(spec):
    """A learner that is quickly traced."""
    images = keras.Input(spec.image_shape)
    features = layers.dense(spec.widths[0], True, None)(keras.layers.Flatten()(images))
    logits = layers.dense(spec.num_classes, True, None)(
        layers.activation("float32")(features)
    )
    return keras.Model(images, logits)


@pytest.fixture(autouse=True, scope="module")
def dense_learners():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners, "build_model", build_dense_model)
        yield


def asked(problem, **changes):
    """The problem with 7 images in each loss, and other changes of its objective."""
    changes = {"batch_size": 7} | changes
    objective = dataclasses.replace(problem.objective, **changes)
    return dataclasses.replace(problem, objective=objective)


def build_step(optimizer=None, clip_norm=0, every=0, objective=None, **options):
    """An outer step on a few pixels that are learned."""
    case = problems.build_case(precision="float32", num_steps=NUM_STEPS, every=every)
    problem = asked(case.problem, **objective or {})
    optimizer = optimizer or keras.optimizers.SGD(1.0)
    optimizer.build(problem.variables)
    return OuterStep(
        **{"specs": SPECS[:1]} | options,
        problem=problem,
        optimizer=optimizer,
        clip_norm=clip_norm,
        memory_policy=problems.KEPT,
    )


def state_of(step):
    """All that an outer step may change."""
    everything = [*step.problem.variables, *step.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in everything]


def set_state(step, values):
    everything = [*step.problem.variables, *step.optimizer.variables]
    for variable, value in zip(everything, values, strict=True):
        variable.assign(value)


def movement(step, outer_step=0):
    """What one outer step adds to each variable; it is taken back."""
    before = state_of(step)
    result = step(outer_step, seed=0)
    after = state_of(step)
    set_state(step, before)
    num_variables = len(step.problem.variables)
    moved = [b - a for a, b in zip(before, after, strict=True)]
    return result, moved[:num_variables]


def norm_of(values):
    return math.sqrt(sum(float(np.sum(np.square(value))) for value in values))


def assert_equal(values, expected):
    for value, reference in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, reference)


@pytest.fixture(scope="module")
def plain_step(dense_learners):
    """SGD with rate 1, not clipped: variables move by minus the gradient."""
    return build_step()


@pytest.fixture(scope="module")
def adam_step(dense_learners):
    """Two learners, Adam, and real batches counted as they are traced."""
    traced = []

    def draw(num_batches, batch_size, seed):
        traced.append((num_batches, batch_size))
        return problems.draw(num_batches, batch_size, seed)

    case = problems.build_case(precision="float32", num_steps=NUM_STEPS)
    optimizer = outer_loop.build_optimizer(ADAM, 100, case.problem.variables)
    problem = asked(case.problem, draw=draw)
    step = OuterStep(problem, SPECS[1:], optimizer, 5, problems.KEPT)
    step.traced = traced
    return step


@pytest.mark.parametrize(
    "final_fraction, at, factor",
    [
        (0.1, 0, 1),
        (0.1, 25, 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2),
        (0.1, 50, 0.55),
        (0.1, 100, 0.1),
        (0.1, 250, 0.1),
        (0, 100, 0),
        (1, 0, 1),
        (1, 60, 1),
        (1, 100, 1),
    ],
)
def test_learning_rate_follows_a_cosine(final_fraction, at, factor):
    spec = dataclasses.replace(ADAM, final_fraction=final_fraction)
    optimizer = outer_loop.build_optimizer(spec, 100, [tf.Variable(0.0)])
    optimizer.iterations.assign(at)
    rate = float(optimizer.learning_rate)
    assert rate == pytest.approx(0.02 * factor, rel=1e-6, abs=1e-9)


def test_adam_has_the_values_of_its_spec():
    variable = tf.Variable([1.0, -2.0])
    spec = dataclasses.replace(ADAM, final_fraction=1)
    optimizer = outer_loop.build_optimizer(spec, 100, [variable])
    expected = variable.numpy()
    mean = square = np.zeros(2)
    for count, gradient in enumerate(([0.3, -0.01], [-0.1, 0.02]), start=1):
        optimizer.apply([tf.constant(gradient)], [variable])
        mean = 0.8 * mean + 0.2 * np.array(gradient)
        square = 0.9 * square + 0.1 * np.array(gradient) ** 2
        rate = 0.02 * math.sqrt(1 - 0.9**count) / (1 - 0.8**count)
        expected = expected - rate * mean / (np.sqrt(square) + 0.01)
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


def test_variables_move_against_the_gradient_of_the_loss(plain_step):
    result, moved = movement(plain_step)
    norm = float(result.gradient_norm)
    assert norm_of(moved) == pytest.approx(norm, rel=1e-4)
    before = state_of(plain_step)
    rate = 1e-2 / norm
    for variable, step in zip(plain_step.problem.variables, moved, strict=True):
        variable.assign_add(rate * step)
    lower = plain_step(0, seed=0)
    set_state(plain_step, before)
    fall = float(result.meta_loss - lower.meta_loss)
    assert fall == pytest.approx(rate * norm**2, rel=0.05)
    assert float(result.intermediate_loss) == 0


@pytest.mark.parametrize("fraction", [0.25, 4])
def test_gradient_is_clipped_by_its_global_norm(plain_step, fraction):
    result, moved = movement(plain_step)
    norm = float(result.gradient_norm)
    clipped, clipped_moved = movement(build_step(clip_norm=fraction * norm))
    for value, reference in zip(clipped_moved, moved, strict=True):
        expected = min(fraction, 1) * reference
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    assert float(clipped.gradient_norm) == pytest.approx(norm)
    assert float(clipped.meta_loss) == pytest.approx(float(result.meta_loss))


@pytest.mark.parametrize(
    "fraction, trust", [(0.011, 1), (0.009, 0.9), (3e-3, 0.3), (1e-3, 0.1)]
)
def test_a_gradient_far_above_the_clip_norm_counts_less(plain_step, fraction, trust):
    """Where it is more than 100 times as large, in proportion."""
    result, moved = movement(plain_step)
    norm = float(result.gradient_norm)
    clipped, clipped_moved = movement(build_step(clip_norm=fraction * norm))
    for value, reference in zip(clipped_moved, moved, strict=True):
        scaled = value / (fraction * trust)  # variables round what is added to them
        np.testing.assert_allclose(scaled, reference, atol=1e-6 / (fraction * trust))
    assert norm_of(clipped_moved) == pytest.approx(fraction * trust * norm, rel=0.01)
    assert float(clipped.gradient_norm) == pytest.approx(norm)


def test_losses_are_means_and_a_zero_gradient_moves_nothing():
    sizes = []

    def draw(num_batches, batch_size, seed):
        sizes.append((num_batches, batch_size))
        return problems.draw(num_batches, batch_size, seed)

    def constant(logits, labels):
        return 2 + 0 * tf.reduce_sum(logits)

    step = build_step(
        every=1, objective={"outer_loss": constant, "draw": draw, "batch_size": 5}
    )
    result, moved = movement(step)
    assert tuple(map(float, result)) == (2, 2, 0)
    assert norm_of(moved) == 0
    assert sizes == [(NUM_STEPS, 5)]  # one for each intermediate loss, and the last


def test_what_is_not_finite_changes_nothing(adam_step):
    before = state_of(adam_step)
    raw_rates, _ = adam_step.problem.hyperparameters.variables
    raw_rates.assign(tf.fill(raw_rates.shape, 200.0))  # their exponential is infinite
    broken = state_of(adam_step)
    result = adam_step(0, seed=0)
    assert not math.isfinite(result.meta_loss)
    assert_equal(state_of(adam_step), broken)
    set_state(adam_step, before)
    assert math.isfinite(adam_step(0, seed=0).meta_loss)
    assert np.any(state_of(adam_step)[0] != before[0])
    set_state(adam_step, before)


def test_a_finite_loss_with_a_gradient_that_is_not_changes_nothing():
    def steep(logits, labels):
        loss = problems.outer_loss(logits, labels)
        return loss + tf.sqrt(0 * loss)  # the root's derivative at zero is infinite

    step = build_step(
        keras.optimizers.Adam(0.1), clip_norm=5, objective={"outer_loss": steep}
    )
    before = state_of(step)
    result = step(0, seed=0)
    assert math.isfinite(result.meta_loss)
    assert not math.isfinite(result.gradient_norm)
    assert_equal(state_of(step), before)


def test_equal_steps_from_equal_states_are_equal_bit_for_bit(adam_step):
    start = state_of(adam_step)
    runs = []
    for _ in range(2):
        set_state(adam_step, start)
        results = [tuple(map(float, adam_step(index, seed=3))) for index in range(4)]
        runs.append((results, state_of(adam_step)))
    set_state(adam_step, start)
    (results, end), (results_again, end_again) = runs
    assert results == results_again
    assert_equal(end, end_again)
    assert len(set(results)) == 4
    other = tuple(map(float, movement(adam_step, outer_step=1)[0]))
    assert other not in results


def test_one_program_for_each_learner_that_is_drawn(adam_step):
    before = state_of(adam_step)
    for outer_step in range(20):
        adam_step(outer_step, seed=0)
    set_state(adam_step, before)
    assert adam_step.num_compiled == len(SPECS[1:])
    assert adam_step.traced == [(1, 7)] * len(SPECS[1:])


class Recorded(OuterStep):
    """Tells which learners it would train, and with which seeds.

    Args:
      results: spec -> StepResult and gradients of the one variable, a scalar.
    """

    def __init__(self, learners_per_step=1, results=None):
        self.variable = tf.Variable(0.0)
        problem = types.SimpleNamespace(variables=[self.variable])
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(problem.variables)
        super().__init__(problem, SPECS, optimizer, 0, None, learners_per_step)
        self.results, self.calls = results or {}, []

    def _compile(self, spec):
        def meta_gradient(seeds):
            self.calls.append((spec, *map(int, seeds)))
            numbers, gradient = self.results.get(spec, ((1.0, 0.0, 1.0), 1.0))
            return StepResult(*map(tf.constant, numbers)), [tf.constant(gradient)]

        return meta_gradient

    def trained(self, outer_step, seed):
        """(spec, *seeds) of each learner of a step."""
        self.calls.clear()
        self(outer_step, seed)
        return tuple(self.calls)


def test_only_a_drawn_learner_is_compiled():
    step = Recorded()
    assert step.num_compiled == 0
    drawn = {step.trained(outer_step, 0)[0][0] for outer_step in range(2)}
    assert step.num_compiled == len(drawn) == 2


def test_learner_depends_on_seed_and_outer_step_only():
    def drawn(seed, outer_steps):
        step = Recorded()
        return {
            outer_step: step.trained(outer_step, seed)[0] for outer_step in outer_steps
        }

    forward = drawn(0, range(60))
    assert drawn(0, reversed(range(60))) == forward
    assert drawn(0, [41])[41] == forward[41]
    specs, others = (
        [spec for spec, _, _ in drawn(seed, range(60)).values()] for seed in (0, 1)
    )
    assert specs != others
    assert [seeds for _, *seeds in forward.values()] == [[0, n] for n in range(60)]
    for spec in SPECS:
        assert specs.count(spec) == 20
    assert specs[:30] != specs[30:]


@pytest.mark.parametrize("learners_per_step", [1, 2, 3, 5])
def test_the_whole_set_is_gone_through_before_one_comes_again(learners_per_step):
    step = Recorded(learners_per_step)
    drawn = [step.drawn(outer_step, seed=4) for outer_step in range(30)]
    assert {len(specs) for specs in drawn} == {learners_per_step}
    one_by_one = Recorded()
    flat = [spec for specs in drawn for spec in specs]
    assert flat == [one_by_one.drawn(n, seed=4)[0] for n in range(len(flat))]
    rounds = [tuple(flat[start : start + 3]) for start in range(0, len(flat), 3)]
    assert all(set(specs) == set(SPECS) for specs in rounds)
    assert len(set(rounds)) > 1  # each in an order of its own


def test_learners_of_a_step_have_seeds_of_their_own():
    step = Recorded(learners_per_step=5)
    trained = [step.trained(outer_step, seed=2) for outer_step in range(4)]
    specs = [[spec for spec, *_ in calls] for calls in trained]
    assert specs == [step.drawn(outer_step, seed=2) for outer_step in range(4)]
    seeds = {tuple(own) for calls in trained for _, *own in calls}
    assert len(seeds) == 20
    # The first learner's is that of a step with one.
    assert [calls[0][1:] for calls in trained] == [(2, n) for n in range(4)]


def test_results_of_a_step_are_means_over_its_learners():
    numbers = [((1.0, 0.5, 3.0), 2.0), ((2.0, 1.5, 5.0), -8.0), ((6.0, 4.0, 1.0), 3.0)]
    step = Recorded(3, dict(zip(SPECS, numbers, strict=True)))
    assert tuple(map(float, step(0, seed=0))) == (3, 2, 3)
    assert float(step.variable) == 1  # by minus (2 - 8 + 3) / 3


@pytest.mark.parametrize(
    "broken", [((math.inf, 0.0, 1.0), 1.0), ((1.0, 0.0, math.nan), math.nan)]
)
def test_one_learner_that_is_not_finite_stops_the_step(broken):
    step = Recorded(3, {SPECS[1]: broken})
    result = step(0, seed=0)
    assert not math.isfinite(result.meta_loss + result.gradient_norm)
    assert float(step.variable) == 0


def own_meta_gradient(step, spec, seed):
    """Meta-loss and gradients of one learner, as the outer step's seeds have it."""
    learner = stateless.StatelessModel(build_dense_model(spec))
    seeds = tf.unstack(tf.random.split(seed, 3), num=3)
    batches = objectives.OuterBatches(*problems.draw(1, 7, seeds[0]))
    state = inner_loop.initial_state(learner, step.problem.optimizer, seeds[1])
    loss, _, gradients = meta_gradients.meta_gradient(
        step.problem, learner, state, seeds[2], batches, problems.KEPT
    )
    return float(loss), [gradient.numpy() for gradient in gradients]


def test_a_step_moves_by_the_mean_of_its_learners_clipped_gradients():
    step = build_step(specs=SPECS[:2], learners_per_step=2)
    first = tf.constant([0, 3])
    seeds = [first, tf.random.experimental.stateless_fold_in(first, 1)]
    losses, gradients = zip(
        *(
            own_meta_gradient(step, spec, seed)
            for spec, seed in zip(step.drawn(3, seed=0), seeds, strict=True)
        ),
        strict=True,
    )
    norms = [norm_of(own) for own in gradients]
    clip_norm = math.sqrt(norms[0] * norms[1])  # above one norm, below the other
    assert max(norms) > 1.05 * clip_norm
    for limit in (0, clip_norm):
        step = build_step(specs=SPECS[:2], learners_per_step=2, clip_norm=limit)
        result, moved = movement(step, outer_step=3)
        factors = [min(1, limit / norm) if limit else 1 for norm in norms]
        for index, value in enumerate(moved):
            own = [f * g[index] for f, g in zip(factors, gradients, strict=True)]
            np.testing.assert_allclose(
                value, -np.mean(own, axis=0), rtol=1e-4, atol=1e-6
            )
        assert float(result.meta_loss) == pytest.approx(np.mean(losses))
        assert float(result.gradient_norm) == pytest.approx(np.mean(norms), rel=1e-5)


class Run:
    """`train` with steps of ten seconds by its clock, five more after each."""

    def __init__(self, monkeypatch, results=None):
        self.now, self.called, self.seen = 1000.0, [], []
        self.results = results or {}
        clock = types.SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr(outer_loop, "time", clock)

    def step(self, outer_step):
        self.called.append(outer_step)
        self.now += 10
        values = self.results.get(outer_step, (outer_step / 2, 0.25, 3.0))
        return StepResult(*map(tf.constant, values))

    def on_step(self, progress, result):
        self.seen.append((progress, result))
        self.now += 5

    def train(self, start, num_outer_steps, time_limit_seconds, *others):
        return outer_loop.train(
            *(self.step, start, num_outer_steps, time_limit_seconds, self.on_step),
            *others,
        )


def test_all_steps_are_done_and_told(monkeypatch):
    run = Run(monkeypatch)
    assert run.train(Progress(0, 0), 3, 0) == Progress(3, 40)
    assert run.called == [0, 1, 2]
    assert run.seen == [
        (Progress(1, 10), StepResult(0.0, 0.25, 3.0)),
        (Progress(2, 25), StepResult(0.5, 0.25, 3.0)),
        (Progress(3, 40), StepResult(1.0, 0.25, 3.0)),
    ]
    assert all(type(value) is float for _, result in run.seen for value in result)


@pytest.mark.parametrize(
    "start, num_outer_steps, limit, called, end",
    [
        (Progress(0, 0), 9, 24, [0, 1], Progress(2, 25)),
        (Progress(0, 0), 9, 25, [0, 1], Progress(2, 25)),
        (Progress(0, 0), 9, 26, [0, 1, 2], Progress(3, 40)),
        (Progress(0, 0), 2, 26, [0, 1], Progress(2, 25)),
        (Progress(4, 70), 7, 0, [4, 5, 6], Progress(7, 110)),
        (Progress(4, 70), 7, 90, [4, 5], Progress(6, 95)),
        (Progress(4, 70), 7, 70, [], Progress(4, 70)),
        (Progress(4, 70), 4, 0, [], Progress(4, 70)),
        (Progress(4, 70), 3, 0, [], Progress(4, 70)),
    ],
)
def test_start_and_stop(monkeypatch, start, num_outer_steps, limit, called, end):
    run = Run(monkeypatch)
    assert run.train(start, num_outer_steps, limit) == end
    assert run.called == called
    assert [progress.outer_step for progress, _ in run.seen] == [n + 1 for n in called]


def test_it_stops_where_it_should(monkeypatch):
    run = Run(monkeypatch, {})
    asked = iter([False, False, True])
    progress = run.train(Progress(0, 0), 9, 0, lambda: next(asked))
    assert progress.outer_step == 2 and run.called == [0, 1]


def test_the_rate_is_multiplied_by_its_factor():
    factor = tf.Variable(1.0)
    spec = dataclasses.replace(ADAM, learning_rate=0.02, final_fraction=0.1)
    plain = outer_loop.build_optimizer(spec, 100, [tf.Variable(0.0)])
    optimizer = outer_loop.build_optimizer(spec, 100, [tf.Variable(0.0)], factor)
    for at in (0, 50):
        plain.iterations.assign(at)
        optimizer.iterations.assign(at)
        factor.assign(1.0)
        assert float(optimizer.learning_rate) == float(plain.learning_rate)
        factor.assign(0.25)
        assert float(optimizer.learning_rate) == 0.25 * float(plain.learning_rate)
