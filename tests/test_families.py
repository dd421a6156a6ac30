"""Every kind of network: its shapes, its fresh weights, and that it learns."""

import functools
import itertools

import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.meta import inner_loop, inner_losses
from gtn_tf.meta.registry import INNER_OPTIMIZERS
from gtn_tf.networks import learners
from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.learner_spec import LearnerSpec
from gtn_tf.networks.stateless import StatelessModel

SHAPE, NUM_CLASSES = (8, 8, 1), 3
SEED = tf.constant([1, 2])

# Each property at each of its values, the others as the paper has them.
CHANGES = [{}] + [
    {name: value} for name, (_, *others) in learners.VARIED.items() for value in others
]
MEMBERS = [
    (family, changes)
    for family, changes in itertools.product(FAMILIES, CHANGES)
    if not FAMILIES[family].fixed.keys() & changes.keys()
]


def build(family, **changes):
    """A narrow member of a family, of the most layers."""
    widths = (4,) * len(FAMILIES[family].width_ranges)
    own = changes | FAMILIES[family].fixed
    return learners.build_model(LearnerSpec(family, widths, SHAPE, NUM_CLASSES, **own))


@functools.cache
def learner_of(family, **changes):
    return StatelessModel(build(family, **changes))


def images(num_images=7):
    return tf.random.stateless_normal([num_images, *SHAPE], [5, 6])


@pytest.mark.parametrize("family, changes", MEMBERS)
def test_logits_are_finite_and_differ(family, changes):
    learner = learner_of(family, **changes)
    params, statistics = learner.init(SEED)
    logits, after = learner.apply(params, statistics, images(), training=True)
    evaluated, _ = learner.apply(params, after, images(5), training=False)
    assert evaluated.shape == (5, NUM_CLASSES)
    for values in (logits, evaluated):
        assert values.dtype == tf.float32
        assert np.all(np.isfinite(values))
        assert np.all(np.std(values, axis=0) > 1e-3)
    assert after.shape == statistics.shape


@pytest.mark.parametrize(
    "family, changes", [member for member in MEMBERS if "activation" not in member[1]]
)
def test_no_fresh_weight_is_degenerate(family, changes):
    learner = learner_of(family, **changes)
    values, others = (
        tf.nest.map_structure(np.array, weights(learner, seed))
        for seed in (SEED, SEED + 1)
    )
    variables, kinds = learner.model.trainable_variables, learner.layout.kinds
    assert len(values) >= 2
    for variable, kind, value, other in zip(
        variables, kinds, values, others, strict=True
    ):
        if kind in ("kernel", "embedding"):
            assert np.all(value != 0), variable.path
            assert value.std() > 0.01, variable.path
            assert not np.any(value == other), variable.path
        elif kind == "gain":
            assert np.all(value > 0), variable.path
        else:
            assert not np.any(value), variable.path


def weights(learner, seed):
    model = learner.assign(*learner.init(seed))
    return [tf.identity(variable) for variable in model.trainable_variables]


