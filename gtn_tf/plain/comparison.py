"""The same outer step by this library: its run, and the arrays it computes with."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from gtn_tf.meta import inner_loop
from gtn_tf.networks import stateless
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.plain.step import Inputs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.run_setup import RunSetup


def same_step(config: TrainingConfig, widths: str) -> TrainingConfig:
    """The run whose outer step `step` describes: data set, T, batch sizes and rates
    are the given run's.

    Args:
      widths: of the learner, filters-filters-units.
    """
    return dataclasses.replace(
        config,
        teacher="distillation",
        curriculum="full",
        warm_start_steps=0,
        learner=f"digits:{widths}",
        leave_out="",
        num_learners=1,
        learners_per_step=1,
        vary="none",
        weight_norm=False,
        normalization="batch",
        precision="float32",
        inner_optimizer="sgd",
        inner_loss="cross_entropy",
        inner_hyperparameters="shared",
        inner_decay=1.0,
        intermediate_loss_every=0,
        clip_norm=0.0,
    )


def draw(setup: RunSetup, learner: StatelessModel, seed: tf.Tensor) -> Inputs:
    """What an outer step of this seed [2] computes with, drawn as the library does.

    Args:
      setup: of `same_step`.
    """
    problem = setup.problem
    seeds = tf.unstack(tf.random.split(seed, 3), num=3)
    batches = problem.objective.sample(1, seeds[0])
    state = inner_loop.initial_state(learner, problem.optimizer, seeds[1])
    params = stateless.unflatten(state.params, learner.layout.shapes)
    pixels, targets = problem.teacher.plan(seeds[2])
    rates = problem.hyperparameters.values()
    return Inputs(
        pixels.numpy(),
        targets.numpy(),
        [value.numpy() for value in params],
        np.float32(rates["learning_rate"][0]),
        np.float32(rates["momentum"][0]),
        problem.objective.normalize(batches.images[0]).numpy(),
        batches.labels[0].numpy(),
    )
