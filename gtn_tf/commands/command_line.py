"""Entry points: flags in, library call, exit code out.

The one place that reads absl flags. A user's mistake is one line and exit code 2.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.resources
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

from gtn_tf.commands import tensorflow_start
from gtn_tf.commands.help_text import help_text
from gtn_tf.errors import Diverged, UserError, WorkerLost
from gtn_tf.runs import fields


def define_flags(config_class: type) -> None:
    """One absl flag for each field of a configuration class."""
    define = {
        "str": flags.DEFINE_string,
        "int": flags.DEFINE_integer,
        "float": flags.DEFINE_float,
        "bool": flags.DEFINE_bool,
    }
    for field in dataclasses.fields(config_class):
        allowed = fields.allowed(field)
        text = field.metadata["help"] + (f" ({allowed})" if allowed else "")
        define[field.type](field.name, field.default, text)


class _HelpFlag(flags.BooleanFlag):
    """In place of absl's flag of this name, whose list is alphabetical."""

    def __init__(self, name: str, short_name: str | None, text: str):
        super().__init__(name, False, "show this help", short_name, allow_override=True)
        self._text = text

    def parse(self, argument) -> None:
        if self._parse(argument):
            print(self._text, flush=True)
            raise SystemExit


def _define_help(config_class: type, command: Callable | str) -> None:
    app.define_help_flags()
    module_doc = _docstring(command) if isinstance(command, str) else None
    docs = (sys.modules["__main__"].__doc__, module_doc)
    description = "\n\n".join(doc.strip() for doc in docs if doc)
    text = help_text(config_class, description)
    flags.DEFINE_flag(_HelpFlag("help", "?", text))
    flags.DEFINE_flag(_HelpFlag("helpshort", None, text))


def _docstring(name: str) -> str | None:
    """A module's docstring, read without the imports that running it would take."""
    if name in sys.modules:
        return sys.modules[name].__doc__
    spec = importlib.util.find_spec(name)
    return ast.get_docstring(ast.parse(spec.loader.get_source(name)))


def run(
    config_class: type,
    command: Callable | str,
    arguments: list[str],
    positional: str | None = None,
) -> int:
    """command(config) with the configuration that the arguments ask for.

    Args:
      config_class: a dataclass as `define_flags` takes it; raises UserError where
        values contradict.
      command: what is called with it; or the name of a module, which is imported, and
        TensorFlow in silence before it, once the flags are read. Its `run` is called,
        and its `next_steps` are the last line on stderr.
      arguments: the command line, program name first.
      positional: the field for arguments that are no flags, joined by commas.

    Returns:
      0, also after --help; 2 for a user's mistake (UserError), 1 where training
      diverged, another worker has ended or files cannot be written, 128 + its number
      for a signal; each of these with one line on stderr. 70 for anything else, which
      is a mistake of the library, with its traceback.
    """
    _define_help(config_class, command)
    define_flags(config_class)
    try:
        try:
            rest = flags.FLAGS(_found(arguments, config_class))[1:]
        except SystemExit:  # what --help asks for is printed
            return 0
        except BrokenPipeError:  # as in --help | head; Python would flush again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if rest and positional:
            flags.FLAGS[positional].value = fields.join_names(rest)
        elif rest:
            raise UserError(
                f"{rest[0]!r} is no flag: give flags as --name=value; --help lists them"
            )
        names = [field.name for field in dataclasses.fields(config_class)]
        values = {name: flags.FLAGS[name].value for name in names}
        if isinstance(command, str):
            _run_module(command, config_class, values, arguments[0])
        else:
            command(config_class(**values))
    except flags.Error as error:
        told = str(error).removeprefix("ERROR:: ")  # of absl, beside our own prefix
        return _fail(f"{told}; --help lists the flags and their values", 2)
    except UserError as error:
        return _fail(error, 2)
    except (Diverged, WorkerLost) as error:
        return _fail(error, 1)
    except OSError as error:
        return _fail(
            f"{error}; what was saved before is as it was: make room or repair, and "
            "give the same command again",
            1,
        )
    except KeyboardInterrupt as error:
        told = "interrupted; the same command goes on from the last checkpoint"
        return _fail(str(error) or told, getattr(error, "exit_code", 130))
    except Exception:
        traceback.print_exc()
        return 70  # EX_SOFTWARE of sysexits.h
    return 0


def _run_module(name: str, config_class: type, values: dict, program: str) -> None:
    tensorflow_start.load()
    module = importlib.import_module(name)
    config = config_class(**values)
    module.run(config)
    steps = module.next_steps(config)
    if Path(program).name.startswith("gtn-"):  # as an installation calls bin/...
        steps = [f"gtn-{s[4:]}" if s.startswith("bin/") else s for s in steps]
    print(f"next: {', or '.join(steps)}", file=sys.stderr)


def _found(arguments: list[str], config_class: type) -> list[str]:
    """The arguments, with a flagfile that comes with the package by its path.

    A file of the same name in the working directory goes before it. Where they lay
    before, bin/flagfiles/NAME, stands for the name.
    """
    package = config_class.__module__.partition(".")[0]
    folder = importlib.resources.files(package) / "flagfiles"

    def found(path: str) -> str:
        ours = folder / path.removeprefix("bin/flagfiles/")
        return str(ours) if not Path(path).exists() and ours.is_file() else path

    flag = ("--flagfile", "-flagfile")
    result: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name, is_flag, path = argument.partition("=")
        if before in flag:
            result.append(found(argument))
        elif name in flag and is_flag:
            result.append(f"{name}={found(path)}")
        else:
            result.append(argument)
    return result


def _fail(error, code: int) -> int:
    message = " ".join(str(error).split())
    print(f"error: {message}", file=sys.stderr)
    return code
