"""What flags say of a data set: names, paths, the size of images."""

from __future__ import annotations

import re
from pathlib import Path

from gtn_tf.errors import UserError

OWN = ("folder", "npz")  # sources of one's own data, as in folder:PATH
IN_PYTHON = "python"  # the source of what no command can load
ENVIRONMENT = "gym"  # the source of environments, as in gym:CartPole-v1
MIN_SIDE = 4  # pixels: what the generator and learners halve twice


def short_name(name: str) -> str:
    """What files of runs on a data set are called after: without folders and signs."""
    source, _, path = name.partition(":")
    if source == ENVIRONMENT:
        return re.sub(r"[^\w.-]+", "_", path) or source
    if source in (*OWN, IN_PYTHON):
        path = path.removesuffix(".npz") if source == "npz" else path
        return re.sub(r"[^\w.-]+", "_", Path(path).name) or source
    return name.replace("/", "_")


def environment(name: str) -> str:
    """The environment that a data set's name stands for; "" where it is images."""
    source, _, environment_name = name.partition(":")
    return environment_name if source == ENVIRONMENT else ""


def with_whole_path(name: str, data_dir: str) -> str:
    """The name of a data set, found from other working directories too.

    Paths of one's own data become absolute, unless they are relative to data_dir.
    """
    source, _, path = name.partition(":")
    if source not in OWN or not path or data_dir:
        return name
    return f"{source}:{Path(path).expanduser().absolute()}"


def without_folders(name: str) -> str:
    """The name of a data set as others may read it: of a path, its last part."""
    source, _, path = name.partition(":")
    return f"{source}:{Path(path).name}" if source in OWN else name


def is_same(name: str, other: str) -> bool:
    """Whether two names can stand for one data set, which may have moved."""
    sources = [text.partition(":")[0] for text in (name, other)]
    if sources[0] in OWN:
        return sources[0] == sources[1] and short_name(name) == short_name(other)
    return name == other


def parse_image_size(text: str) -> tuple[int, int] | None:
    """(height, width) that "N" or "HxW" stands for; None for "".

    Raises:
      UserError: anything else.
    """
    if not text:
        return None
    matched = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text, re.ASCII)
    sides = [int(side or matched[1]) for side in matched.groups()] if matched else []
    if not sides or min(sides) < MIN_SIDE:
        raise UserError(
            f"--image_size={text} is no size: give a side from {MIN_SIDE} to 9999 "
            "pixels, as in 32, or height and width, as in 24x32"
        )
    height, width = sides
    return height, width
