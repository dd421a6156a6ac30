"""The configuration of a search; every field is a flag of bin/search."""

from __future__ import annotations

import dataclasses

from gtn_tf.data.dataset import Dataset
from gtn_tf.errors import UserError
from gtn_tf.runs import fields
from gtn_tf.runs.fields import field
from nas.evaluations.registry import EVALUATIONS
from nas.search.oracles import ORACLES
from nas.spaces.base import SearchSpace, Size
from nas.spaces.registry import SPACES


@dataclasses.dataclass(frozen=True)
class SearchConfig(fields.Config):
    """What is searched, how it is judged, and where. The defaults are digits."""

    workdir: str = field(
        "",
        "folder of the search; by default runs/search-DATASET-EVALUATION-HASH, where "
        "the hash stands for the configuration",
        may_change=True,
    )
    space: str = field(
        "nao",
        "the space whose architectures are searched",
        choices=SPACES,
        before="nao",
    )
    evaluation: str = field(
        "teacher",
        "what judges an architecture: the proxy on teacher data, another proxy, the "
        "search evaluation, or the final evaluation on the test split",
        choices=EVALUATIONS,
    )
    teacher: str = field(
        "",
        "exported folder of the teacher; where none is given for digits, one "
        "that is trained in minutes if it is not there",
    )
    oracle: str = field("random", "what proposes architectures", choices=ORACLES)
    architectures: str = field(
        "",
        "file with an architecture in each line, judged in this order in place of an "
        "oracle's",
        may_change=True,
    )
    dataset: str = field("digits", "as for bin/train")
    data_dir: str = field("", "folder with the original files", may_change=True)
    seed: int = field(0, "of the proposals", low=0, high=2**31 - 2)
    evaluation_seed: int = field(
        0, "of the networks' weights and data order", low=0, high=2**31 - 1
    )
    num_nodes: int = field(
        5, "B, nodes of a cell of --space=nao (paper: 5)", low=1, high=8
    )
    num_cells: int = field(
        1,
        "N, cells in a row at one image size (paper: 3, final 6; nasbench201: 5; "
        "darts: 2)",
        low=1,
        high=100,
    )
    num_filters: int = field(
        8,
        "F, filters of the first cells (paper: 32, final 36 or 128; nasbench201: 16; "
        "darts: 32)",
        low=2,
        high=10_000,
    )
    max_trials: int = field(
        20, "architectures in the end (paper: 800)", low=1, high=10**7, may_change=True
    )
    time_limit_seconds: float = field(
        0,
        "begin no evaluation after so many; 0: no limit",
        low=0,
        high=1e9,
        may_change=True,
    )
    num_steps: int = field(
        0,
        "steps of the proxies that train in few on real data; 0: the teacher's T, or "
        "128 (paper)",
        low=0,
        high=10**7,
    )
    num_validation_images: int = field(
        5000, "that few-step learners are scored on, at most", low=1, high=10**9
    )
    num_epochs: float = field(
        20,
        "of training on real data (paper: 100 for search, 600 for final evaluation)",
        low=1e-3,
        high=1e6,
    )
    early_epochs: float = field(
        0,
        "after which early-stopped training is; 0: a tenth of --num_epochs",
        low=0,
        high=1e6,
    )
    batch_size: int = field(128, "on real data (NAO: 128)", low=1, high=100_000)
    learning_rate: float = field(
        0.025, "on real data, at the start (NAO: 0.025)", low=1e-8, high=100
    )
    weight_decay: float = field(3e-4, "on real data (NAO: 3e-4)", low=0, high=1)
    cutout: int = field(
        0,
        "side of the square cut out of real images, in pixels (NAO: 16)",
        low=0,
        high=10_000,
    )
    role: str = field(
        "local",
        "all in one process, or chief (proposes, keeps the journal) and workers",
        choices=("local", "chief", "worker"),
        may_change=True,
    )
    address: str = field("127.0.0.1:8000", "HOST:PORT of the chief", may_change=True)
    worker: str = field(
        "worker0", "this worker's name, each another one", may_change=True
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
        if self.space != "nao" and self.num_nodes != SearchConfig.num_nodes:
            raise UserError(
                f"--num_nodes={self.num_nodes} is of NAO's cells, and --space="
                f"{self.space} has none: leave it out, or give --space=nao"
            )

    @property
    def run_folder(self) -> str:
        """The workdir, or the folder that stands for this configuration."""
        if self.workdir:
            return self.workdir
        name = f"search-{self.dataset.replace('/', '_')}-{self.evaluation}"
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
