"""The configuration of a training run.

Every field of `TrainingConfig` is a flag of the same name (see `command_line`). The
defaults are the run on digits; where the paper states a value, the help text says so.
Flagfiles in gtn_tf/flagfiles hold the other recipes.
"""

from __future__ import annotations

import dataclasses
import re

from gtn_tf.errors import UserError
from gtn_tf.meta import inner_loop, inner_optimizers
from gtn_tf.networks import families, learners
from gtn_tf.runs import fields
from gtn_tf.runs.fields import field
from gtn_tf.teachers import curricula
from gtn_tf.teachers.registry import TEACHERS


@dataclasses.dataclass(frozen=True)
class TrainingConfig(fields.Config):
    """All that determines a run. Raises UserError where values contradict."""

    dataset: str = field(
        "digits",
        "digits, mnist, fashion_mnist, cifar10, or the name of any "
        "tensorflow-datasets image classification set",
    )
    data_dir: str = field(
        "",
        "folder with the original files; where it has none, tensorflow-datasets",
        may_change=True,
    )
    workdir: str = field(
        "",
        "folder of the run; by default runs/DATASET-TEACHER-HASH, where the hash "
        "stands for the configuration",
        may_change=True,
    )
    seed: int = field(
        0, "of data splits, learners, and all sampling", low=0, high=2**31 - 1
    )
    teacher: str = field(
        "gtn",
        "source of the inner loop's data",
        choices=TEACHERS,
    )
    curriculum: str = field(
        "full",
        "what is learned of the presentation (section 3.2)",
        choices=curricula.CURRICULA,
    )
    learner: str = field(
        "any",
        "learners to meta-train with, joined by commas: FAMILY "
        f"({', '.join(families.FAMILIES)}), drawn from its predefined set; "
        "FAMILY:WIDTHS as in mnist:64-128-256; or any, drawn from all families",
    )
    leave_out: str = field(
        "cifar10,depthwise,transformer",
        "families, joined by commas, that any does not stand for; the final table "
        "shows them as unseen",
    )
    num_learners: int = field(
        5, "architectures in the predefined set", low=1, high=10_000
    )
    vary: str = field(
        "all",
        "what is drawn for each learner beside its widths, joined by commas: "
        f"{', '.join(learners.VARIED)}; all; or none (the paper: weight norm, batch "
        "norm, LeakyReLU, Kaiming normal)",
    )
    weight_norm: bool = field(True, "in learners and generator (section 2)")
    normalization: str = field(
        "batch",
        "after learners' hidden layers, where it is not drawn: batch (the paper), "
        "center: subtract the batch's mean only, layer, or none",
        choices=("batch", "center", "layer", "none"),
    )
    learners_per_step: int = field(
        1,
        "learners whose meta-gradients an outer step averages, one after the other "
        "in the memory of one (the paper: 1)",
        low=1,
        high=10_000,
    )
    num_inner_steps: int = field(
        10, "T (paper: MNIST 32, CIFAR-10 128)", low=1, high=100_000
    )
    inner_batch_size: int = field(
        32, "images per inner step (Tables 2, 3: 128)", low=1, high=100_000
    )
    inner_optimizer: str = field(
        "muon",
        "sgd with momentum (Equation 1: the paper), adam, or muon: orthogonalized "
        "momentum, whose rates fit other networks",
        choices=inner_optimizers.INNER_OPTIMIZERS,
    )
    inner_loss: str = field(
        "cross_entropy",
        "loss of the inner loop (section 2)",
        choices=inner_loop.INNER_LOSSES,
    )
    inner_learning_rate: float = field(
        0.05, "initial value, meta-learned (Tables 2, 3: 0.02)", low=1e-8, high=100
    )
    inner_decay: float = field(
        0.3,
        "fraction of the initial learning rate at the last inner step, on a line from "
        "the first, where each step has its own (the paper: 1)",
        low=1e-6,
        high=1,
    )
    inner_momentum: float = field(
        0.5, "initial value, meta-learned (Tables 2, 3: 0.5)", low=0, high=0.9999
    )
    inner_hyperparameters: str = field(
        "per_step",
        "one learned value for all inner steps, or one for each",
        choices=("shared", "per_step"),
    )
    outer_batch_size: int = field(
        64, "real images in the meta-loss (Tables 2, 3: 128, 256)", low=1, high=10**6
    )
    intermediate_loss_every: int = field(
        1,
        "add the meta-loss after every so many inner steps; 0: after the last only "
        "(the paper's text)",
        low=0,
        high=100_000,
    )
    augment: str = field(
        "auto",
        "random crops and flips of outer batches; auto: for CIFAR-10 (A.2)",
        choices=("auto", "always", "never"),
    )
    num_outer_steps: int = field(
        600,
        "meta-gradient steps (paper: MNIST 2000, CIFAR-10 1700)",
        low=1,
        high=10**9,
        may_change=True,
    )
    time_limit_seconds: float = field(
        0,
        "stop each training after so many seconds; 0: no limit",
        low=0,
        high=1e9,
        may_change=True,
    )
    outer_learning_rate: float = field(
        0.003, "of Adam (Table 2: 0.01, Table 3: 0.002)", low=1e-8, high=10
    )
    outer_decay: float = field(
        0.02,
        "cosine decay to this fraction of the rate; 1: none (the paper's text)",
        low=0,
        high=1,
    )
    outer_beta_1: float = field(0.9, "of Adam (Tables 2, 3: 0.9)", low=0, high=0.999999)
    outer_beta_2: float = field(
        0.999, "of Adam (Table 2: 0.999, Table 3: 0.9)", low=0, high=0.999999
    )
    outer_epsilon: float = field(1e-8, "of Adam (Table 3: 1e-5)", low=1e-16, high=1)
    clip_norm: float = field(
        5, "global norm of the meta-gradient; 0: not clipped", low=0, high=1e9
    )
    max_divergences: int = field(
        20,
        "times that training may go back to the last good state before it stops; 0: "
        "stop at the first",
        low=0,
        high=10**6,
        may_change=True,
    )
    latent_size: int = field(64, "numbers in z (Tables 2, 3: 128)", low=1, high=100_000)
    generator_widths: str = field(
        "256-64-32",
        "units, channels and filters of the generator's hidden layers "
        "(A.1: 1024-128-64)",
    )
    generator_output_scale: float = field(
        2, "factor after the tanh (the paper's text: 1)", low=1e-3, high=1e3
    )
    warm_start_steps: int = field(
        1500,
        "steps in which generator and latents first learn to draw real images; "
        "distilled pixels begin as the images; 0: begin as noise (the paper), as "
        "teachers that store no batches always do",
        low=0,
        high=10**6,
    )
    recompute: str = field(
        "auto",
        "compute activations again on the way back (Appendix D), keep them, or decide "
        "by their estimated size",
        choices=("auto", "always", "never"),
    )
    segment_length: int = field(
        1, "inner steps between kept states when recomputing", low=1, high=100_000
    )
    precision: str = field(
        "float32",
        "bfloat16: convolutions and products only",
        choices=("float32", "bfloat16"),
    )
    validate_every: int = field(
        100,
        "outer steps between validations, summaries and image grids",
        low=1,
        high=10**9,
    )
    checkpoint_every_seconds: float = field(
        60, "seconds between checkpoints", low=0, high=1e9, may_change=True
    )
    compare_with_real: bool = field(
        True, "meta-train real data's rates as well, for the table", may_change=True
    )
    num_test_learners: int = field(
        20, "fresh learners in the final table", low=2, high=10_000, may_change=True
    )

    def __post_init__(self):
        fields.check(self)
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
        TEACHERS[self.teacher].check_curriculum(self.curriculum)
        if not re.fullmatch(r"[1-9]\d*-[1-9]\d*-[1-9]\d*", self.generator_widths):
            raise UserError(
                f"--generator_widths={self.generator_widths} is not three positive "
                "integers joined by '-': give units-channels-filters, as in 1024-128-64"
            )
        self._check_learners()

    def _check_learners(self) -> None:
        unknown = set(self.varied) - set(learners.VARIED)
        if unknown:
            raise UserError(
                f"--vary={self.vary} names {', '.join(sorted(unknown))}: give "
                f"{', '.join(learners.VARIED)}, all or none"
            )
        unknown = set(_names(self.leave_out)) - set(families.FAMILIES)
        if unknown:
            raise UserError(
                f"--leave_out={self.leave_out} names {', '.join(sorted(unknown))}: "
                f"give some of {', '.join(families.FAMILIES)}"
            )

    @property
    def varied(self) -> tuple[str, ...]:
        """The properties that are drawn for each learner."""
        if self.vary == "all":
            return tuple(learners.VARIED)
        return () if self.vary == "none" else _names(self.vary)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The families of `leave_out` that `learner` does not name."""
        named = {part.partition(":")[0] for part in self.learner.split(",")}
        return tuple(name for name in _names(self.leave_out) if name not in named)

    @property
    def run_folder(self) -> str:
        """The workdir, or the folder that stands for this configuration."""
        if self.workdir:
            return self.workdir
        return f"runs/{self.dataset.replace('/', '_')}-{self.teacher}-{self.digest}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
