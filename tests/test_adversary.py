"""A discriminator beside the meta-loss: its gradients, its step, and its state."""

import dataclasses

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf
from test_survival import CONFIG
from test_train import assert_same_values, final_values, stopped_after, without_seconds

from gtn_tf.data import loaders
from gtn_tf.meta import outer_loop
from gtn_tf.meta.adversary import Adversary
from gtn_tf.runs import meta_training, run_setup, workdirs

SEED = tf.constant([1, 2])
SMALL = dataclasses.replace(
    CONFIG,
    adversarial_weight=0.25,
    generator_widths="8-4-4",
    num_outer_steps=4,
    validate_every=2,
)


@pytest.fixture(scope="module")
def digits():
    return loaders.load("digits", None, 0)


def linear_adversary(weight):
    """Of a linear discriminator, whose gradients are known, for distilled pixels."""
    teacher = problems.build_teacher(
        problems.CaseSpec(num_steps=1, precision="float32")
    )
    model = keras.Sequential(
        [keras.Input(problems.IMAGE_SHAPE), keras.layers.Flatten()]
        + [keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(model.trainable_variables)
    return Adversary(
        teacher=teacher,
        discriminator=model,
        optimizer=optimizer,
        draw=problems.draw,
        normalize=lambda images: tf.cast(images, tf.float32) / 64 - 2,
        weight=weight,
    )


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_the_gradient_is_that_of_both_terms():
    adversary = linear_adversary(0.25)
    pixels = adversary.teacher.pixels
    other = tf.random.stateless_normal(pixels.shape, [5, 6])
    (found,) = adversary.added(SEED, [other], [pixels])
    flat = pixels.numpy().reshape(problems.BATCH_SIZE, -1)
    # d/dx mean softplus(-w x) = -sigmoid(-w x) w / B, with w = 1
    own = -sigmoid(-flat.sum(1)) / problems.BATCH_SIZE
    expected = 0.75 * other + 0.25 * own[None, :, None, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_discriminator_moves_towards_telling_them_apart():
    adversary = linear_adversary(1.0)
    seeds = tf.random.split(tf.random.experimental.stateless_fold_in(SEED, 1 << 20), 3)
    images, _ = problems.draw(1, problems.BATCH_SIZE, seeds[2])
    real = (images.numpy() / 64 - 2).reshape(problems.BATCH_SIZE, -1)
    fake = adversary.teacher.pixels.numpy().reshape(problems.BATCH_SIZE, -1)
    adversary.added(SEED, [adversary.teacher.pixels], [adversary.teacher.pixels])
    terms = [
        np.mean(np.log1p(np.exp(values.sum(1)))) for values in (-fake, -real, fake)
    ]
    expected = [terms[0], terms[1] + terms[2]]
    np.testing.assert_allclose(adversary.last, expected, rtol=1e-5)
    moved = adversary.discriminator.get_weights()[0][:, 0] - 1
    expected = (
        sigmoid(-real.sum(1)) @ real - sigmoid(fake.sum(1)) @ fake
    ) / problems.BATCH_SIZE
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def scalars(folder, name):
    return [
        float(tf.make_ndarray(value.tensor))
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == name
    ]


def train(config, digits, folder):
    workdirs.open_workdir(folder, config)
    return meta_training.meta_train(run_setup.build(config, digits), folder)


@pytest.mark.parametrize("teacher", ["distillation", "gtn"])
def test_continuing_equals_not_stopping(digits, tmp_path, teacher):
    config = dataclasses.replace(SMALL, teacher=teacher, curriculum="full")
    whole, parts, plain = (tmp_path / name for name in ("whole", "parts", "plain"))
    train(config, digits, whole)
    with stopped_after(2):
        train(config, digits, parts)
    train(config, digits, parts)
    assert without_seconds(parts) == without_seconds(whole)
    assert_same_values(final_values(parts), final_values(whole))
    train(dataclasses.replace(config, adversarial_weight=0.0), digits, plain)
    assert without_seconds(plain) != without_seconds(whole)
    for name in ("adversarial_loss", "discriminator_loss"):
        found = scalars(whole, name)
        assert len(found) == 4 and found == scalars(parts, name)
        assert min(found) > 0 and len(set(found)) == 4
        assert not scalars(plain, name)


def test_the_guard_puts_the_discriminator_back(digits):
    setup = run_setup.build(SMALL, digits)
    run = meta_training._Run(setup, problems.KEPT, None)
    changed = run._step.adversary.variables
    assert len(changed) > 6  # weights, and two slots of Adam for each
    before = [variable.numpy() for variable in changed]

    def diverge(outer_step):
        for variable in changed:
            variable.assign(variable + 1)
        return outer_loop.StepResult(float("nan"), 0.0, 1.0)

    run.guard(diverge, 0)
    for variable, value in zip(changed, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_without_a_weight_there_is_none(digits):
    config = dataclasses.replace(SMALL, adversarial_weight=0.0)
    run = meta_training._Run(run_setup.build(config, digits), problems.KEPT, None)
    assert run._step.adversary is None
    real = run_setup.build(SMALL, digits).with_real_data()
    assert real.config.adversarial_weight == 0
