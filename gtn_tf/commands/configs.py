"""The flags of bin/evaluate, bin/export, bin/study and bin/benchmark.

They stand by themselves because --help does without what the commands need.
"""

from __future__ import annotations

import dataclasses

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.evaluation.registry import IMAGE_MEASURES, MEASURES
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
    json: str = field(
        "", "A file for all that was measured, as JSON.", group="benchmark"
    )

    def __post_init__(self):
        super().__post_init__()
        replica_flags.refuse_workers(self, "bin/benchmark")
