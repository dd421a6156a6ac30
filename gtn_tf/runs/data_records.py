"""On which images a run was trained: data.json in its folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gtn_tf.data.dataset import Dataset
from gtn_tf.errors import UserError
from gtn_tf.runs import files

_FILE = "data.json"


def record(folder: Path, dataset: Dataset) -> None:
    """Writes which images a run is trained on, or checks that they still are these.

    Raises:
      UserError: the run in this folder began with other images.
    """
    change = _change(folder, dataset)
    if change:
        raise UserError(
            f"--workdir={folder} holds a run that was trained on other images "
            f"({change}): give the images of then, or another --workdir"
        )
    files.write_text_atomically(
        folder / _FILE, json.dumps(_describe(dataset), indent=2) + "\n"
    )


def warn_of_change(folder: Path, dataset: Dataset) -> None:
    """Says on stderr where the images are others than those that a run has seen."""
    change = _change(folder, dataset)
    if change:
        print(
            f"warning: {folder} was trained on other images of {dataset.name!r} than "
            f"those that are there now ({change}): it may have seen the ones that it "
            "is measured on",
            file=sys.stderr,
        )


def _describe(dataset: Dataset) -> dict:
    return {
        "digest": dataset.digest,
        "num_images": dataset.num_examples,
        "class_names": list(dataset.class_names),
    }


def _change(folder: Path, dataset: Dataset) -> str:
    """What has changed, in words; "" for nothing, or where nothing is known."""
    try:
        then = json.loads((folder / _FILE).read_text())
    except (OSError, ValueError):  # of a run before there were such records
        return ""
    now = _describe(dataset)
    if then.get("digest") == now["digest"]:
        return ""
    told = [
        f"{key.replace('_', ' ')} {then.get(key)} then, {now[key]} now"
        for key in ("num_images", "class_names")
        if then.get(key) != now[key]
    ]
    return "; ".join(told) or "as many, with other pixels or labels"
