import numpy as np
import problems
import pytest
import tensorflow as tf
from problems import (
    BATCH_SIZE,
    IMAGE_SHAPE,
    LATENT_SIZE,
    NUM_CLASSES,
    NUM_STEPS,
    VECTOR_SHAPE,
)

from gtn_tf.teachers import registry
from gtn_tf.teachers.base import Teacher, TeacherSpec
from gtn_tf.teachers.distillation import Distillation
from gtn_tf.teachers.gtn import GTN

SEED = tf.constant([1, 2])
OTHER_SEED = tf.constant([1, 3])

TEACHERS = [
    ("gtn", "none", "hard"),
    ("gtn", "all_shuffled", "hard"),
    ("gtn", "shuffled_batch", "hard"),
    ("gtn", "full", "hard"),
    ("gtn", "shuffled_batch", "learned"),
    ("gtn", "none", "generated"),
    ("gtn", "full", "generated"),
    ("closed_loop", "all_shuffled", "hard"),
    ("closed_loop", "full", "learned"),
    ("distillation", "all_shuffled", "hard"),
    ("distillation", "shuffled_batch", "hard"),
    ("distillation", "full", "hard"),
    ("distillation", "full", "learned"),
    ("state_actions", "none", "hard"),
    ("state_actions", "shuffled_batch", "hard"),
    ("state_actions", "full", "hard"),
    ("real", "full", "hard"),
]
every_teacher = pytest.mark.parametrize("name, curriculum, labels", TEACHERS)
SHAPES = {"state_actions": VECTOR_SHAPE}  # others show images


def test_every_teacher_is_tested_here():
    assert {name for name, *_ in TEACHERS} == set(registry.TEACHERS)
    for name, teacher in registry.TEACHERS.items():
        tested = {labels for own, _, labels in TEACHERS if own == name}
        assert tested == set(teacher.possible_labels)


def build(name, curriculum="full", labels="hard"):
    return problems.build_teacher(
        problems.CaseSpec(
            teacher=name,
            curriculum=curriculum,
            labels=labels,
            image_shape=SHAPES.get(name, IMAGE_SHAPE),
        )
    )


def batches(teacher, seed):
    """x [T, B, H, W, C] and targets [T, B, K] of all steps."""
    shown = [teacher.batch(step, seed) for step in range(NUM_STEPS)]
    x, targets = zip(*shown, strict=True)
    return np.array(x), np.array(targets)


@every_teacher
def test_batch_is_pure(name, curriculum, labels):
    teacher = build(name, curriculum, labels)
    x, targets = batches(teacher, SEED)
    again, targets_again = batches(teacher, SEED)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(targets, targets_again)
    rebuilt, _ = batches(build(name, curriculum, labels), SEED)
    np.testing.assert_array_equal(x, rebuilt)


@every_teacher
def test_shapes_and_dtypes(name, curriculum, labels):
    x, targets = build(name, curriculum, labels).batch(3, SEED)
    assert x.shape == [BATCH_SIZE, *SHAPES.get(name, IMAGE_SHAPE)]
    assert targets.shape == [BATCH_SIZE, NUM_CLASSES]
    assert x.dtype == targets.dtype == tf.float64
    if name == "state_actions":
        assert len(np.unique(targets)) == targets.numpy().size
        return
    if labels == "hard":
        np.testing.assert_array_equal(np.sort(targets), [[0, 0, 1]] * BATCH_SIZE)
    np.testing.assert_allclose(np.sum(targets, -1), 1)
    assert np.min(targets) >= 0


@every_teacher
def test_batch_is_what_is_planned_and_shown(name, curriculum, labels):
    teacher = build(name, curriculum, labels)
    plan = teacher.plan(SEED)
    assert all(values.shape[0] == NUM_STEPS for values in plan)
    for step in range(NUM_STEPS):
        inputs = [*(values[step] for values in plan), *teacher.no_feedback()]
        x, targets = teacher.show(teacher.weights(), *inputs)
        batch = teacher.batch(step, SEED)
        np.testing.assert_array_equal(x, batch[0])
        np.testing.assert_array_equal(targets, batch[1])


@every_teacher
def test_seed_matters_unless_the_order_is_learned(name, curriculum, labels):
    teacher = build(name, curriculum, labels)
    x, _ = batches(teacher, SEED)
    other, _ = batches(teacher, OTHER_SEED)
    learned = curriculum == "full" and name != "real"
    assert np.array_equal(x, other) == learned


