"""The meta-gradient against two independent references, and its limits."""

import functools
import itertools
import math

import forward_mode
import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.meta import inner_loop, meta_gradients
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.networks import layers, stateless

EPSILON = 1e-6
SEED = tf.constant(problems.SEED)

# Every teacher, optimizer, kind of hyperparameters, spacing of intermediate losses,
# normalization, weight norm, curriculum and inner loss, and several kinds of networks.
CASES = {
    "gtn-digits": dict(teacher="gtn", learner="digits:3-4-5"),
    "gtn-digits-adam": dict(
        teacher="gtn",
        learner="digits:3-4-5",
        optimizer="adam",
        per_step=False,
        every=3,
        curriculum="shuffled_batch",
        normalization="center",
        weight_norm=False,
    ),
    "gtn-dense": dict(
        teacher="gtn",
        learner="dense",
        per_step=False,
        every=1,
        curriculum="none",
        normalization="center",
    ),
    "gtn-dense-adam": dict(
        teacher="gtn", learner="dense", optimizer="adam", curriculum="all_shuffled"
    ),
    # No max pooling here: a pixel that is never a maximum has no gradient.
    "distillation-cifar10-adam": dict(
        learner="cifar10:2-3-4-3-2",
        optimizer="adam",
        per_step=False,
        every=1,
        curriculum="all_shuffled",
        weight_norm=False,
    ),
    "distillation-dense": dict(learner="dense", every=3, normalization="center"),
    # No batch norm here: Muon takes gradients that are zero but for rounding, as those
    # of a gain before it, hundreds of times.
    "distillation-dense-muon": dict(
        learner="dense", optimizer="muon", every=1, normalization="none"
    ),
    "distillation-residual": dict(learner="residual:2-3", num_steps=3),
    "distillation-layer": dict(
        learner="fully_connected:4-5", normalization="layer", num_steps=3
    ),
    "gtn-depthwise-muon": dict(
        teacher="gtn",
        learner="depthwise:4-4-5",
        optimizer="muon",
        per_step=False,
        normalization="layer",
        weight_norm=False,
        num_steps=3,
    ),
    "distillation-transformer-adam": dict(
        learner="transformer:4-5", optimizer="adam", num_steps=3
    ),
    # What the learner says counts, so that a response of zero would not do.
    "closed_loop-dense": dict(
        teacher="closed_loop", learner="dense", every=1, inner_loss="learned"
    ),
    "real-transformer-muon": dict(
        teacher="real", learner="transformer:4-5", optimizer="muon", num_steps=3
    ),
    "real-digits": dict(
        teacher="real", learner="digits:3-4-5", per_step=False, normalization="center"
    ),
    "real-dense-adam": dict(
        teacher="real",
        learner="dense",
        optimizer="adam",
        every=3,
        inner_loss="mean_squared_error",
    ),
}
RECOMPUTED_AND_COMPILED = ("gtn-digits",)


def directions(variable):
    """Unit vectors: two random ones, and every coordinate of a short variable."""
    shape = tuple(variable.shape)
    for direction in np.random.default_rng(7).normal(size=(2, *shape)):
        yield direction / np.linalg.norm(direction)
    if math.prod(shape) <= problems.NUM_STEPS:
        yield from np.eye(math.prod(shape)).reshape(-1, *shape)


@pytest.mark.parametrize("name", CASES)
def test_gradient_matches_central_differences(name):
    case = problems.build_case(**CASES[name])
    if name in RECOMPUTED_AND_COMPILED:
        _, _, gradients = problems.compute(case, MemoryPolicy(), compiled=True)
    else:
        _, _, gradients = problems.compute(case)
    problems.check_magnitudes(case, gradients)
    loss = problems.loss_function(case)

    def loss_at(variable, value):
        variable.assign(value)
        return loss(SEED, case.outer_batches).numpy()

    for variable, gradient in zip(case.problem.variables, gradients, strict=True):
        center = variable.numpy()
        for direction in directions(variable):
            step = EPSILON * direction
            rise = loss_at(variable, center + step) - loss_at(variable, center - step)
            np.testing.assert_allclose(
                np.sum(gradient * direction),
                rise / (2 * EPSILON),
                rtol=1e-5,
                atol=5e-8,
                err_msg=variable.name,
            )
        variable.assign(center)


