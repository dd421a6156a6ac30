"""The configuration of a search; every field is a flag of bin/search."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.runs import fields
from gtn_tf.runs.fields import field
from nas.evaluations.registry import EVALUATIONS
from nas.search.registry import ORACLES, TUNER_ORACLES
from nas.spaces.registry import SPACES
from nas.spaces.size import Size

if TYPE_CHECKING:  # --help does without what these import
    from gtn_tf.data.dataset import Dataset
    from nas.spaces.base import SearchSpace

# Flags that say nothing where a hypermodel is searched.
_OF_SPACES = (
    *("space", "evaluation", "architectures", "time_limit_seconds"),
    *("num_nodes", "num_cells", "num_filters", "num_steps"),
    *(
        "num_networks",
        "early_loss_weight",
        "dismiss_after",
        "num_shared",
        "shared",
        "num_epochs",
        "early_epochs",
        "batch_size",
        "learning_rate",
        "weight_decay",
    ),
    "cutout",
)
SHARED = ("weights", "hypernetwork")
_OF_HYPERMODELS = ("num_finalists", "finalist_epochs", "halving_factor")


@dataclasses.dataclass(frozen=True)
class SearchConfig(fields.Config):
    """What is searched, how it is judged, and where. The defaults are digits."""

    before: ClassVar[dict[str, Any]] = {
        "space": "nao",
        "hypermodel": "",
        "num_networks": 1,
        "image_size": "",
        "dismiss_after": 0,
        "num_shared": 0,
        "shared": "weights",
        "early_loss_weight": 0.0,
    }

    space: str = field(
        "nao",
        "The space whose architectures are searched.",
        group="search",
        choices=SPACES,
    )
    hypermodel: str = field(
        "",
        "MODULE:NAME of a keras-tuner HyperModel, or of a function build(hp), whose "
        "models are searched in place of --space. The module may be in the working "
        "directory.",
        group="search",
    )
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
        "The folder with the original files, or to which PATH and FILE are relative. "
        "Where it has none, tensorflow-datasets is asked for the data set.",
        group="data",
        may_change=True,
    )
    image_size: str = field(
        "",
        "The size that images are resized to, N or HxW. By default they are as the "
        "teacher's, or as they are without one.",
        group="data",
    )
    num_nodes: int = field(
        5,
        "Nodes B of one of NAO's cells. The paper has 5.",
        group="networks",
        low=1,
        high=8,
    )
    num_cells: int = field(
        1,
        "N, the cells in a row at one image size. The paper has 3, and 6 in the final "
        "evaluation; nasbench201 has 5 and darts 2.",
        group="networks",
        low=1,
        high=100,
    )
    num_filters: int = field(
        8,
        "Filters F of the first cells. The paper has 32, and 36 or 128 in the final "
        "evaluation; nasbench201 has 16 and darts 32.",
        group="networks",
        low=2,
        high=10_000,
    )
    teacher: str = field(
        "",
        "The exported folder of the teacher, or the name of one that comes with the "
        "package. Where none is given, it is that of the data set; for cells on "
        "digits, one is trained in minutes if it is not there.",
        group="few steps",
    )
    num_networks: int = field(
        1,
        "Networks of an architecture that the teacher teaches, of the seeds "
        "--evaluation_seed, the next one, ...; the score is their mean accuracy.",
        group="few steps",
        low=1,
        high=1000,
    )
    early_loss_weight: float = field(
        0.2,
        "What a network's early loss weighs in its score beside its accuracy. With 0, "
        "the score is the accuracy alone, as in the paper.",
        group="few steps",
        low=0,
        high=1000,
    )
    dismiss_after: int = field(
        0,
        "K of the teacher's T steps after which an architecture is dismissed if its "
        "loss is above the median of those judged before. With 0, none is.",
        group="few steps",
        low=0,
        high=10**7,
    )
    num_shared: int = field(
        0,
        "Architectures that the teacher teaches before the search, from whose weights "
        "all others begin, as --shared says. With 0, all begin with fresh ones.",
        group="few steps",
        low=0,
        high=10**6,
    )
    shared: str = field(
        "weights",
        "What --num_shared architectures leave to the others: weights, those of the "
        "last one that had the same operation at the same place; or hypernetwork, a "
        "map from architectures to weights that was trained on them.",
        group="few steps",
        choices=SHARED,
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
    num_finalists: int = field(
        0,
        "The best trials of a --hypermodel that train on real data, by its own fit and "
        "by successive halving. With 0, none do.",
        group="finalists of a hypermodel",
        low=0,
        high=10**7,
        may_change=True,
    )
    finalist_epochs: int = field(
        1,
        "Epochs that all finalists train for.",
        group="finalists of a hypermodel",
        low=1,
        high=10**6,
        may_change=True,
    )
    halving_factor: int = field(
        3,
        "One finalist in so many trains on, until it has trained for so many times as "
        "many epochs, and of these again, down to one.",
        group="finalists of a hypermodel",
        low=2,
        high=10**6,
        may_change=True,
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
        dataset_flags.parse_image_size(self.image_size)
        whole = dataset_flags.with_whole_path(self.dataset, self.data_dir)
        object.__setattr__(self, "dataset", whole)
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
        if self.space != "nao" and self.num_nodes != SearchConfig.num_nodes:
            raise UserError(
                f"--num_nodes={self.num_nodes} is of NAO's cells, and --space="
                f"{self.space} has none: leave it out, or give --space=nao"
            )
        if self.hypermodel:
            self._check_goes_with_hypermodel()
        else:
            self._check_are_defaults(_OF_HYPERMODELS, f"--space={self.space}")
            if self.dismiss_after:
                self._check_can_dismiss()
            if self.num_shared:
                self._check_can_share()
            elif self.shared != SearchConfig.shared:
                raise UserError(
                    f"--shared={self.shared} has no architectures to come from: give "
                    "--num_shared=16, or leave it out"
                )

    def _check_can_dismiss(self) -> None:
        told = f"--dismiss_after={self.dismiss_after}"
        if self.dismiss_after < 2:
            raise UserError(f"{told} is too early to tell: give 2 steps or more")
        if self.evaluation != "teacher":
            raise UserError(
                f"{told} is of the teacher's steps, and --evaluation={self.evaluation} "
                "has none: leave it out, or give --evaluation=teacher"
            )
        if self.role != "local":
            raise UserError(
                f"{told} does not go with --role={self.role}: who is dismissed would "
                "depend on which worker ends first; leave it out, or search in one "
                "process"
            )

    def _check_can_share(self) -> None:
        told = f"--num_shared={self.num_shared}"
        if self.evaluation != "teacher":
            raise UserError(
                f"{told} is of networks that the teacher teaches, and --evaluation="
                f"{self.evaluation} has none: leave it out, or give "
                "--evaluation=teacher"
            )
        if not SPACES[self.space].has_places:
            able = [name for name in SPACES if SPACES[name].has_places]
            raise UserError(
                f"{told} needs a space that says where its layers stand, and --space="
                f"{self.space} does not: leave it out, or give --space={able[0]}"
            )

    def _check_goes_with_hypermodel(self) -> None:
        if self.oracle not in TUNER_ORACLES:
            raise UserError(
                f"--oracle={self.oracle} cannot search a --hypermodel: give one of "
                f"{', '.join(TUNER_ORACLES)}"
            )
        self._check_are_defaults(_OF_SPACES, f"--hypermodel={self.hypermodel}")

    def _check_are_defaults(self, names: tuple[str, ...], other: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value != getattr(SearchConfig, name):
                raise UserError(
                    f"--{name}={value} does not go with {other}: leave one of them out"
                )

    @property
    def run_folder(self) -> str:
        """The workdir, or the folder that stands for this configuration."""
        if self.workdir:
            return self.workdir
        name = f"search-{dataset_flags.short_name(self.dataset)}-{self.evaluation}"
        return f"runs/{name}-{self.digest}"

    def search_space(self) -> SearchSpace:
        """The space whose architectures are searched."""
        return SPACES[self.space].of_search(self)

    def size(self, dataset: Dataset) -> Size:
        """How large networks are built for a data set."""
        return Size(
            num_cells=self.num_cells,
            num_filters=self.num_filters,
            image_shape=dataset.image_shape,
            num_classes=dataset.num_classes,
        )
