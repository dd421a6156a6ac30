"""What --help prints: what a command does, and its flags by group."""

from __future__ import annotations

import dataclasses
import textwrap

from gtn_tf.runs import fields

_WIDTH = 80
_END = (
    "--flagfile=FILE reads flags from a file, one --name=value a line. --helpfull "
    "lists the flags of the libraries as well."
)


def help_text(config_class: type, description: str) -> str:
    """The description, and under each group's heading its flags in their order.

    A flag has its help text, its default, and what it can be set to.
    """
    parts = [description.strip()]
    for group, members in fields.grouped(config_class).items():
        lines = [f"{group[0].upper()}{group[1:]}:", *map(_describe, members)]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, _wrap(_END)])


def _describe(field: dataclasses.Field) -> str:
    name = f"[no]{field.name}" if field.type == "bool" else field.name
    default = "empty" if field.default == "" else str(field.default).lower()
    notes = [f"default: {default}", fields.allowed(field)]
    return "\n".join(
        [
            _wrap(f"--{name}: {field.metadata['help']}", "  "),
            _wrap(f"({'; '.join(filter(None, notes))})", "      "),
        ]
    )


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent and "      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
