"""Operations counted by hand."""

import dataclasses

import keras
import pytest
from problems import SMALL_RUN

from gtn_tf.data import loaders
from gtn_tf.meta import costs
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.networks import layers, learners, upsampling
from gtn_tf.runs import run_setup

KEPT = MemoryPolicy(recompute=False)
# digits:4-4-4 on 8x8 images: two convolutions with strides of 2, two dense layers.
LEARNER = 2 * (9 * 1 * 4 * 16 + 9 * 4 * 4 * 4 + 16 * 4 + 4 * 10)
# 4 + 10 numbers -> 8 -> 2x2x4 -> 4x4x4 -> 8x8x1.
GENERATOR = 2 * (14 * 8 + 8 * 16 + 9 * 4 * 4 * 16 + 9 * 4 * 1 * 64)


def build(**changes):
    config = dataclasses.replace(SMALL_RUN, **changes)
    dataset = loaders.load("digits", None, 0)
    setup = run_setup.build(config, dataset)
    (spec,) = setup.specs
    return setup.problem, learners.build_model(spec)


def test_forward_pass():
    images = keras.Input((6, 6, 3))
    features = layers.convolution(5, True, "float32", strides=2)(images)
    features = upsampling.upsampled_convolution(2, False, "float32")(features)
    features = layers.dense(7, False, "float32")(keras.layers.Flatten()(features))
    by_hand = 2 * (9 * 3 * 5 * 3 * 3 + 9 * 5 * 2 * 6 * 6 + 72 * 7)
    assert costs.forward_flops(keras.Model(images, features)) == by_hand


def test_learner_and_generator():
    problem, learner = build()
    assert costs.forward_flops(learner) == LEARNER
    assert costs.forward_flops(problem.teacher.generator) == GENERATOR


@pytest.mark.parametrize("teacher, generator", [("gtn", GENERATOR), ("real", 0)])
def test_training_and_its_gradient(teacher, generator):
    problem, learner = build(teacher=teacher)  # two steps of ten images
    assert costs.training_flops(problem, learner) == 20 * (3 * LEARNER + generator)
    kept = 20 * (9 * LEARNER + 3 * generator) + 2 * 10 * 3 * LEARNER
    assert costs.outer_step_flops(problem, learner, 10, KEPT) == kept
    recomputed = kept + 20 * (3 * LEARNER + generator) + 2 * 10 * LEARNER
    assert costs.outer_step_flops(problem, learner, 10, MemoryPolicy()) == recomputed


def test_fewer_losses_on_the_way():
    problem, learner = build(intermediate_loss_every=0)
    every, _ = build()
    difference = costs.outer_step_flops(
        every, learner, 10, KEPT
    ) - costs.outer_step_flops(problem, learner, 10, KEPT)
    assert difference == 10 * 3 * LEARNER
