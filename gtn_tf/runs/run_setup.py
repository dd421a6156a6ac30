"""What a run is made of: built once from its configuration, and handed on."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math

import tensorflow as tf

from gtn_tf.data import batches, dataset_flags, environments, loaders
from gtn_tf.data.dataset import Dataset, normalize
from gtn_tf.data.environments import Environment
from gtn_tf.errors import UserError
from gtn_tf.meta import inner_optimizers, outer_loop
from gtn_tf.meta.adversary import Adversary
from gtn_tf.meta.inner_optimizers import InnerHyperparameters
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.meta_problem import MetaProblem
from gtn_tf.meta.objectives import Objective
from gtn_tf.meta.registry import (
    ESTIMATORS,
    INNER_LOSSES,
    INNER_OPTIMIZERS,
    OBJECTIVES,
)
from gtn_tf.meta.replicas import ONE_REPLICA, Replicas
from gtn_tf.networks import discriminators, learners
from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.learner_spec import LearnerSpec
from gtn_tf.runs import cluster, memory_plans
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.memory_plans import MemoryPlan
from gtn_tf.teachers.base import TeacherSpec
from gtn_tf.teachers.registry import TEACHERS

_TINY_PIXELS = 10_000  # of one inner batch; digits: 2,048, MNIST: 100,352


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSetup:
    """What a run is made of.

    Attributes:
      dataset: real images.
      specs: the predefined set of learners.
      problem: the teacher, the inner loop's parts, and the loss that they are learned
        by; training changes its variables.
      replicas: what the learners of an outer step are shared out among.
    """

    config: TrainingConfig
    dataset: Dataset
    specs: list[LearnerSpec]
    problem: MetaProblem
    replicas: Replicas = ONE_REPLICA

    @functools.cached_property
    def memory_plan(self) -> MemoryPlan:
        """How memory is spent; only training asks for it, and only training needs it.

        Raises:
          UserError: the machine has no memory for it.
        """
        return memory_plans.make(self.config, self.problem, self.specs)

    def with_real_data(self) -> RunSetup:
        """The control: real data with the same learners, T and batch size, as it
        begins; all that does not depend on the teacher is shared."""
        config = dataclasses.replace(
            self.config,
            teacher="real",
            curriculum="full",
            labels="hard",
            adversarial_weight=0.0,
            warm_start_steps=0,
        )
        problem = _build_problem(config, self.dataset, self.problem.objective)
        return dataclasses.replace(self, config=config, problem=problem)


def prepare(config: TrainingConfig, dataset: Dataset | None = None) -> RunSetup:
    """The set-up of a run that can be trained; nothing is written.

    Args:
      dataset: in place of the one that the configuration names.

    Raises:
      UserError: data or learners that cannot be used, memory that does not suffice;
        workers or devices that cannot be, or workers that were not started alike.
    """
    is_small = config.dataset == "digits" and not config.image_size
    if is_small and (config.workers or config.devices > 1):
        # They start before TensorFlow's first operation, and that ends the choice.
        _choose_threads(config, (8, 8))
    replicas = cluster.start(config)
    dataset = dataset or load_dataset(config)
    cluster.check_alike(replicas, config, dataset.digest)
    _choose_threads(config, dataset.image_shape)
    setup = dataclasses.replace(build(config, dataset), replicas=replicas)
    _ = setup.memory_plan  # refused now where there is no memory for it
    return setup


def load_dataset(config: TrainingConfig) -> Dataset | Environment:
    """The data set of a configuration, with the splits of its seed; or its environment.

    Raises:
      UserError: data that cannot be used.
    """
    if dataset_flags.environment(config.dataset):
        return environments.load(config.dataset, config.episode_frames)
    return loaders.load(config.dataset, config.data_dir, config.seed, config.image_size)


def build(config: TrainingConfig, dataset: Dataset) -> RunSetup:
    """The set-up of a run, whether or not there is memory to train it.

    Raises:
      UserError: learners that cannot be, image sides that do not suit the generator.
    """
    specs = build_learner_specs(config, dataset)
    objective = OBJECTIVES[config.objective].of_run(config, dataset)
    problem = _build_problem(config, dataset, objective)
    return RunSetup(config=config, dataset=dataset, specs=specs, problem=problem)


def build_learner_specs(config: TrainingConfig, dataset: Dataset) -> list[LearnerSpec]:
    """The predefined set of learners that the configuration names.

    Raises:
      UserError: learners that cannot be, or that take images where there are none.
    """
    specs = learners.parse(
        config.learner,
        config.num_learners,
        config.seed,
        config.left_out,
        config.varied,
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        weight_norm=config.weight_norm,
        normalization=config.normalization,
        precision=config.precision,
    )
    families = {spec.family for spec in specs}
    of_images = {name for name in families if not FAMILIES[name].takes_vectors}
    if len(dataset.image_shape) == 1 and of_images:
        raise UserError(
            f"--learner={config.learner} names {min(of_images)}, which takes images, "
            f"and --dataset={config.dataset} has vectors: give policy or "
            "fully_connected, as in policy:64"
        )
    return specs


def _build_problem(
    config: TrainingConfig, dataset: Dataset, objective: Objective
) -> MetaProblem:
    spec = TeacherSpec(
        num_inner_steps=config.num_inner_steps,
        inner_batch_size=config.inner_batch_size,
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        curriculum=config.curriculum,
        labels=config.labels,
    )
    initial = inner_optimizers.INITIAL | {
        "learning_rate": config.inner_learning_rate,
        "momentum": config.inner_momentum,
    }
    optimizer = INNER_OPTIMIZERS[config.inner_optimizer]
    return MetaProblem(
        TEACHERS[config.teacher].of_run(spec, config, dataset),
        InnerHyperparameters(
            {name: initial[name] for name in optimizer.names},
            config.num_inner_steps,
            config.inner_hyperparameters == "per_step",
            decay=config.inner_decay,
        ),
        optimizer,
        INNER_LOSSES[config.inner_loss](config.seed),
        objective,
        config.intermediate_loss_every,
    )


def build_outer_step(
    setup: RunSetup, rate_factor: tf.Variable, memory_policy: MemoryPolicy
) -> outer_loop.OuterStep:
    """The compiled outer steps, with their optimizer.

    Args:
      rate_factor: scalar that the outer learning rate is multiplied by.
    """
    config = setup.config
    spec = outer_loop.OuterOptimizerSpec(
        learning_rate=config.outer_learning_rate,
        final_fraction=config.outer_decay,
        beta_1=config.outer_beta_1,
        beta_2=config.outer_beta_2,
        epsilon=config.outer_epsilon,
    )
    optimizer = outer_loop.build_optimizer(
        spec, config.num_outer_steps, setup.problem.variables, rate_factor
    )
    return outer_loop.OuterStep(
        setup.problem,
        setup.specs,
        optimizer,
        config.clip_norm,
        memory_policy,
        config.learners_per_step,
        setup.replicas,
        ESTIMATORS[config.estimator].of_run(config),
        _build_adversary(setup, spec, rate_factor),
        memory_plans.take_traced(setup.memory_plan, memory_policy),
    )


def _build_adversary(
    setup: RunSetup, spec: outer_loop.OuterOptimizerSpec, rate_factor: tf.Variable
) -> Adversary | None:
    config, dataset = setup.config, setup.dataset
    if not config.adversarial_weight:
        return None
    _, *widths = map(int, config.generator_widths.split("-"))
    discriminator = discriminators.build_discriminator(
        dataset.image_shape, tuple(reversed(widths)), config.weight_norm, config.seed
    )
    spec = dataclasses.replace(spec, learning_rate=config.discriminator_learning_rate)
    return Adversary(
        teacher=setup.problem.teacher,
        discriminator=discriminator,
        optimizer=outer_loop.build_optimizer(
            spec,
            config.num_outer_steps,
            discriminator.trainable_variables,
            rate_factor,
        ),
        draw=batches.sampler(dataset.train, augment=False),
        normalize=functools.partial(normalize, mean=dataset.mean, std=dataset.std),
        weight=config.adversarial_weight,
    )


def _choose_threads(config: TrainingConfig, image_shape: tuple[int, ...]) -> None:
    """One thread for each operation where operations are tiny.

    Sharing them out costs more than it saves: on digits a step takes 0.7 of the time.
    Independent operations still run side by side. TensorFlow takes the setting only
    before its first operation; in a process that has computed before, nothing changes.
    """
    is_vector = len(image_shape) == 1
    pixels = math.prod(image_shape[:2]) * config.inner_batch_size
    if is_vector or pixels <= _TINY_PIXELS:
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)
