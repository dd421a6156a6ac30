"""Writes a run's outer steps as XLA programs: export_programs.py FOLDER [its flags].

FOLDER/  gradient_0.hlo ...  one for each learner: variables, images, labels, seed ->
                             meta-loss, intermediate loss, norm, clipped gradients
         captured_0.npz ...  what else a program takes, where it does
         state.npz  data.npz  run.json

The programs are those of `gtn_tf.meta.outer_loop.trace` but for three operations that
XLA has no kernel for, or not inside a differentiated loop. Draws differ in their bits.
"""

import dataclasses
import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.commands import command_line
from gtn_tf.data import batches
from gtn_tf.meta import outer_loop
from gtn_tf.meta.estimators import BACKPROPAGATION
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.networks import learners
from gtn_tf.networks.stateless import StatelessModel
from gtn_tf.runs import meta_training, run_setup
from gtn_tf.runs.config import TrainingConfig

_matmul = tf.matmul


def shuffle(values, seed, alg="auto_select"):
    """By sorting random numbers: XLA has no stateless_shuffle."""
    del alg
    keys = tf.random.stateless_uniform(values.shape[:1], seed, None, None, tf.int32)
    return tf.gather(values, tf.argsort(keys))


def upsample(layer, x):
    """By stacking: the gradient of tiling takes shapes from the loop."""
    del layer
    _, height, width, channels = x.shape
    x = tf.reshape(tf.stack([x, x], 3), [-1, height, 2 * width, channels])
    return tf.reshape(tf.stack([x, x], 2), [-1, 2 * height, 2 * width, channels])


def matmul(a, b, *args, **kwargs):
    """[..., n] x [n, m] as one product: the gradient of broadcasting takes shapes from
    the loop."""
    transposed = args or kwargs.get("transpose_a") or kwargs.get("transpose_b")
    if transposed or len(a.shape) <= 2 or len(b.shape) != 2:
        return _matmul(a, b, *args, **kwargs)
    flat = _matmul(tf.reshape(a, [-1, a.shape[-1]]), b, **kwargs)
    return tf.reshape(flat, [*a.shape[:-1], b.shape[-1]])


class GivenSplit:
    """Real images that a program takes as its arguments."""

    def __init__(self, images, labels):
        self.tensors, self.labels = (images, labels), np.zeros(images.shape[0])


def program(setup, spec):
    """values, normalized images, labels, seed -> as of `outer_loop.trace`."""
    learner = StatelessModel(learners.build_model(spec))
    config, problem = setup.config, setup.problem

    def step(values, images, labels, seed):
        draw = batches.sampler(GivenSplit(images, labels), augment=False)
        objective = dataclasses.replace(
            problem.objective, draw=draw, normalize=lambda x: x
        )
        own = dataclasses.replace(problem.at(values), objective=objective)
        seeds = tf.unstack(tf.random.split(seed, 3), num=3)
        loss, intermediate_loss, gradients = BACKPROPAGATION(
            own,
            learner,
            own.begin(learner, seeds[1]),
            seeds[2],
            objective.sample(problem.num_intermediate_losses + 1, seeds[0]),
            MemoryPolicy(recompute=False),
        )
        gradients, norm = outer_loop.clipped(gradients, config.clip_norm)
        return loss, intermediate_loss, norm, gradients

    return tf.function(step, autograph=False, jit_compile=True)


def captured(function) -> list[np.ndarray]:
    """Values of what a traced function takes beside its arguments, in order."""
    handles = {id(v.handle): v for v in function.graph.variables}
    return [
        handles[id(x)].numpy() if x.dtype == tf.resource else x.numpy()
        for x in function.captured_inputs
    ]


def export(config: TrainingConfig) -> None:
    """All of a run's programs, and the state that it begins with."""
    folder = Path(config.workdir)
    folder.mkdir(parents=True)
    setup = run_setup.build(config, run_setup.load_dataset(config))
    dataset, variables = setup.dataset, setup.problem.variables
    meta_training._begin(setup)
    state = {f"variable_{i}": v.numpy() for i, v in enumerate(variables)}
    np.savez(folder / "state.npz", **state)
    raw, labels = dataset.train.tensors
    x = setup.problem.objective.normalize(raw)
    np.savez(folder / "data.npz", x=x.numpy(), labels=labels.numpy())
    values = [tf.convert_to_tensor(v) for v in variables]
    arguments = (values, x, labels, tf.constant([0, 0]))
    for index, spec in enumerate(setup.specs):
        compiled = program(setup, spec)
        others = captured(compiled.get_concrete_function(*arguments))
        np.savez(folder / f"captured_{index}.npz", *others)
        lower = compiled.experimental_get_compiler_ir(*arguments)
        content = lower(stage="hlo_serialized")
        (folder / f"gradient_{index}.hlo").write_bytes(content)
    run = {
        "num_programs": len(setup.specs),
        "num_outer_steps": config.num_outer_steps,
        "seed": config.seed,
        "learning_rate": config.outer_learning_rate,
        "final_fraction": config.outer_decay,
        "beta_1": config.outer_beta_1,
        "beta_2": config.outer_beta_2,
        "epsilon": config.outer_epsilon,
    }
    (folder / "run.json").write_text(json.dumps(run))


if __name__ == "__main__":
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.random.experimental.stateless_shuffle = shuffle
    keras.layers.UpSampling2D.call = upsample
    tf.matmul = matmul
    flags = [sys.argv[0], f"--workdir={sys.argv[1]}", *sys.argv[2:]]
    sys.exit(command_line.run(TrainingConfig, export, flags))
