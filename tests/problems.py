"""Small float64 problems that the tests of the inner loop and its gradient share.

They are chosen so that no gradient vanishes: few weights, large steps, and images,
labels and learners that are random.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gtn_tf.meta import inner_optimizers, meta_gradients, objectives
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.meta.registry import INNER_LOSSES, INNER_OPTIMIZERS
from gtn_tf.networks import generators, layers, learners, stateless
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.teachers.base import Teacher, TeacherSpec
from gtn_tf.teachers.closed_loop import ClosedLoop
from gtn_tf.teachers.distillation import Distillation
from gtn_tf.teachers.gtn import GTN
from gtn_tf.teachers.real_data import Real
from gtn_tf.teachers.state_actions import StateActions

NUM_STEPS = 5
BATCH_SIZE = 7  # not a multiple of the classes: labels differ from step to step
OUTER_BATCH_SIZE = 8
NUM_CLASSES = 3
IMAGE_SHAPE = (4, 4, 1)
VECTOR_SHAPE = (5,)
LATENT_SIZE = 4
SEED = (3, 4)

# A whole run on digits, as small as it can be. Most of its time goes to tracing, and a
# third of that to normalization, which test_train.py has in its runs.
SMALL_RUN = TrainingConfig(
    learner="digits:4-4-4",
    leave_out="",
    num_learners=1,
    vary="none",
    weight_norm=False,
    normalization="none",
    inner_optimizer="sgd",
    warm_start_steps=0,
    num_inner_steps=2,
    inner_batch_size=10,
    outer_batch_size=10,
    generator_widths="8-4-4",
    latent_size=4,
    num_outer_steps=2,
    num_test_learners=2,
)

# The same of policies: two environments of CartPole, 30 frames each.
SMALL_POLICIES = dataclasses.replace(
    SMALL_RUN,
    dataset="gym:CartPole-v1",
    objective="actor_critic",
    teacher="state_actions",
    learner="policy:8",
    episode_frames=30,
    outer_batch_size=60,
    num_inner_steps=1,
    inner_batch_size=16,
    inner_loss="mean_squared_error",
    inner_momentum=0.0,
    intermediate_loss_every=0,
    compare_with_real=False,
)

KEPT = meta_gradients.MemoryPolicy(recompute=False)

INITIAL = {
    "sgd": {"learning_rate": 0.2, "momentum": 0.6},
    "adam": {"learning_rate": 0.05, "momentum": 0.8, "beta_2": 0.9},
    "muon": {
        "learning_rate": 0.2,
        "momentum": 0.6,
        "gain_factor": 0.8,
        "bias_factor": 1.5,
        "embedding_factor": 1.2,
    },
}


GENERATORS = {"gtn": GTN, "closed_loop": ClosedLoop, "state_actions": StateActions}


class Case(NamedTuple):
    problem: MetaProblem
    learner: stateless.StatelessModel
    outer_batches: objectives.OuterBatches


def outer_loss(logits, labels):
    """Mean cross-entropy of logits [B, K] from label ids [B]."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def normalize(images, dtype="float64"):
    return tf.cast(images, dtype) / 64 - 2


def random_images(shape, seed):
    values = tf.random.stateless_uniform(shape, [seed, 0], 0, 256, tf.int32)
    return tf.cast(values, tf.uint8)


def random_labels(shape, seed):
    return tf.random.stateless_uniform(shape, [seed, 1], 0, NUM_CLASSES, tf.int32)


def draw(num_steps, batch_size, seed):
    """Raw images [T, B, H, W, C] and label ids [T, B] that stand for real data."""
    shape = [num_steps, batch_size]
    images = tf.random.stateless_uniform([*shape, *IMAGE_SHAPE], seed, 0, 256, tf.int32)
    labels = tf.random.stateless_uniform(shape, seed, 0, NUM_CLASSES, tf.int32)
    return tf.cast(images, tf.uint8), labels


@dataclasses.dataclass(frozen=True)
class CaseSpec:
    """A problem, a learner, and real batches to score it on.

    Attributes:
      learner: "dense", "linear" (no hidden layer), or as for `learners.parse`.
      normalization: as in `LearnerSpec`; "none" for the first two.
      every: intermediate_loss_every.
      initial: of the inner hyperparameters; None for the optimizer's in `INITIAL`.
      moved: whether variables that begin at zero have been moved, as by training.
    """

    teacher: str = "distillation"
    learner: str = "linear"
    optimizer: str = "sgd"
    per_step: bool = True
    every: int = 0
    num_steps: int = NUM_STEPS
    initial: dict | None = None
    inner_loss: str = "cross_entropy"
    curriculum: str = "full"
    labels: str = "hard"
    normalization: str = "batch"
    weight_norm: bool = True
    image_shape: tuple[int, int, int] = IMAGE_SHAPE
    precision: str = "float64"
    moved: bool = True


def move(variables) -> None:
    """Gives values to what begins at zero, so that no gradient vanishes."""
    for index, variable in enumerate(variables):
        name = variable.name.partition(":")[0]
        if name.startswith(("response_", "inner_loss_")) and not np.any(variable):
            shape, seed = variable.shape, [index, 9]
            values = tf.random.stateless_normal(shape, seed, dtype=variable.dtype)
            variable.assign(0.3 * values)


