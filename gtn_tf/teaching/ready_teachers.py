"""The teachers that come with the package, by name.

gtn_tf/ready/NAME/
  teacher/  a SavedModel, see `saved_models`
  card.md   what it teaches
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "ready"


def names() -> list[str]:
    """What is there, in alphabetical order."""
    return sorted(path.parent.parent.name for path in FOLDER.glob(_FILE))


def folder(name: str) -> Path | None:
    """The folder of the teacher with this name; None where there is none."""
    return FOLDER / name / "teacher" if name in names() else None


_FILE = "*/teacher/saved_model.pb"