def test_gradient_through_dropout_is_that_of_the_units_that_were_kept():
    """What is dropped depends on the seed alone, so that differences see it too."""
    images = keras.Input(problems.IMAGE_SHAPE, dtype="float64")
    features = keras.layers.Flatten(dtype="float64")(images)
    features = layers.dense(6, True, "float64")(features)
    features = keras.layers.Dropout(0.4, dtype="float64")(features)
    features = layers.activation("float64")(features)
    logits = layers.dense(problems.NUM_CLASSES, True, "float64")(features)
    learner = stateless.StatelessModel(keras.Model(images, logits))
    case = problems.build_case(num_steps=3, every=1)._replace(learner=learner)
    _, _, gradients = problems.compute(case)
    assert_same(problems.compute(case, MemoryPolicy())[-1], gradients)
    loss = problems.loss_function(case)
    for variable, gradient in zip(case.problem.variables, gradients, strict=True):
        direction = next(directions(variable))
        center = variable.numpy()
        values = []
        for sign in (1, -1):
            variable.assign(center + sign * EPSILON * direction)
            values.append(loss(SEED, case.outer_batches).numpy())
        variable.assign(center)
        np.testing.assert_allclose(
            np.sum(gradient * direction),
            (values[0] - values[1]) / (2 * EPSILON),
            rtol=1e-5,
            atol=5e-8,
            err_msg=variable.name,
        )
        assert np.any(gradient)


def named_weights(case):
    """A fresh learner's weights by their paths in the Keras model."""
    model = case.learner.assign(*case.learner.init(SEED))
    return {v.path: v.numpy() for v in model.trainable_variables}


def flat_batches(case):
    """The teacher's pixels [T, B, H * W * C] and targets [T, B, K]."""
    num_steps = case.problem.hyperparameters.num_inner_steps
    batches = [case.problem.teacher.batch(t, SEED) for t in range(num_steps)]
    x, targets = (np.array(values) for values in zip(*batches, strict=True))
    return x.reshape(*x.shape[:2], -1), targets


@pytest.mark.parametrize(
    "num_steps, every, memory_policy",
    [
        (5, 0, MemoryPolicy(recompute=False)),
        (5, 1, MemoryPolicy(recompute=True)),
        (5, 2, MemoryPolicy(recompute=True, segment_length=2)),
        # The loss after the last step is the meta-loss: it is not added twice.
        (4, 2, MemoryPolicy(recompute=False)),
    ],
)
def test_gradient_matches_forward_mode(num_steps, every, memory_policy):
    case = problems.build_case(
        learner="dense", every=every, num_steps=num_steps, image_shape=(2, 2, 1)
    )
    raw_rates, raw_momenta = case.problem.hyperparameters.variables
    raw_rates.assign(np.linspace(0, -2, num_steps))
    raw_momenta.assign(np.linspace(1, -1, num_steps))
    loss, intermediate, gradients = problems.compute(case, memory_policy)
    problems.check_magnitudes(case, gradients)

    pixels, targets = flat_batches(case)
    images = problems.normalize(case.outer_batches.images).numpy()
    expected_loss, expected = forward_mode.gradients(
        named_weights(case),
        [pixels, raw_rates.numpy(), raw_momenta.numpy()],
        targets,
        (
            images.reshape(*images.shape[:2], -1),
            np.eye(problems.NUM_CLASSES)[case.outer_batches.labels.numpy()],
        ),
        every,
    )
    np.testing.assert_allclose(loss + intermediate, expected_loss, rtol=1e-10)
    for gradient, reference in zip(gradients, expected, strict=True):
        reference = reference.reshape(gradient.shape)
        np.testing.assert_allclose(gradient, reference, rtol=1e-8, atol=1e-10)


# As few operations as can be: what is compared is the same for any learner.
SMALL = dict(normalization="center", weight_norm=False)
SEGMENT_CASES = {
    "distillation": dict(**SMALL),
    "distillation-intermediate": dict(every=2, **SMALL),
    "real": dict(teacher="real", every=2, **SMALL),
    "closed_loop": dict(
        teacher="closed_loop", inner_loss="learned", every=2, num_steps=3, **SMALL
    ),
}


@functools.cache
def kept(name):
    """The result that no way of computing it may change."""
    case = problems.build_case(**SEGMENT_CASES[name])
    result = problems.compute(case, problems.KEPT, compiled=name == "distillation")
    problems.check_magnitudes(case, result[-1])
    return result