@every_teacher
def test_steps_differ(name, curriculum, labels):
    x, _ = batches(build(name, curriculum, labels), SEED)
    for one, next_one in zip(x[:-1], x[1:], strict=True):
        flat = (values.reshape(BATCH_SIZE, -1) for values in (one, next_one))
        assert not np.any(np.all(np.equal(*flat), axis=1))


@pytest.mark.parametrize("curriculum", ["all_shuffled", "shuffled_batch"])
def test_shuffled_pixels_keep_their_labels(curriculum):
    teacher = build("distillation", curriculum)
    pixels = teacher.pixels.numpy().reshape(-1, *IMAGE_SHAPE)
    x, targets = batches(teacher, SEED)
    flat = x.reshape(pixels.shape)
    index = [int(np.argwhere((pixels == image).all((1, 2, 3)))[0, 0]) for image in flat]
    assert sorted(index) == list(range(NUM_STEPS * BATCH_SIZE))
    np.testing.assert_array_equal(
        targets.reshape(-1, NUM_CLASSES).argmax(-1), np.array(index) % NUM_CLASSES
    )


def test_full_gtn_generates_from_its_latents_in_order():
    teacher = build("gtn")
    labels = np.arange(NUM_STEPS * BATCH_SIZE).reshape(NUM_STEPS, BATCH_SIZE) % 3
    x, targets = teacher.batch(2, SEED)
    expected_targets = np.eye(3)[labels[2]]
    np.testing.assert_array_equal(targets, expected_targets)
    images = teacher.generator(
        [teacher.latents[2], tf.constant(expected_targets)], training=True
    )
    np.testing.assert_allclose(x, images, rtol=1e-12)


@pytest.mark.parametrize("curriculum", ["none", "shuffled_batch", "full"])
def test_statistics_are_the_mean_of_the_batches(curriculum):
    teacher = build("gtn", curriculum)
    generator, plan = teacher.generator, teacher.plan(SEED)
    found = []
    for step in range(NUM_STEPS):
        generator([values[step] for values in plan], training=True)
        found.append([v.numpy() for v in generator.non_trainable_variables])
    assert len(found[0]) == 6  # mean and variance of three batch norms
    for values, *own in zip(teacher.statistics(SEED), *found, strict=True):
        np.testing.assert_allclose(values, np.mean(own, 0), rtol=1e-12, atol=1e-12)


def test_generated_images_do_not_depend_on_their_neighbors():
    teacher = build("gtn")
    weights, statistics = teacher.weights(), teacher.statistics(SEED)
    latents, targets = (values[1] for values in teacher.plan(SEED))
    together, _ = teacher.generate(weights, statistics, latents, targets)
    for i in range(BATCH_SIZE):
        alone, _ = teacher.generate(
            weights, statistics, latents[i : i + 1], targets[i : i + 1]
        )
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-12, atol=1e-12)
    shown, _ = teacher.show(weights, latents, targets)
    assert 0.001 < np.abs(shown - together).mean() < 0.3  # other statistics, not far


@every_teacher
def test_a_teacher_stored_in_half_shows_nearly_the_same(name, curriculum, labels):
    teacher = build(name, curriculum, labels)
    half = teacher.stored_in("float16")
    assert [v.dtype for v in half.variables] == [tf.float16] * len(teacher.variables)
    for (x, targets), (close, same) in zip(
        *([t.batch(step, SEED) for step in range(NUM_STEPS)] for t in (teacher, half)),
        strict=True,
    ):
        assert close.dtype == x.dtype
        changed = labels != "hard" or name == "state_actions"
        np.testing.assert_allclose(targets, same, atol=0.02 * changed)
        assert np.abs(x - close).max() < 0.02
        assert np.array_equal(x, close) == (name == "real")
    assert {v.dtype for v in teacher.variables} <= {tf.float64}


def test_drawn_latents_are_unit_gaussian_and_labels_uniform():
    spec = TeacherSpec(
        num_inner_steps=40,
        inner_batch_size=100,
        image_shape=IMAGE_SHAPE,
        num_classes=NUM_CLASSES,
        curriculum="none",
        dtype="float64",
    )
    teacher = GTN(spec, build("gtn").generator, seed=0)
    latents, targets = teacher.plan(SEED)
    assert latents.shape == [40, 100, LATENT_SIZE]
    assert abs(np.mean(latents)) < 0.03
    assert np.std(latents) == pytest.approx(1, rel=0.03)
    np.testing.assert_allclose(np.mean(targets, axis=(0, 1)), [1 / 3] * 3, atol=0.03)
    other_latents, other_targets = teacher.plan(OTHER_SEED)
    assert not np.any(np.isclose(latents, other_latents, rtol=1e-12))
    assert not np.array_equal(targets, other_targets)


