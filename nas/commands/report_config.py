"""The flags of bin/report."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from gtn_tf.errors import UserError
from gtn_tf.runs import fields
from nas.evaluations.registry import EVALUATIONS


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Which runs, and where the page goes."""

    folders: str = fields.field(
        "",
        "The folders of searches and training runs, joined by commas. "
        f"{fields.COMMAS} They can be given as arguments as well, each by itself.",
    )
    output: str = fields.field("", "The folder for the page and its figures.")
    reference: str = fields.field(
        "search",
        "The evaluation that proxies are compared with, by name (where its searches "
        "differ in a flag, each gets a table), or a JSON file of published accuracies, "
        "as NASLib's zero-cost benchmark has them.",
    )
    combine: str = fields.field(
        "",
        "The cheap evaluations whose ranks are averaged, beside each with a teacher, "
        "as naswot+synflow,naswot+params-grad_norm. One behind a minus counts the "
        "other way round. A published one takes the place of one that no search has. "
        "By default they are those of the space: for nasbench201 "
        "params+jacov+synflow, for darts naswot+params-grad_norm, for others "
        "naswot+synflow. Only with a file as --reference.",
    )

    def __post_init__(self):
        fields.check(self)
        if not self.folders:
            raise UserError(
                "no run is given: give the folders of searches (bin/search) and "
                "training runs (bin/train)"
            )
        if not self.output:
            raise UserError("--output is not given: give a folder for the page")
        names = [name for name in EVALUATIONS if name != "final"]
        is_file = Path(self.reference).expanduser().is_file()
        if self.reference not in names and not is_file:
            raise UserError(
                f"--reference={self.reference} is unknown: give one of "
                f"{', '.join(names)}, or an existing file of published accuracies"
            )
        for name in itertools.chain(*self.groups):
            if name.removeprefix("-") not in names:
                raise UserError(
                    f"--combine={self.combine} names {name or 'nothing'}: give some "
                    f"of {', '.join(names)}, joined by + or -"
                )

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of evaluations that are averaged; -NAME counts the other way round.
        None are those of the space."""
        if not self.combine:
            return ()
        return tuple(
            tuple(group.replace("-", "+-").removeprefix("+").split("+"))
            for group in self.combine.split(",")
        )
