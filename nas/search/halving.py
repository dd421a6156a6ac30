"""Successive halving: all train for a few epochs, the best of them for more.

Who goes on is decided here, and what was measured is kept; how a trial trains is the
tuner's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gtn_tf.errors import UserError
from gtn_tf.runs import files

FILE = "halving.json"  # of a tuner's folder


class Rung(NamedTuple):
    """Trials that train equally long."""

    count: int
    epochs: int  # from their beginning


class Training(NamedTuple):
    """A trial at the end of a rung."""

    trial_id: str
    epochs: int  # from its beginning
    accuracy: float
    seconds: float  # of this rung


def check(count: int, epochs: int, factor: int) -> None:
    """Refuses numbers that make no rungs.

    Raises:
      UserError: with what is allowed.
    """
    for name, value in (("count", count), ("epochs", epochs)):
        if value < 1:
            raise UserError(f"{name}={value} trains nothing: give 1 or more")
    if factor < 2:
        raise UserError(f"factor={factor} leaves nobody out: give 2 or more")


def rungs(count: int, epochs: int, factor: int) -> list[Rung]:
    """The rungs, first to last: 9, 1, 3 -> (9, 1), (3, 3), (1, 9).

    Args:
      count: of trials on the first rung.
      epochs: of the first rung.
      factor: one in so many goes on to the next rung, and has trained so many times as
        long at its end.
    """
    found = []
    while count:
        found.append(Rung(count, epochs))
        count, epochs = count // factor, epochs * factor
    return found


class Record:
    """Trainings in the order of their ends, each on disk at once.

    Args:
      path: of a JSON file.
      asked: what all trainings of a file have in common, in JSON's own types.

    Raises:
      UserError: a file of trainings that do not compare, or that is none of these.
    """

    def __init__(self, path: Path, asked: dict):
        self._path = path
        self._asked = asked
        self.trainings: list[Training] = []
        if path.is_file():
            there, self.trainings = read(path)
            _check_same(path, there, asked)

    def find(self, trial_id: str, epochs: int) -> Training | None:
        """What was measured of a trial after so many epochs."""
        for training in self.trainings:
            if (training.trial_id, training.epochs) == (trial_id, epochs):
                return training
        return None

    def append(self, training: Training) -> None:
        """Adds a training, on disk when this returns."""
        self.trainings.append(training)
        trainings = [each._asdict() for each in self.trainings]
        content = {"asked": self._asked, "trainings": trainings}
        files.write_text_atomically(self._path, json.dumps(content, indent=1) + "\n")


def read(path: Path) -> tuple[dict, list[Training]]:
    """What a record's trainings have in common, and the trainings.

    Raises:
      UserError: a file that is no record.
    """
    try:
        content = json.loads(path.read_text())
        trainings = [Training(**each) for each in content["trainings"]]
        return dict(content["asked"]), trainings
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} is no record of a halving ({error!r}): remove it, and its "
            "trainings are done again"
        ) from None


def _check_same(path: Path, there: dict, asked: dict) -> None:
    different = [
        f"{name}={there.get(name)} there, {asked.get(name)} now"
        for name in sorted({*there, *asked})
        if there.get(name) != asked.get(name)
    ]
    if different:
        raise UserError(
            f"{path} holds another halving ({'; '.join(different)}): give the same "
            "again, or remove the file"
        )


def climb(
    trial_ids: list[str],
    plan: list[Rung],
    record: Record,
    train: Callable[[str, int, int], float],
) -> list[Training]:
    """Trains what the record does not have, rung by rung.

    Args:
      trial_ids: best first, by what is known before any training.
      plan: as `rungs` makes it, for no more trials than there are.
      train: (trial, epochs it has, epochs it shall have) -> accuracy.

    Returns:
      Each trial's last training: of those who trained longest first, and of these
      the most accurate first.
    """
    last: list[Training] = []
    epochs_before = 0
    for rung in plan:
        on_rung = []
        for trial_id in trial_ids[: rung.count]:
            training = record.find(trial_id, rung.epochs)
            if training is None:
                began = time.perf_counter()
                accuracy = train(trial_id, epochs_before, rung.epochs)
                seconds = time.perf_counter() - began
                training = Training(trial_id, rung.epochs, accuracy, seconds)
                record.append(training)
            on_rung.append(training)
        on_rung.sort(key=lambda training: -training.accuracy)
        last = on_rung + last[len(on_rung) :]
        trial_ids = [training.trial_id for training in on_rung]
        epochs_before = rung.epochs
    return last
