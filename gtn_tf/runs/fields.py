"""Fields of a configuration: each is a flag with a help text and a range."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from gtn_tf.errors import UserError


def field(
    default: Any,
    help_text: str,
    *,
    group: str = "flags",
    choices: Collection[str] | None = None,
    low: float | None = None,
    high: float | None = None,
    may_change: bool = False,
) -> Any:
    """A dataclass field with its flag's help, range (both ends included) or choices.

    Args:
      group: the heading under which --help shows the flag.
      may_change: a run can be continued with another value of this field.
    """
    metadata = {
        "help": help_text,
        "group": group,
        "choices": choices,
        "low": low,
        "high": high,
        "may_change": may_change,
    }
    return dataclasses.field(default=default, metadata=metadata)


def check(instance) -> None:
    """Refuses a value that is not among its field's choices or in its range.

    Integers given for floats become floats: 5 and 5.0 stand for one configuration.

    Raises:
      UserError: naming the flag, the value, and what is allowed.
    """
    for field in dataclasses.fields(instance):
        if field.type == "float":
            value = float(getattr(instance, field.name))
            object.__setattr__(instance, field.name, value)
        _check_value(field, getattr(instance, field.name))


def _check_value(field: dataclasses.Field, value: Any) -> None:
    choices, low, high = (field.metadata[key] for key in ("choices", "low", "high"))
    if choices is not None and value not in choices:
        raise UserError(f"--{field.name}={value} is unknown: give {allowed(field)}")
    if low is not None and not low <= value <= high:
        raise UserError(
            f"--{field.name}={value} is out of range: give a value {allowed(field)} "
            f"({field.metadata['help']})"
        )


def allowed(field: dataclasses.Field) -> str:
    """A field's choices or its range, in words; nothing where it has neither."""
    choices, low, high = (field.metadata[key] for key in ("choices", "low", "high"))
    if choices is not None:
        return f"one of {', '.join(choices)}"
    if low is None:
        return ""
    # An integer in full: 2147483647 says more than 2.14748e+09.
    return "from {} to {}".format(
        *(end if field.type == "int" else f"{end:g}" for end in (low, high))
    )


# Of flags that take several paths.
COMMAS = "A path that has a comma is written in double quotes."


def join_names(names: Iterable[str]) -> str:
    """Names joined by commas; those that have commas or quotes are quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def split_names(text: str) -> list[str]:
    """The inverse of `join_names`, without names that are empty."""
    return [name for row in csv.reader([text]) for name in row if name]


def grouped(config_class: type) -> dict[str, list[dataclasses.Field]]:
    """A configuration's fields by group, in their order.

    Groups that a class adds to those of the class it extends go before them.
    """
    groups: dict[str, list[dataclasses.Field]] = {}
    for field in dataclasses.fields(config_class):
        groups.setdefault(field.metadata["group"], []).append(field)
    inherited = {
        field.metadata["group"]
        for base in filter(dataclasses.is_dataclass, config_class.__bases__)
        for field in dataclasses.fields(base)
    }
    return dict(sorted(groups.items(), key=lambda item: item[0] in inherited))


class Config:
    """What every configuration that is recorded in a folder can do.

    Attributes:
      before: values of runs recorded when there were no such fields; they can be
        continued.
    """

    before: ClassVar[dict[str, Any]] = {}

    def fixed(self) -> dict[str, Any]:
        """The fields that must be equal for what is in a folder to be continued."""
        return {name: getattr(self, name) for name in self.fixed_names()}

    @classmethod
    def fixed_names(cls) -> list[str]:
        """Names of the fields of `fixed`."""
        return [f.name for f in dataclasses.fields(cls) if not f.metadata["may_change"]]

    @property
    def digest(self) -> str:
        """8 hexadecimal digits that stand for the fixed fields.

        Of a run as it could be before a field was there, they are as they were.
        """
        fixed = repr(sorted(self.fixed().items() - self.before.items()))
        return hashlib.sha256(fixed.encode()).hexdigest()[:8]

    def as_flagfile(self) -> str:
        """Lines of --name=value with which the same can be done again."""
        values = dataclasses.asdict(self)
        return "".join(f"--{name}={value}\n" for name, value in values.items())

    @classmethod
    def values_of(cls, text: str) -> dict[str, Any]:
        """Field values read from lines of --name=value, as `as_flagfile` writes them.

        Raises:
          UserError: a line that is no flag of this program or has a bad value.
        """
        types = {field.name: field.type for field in dataclasses.fields(cls)}
        parse = {
            "str": str,
            "int": int,
            "float": float,
            "bool": {"True": True, "False": False}.__getitem__,
        }
        values = dict(cls.before)
        for line in text.splitlines():
            name, _, value = line.removeprefix("--").partition("=")
            try:
                values[name] = parse[types[name]](value)
            except (KeyError, ValueError):
                raise UserError(
                    f"{line!r} is no flag of this program with a valid value"
                ) from None
        return values
