"""Teachers that begin as real images."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.data import loaders
from gtn_tf.data.dataset import Split, normalize
from gtn_tf.runs import meta_training, run_setup, workdirs
from gtn_tf.runs.checkpoints import Checkpoints
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.teachers import warm_start

SMALL = TrainingConfig(
    learner="digits:4-5-6",
    leave_out="",
    inner_optimizer="sgd",
    num_inner_steps=3,
    inner_batch_size=20,
    generator_widths="32-16-8",
    generator_output_scale=3,
    latent_size=16,
    num_outer_steps=2,
    validate_every=2,
    warm_start_steps=30,
    outer_learning_rate=0.01,
)
NUM_BATCHES, BATCH_SIZE = 3, 20
# Quick to trace: for whole runs, of which the learner is no matter.
PLAIN = dataclasses.replace(
    SMALL, learner="fully_connected:4", weight_norm=False, normalization="none"
)


@pytest.fixture(scope="module")
def digits():
    return loaders.load("digits", None, 0)


def build(digits, **changes):
    config = dataclasses.replace(SMALL, **changes)
    return run_setup.build(config, digits).problem.teacher


def shown(teacher):
    """x [T, B, H, W, C] and labels [T, B] of all steps."""
    steps = [teacher.batch(t, tf.constant([0, 0])) for t in range(NUM_BATCHES)]
    x, targets = map(np.array, zip(*steps, strict=True))
    return x, targets.argmax(axis=-1)


def test_distilled_pixels_are_training_images_of_their_labels(digits):
    teacher = build(digits, teacher="distillation")
    assert warm_start.warm_start(teacher, digits, 1, 0) == 0
    x, labels = shown(teacher)
    train = digits.train
    known = normalize(train.images, digits.mean, digits.std).numpy()
    found = []
    for image, label in zip(x.reshape(-1, 8, 8, 1), labels.reshape(-1), strict=True):
        same = np.flatnonzero((known == image).all(axis=(1, 2, 3)))
        assert label in train.labels[same]
        found += list(same[:1])
    assert len(set(found)) == NUM_BATCHES * BATCH_SIZE


def test_images_come_again_only_when_their_class_is_used_up(digits):
    few = Split(digits.train.images[:30], digits.train.labels[:30])
    labels = np.tile(np.arange(10), (8, 1))  # eight of each class
    chosen = warm_start._one_for_each(labels, few, 0)
    np.testing.assert_array_equal(few.labels[chosen], labels)
    for label in range(10):
        own = few.labels == label
        times = np.bincount(chosen[labels == label], minlength=30)[own]
        assert times.max() - times.min() <= 1


def test_generator_and_latents_learn_to_draw_training_images(digits):
    teacher = build(digits)
    distilled = build(digits, teacher="distillation")
    warm_start.warm_start(distilled, digits, 1, 0)
    images, _ = shown(distilled)

    def difference():
        return np.mean((shown(teacher)[0] - images) ** 2)

    before = difference()
    left = warm_start.warm_start(teacher, digits, 300, 0)
    assert before > 1
    assert left < 0.2
    np.testing.assert_allclose(difference(), left, atol=0.01)


def test_seed_chooses_the_images(digits):
    def pixels(seed):
        teacher = build(digits, teacher="distillation")
        warm_start.warm_start(teacher, digits, 1, seed)
        return teacher.pixels.numpy()

    np.testing.assert_array_equal(pixels(1), pixels(1))
    assert not np.array_equal(pixels(1), pixels(2))


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"teacher": "real"}, "Real with curriculum 'full'"),
        ({"curriculum": "none", "warm_start_steps": 0}, "GTN with curriculum 'none'"),
    ],
)
def test_a_teacher_that_stores_nothing_is_refused(digits, changes, name):
    with pytest.raises(ValueError, match=f"{name} stores no batches"):
        warm_start.warm_start(build(digits, **changes), digits, 1, 0)


def final_values(folder):
    return Checkpoints(folder / "checkpoints").restore()


def train(config, digits, folder, num_outer_steps):
    """Trains up to an outer step, as a run that stops there."""
    workdirs.open_workdir(folder, config)
    loop = meta_training.outer_loop.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            meta_training.outer_loop,
            "train",
            lambda step, start, _, *others: loop(step, start, num_outer_steps, *others),
        )
        return meta_training.meta_train(run_setup.build(config, digits), folder)


def test_a_run_warms_up_once(digits, tmp_path):
    whole, parts, cold = (tmp_path / name for name in ("whole", "parts", "cold"))
    trained = train(PLAIN, digits, whole, 2)
    train(PLAIN, digits, parts, 1)
    train(PLAIN, digits, parts, 2)
    train(dataclasses.replace(PLAIN, warm_start_steps=0), digits, cold, 1)
    latents = trained.setup.problem.teacher.latents.numpy()
    _, values = final_values(whole)
    _, continued = final_values(parts)
    _, others = final_values(cold)
    for name, value in values.items():
        np.testing.assert_array_equal(value, continued[name])
    index = len(trained.setup.problem.teacher.variables) - 1
    np.testing.assert_array_equal(values[f"variable_{index}"], latents)
    assert np.abs(others[f"variable_{index}"] - latents).max() > 0.1


def test_real_data_has_nothing_to_begin_as(digits, tmp_path):
    config = dataclasses.replace(PLAIN, teacher="real")
    assert train(config, digits, tmp_path, 1).progress.outer_step == 1
