"""Published accuracies of architectures, and what proxies have said of them.

    {data set: {architecture: {"val_accuracy": percent, proxy: score, ...}}}

or, for a proxy, {"score": score, "time": seconds}, as in the files of NASLib's
zero-cost benchmark (Krishnakumar et al., 2022).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from gtn_tf.errors import UserError
from nas.reporting.correlation import Scores
from nas.spaces.base import SearchSpace
from nas.spaces.cells import quoted

TRUTH = "val_accuracy"
_LAYOUT = (
    '{data set: {architecture: {"val_accuracy": percent, proxy: score or '
    '{"score": score, "time": seconds}}}}'
)


def read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """A file's values by data set and architecture.

    Raises:
      UserError: a file that cannot be read or has another layout.
    """
    try:
        content = json.loads(path.read_text())
        for architectures in content.values():
            for values in architectures.values():
                if not (_is_number(values[TRUTH]) and math.isfinite(values[TRUTH])):
                    raise ValueError(f"{TRUTH} is {values[TRUTH]!r}")
    except (
        OSError,
        ValueError,
        AttributeError,
        KeyError,
        TypeError,
        RecursionError,
    ) as error:
        raise UserError(
            f"--reference={path} is no file of published accuracies ({error!r}): give "
            f"one of {_LAYOUT}"
        ) from None
    return content


def space_of(
    content: dict[str, dict], path: Path, spaces: list[SearchSpace]
) -> SearchSpace:
    """Which of these spaces a file's architectures are of: that of the first one.

    Raises:
      UserError: none of them.
    """
    texts = [text for architectures in content.values() for text in architectures]
    for space in spaces:
        try:
            space.decode(texts[0])
        except (UserError, IndexError):
            continue
        return space
    raise UserError(
        f"--reference={path} has {quoted(texts[0]) if texts else 'no architecture'}, "
        f"and the searches are of {', '.join(space.name for space in spaces)}: give a "
        "file or searches of the same space"
    )


def keys_of(
    architectures: dict[str, dict[str, Any]], path: Path, space: SearchSpace
) -> dict[str, str]:
    """The key of each of a file's architectures.

    Raises:
      UserError: an architecture of another space.
    """
    return {text: _key(text, path, space) for text in architectures}


def _key(text: str, path: Path, space: SearchSpace) -> str:
    try:
        return space.key(space.decode(text))
    except UserError:
        raise UserError(
            f"--reference={path}: {quoted(text)} is no architecture of {space.name}: "
            "remove it, or give another file"
        ) from None


def scores(
    architectures: dict[str, dict[str, Any]], keys: dict[str, str]
) -> dict[str, Scores]:
    """Published scores by name, `TRUTH` among them.

    A mean where two texts have one key. What only some of the architectures have is
    left out.

    Args:
      keys: those of the architectures.
    """
    values = [(keys[text], _numbers(each)) for text, each in architectures.items()]
    names = dict.fromkeys(name for _, each in values for name in each)
    return {
        name: _as_scores([(key, *each[name]) for key, each in values])
        for name in names
        if all(name in each for _, each in values)
    }


def _numbers(values: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Score and seconds by name; what has no score is no proxy."""
    found = {}
    for name, value in values.items():
        both = value if isinstance(value, dict) else {"score": value}
        score, seconds = both.get("score"), both.get("time", math.nan)
        if _is_number(score) and _is_number(seconds):
            found[name] = float(score), float(seconds)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_scores(found: list[tuple[str, float, float]]) -> Scores:
    """Of key, score and seconds; a score that is not finite becomes the least, as of
    a network that diverged."""
    finite = [score for _, score, _ in found if math.isfinite(score)]
    least = min(finite, default=0.0) - 1
    by_key: dict[str, list[tuple[float, float]]] = {}
    for key, score, seconds in found:
        kept = score if math.isfinite(score) else least
        by_key.setdefault(key, []).append((kept, seconds))
    means = {key: np.mean(pairs, axis=0).tolist() for key, pairs in by_key.items()}
    return Scores(
        {key: score for key, (score, _) in means.items()},
        {key: seconds for key, (_, seconds) in means.items() if seconds >= 0},
        len(found) - len(finite),
    )
