"""The configuration of a search; every field is a flag of bin/search."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gtn_tf
from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.data.dataset import Dataset
from gtn_tf.errors import UserError
from gtn_tf.runs import fields
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.fields import field
from gtn_tf.teaching.loaded_teacher import LoadedTeacher
from nas.evaluations.base import Procedure, Setting
from nas.evaluations.registry import EVALUATIONS
from nas.search.oracles import ORACLES

# Cells make deep convolutional networks: the teacher has learned to teach a small one.
DIGITS_TEACHER = TrainingConfig(
    learner="cifar10:16-32-32-32-32",
    leave_out="",
    vary="none",
    inner_optimizer="sgd",
    inner_learning_rate=0.1,
    inner_decay=1.0,
    num_inner_steps=20,
    warm_start_steps=0,
    num_outer_steps=200,
    outer_learning_rate=0.01,
    compare_with_real=False,
)


@dataclasses.dataclass(frozen=True)
class SearchConfig(fields.Config):
    """What is searched, how it is judged, and where. The defaults are digits."""

    evaluation: str = field(
        "teacher",
        "What judges an architecture: teacher, a few steps on its data; real_steps, "
        "as many on real data; another proxy; search, the search evaluation; or "
        "final, the evaluation on the test split.",
        group="search",
        choices=EVALUATIONS,
    )
    oracle: str = field(
        "random", "What proposes architectures.", group="search", choices=ORACLES
    )
    architectures: str = field(
        "",
        "A file with an architecture in each line. They are judged in this order, in "
        "place of an oracle's proposals.",
        group="search",
        may_change=True,
    )
    max_trials: int = field(
        20,
        "Architectures that are judged in all. The paper has 800.",
        group="search",
        low=1,
        high=10**7,
        may_change=True,
    )
    time_limit_seconds: float = field(
        0,
        "Seconds after which no evaluation begins. With 0, there is no limit.",
        group="search",
        low=0,
        high=1e9,
        may_change=True,
    )
    seed: int = field(
        0, "The seed of the proposals.", group="search", low=0, high=2**31 - 2
    )
    evaluation_seed: int = field(
        0,
        "The seed of the networks' weights and of the data order.",
        group="search",
        low=0,
        high=2**31 - 1,
    )
    dataset: str = field(
        "digits", "The images, by name as for bin/train.", group="data"
    )
    data_dir: str = field(
        "",
        "The folder with the original files. Where it has none, tensorflow-datasets "
        "is asked for the data set.",
        group="data",
        may_change=True,
    )
    num_nodes: int = field(
        5, "Nodes B of a cell. The paper has 5.", group="networks", low=1, high=8
    )
    num_cells: int = field(
        1,
        "N; a network has 3N + 2 cells. The paper has N = 3, and 6 in the final "
        "evaluation.",
        group="networks",
        low=1,
        high=100,
    )
    num_filters: int = field(
        8,
        "Filters F of the first cells. The paper has 32, and 36 or 128 in the final "
        "evaluation.",
        group="networks",
        low=2,
        high=10_000,
    )
    teacher: str = field(
        "",
        "The exported folder of the teacher. Where none is given for digits, one is "
        "trained in minutes if it is not there.",
        group="few steps",
    )
    num_steps: int = field(
        0,
        "Steps of the proxies that train in few steps on real data. With 0, as many as "
        "the teacher's T, or 128 (the paper) without a teacher.",
        group="few steps",
        low=0,
        high=10**7,
    )
    num_validation_images: int = field(
        5000,
        "Images that learners of few steps are scored on, at most.",
        group="few steps",
        low=1,
        high=10**9,
    )
    num_epochs: float = field(
        20,
        "Epochs of training on real data. The paper has 100 for search and 600 for the "
        "final evaluation.",
        group="training on real data",
        low=1e-3,
        high=1e6,
    )
    early_epochs: float = field(
        0,
        "Epochs after which early_stopped stops. With 0, a tenth of --num_epochs.",
        group="training on real data",
        low=0,
        high=1e6,
    )
    batch_size: int = field(
        128,
        "Images in a batch. NAO has 128.",
        group="training on real data",
        low=1,
        high=100_000,
    )
    learning_rate: float = field(
        0.025,
        "The learning rate at the start. NAO has 0.025.",
        group="training on real data",
        low=1e-8,
        high=100,
    )
    weight_decay: float = field(
        3e-4,
        "The weight decay. NAO has 3e-4.",
        group="training on real data",
        low=0,
        high=1,
    )
    cutout: int = field(
        0,
        "The side of the square that is cut out of the images, in pixels. NAO has 16.",
        group="training on real data",
        low=0,
        high=10_000,
    )
    workdir: str = field(
        "",
        "The folder of the search. By default it is "
        "runs/search-DATASET-EVALUATION-HASH, where the hash stands for the "
        "configuration.",
        group="run",
        may_change=True,
    )
    role: str = field(
        "local",
        "Which part this process has: local does all; a chief proposes and keeps the "
        "journal; a worker judges.",
        group="run",
        choices=("local", "chief", "worker"),
        may_change=True,
    )
    address: str = field(
        "127.0.0.1:8000", "HOST:PORT of the chief.", group="run", may_change=True
    )
    worker: str = field(
        "worker0",
        "This worker's name. Each worker needs another one.",
        group="run",
        may_change=True,
    )

    def __post_init__(self):
        fields.check(self)
        if self.role == "worker" and self.worker in ("", "chief"):
            raise UserError(
                f"--worker={self.worker} is no name for a worker: give each another "
                "one, as in worker0"
            )
        if self.early_epochs > self.num_epochs:
            raise UserError(
                f"--early_epochs={self.early_epochs:g} is more than "
                f"--num_epochs={self.num_epochs:g}: give fewer"
            )

    @property
    def run_folder(self) -> str:
        """The workdir, or the folder that stands for this configuration."""
        if self.workdir:
            return self.workdir
        name = f"search-{self.dataset.replace('/', '_')}-{self.evaluation}"
        return f"runs/{name}-{self.digest}"


def build_setting(config: SearchConfig) -> Setting:
    """Data, teacher and training procedure of a configuration.

    Raises:
      UserError: data or a teacher that cannot be used, or do not suit each other.
    """
    teacher = _load_teacher(config)
    steps = teacher.num_inner_steps if teacher else 128
    # The teacher's own splits: it has seen the images that it was trained on.
    split_seed = teacher.description["flags"]["seed"] if teacher else 0
    dataset = loaders.load(config.dataset, config.data_dir, split_seed)
    if teacher:
        _check_suits(teacher, config, dataset)
    return Setting(
        dataset=dataset,
        teacher=teacher,
        num_cells=config.num_cells,
        num_filters=config.num_filters,
        procedure=Procedure(
            num_epochs=config.num_epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            cutout=config.cutout,
        ),
        num_steps=config.num_steps or steps,
        early_epochs=config.early_epochs or config.num_epochs / 10,
        num_validation_images=config.num_validation_images,
    )


def _load_teacher(config: SearchConfig) -> LoadedTeacher | None:
    folder = config.teacher
    if not folder and config.evaluation == "teacher":
        if config.dataset != "digits":
            raise UserError(
                f"--evaluation=teacher on {config.dataset} needs --teacher=FOLDER: "
                "train one with bin/train"
            )
        folder = DIGITS_TEACHER.run_folder
        if not (Path(folder) / "results.json").is_file():
            train.run(DIGITS_TEACHER)
    return gtn_tf.load_teacher(folder) if folder else None


def _check_suits(
    teacher: LoadedTeacher, config: SearchConfig, dataset: Dataset
) -> None:
    its_dataset = teacher.description["flags"]["dataset"]
    ours = (config.dataset, dataset.image_shape, dataset.num_classes)
    its = (its_dataset, teacher.image_shape, len(teacher.class_names))
    if ours != its:
        raise UserError(
            f"--teacher={config.teacher} was trained for {its[0]}, images of {its[1]} "
            f"and {its[2]} classes; --dataset={ours[0]} has {ours[1]} and {ours[2]}: "
            "give a teacher for it"
        )
