"""The configuration of a training run.

Every field of `TrainingConfig` is a flag of the same name (see `command_line`). The
defaults are the run on digits; where the paper states a value, the help text says so.
Flagfiles in gtn_tf/flagfiles hold the other recipes.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.meta.registry import (
    ESTIMATORS,
    INNER_LOSSES,
    INNER_OPTIMIZERS,
    OBJECTIVES,
)
from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.learner_spec import VARIED
from gtn_tf.runs import fields, plugins, policy_flags, precision, replica_flags
from gtn_tf.runs.fields import field
from gtn_tf.teachers.registry import CURRICULA, LABELS, TEACHERS


@dataclasses.dataclass(frozen=True)
class TrainingConfig(fields.Config):
    """All that determines a run. Raises UserError where values contradict."""

    before: ClassVar[dict[str, Any]] = {
        "labels": "hard",
        "adversarial_weight": 0.0,
        "discriminator_learning_rate": 1e-3,
        "objective": "classification",
        "plugins": "",
        "image_size": "",
        "estimator": "backpropagation",
        "es_sigma": 0.01,
        "es_pairs": 4,
        "truncation_length": 0,
        "window_length": 0,
        "episode_frames": 200,
    }

    dataset: str = field(
        "digits",
        "The images to learn: digits, mnist, fashion_mnist, cifar10; one's own as "
        "folder:PATH, with a folder for each class, or npz:FILE, with x_train and "
        "y_train; gym:NAME, an environment of gymnasium, for policies; or any image "
        "classification set of tensorflow-datasets, by its name.",
        group="data",
    )
    data_dir: str = field(
        "",
        "The folder with the original files, or to which PATH and FILE are relative. "
        "Where it has none, tensorflow-datasets is asked for the data set.",
        group="data",
        may_change=True,
    )
    image_size: str = field(
        "",
        "The size that images are resized to: N, or HxW for height and width. By "
        "default they stay as they are.",
        group="data",
    )
    episode_frames: int = field(
        200,
        "Frames after which an episode of an environment is cut. Appendix H has 200.",
        group="data",
        low=1,
        high=100_000,
    )
    augment: str = field(
        "auto",
        "Whether outer batches are cropped and flipped at random. auto does so for "
        "CIFAR-10 only (A.2).",
        group="data",
        choices=("auto", "always", "never"),
    )
    teacher: str = field(
        "gtn",
        "The source of the inner loop's batches: gtn draws them with a generator, "
        "closed_loop changes what it draws by how the learner does (section 4), "
        "state_actions draws states and what policies are to say of them, distillation "
        "learns their pixels, real takes training images.",
        group="teacher",
        choices=TEACHERS,
    )
    curriculum: str = field(
        "full",
        "What is learned of the presentation (section 3.2): none draws latents afresh, "
        "all_shuffled shows learned items in random order, shuffled_batch learned "
        "batches in random order, full a learned sequence of batches.",
        group="teacher",
        choices=CURRICULA,
    )
    labels: str = field(
        "hard",
        "The targets of the teacher's images: hard is one class each, learned are "
        "distributions stored beside the curriculum, which begin as hard ones, "
        "generated are made by the generator with each image (Appendix F).",
        group="teacher",
        choices=LABELS,
    )
    latent_size: int = field(
        64,
        "Numbers in a latent z. Tables 2 and 3 have 128.",
        group="teacher",
        low=1,
        high=100_000,
    )
    generator_widths: str = field(
        "256-64-32",
        "Units, channels and filters of the generator's hidden layers. A.1 has "
        "1024-128-64.",
        group="teacher",
    )
    generator_output_scale: float = field(
        2,
        "The factor that follows the generator's tanh. The paper's text has 1.",
        group="teacher",
        low=1e-3,
        high=1e3,
    )
    warm_start_steps: int = field(
        1500,
        "Steps in which generator and latents first learn to draw real images. With "
        "more than 0, distilled pixels begin as real images. With 0, both begin as "
        "noise (the paper), as teachers that store no batches always do.",
        group="teacher",
        low=0,
        high=10**6,
    )
    learner: str = field(
        "any",
        "The learners to meta-train with, joined by commas. FAMILY "
        f"({', '.join(FAMILIES)}) draws from the family's predefined set; "
        "FAMILY:WIDTHS, as in mnist:64-128-256, is one architecture; any draws from "
        "all families.",
        group="learners",
    )
    leave_out: str = field(
        "cifar10,depthwise,transformer",
        "Families, joined by commas, that any does not stand for. The final table "
        "shows them as unseen.",
        group="learners",
    )
    num_learners: int = field(
        5,
        "Architectures in the predefined set.",
        group="learners",
        low=1,
        high=10_000,
    )
    vary: str = field(
        "all",
        "What is drawn for each learner beside its widths, joined by commas: "
        f"{', '.join(VARIED)}; or all, or none. The paper's learners have "
        "weight norm, batch norm, LeakyReLU and Kaiming normal.",
        group="learners",
    )
    weight_norm: bool = field(
        True,
        "Whether generator and learners have weight normalization (section 2); of the "
        "learners, those for which it is not drawn.",
        group="learners",
    )
    normalization: str = field(
        "batch",
        "What follows the learners' hidden layers where it is not drawn: batch (the "
        "paper), layer, none, or center, which subtracts the batch's mean only.",
        group="learners",
        choices=("batch", "center", "layer", "none"),
    )
    plugins: str = field(
        "",
        "Modules, joined by commas, that are imported first and may add families of "
        "learners. They may be in the working directory. nas.spaces.learners adds "
        "cells of search spaces.",
        group="learners",
    )
    num_inner_steps: int = field(
        10,
        "Inner steps T, each on one batch of the teacher. The paper has 32 for MNIST "
        "and 128 for CIFAR-10.",
        group="inner loop",
        low=1,
        high=100_000,
    )
    inner_batch_size: int = field(
        32,
        "Images in the batch of an inner step. Tables 2 and 3 have 128.",
        group="inner loop",
        low=1,
        high=100_000,
    )
    inner_optimizer: str = field(
        "muon",
        "What trains the learners: sgd with momentum (Equation 1), adam, or muon, "
        "which orthogonalizes the momentum. The rates of muon fit other networks.",
        group="inner loop",
        choices=INNER_OPTIMIZERS,
    )
    inner_loss: str = field(
        "cross_entropy",
        "The loss that the learners minimize on the teacher's batches (section 2). "
        "learned is cross-entropy and a small network, meta-learned with the teacher.",
        group="inner loop",
        choices=INNER_LOSSES,
    )
    inner_learning_rate: float = field(
        0.05,
        "The inner learning rate at the start; it is meta-learned. Tables 2 and 3 have "
        "0.02.",
        group="inner loop",
        low=1e-8,
        high=100,
    )
    inner_decay: float = field(
        0.3,
        "The last inner step's initial learning rate, as a fraction of the first's; "
        "those between lie on a line. It holds where each step has its own rate. The "
        "paper has 1.",
        group="inner loop",
        low=1e-6,
        high=1,
    )
    inner_momentum: float = field(
        0.5,
        "The inner momentum at the start; it is meta-learned. Tables 2 and 3 have 0.5.",
        group="inner loop",
        low=0,
        high=0.9999,
    )
    inner_hyperparameters: str = field(
        "per_step",
        "Whether all inner steps share one learned rate and momentum, or each has its "
        "own.",
        group="inner loop",
        choices=("shared", "per_step"),
    )
    num_outer_steps: int = field(
        600,
        "Outer steps, each with one meta-gradient. The paper has 2000 for MNIST and "
        "1700 for CIFAR-10.",
        group="outer loop",
        low=1,
        high=10**9,
        may_change=True,
    )
    objective: str = field(
        "classification",
        "What a trained learner is asked for; the meta-loss is its value: the "
        "classification of real images, or, of a policy, return in an environment, by "
        "the advantage actor-critic loss (Appendix H).",
        group="outer loop",
        choices=OBJECTIVES,
    )
    outer_batch_size: int = field(
        64,
        "Real images in the meta-loss. Tables 2 and 3 have 128 and 256. Of a policy, "
        "frames in which it acts, a multiple of the --episode_frames.",
        group="outer loop",
        low=1,
        high=10**6,
    )
    learners_per_step: int = field(
        1,
        "Learners whose meta-gradients an outer step averages. They take turns in the "
        "memory of one. The paper has 1.",
        group="outer loop",
        low=1,
        high=10_000,
    )
    intermediate_loss_every: int = field(
        1,
        "Inner steps from one meta-loss to the next; their sum is minimized. With 0, "
        "there is one, after the last step (the paper's text).",
        group="outer loop",
        low=0,
        high=100_000,
    )
    outer_learning_rate: float = field(
        0.003,
        "The learning rate of Adam, which moves the teacher. Table 2 has 0.01, Table 3 "
        "0.002.",
        group="outer loop",
        low=1e-8,
        high=10,
    )
    outer_decay: float = field(
        0.02,
        "The fraction of the outer learning rate that cosine decay ends at. 1 is no "
        "decay (the paper's text).",
        group="outer loop",
        low=0,
        high=1,
    )
    outer_beta_1: float = field(
        0.9,
        "The beta 1 of Adam. Tables 2 and 3 have 0.9.",
        group="outer loop",
        low=0,
        high=0.999999,
    )
    outer_beta_2: float = field(
        0.999,
        "The beta 2 of Adam. Table 2 has 0.999, Table 3 0.9.",
        group="outer loop",
        low=0,
        high=0.999999,
    )
    outer_epsilon: float = field(
        1e-8,
        "The epsilon of Adam. Table 3 has 1e-5.",
        group="outer loop",
        low=1e-16,
        high=1,
    )
    adversarial_weight: float = field(
        0,
        "The share of an adversarial loss in the outer loss: a discriminator learns to "
        "tell the teacher's images from real ones (Appendix I). With 0 there is none, "
        "with 1 nothing else: the teacher is the generator of a plain GAN.",
        group="outer loop",
        low=0,
        high=1,
    )
    discriminator_learning_rate: float = field(
        1e-3,
        "The learning rate of Adam, which moves the discriminator. It decays as the "
        "teacher's does.",
        group="outer loop",
        low=1e-8,
        high=10,
    )
    clip_norm: float = field(
        5,
        "The global norm that a longer meta-gradient is clipped to. With 0, none is "
        "clipped.",
        group="outer loop",
        low=0,
        high=1e9,
    )
    max_divergences: int = field(
        20,
        "Times that training may go back to the last good state before it stops. With "
        "0, it stops at the first divergence.",
        group="outer loop",
        low=0,
        high=10**6,
        may_change=True,
    )
    estimator: str = field(
        "backpropagation",
        "How the meta-gradient is estimated: backpropagation through all inner steps; "
        "es (evolution strategies) and pes (persistent ones, on truncations) from "
        "losses alone; combined weights backpropagation and es by their variances; "
        "truncated_windows goes back through random windows of inner steps.",
        group="gradient estimation",
        choices=ESTIMATORS,
    )
    es_sigma: float = field(
        0.01,
        "The standard deviation of the perturbations of es, pes and combined.",
        group="gradient estimation",
        low=1e-6,
        high=10,
    )
    es_pairs: int = field(
        4,
        "Antithetic pairs of perturbed trainings in each estimate of es, pes and "
        "combined. They take turns in the memory of one.",
        group="gradient estimation",
        low=1,
        high=100_000,
    )
    truncation_length: int = field(
        0,
        "Inner steps of pes from one perturbation to the next; 0 takes a fourth of the "
        "inner steps.",
        group="gradient estimation",
        low=0,
        high=100_000,
    )
    window_length: int = field(
        0,
        "Inner steps of truncated_windows that are differentiated; 0 takes a fourth of "
        "the inner steps.",
        group="gradient estimation",
        low=0,
        high=100_000,
    )
    workdir: str = field(
        "",
        "The folder of the run. By default it is runs/DATASET-TEACHER-HASH, where the "
        "hash stands for the configuration.",
        group="run",
        may_change=True,
    )
    seed: int = field(
        0,
        "The seed of data splits, learners and all sampling.",
        group="run",
        low=0,
        high=2**31 - 1,
    )
    time_limit_seconds: float = field(
        0,
        "Seconds after which each training stops. With 0, there is no limit.",
        group="run",
        low=0,
        high=1e9,
        may_change=True,
    )
    validate_every: int = field(
        100,
        "Outer steps between validations, summaries and image grids.",
        group="run",
        low=1,
        high=10**9,
    )
    checkpoint_every_seconds: float = field(
        60,
        "Seconds between checkpoints.",
        group="run",
        low=0,
        high=1e9,
        may_change=True,
    )
    compare_with_real: bool = field(
        True,
        "Whether the rates of real data are meta-trained as well, for the final table; "
        "of an environment, whether one policy learns in it itself on as many frames "
        "(A2C).",
        group="run",
        may_change=True,
    )
    num_test_learners: int = field(
        20,
        "Fresh learners that the final table averages.",
        group="run",
        low=2,
        high=10_000,
        may_change=True,
    )
    recompute: str = field(
        "auto",
        "Whether activations are computed again on the way back (Appendix D) or kept. "
        "auto keeps them where they fit into the memory that is available.",
        group="run",
        choices=("auto", "always", "never"),
    )
    segment_length: int = field(
        0,
        "Inner steps between the states that are kept when recomputing; 0 takes the "
        "number that needs the least memory, and cuts segments into parts that are "
        "computed a third time where even that does not fit.",
        group="run",
        low=0,
        high=100_000,
    )
    precision: str = field(
        "float32",
        "The precision of the arithmetic. With bfloat16, only convolutions and "
        "products are computed in it. auto takes bfloat16 on processors and GPUs that "
        "multiply it, and float32 elsewhere; the run keeps what it took.",
        group="run",
        choices=("float32", "bfloat16", "auto"),
    )
    workers: str = field(
        "",
        "HOST:PORT of each of several processes that train together, joined by commas. "
        "They share out the --learners_per_step. Each is started with the same flags "
        "but --worker_index.",
        group="several devices and machines",
        may_change=True,
    )
    worker_index: int = field(
        0,
        "Which of --workers this process is, from 0. 0 is the chief, which alone has "
        "the run's folder.",
        group="several devices and machines",
        low=0,
        high=10_000,
        may_change=True,
    )
    devices: int = field(
        1,
        "GPUs of this machine, or parts of its CPU where there is none, that share "
        "out the --learners_per_step.",
        group="several devices and machines",
        low=1,
        high=1024,
        may_change=True,
    )

    def __post_init__(self):
        for name in _names(self.plugins):
            plugins.load(name, f"--plugins={self.plugins}")
        fields.check(self)
        object.__setattr__(self, "precision", precision.resolve(self.precision))
        dataset_flags.parse_image_size(self.image_size)
        whole = dataset_flags.with_whole_path(self.dataset, self.data_dir)
        object.__setattr__(self, "dataset", whole)
        if self.segment_length > self.num_inner_steps:
            raise UserError(
                f"--segment_length={self.segment_length} is longer than "
                f"--num_inner_steps={self.num_inner_steps}: give a value from 1 to "
                f"{self.num_inner_steps}"
            )
        if self.segment_length > 1 and self.recompute == "never":
            raise UserError(
                f"--segment_length={self.segment_length} contradicts "
                "--recompute=never: only what is recomputed has segments; drop one of "
                "the two"
            )
        ESTIMATORS[self.estimator].of_run(self)  # which refuses what contradicts
        TEACHERS[self.teacher].check_curriculum(self.curriculum)
        TEACHERS[self.teacher].check_labels(self.labels, self.curriculum)
        if self.adversarial_weight and not TEACHERS[self.teacher].learns:
            raise UserError(
                f"--adversarial_weight={self.adversarial_weight} contradicts "
                f"--teacher={self.teacher}: its images are data, which nothing moves; "
                "give 0, or a teacher that learns"
            )
        if not re.fullmatch(r"[1-9]\d*-[1-9]\d*-[1-9]\d*", self.generator_widths):
            raise UserError(
                f"--generator_widths={self.generator_widths} is not three positive "
                "integers joined by '-': give units-channels-filters, as in 1024-128-64"
            )
        self._check_learners()
        replica_flags.check(self)
        policy_flags.check(self)

    def _check_learners(self) -> None:
        unknown = set(self.varied) - set(VARIED)
        if unknown:
            raise UserError(
                f"--vary={self.vary} names {', '.join(sorted(unknown))}: give "
                f"{', '.join(VARIED)}, all or none"
            )
        unknown = set(_names(self.leave_out)) - set(FAMILIES)
        if unknown:
            raise UserError(
                f"--leave_out={self.leave_out} names {', '.join(sorted(unknown))}: "
                f"give some of {', '.join(FAMILIES)}"
            )

    @property
    def varied(self) -> tuple[str, ...]:
        """The properties that are drawn for each learner."""
        if self.vary == "all":
            return tuple(VARIED)
        return () if self.vary == "none" else _names(self.vary)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The families of `leave_out` that `learner` does not name."""
        named = {part.partition(":")[0] for part in self.learner.split(",")}
        return tuple(name for name in _names(self.leave_out) if name not in named)

    @property
    def frames_per_step(self) -> int:
        """Frames of an environment that an outer step takes."""
        losses = 1
        if self.intermediate_loss_every:
            losses += (self.num_inner_steps - 1) // self.intermediate_loss_every
        return self.outer_batch_size * self.learners_per_step * losses

    @property
    def has_control(self) -> bool:
        """Whether rates of real data are meta-trained as well."""
        if dataset_flags.environment(self.dataset):
            return False
        return self.teacher != "real" and self.compare_with_real

    @property
    def run_folder(self) -> str:
        """The workdir, or the folder that stands for this configuration."""
        if self.workdir:
            return self.workdir
        name = dataset_flags.short_name(self.dataset)
        return f"runs/{name}-{self.teacher}-{self.digest}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