@pytest.mark.parametrize("family", FAMILIES)
def test_properties_are_what_the_spec_says(family):
    """Weights that are there only with a property, and only then."""

    def names(**options):
        found = [v.path.split("/") for v in build(family, **options).variables]
        return {path[-1] for path in found}, " ".join("/".join(p) for p in found)

    fixed = FAMILIES[family].fixed.get("normalization")
    if fixed:
        found, paths = names()
        assert not found & {"gain", "mean"}
        assert ("layer_norm" in paths) == (fixed == "layer")
        return
    assert "gain" in names()[0] and "gain" not in names(weight_norm=False)[0]
    assert {"mean", "variance", "gamma"} <= names()[0]
    assert "variance" not in names(normalization="center")[0]
    assert "layer_norm" in names(normalization="layer")[1]
    assert not names(normalization="none")[0] & {"mean", "gamma", "beta"}


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_and_initializers_change_what_is_computed(family):
    def logits(**options):
        learner = learner_of(family, **options)
        params, statistics = learner.init(SEED)
        return params, learner.apply(params, statistics, images(), training=True)[0]

    fixed = FAMILIES[family].fixed
    params, values = logits()
    for name in ("relu", "gelu"):
        same, changed = logits(activation=name)
        np.testing.assert_array_equal(same, params)
        equal = np.allclose(changed, values, atol=1e-4)
        assert equal == ("activation" in fixed)
    other, _ = logits(initializer="keras")
    assert other.shape == params.shape
    assert np.allclose(other, params) == ("initializer" in fixed)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_depth_that_is_allowed(family):
    least, most = FAMILIES[family].min_depth, len(FAMILIES[family].width_ranges)
    counts = []
    for depth in range(least, most + 1):
        text = f"{family}:{'-'.join(['4'] * depth)}"
        (spec,) = learners.parse(text, 1, 0, image_shape=SHAPE, num_classes=NUM_CLASSES)
        assert len(spec.widths) == depth and str(spec) == text
        model = learners.build_model(spec)
        assert model(images()).shape == (7, NUM_CLASSES)
        counts.append(sum(v.name.endswith("kernel") for v in model.variables))
    assert counts == sorted(set(counts))  # each deeper than the one before
    expected = f"{most}" if least == most else f"{least} to {most}"
    for depth in (least - 1, most + 1):
        text = f"{family}:{'-'.join(['4'] * depth)}"
        if depth:
            with pytest.raises(ValueError, match=f"takes {expected} positive"):
                learners.parse(text, 1, 0, image_shape=SHAPE, num_classes=NUM_CLASSES)


@pytest.mark.parametrize(
    "family, least",
    [
        ("digits", 3),
        ("mnist", 3),
        ("cifar10", 5),
        ("shallow", 1),
        ("residual", 2),
        ("depthwise", 3),
        ("fully_connected", 1),
        ("transformer", 2),
    ],
)
def test_fewest_widths(family, least):
    assert FAMILIES[family].min_depth == least


@pytest.mark.parametrize("shape, tokens", [((8, 8, 1), 16), ((28, 28, 1), 49)])
def test_patches_of_a_transformer_follow_the_size_of_the_image(shape, tokens):
    spec = LearnerSpec("transformer", (4, 4), shape, NUM_CLASSES)
    model = learners.build_model(spec)
    (table,) = (v for v in model.variables if v.name == "embeddings")
    assert table.shape == (tokens, 4)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_outer_gradient_reaches_teacher_and_rates(family):
    widths = "-".join(["3"] * FAMILIES[family].min_depth)
    case = problems.build_case(
        learner=f"{family}:{widths}", num_steps=2, precision="float32"
    )
    _, _, gradients = problems.compute(case)
    for name, gradient in zip(problems.names(case), gradients, strict=True):
        assert np.all(np.isfinite(gradient)), name
        assert np.any(gradient), name


@pytest.mark.parametrize("family", FAMILIES)
def test_training_on_one_batch_lowers_the_inner_loss(family):
    """Thirty steps of Adam."""
    learner = learner_of(family)
    optimizer = INNER_OPTIMIZERS["adam"]
    batch = images(), tf.one_hot(tf.range(7) % NUM_CLASSES, NUM_CLASSES)
    rates = tuple(map(tf.constant, (0.03, 0.9, 0.99)))

    def loss(state):
        logits, _ = learner.apply(state.params, state.batch_stats, batch[0], True)
        return inner_losses.cross_entropy(batch[1], logits)

    @tf.function(autograph=False)
    def train(seed):
        start = inner_loop.initial_state(learner, optimizer, seed)
        end = inner_loop.unroll(
            lambda state, _: inner_loop.inner_step(
                learner, optimizer, inner_losses.cross_entropy, state, batch, rates
            )[0],
            start,
            tf.range(30),
            30,
        )
        return loss(start), loss(end)

    before, after = train(SEED)
    assert after < 0.5 * before
