"""Which state of this library has made a page."""

from __future__ import annotations

import subprocess
from pathlib import Path

import gtn_tf


def version(package: Path = Path(gtn_tf.__file__).parent) -> str:
    """The version, and the commit where the package is in a checkout of its own.

    "with changes" are those of tracked files since that commit. Without git, or where
    git does not know the package's files, it is the version alone.
    """
    told = f"gtn_tf {gtn_tf.__version__}"
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(package, "rev-parse", "--short=12", "HEAD")
        changes = _git(package, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return told
    return f"{told}, commit {commit}{' with changes' if changes else ''}"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()