def build_dense_model(spec: CaseSpec) -> keras.Model:
    """Dense, batch norm, LeakyReLU, dense; "linear": dense and batch norm."""
    product, dtype = learners.layer_dtypes(spec.precision)

    def dense(units, name, **kwargs):
        return layers.dense(units, spec.weight_norm, product, name=name, **kwargs)

    def norm(features):
        if spec.normalization == "none":
            return features
        center_only = spec.normalization == "center"
        return layers.BatchNorm(center_only, dtype=dtype, name="norm")(features)

    images = keras.Input(spec.image_shape, dtype=dtype)
    features = keras.layers.Flatten(dtype=dtype)(images)
    if spec.learner == "dense":
        features = norm(dense(5, "hidden", use_bias=False)(features))
        features = keras.layers.LeakyReLU(0.1, dtype=dtype)(features)
        logits = dense(NUM_CLASSES, "output")(features)
    else:
        logits = norm(dense(NUM_CLASSES, "output")(features))
    logits = keras.layers.Activation("linear", dtype=dtype)(logits)
    return keras.Model(images, logits)


def build_learner(spec: CaseSpec) -> stateless.StatelessModel:
    if spec.learner in ("dense", "linear"):
        return stateless.StatelessModel(build_dense_model(spec))
    (learner_spec,) = learners.parse(
        spec.learner,
        1,
        0,
        image_shape=spec.image_shape,
        num_classes=NUM_CLASSES,
        weight_norm=spec.weight_norm,
        normalization=spec.normalization,
        precision=spec.precision,
    )
    return stateless.StatelessModel(learners.build_model(learner_spec))


def build_teacher(spec: CaseSpec) -> Teacher:
    dtype = learners.layer_dtypes(spec.precision)[1]
    teacher_spec = TeacherSpec(
        num_inner_steps=spec.num_steps,
        inner_batch_size=BATCH_SIZE,
        image_shape=spec.image_shape,
        num_classes=NUM_CLASSES,
        curriculum=spec.curriculum,
        labels=spec.labels,
        dtype=dtype,
    )
    if spec.teacher in GENERATORS:
        generator_spec = generators.GeneratorSpec(
            latent_size=LATENT_SIZE,
            num_classes=NUM_CLASSES,
            image_shape=spec.image_shape,
            widths=(6, 4, 3),
            output_scale=2.0,
            weight_norm=spec.weight_norm,
            precision=spec.precision,
            makes_labels=spec.labels == "generated",
            num_values=NUM_CLASSES if spec.teacher == "state_actions" else 0,
        )
        generator = generators.build_generator(generator_spec, seed=0)
        return GENERATORS[spec.teacher](teacher_spec, generator, seed=1)
    if spec.teacher == "distillation":
        return Distillation(teacher_spec, seed=1)
    return Real(teacher_spec, draw, functools.partial(normalize, dtype=dtype))


def build_case(**options) -> Case:
    """A case of `CaseSpec(**options)`."""
    spec = CaseSpec(**options)
    dtype = learners.layer_dtypes(spec.precision)[1]
    problem = MetaProblem(
        build_teacher(spec),
        inner_optimizers.InnerHyperparameters(
            spec.initial or INITIAL[spec.optimizer],
            spec.num_steps,
            spec.per_step,
            dtype,
        ),
        INNER_OPTIMIZERS[spec.optimizer],
        INNER_LOSSES[spec.inner_loss](dtype=dtype),
        objectives.Classification(
            draw=draw,
            batch_size=OUTER_BATCH_SIZE,
            normalize=functools.partial(normalize, dtype=dtype),
            outer_loss=outer_loss,
        ),
        spec.every,
    )
    if spec.moved:
        move(problem.variables)
    shape = [problem.num_intermediate_losses + 1, OUTER_BATCH_SIZE]
    outer_batches = objectives.OuterBatches(
        random_images([*shape, *spec.image_shape], 5), random_labels(shape, 6)
    )
    return Case(problem, build_learner(spec), outer_batches)


def gradient_function(case: Case, memory_policy):
    """(seed, outer_batches) -> `meta_gradient` of a fresh learner, not compiled."""
    problem, learner, _ = case

    def function(seed, outer_batches):
        state = problem.begin(learner, seed)
        return meta_gradients.meta_gradient(
            problem, learner, state, seed, outer_batches, memory_policy
        )

    return function


def loss_function(case: Case):
    """(seed, outer_batches) -> meta-loss plus intermediate losses, compiled."""
    problem, learner, _ = case

    @tf.function(autograph=False)
    def function(seed, outer_batches):
        state = problem.begin(learner, seed)
        _, _, total = meta_gradients.train_and_score(
            problem, learner, state, seed, outer_batches, KEPT
        )
        return total

    return function


def compute(case: Case, memory_policy=KEPT, compiled=False):
    """Meta-loss, intermediate losses, and gradients as NumPy arrays."""
    function = gradient_function(case, memory_policy)
    if compiled:
        function = tf.function(function, autograph=False)
    loss, intermediate, gradients = function(tf.constant(SEED), case.outer_batches)
    return loss.numpy(), intermediate.numpy(), [g.numpy() for g in gradients]


def names(case: Case) -> list[str]:
    """A name for each of the problem's variables."""
    return [
        getattr(variable, "path", variable.name) for variable in case.problem.variables
    ]


def check_magnitudes(case: Case, gradients) -> None:
    """Prints the smallest and largest |gradient| of each variable; none is zero.

    But for the first momentum of SGD and Muon, which multiplies a velocity of zero, and
    factors of what the learner has none of.
    """
    is_adam = case.problem.optimizer is INNER_OPTIMIZERS["adam"]
    for name, gradient in zip(names(case), gradients, strict=True):
        size = np.abs(gradient)
        kind, is_factor, _ = name.partition("_factor")
        if is_factor and kind not in case.learner.layout.kinds:
            assert not np.any(size), name
            continue
        if not is_adam and name.startswith("momentum") and len(size) > 1:
            assert size[0] == 0, name
            size = size[1:]
        print(f"{name}: |gradient| from {size.min():.1e} to {size.max():.1e}")
        assert np.all(np.isfinite(size)), name
        assert size.min() > 0, name
        assert size.max() > 1e-6, name
