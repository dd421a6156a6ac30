"""The flags of bin/evaluate, bin/export, bin/study and bin/benchmark.

They stand by themselves because --help does without what the commands need.
"""

from __future__ import annotations

import dataclasses
import importlib.util

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.evaluation.registry import IMAGE_MEASURES, MEASURES
from gtn_tf.plain.registry import LIBRARIES
from gtn_tf.runs import replica_flags
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.fields import COMMAS, check, field
from gtn_tf.studies.catalog import STUDIES


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Which runs are evaluated, and how."""

    workdir: str = field(
        "",
        "The folder of the run. Its last checkpoint is evaluated. Of an exported "
        "teacher, or one that comes with the package, by its name, only images are.",
        group="runs",
    )
    compare: str = field(
        "",
        "Folders of other runs of the same data set and T, joined by commas, to stand "
        f"beside it. {COMMAS} WORKDIR/real always does where it is there.",
        group="runs",
    )
    data_dir: str = field(
        "",
        "The folder with the original files. By default it is that of the run.",
        group="runs",
    )
    output: str = field(
        "",
        "The folder for the table and the figures. By default it is "
        "WORKDIR/evaluation.",
        group="runs",
    )
    split: str = field(
        "test",
        "The images on which accuracy is measured.",
        group="measures",
        choices=("validation", "test"),
    )
    measures: str = field(
        "all",
        f"What is measured, joined by commas: {', '.join(MEASURES)}; or all of these; "
        f"or of the images themselves (Appendix K): {', '.join(IMAGE_MEASURES)}.",
        group="measures",
    )
    num_test_learners: int = field(
        10, "Fresh learners for each mean.", group="measures", low=2, high=10_000
    )
    num_ensemble: int = field(
        32,
        "Learners in the largest ensemble. Figure 7 has 32.",
        group="measures",
        low=1,
        high=10_000,
    )
    seed: int = field(
        0,
        "The seed of the learners' weights and of the data order.",
        group="measures",
        low=0,
        high=2**31 - 1,
    )

    def __post_init__(self):
        check(self)
        if not self.workdir:
            raise UserError(
                "--workdir is not given: give the folder of a run of bin/train"
            )
        unknown = set(self._named) - {*MEASURES, *IMAGE_MEASURES}
        if unknown:
            raise UserError(
                f"--measures={self.measures} names {', '.join(sorted(unknown))}: give "
                f"some of {', '.join([*MEASURES, *IMAGE_MEASURES])}, or all"
            )

    @property
    def _named(self) -> tuple[str, ...]:
        names = MEASURES if self.measures == "all" else self.measures.split(",")
        return tuple(names)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of what is measured of fresh learners."""
        return tuple(name for name in self._named if name in MEASURES)

    @property
    def measured_of_images(self) -> tuple[str, ...]:
        """Names of what is measured of the images themselves."""
        return tuple(name for name in self._named if name in IMAGE_MEASURES)


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Which run is exported, and where to."""

    workdir: str = field(
        "",
        "The folder of the run, finished or not. Its last checkpoint is exported.",
    )
    output: str = field(
        "",
        "The folder to write, new or of an earlier export. By default it is "
        "WORKDIR/export.",
    )
    data_dir: str = field(
        "", "The folder with the original files. By default it is that of the run."
    )
    ready: bool = field(
        False,
        "Whether to write only what comes with the package in gtn_tf/ready/NAME: the "
        "teacher, its variables in float16, and card.md, which says what it teaches. "
        "The card quotes the run's results.json and evaluation/.",
    )

    def __post_init__(self):
        check(self)
        if not self.workdir:
            raise UserError(
                "--workdir is not given: give the folder of a run of bin/train"
            )


@dataclasses.dataclass(frozen=True)
class StudyConfig(TrainingConfig):
    """A study, and the run whose variants it compares."""

    study: str = field("curricula", "What is compared.", group="study", choices=STUDIES)
    num_seeds: int = field(
        5,
        "Runs of each variant. Their seeds are 0, 1, ...",
        group="study",
        low=1,
        high=1000,
        may_change=True,
    )
    num_trials: int = field(
        20,
        "Trials of the weight_norm study: so many with it and so many without.",
        group="study",
        low=1,
        high=10_000,
        may_change=True,
    )
    num_estimates: int = field(
        16,
        "Estimates of the meta-gradient by each estimator in the estimators study.",
        group="study",
        low=4,
        high=100_000,
        may_change=True,
    )
    training_seconds: float = field(
        5,
        "Processor seconds of outer steps in each training of the estimators study.",
        group="study",
        low=0.001,
        high=1e9,
    )
    num_test_learners: int = field(
        5,
        "Fresh learners of each run. Comparisons follow each of them step by step.",
        group="run",
        low=2,
        high=10_000,
        may_change=True,
    )

    def __post_init__(self):
        super().__post_init__()
        replica_flags.refuse_workers(self, "bin/study")

    @property
    def run_folder(self) -> str:
        """The workdir, or runs/DATASET-STUDY."""
        return (
            self.workdir
            or f"runs/{dataset_flags.short_name(self.dataset)}-{self.study}"
        )

    def base(self) -> TrainingConfig:
        """The run that is varied."""
        names = [f.name for f in dataclasses.fields(TrainingConfig)]
        return TrainingConfig(**{name: getattr(self, name) for name in names})


# Name -> flags of a run of its size.
BENCHMARK_CASES = {
    "digits": (),
    "mnist": ("--flagfile=mnist_cpu.flags", "--num_inner_steps=8"),
    "cifar10": ("--flagfile=cifar10_cpu.flags", "--num_inner_steps=2"),
}


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig(TrainingConfig):
    """The run whose outer step is timed, and how."""

    num_repeats: int = field(
        5, "Times that each is timed.", group="benchmark", low=1, high=1000
    )
    product_size: int = field(
        2048,
        "Rows of the square matrices whose product is the limit.",
        group="benchmark",
        low=1,
        high=2**15,
    )
    cases: str = field(
        "",
        "Runs that are timed in place of that of the other flags, each in a process of "
        f"its own, joined by commas: {', '.join(BENCHMARK_CASES)}.",
        group="benchmark",
    )
    against: str = field(
        "",
        "Libraries that the outer step of distilled pixels is timed in beside this "
        f"one, written out, joined by commas: {', '.join(LIBRARIES)}. They have to be "
        "installed.",
        group="benchmark",
    )
    noise_learners: int = field(
        0,
        "Fresh learners whose meta-gradients are compared, to estimate what more "
        "learners a step and more workers would bring; 0 for no estimate. The teacher "
        "is that of the last checkpoint in --workdir, or one that has learned nothing.",
        group="benchmark",
        low=0,
        high=10_000,
    )
    json: str = field(
        "", "A file for all that was measured, as JSON.", group="benchmark"
    )

    def __post_init__(self):
        super().__post_init__()
        replica_flags.refuse_workers(self, "bin/benchmark")
        if self.estimator != "backpropagation":
            raise UserError(
                f"--estimator={self.estimator} is for bin/train and bin/study: "
                "bin/benchmark counts the operations of backpropagation; drop the flag"
            )
        for name, given, known in (
            ("cases", self.case_names, BENCHMARK_CASES),
            ("against", self.libraries, LIBRARIES),
        ):
            if unknown := set(given) - set(known):
                raise UserError(
                    f"--{name}={getattr(self, name)} names "
                    f"{', '.join(sorted(unknown))}: give some of {', '.join(known)}"
                )
        if 0 < self.noise_learners < 3:
            raise UserError(
                f"--noise_learners={self.noise_learners} is too few for an error of "
                "the estimate: give 3 or more, or 0"
            )
        for name in self.libraries:
            if importlib.util.find_spec(name) is None:
                raise UserError(
                    f"--against={self.against}: {name} is not installed: install it, "
                    "or leave it out"
                )

    @property
    def case_names(self) -> tuple[str, ...]:
        """Keys of `BENCHMARK_CASES`."""
        return tuple(name for name in self.cases.split(",") if name)

    @property
    def libraries(self) -> tuple[str, ...]:
        """Keys of `LIBRARIES`."""
        return tuple(name for name in self.against.split(",") if name)