def assert_same(result, expected):
    for value, reference in zip(
        tf.nest.flatten(result), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(value, reference, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("length", range(1, problems.NUM_STEPS + 1))
@pytest.mark.parametrize("name", ["distillation", "distillation-intermediate"])
def test_gradient_does_not_depend_on_segment_length(name, length):
    case = problems.build_case(**SEGMENT_CASES[name])
    result = problems.compute(
        case,
        MemoryPolicy(recompute=True, segment_length=length),
        compiled=name == "distillation",
    )
    assert_same(result, kept(name))


@pytest.mark.parametrize(
    "name, memory_policy, compiled",
    [
        # Integers are shown at every step here: labels and raw images.
        ("real", MemoryPolicy(recompute=True, segment_length=2), True),
        ("real", MemoryPolicy(segment_length=4, part_length=3), True),
        ("closed_loop", MemoryPolicy(recompute=True), True),
        ("closed_loop", MemoryPolicy(segment_length=3, part_length=1), True),
        (
            "distillation-intermediate",
            MemoryPolicy(segment_length=3, part_length=2),
            False,
        ),
        ("closed_loop", MemoryPolicy(recompute=True, segment_length=2), True),
        (
            "distillation-intermediate",
            MemoryPolicy(recompute=False, segment_length=2),
            False,
        ),
    ],
)
def test_gradient_does_not_depend_on_recomputation(name, memory_policy, compiled):
    case = problems.build_case(**SEGMENT_CASES[name])
    assert_same(problems.compute(case, memory_policy, compiled), kept(name))


@pytest.mark.parametrize("memory_policy", [MemoryPolicy(), problems.KEPT])
def test_eager_equals_compiled(memory_policy):
    case = problems.build_case(**SEGMENT_CASES["distillation"])
    tf.config.run_functions_eagerly(True)
    try:
        result = problems.compute(case, memory_policy, compiled=True)
    finally:
        tf.config.run_functions_eagerly(False)
    assert_same(result, kept("distillation"))


def test_hyperparameters_reach_the_optimizer_by_name():
    initial = problems.INITIAL["sgd"]
    swapped = dict(reversed(initial.items()))
    states = [
        trained(problems.build_case(initial=values)) for values in (initial, swapped)
    ]
    np.testing.assert_array_equal(states[0].params, states[1].params)


def test_bfloat16_is_close_to_float32():
    exact, close = (
        problems.compute(problems.build_case(learner="dense", precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert close[0] == pytest.approx(exact[0], rel=0.05)
    for reference, gradient in zip(exact[-1], close[-1], strict=True):
        assert gradient.dtype == reference.dtype == np.float32
        lengths = np.linalg.norm(reference) * np.linalg.norm(gradient)
        assert np.sum(reference * gradient) / lengths > 0.95
        assert not np.array_equal(reference, gradient)


def trained(case):
    """The state after T inner steps."""
    problem, learner, outer_batches = case
    state = inner_loop.initial_state(learner, problem.optimizer, SEED)
    state, _, _ = meta_gradients.train_and_score(
        problem, learner, state, SEED, outer_batches, problems.KEPT
    )
    return state


def keras_steps(case, num_steps, learning_rate):
    """The learner's Keras model after plain SGD on the teacher's first batches."""
    model = case.learner.assign(*case.learner.init(SEED))
    optimizer = keras.optimizers.SGD(learning_rate)
    for step in range(num_steps):
        x, targets = case.problem.teacher.batch(step, SEED)
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )
    return model


def test_momentum_zero_is_plain_sgd():
    case = problems.build_case(
        learner="dense", initial={"learning_rate": 0.25, "momentum": 0}
    )
    state = trained(case)
    model = keras_steps(case, problems.NUM_STEPS, learning_rate=0.25)
    expected = np.concatenate([v.numpy().ravel() for v in model.trainable_variables])
    np.testing.assert_allclose(state.params, expected, rtol=1e-10, atol=1e-12)
    (rates,) = case.problem.hyperparameters.variables
    assert rates.name.startswith("learning_rate")


def test_evaluation_uses_the_last_inner_batch_statistics():
    case = problems.build_case(
        learner="dense", initial={"learning_rate": 0.25, "momentum": 0}
    )
    state = trained(case)
    model = keras_steps(case, problems.NUM_STEPS - 1, learning_rate=0.25)
    x, _ = case.problem.teacher.batch(problems.NUM_STEPS - 1, SEED)
    hidden = (
        x.numpy().reshape(problems.BATCH_SIZE, -1)
        @ model.get_layer("hidden").kernel.numpy()
    )
    expected = np.concatenate([hidden.mean(0), hidden.var(0)])
    np.testing.assert_allclose(state.batch_stats, expected, rtol=1e-9)

    x = problems.normalize(case.outer_batches.images[-1])
    logits = case.learner.assign(state.params, state.batch_stats)(x, training=False)
    loss, _, _ = problems.compute(case)
    expected = problems.outer_loss(logits, case.outer_batches.labels[-1])
    np.testing.assert_allclose(loss, expected, rtol=1e-10)


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_zero_learning_rate_gives_zero_teacher_gradient(normalization):
    """What remains with batch norm is the last batch's, through its statistics."""
    case = problems.build_case(normalization=normalization)
    raw_rates, _ = case.problem.hyperparameters.variables
    raw_rates.assign(tf.fill([problems.NUM_STEPS], np.float64(-np.inf)))
    _, _, (pixels, _, momentum) = problems.compute(case)  # [T, B, H, W, C]
    assert not np.any(pixels[:-1])
    assert np.any(pixels[-1]) == (normalization == "batch")
    assert not np.any(momentum)


@pytest.mark.parametrize(
    "num_steps, every, expected",
    [
        (5, 0, 0),
        (5, 1, 4),
        (5, 2, 2),
        (4, 2, 1),
        (6, 3, 1),
        (7, 3, 2),
        (5, 5, 0),
        (5, 9, 0),
    ],
)
def test_number_of_intermediate_losses(num_steps, every, expected):
    case = problems.build_case(num_steps=num_steps, every=every)
    assert case.problem.num_intermediate_losses == expected


def traced_nodes(memory_policy, **options):
    """Nodes of the traced meta-gradient, those of all its functions included."""
    case = problems.build_case(**options, **SMALL)
    function = tf.function(
        problems.gradient_function(case, memory_policy), autograph=False
    )
    graph = function.get_concrete_function(SEED, case.outer_batches).graph
    graph_def = graph.as_graph_def()
    bodies = [function.node_def for function in graph_def.library.function]
    return list(itertools.chain(graph_def.node, *bodies))


@pytest.mark.parametrize(
    "memory_policy, rest",
    [
        (problems.KEPT, 0),
        (MemoryPolicy(), 0),
        (MemoryPolicy(recompute=True, segment_length=2), 1),
        (MemoryPolicy(segment_length=2, part_length=1), 0),
    ],
)
def test_graph_does_not_grow_with_num_inner_steps(memory_policy, rest):
    fewer, more = (len(traced_nodes(memory_policy, num_steps=n + rest)) for n in (4, 8))
    assert fewer == more > 100


def test_recomputing_stores_no_activations():
    """What loops store for the way back: of a deeper learner no more tensors."""

    def num_stored(memory_policy, learner):
        nodes = traced_nodes(memory_policy, learner=learner)
        return sum(node.op == "TensorListPushBack" for node in nodes)

    assert num_stored(problems.KEPT, "dense") > num_stored(problems.KEPT, "linear")
    stored = num_stored(MemoryPolicy(), "linear")
    assert num_stored(MemoryPolicy(), "dense") == stored > 0
    whole, parts = (MemoryPolicy(segment_length=4, part_length=n) for n in (0, 1))
    assert num_stored(whole, "dense") > num_stored(whole, "linear")
    assert num_stored(parts, "dense") == num_stored(parts, "linear") > 0


def test_second_call_traces_nothing(monkeypatch):
    case = problems.build_case()
    calls = []
    apply = case.learner.apply

    def counted(*args, **kwargs):
        calls.append(1)
        return apply(*args, **kwargs)

    monkeypatch.setattr(case.learner, "apply", counted)
    function = tf.function(
        problems.gradient_function(case, MemoryPolicy()), autograph=False
    )
    first = function(SEED, case.outer_batches)
    num_traces = len(calls)
    assert num_traces > 0
    for variable in case.problem.variables:
        variable.assign(variable * 0.9)
    second = function(SEED + 1, case.outer_batches)
    assert len(calls) == num_traces
    assert function.experimental_get_tracing_count() == 1
    assert first[0] != second[0]
