"""What a teacher shows, by class and step, and the rates that it has learned."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from markupsafe import Markup

from gtn_tf.errors import UserError
from gtn_tf.teaching import saved_teachers
from gtn_tf.teaching.saved_teachers import SavedTeacher
from nas.reporting import charts
from nas.reporting.comparisons import TEACHER
from nas.reporting.content import Figure, Section, Table

_MOST_STEPS, _MOST_CLASSES, _MOST_TEACHERS = 10, 20, 3  # that are shown
# Learned values that are curves of their own, and what they are called.
_CURVES = {"learning_rate": "learning rate", "momentum": "momentum"}


class NamedTeacher(NamedTuple):
    """A teacher, and what the page calls it and its making."""

    name: str
    teacher: SavedTeacher
    commands: tuple[str, ...]


def load(name: str, path: str, commands: tuple[str, ...]) -> NamedTeacher | None:
    """The teacher of a folder or name; None where there is none that can be read."""
    try:
        return NamedTeacher(name, SavedTeacher(saved_teachers.find(path)), commands)
    except UserError:
        return None


def section(key: str, teachers: list[NamedTeacher]) -> Section:
    """What the first few of them show, and the rates that all have learned.

    Args:
      key: of the section; it is the beginning of its figures' keys.
    """
    shown = teachers[:_MOST_TEACHERS]
    figures = [_images(f"{key}-images-{i}", each) for i, each in enumerate(shown)]
    return Section(
        key, "What the teacher shows", figures=(*figures, *_rates(key, teachers))
    )


def _images(key: str, shown: NamedTeacher) -> Figure:
    """One image for each class and each of up to ten inner steps."""
    teacher = shown.teacher
    names = teacher.class_names[:_MOST_CLASSES]
    last = teacher.num_inner_steps - 1
    count = min(_MOST_STEPS, last + 1)
    steps = np.linspace(0, last, count).round().astype(int).tolist()
    found = [_by_class(teacher, step, len(names)) for step in steps]
    every = [image for row in found for image in row.values()]
    low, high = min(map(np.min, every)), max(map(np.max, every))

    def cell(step: int, label: int, image: np.ndarray | None) -> Markup:
        if image is None:
            return Markup("<td></td>")
        told = f"class {names[label]}, inner step {step + 1}"
        scaled = (image - low) / max(high - low, 1e-6)
        address = _address(np.round(255 * scaled).astype(np.uint8))
        return Markup(
            '<td><button type="button" class="enlarge" tabindex="-1" title="{0}">'
            '<img src="{1}" alt="{0}"></button></td>'
        ).format(told, address)

    head = Markup("").join(Markup("<th scope=col>{}</th>").format(n) for n in names)
    rows = [
        Markup("<tr><th scope=row>{}</th>{}</tr>").format(
            step + 1,
            Markup("").join(cell(step, k, row.get(k)) for k in range(len(names))),
        )
        for step, row in zip(steps, found, strict=True)
    ]
    body = Markup(
        '<table class="images"><thead><tr><td>step</td>{}</tr></thead>'
        "<tbody>{}</tbody></table>"
    ).format(head, Markup("").join(rows))
    text = (
        f"An image for each class (columns) from the batches of {count} of "
        f"{last + 1} inner steps (rows, the first at the top), lightest and darkest "
        "over all of them. An image opens by a click or Enter; arrow keys lead from "
        "one to the next."
    )
    counted = [
        (step + 1, *(int(label in row) for label in range(len(names))))
        for step, row in zip(steps, found, strict=True)
    ]
    data = Table(("inner step", *(f"images of {n}" for n in names)), counted)
    title = f"What {shown.name} shows"
    return Figure(key, title, text, data, shown.commands, None, body)


def _by_class(teacher: SavedTeacher, step: int, num_classes: int) -> dict:
    """Class -> its first image in the batch of a step, [H, W, C]."""
    shown, targets = (values.numpy() for values in teacher.batch(step))
    labels = targets.argmax(axis=-1)
    return {
        label: shown[np.flatnonzero(labels == label)[0]]
        for label in range(num_classes)
        if label in labels
    }


def _address(image: np.ndarray) -> str:
    """A picture uint8 [H, W, C] as a PNG file inside an address."""
    if image.shape[-1] not in (1, 3):
        image = image.mean(axis=-1, keepdims=True).astype(np.uint8)
    png = tf.io.encode_png(image).numpy()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _rates(key: str, shown: list[NamedTeacher]) -> Iterator[Figure]:
    """Learned rate and momentum, each one curve over the inner steps."""
    for name, title in _CURVES.items():
        rows = [
            {"source": TEACHER, "line": each.name, "x": step, "y": float(value)}
            | {"low": None, "high": None}
            for each in shown
            for step, value in enumerate(each.teacher.hyperparameters.get(name, ()), 1)
        ]
        if len({row["x"] for row in rows}) < 2:
            continue
        values = [(row["line"], row["x"], row["y"]) for row in rows]
        yield Figure(
            f"{key}-{name.replace('_', '-')}",
            f"Learned {title} by inner step",
            f"The {title} that each inner step has, as the teacher has learned it with "
            "its images.",
            Table(("teacher", "inner step", title), values),
            tuple(dict.fromkeys(line for each in shown for line in each.commands)),
            charts.curves(rows, "inner step", f"learned {title}", percent=False),
        )


def num_classes(shown: NamedTeacher) -> int:
    """K of its data set."""
    return len(shown.teacher.class_names)


def folder_has_teacher(folder: Path) -> bool:
    """Whether a run has exported its teacher."""
    return (folder / "teacher").is_dir()