def test_what_is_learned():
    generator = build("gtn").generator
    num_weights = len(generator.trainable_variables)
    assert len(build("gtn", "none").variables) == num_weights
    assert build("gtn", "none").latents is None
    latents = build("gtn", "full").variables[num_weights:]
    assert [v.shape for v in latents] == [(NUM_STEPS, BATCH_SIZE, LATENT_SIZE)]
    (pixels,) = build("distillation").variables
    assert pixels.shape == [NUM_STEPS, BATCH_SIZE, *IMAGE_SHAPE]
    assert build("real").variables == []


@pytest.mark.parametrize("name", ["gtn", "distillation"])
def test_variables_are_determined_by_the_seed(name):
    first, again = build(name), build(name)
    for one, same in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), same.numpy())
    spec = first.spec
    other = (
        GTN(spec, first.generator, seed=2)
        if name == "gtn"
        else Distillation(spec, seed=2)
    )
    assert not np.any(np.isclose(first.variables[-1], other.variables[-1], rtol=1e-12))
    assert np.std(first.variables[-1]) == pytest.approx(1, abs=0.2)


def test_real_batches_are_normalized():
    teacher = build("real")
    images, labels = problems.draw(NUM_STEPS, BATCH_SIZE, SEED)
    x, targets = teacher.batch(4, SEED)
    np.testing.assert_allclose(x, images[4].numpy() / 64 - 2)
    np.testing.assert_array_equal(np.argmax(targets, -1), labels[4])


def test_interface_must_be_filled_in():
    with pytest.raises(TypeError, match="plan.*show"):
        Teacher(build("real").spec)
    assert build("real").weights() == build("distillation").weights() == []


@pytest.mark.parametrize("name", ["gtn", "distillation"])
def test_learned_labels_begin_as_the_hard_ones(name):
    hard, learned = build(name), build(name, labels="learned")
    x, targets = batches(hard, SEED)
    same, soft = batches(learned, SEED)
    np.testing.assert_allclose(same, x, rtol=1e-12)
    expected = np.where(targets == 1, 0.99, 0.005)  # of three classes
    np.testing.assert_allclose(soft, expected, rtol=1e-12)
    assert learned.variables[-1] is learned.label_scores
    assert hard.label_scores is None


def test_a_learned_label_is_that_of_its_place():
    teacher = build("distillation", "all_shuffled", "learned")
    before = batches(teacher, SEED)[1].reshape(-1, NUM_CLASSES)
    pixels = teacher.pixels.numpy().reshape(-1, *IMAGE_SHAPE)
    teacher.label_scores[2, 3].assign([0, 5, 0])
    x, targets = batches(teacher, SEED)
    place = (x.reshape(pixels.shape) == pixels[2 * BATCH_SIZE + 3]).all((1, 2, 3))
    assert place.sum() == 1
    after = targets.reshape(-1, NUM_CLASSES)
    np.testing.assert_allclose(after[place], [[0, 1, 0]], atol=1e-6)
    np.testing.assert_array_equal(after[~place], before[~place])


def test_the_generator_is_given_the_class_of_a_learned_label():
    teacher = build("gtn", labels="learned")
    x, before = teacher.batch(1, SEED)
    teacher.label_scores.assign_add(
        tf.random.stateless_normal(teacher.label_scores.shape, [1, 1], dtype=tf.float64)
    )
    same, targets = teacher.batch(1, SEED)
    np.testing.assert_array_equal(x, same)
    assert np.abs(targets - before).min() > 1e-6


@pytest.mark.parametrize("curriculum", ["none", "full"])
def test_generated_labels_are_made_with_the_images(curriculum):
    teacher = build("gtn", curriculum, "generated")
    (latents,) = teacher.plan(SEED)
    x, targets = teacher.batch(2, SEED)
    images, made = teacher.generator(latents[2], training=True)
    np.testing.assert_allclose(x, images, rtol=1e-12)
    np.testing.assert_allclose(targets, made, rtol=1e-12)
    assert np.ptp(targets, axis=0).min() > 0.01
