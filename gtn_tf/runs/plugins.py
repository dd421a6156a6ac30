"""Modules of a user's own, named on the command line."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType

from gtn_tf.errors import UserError


def load(name: str, flag: str) -> ModuleType:
    """Imports a module; the working directory comes first.

    Args:
      flag: and its value, for the message.

    Raises:
      UserError: it cannot be imported.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:  # a user's module may raise anything
        raise UserError(
            f"{flag}: the module cannot be imported ({describe(error)}): correct it, "
            "or give the command in the folder where it is"
        ) from error


def describe(error: Exception) -> str:
    """What was raised, and where."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error}"
    if place.filename.startswith("<frozen"):  # Python's own search for a module
        return text
    return f"{text}; {place.filename}, line {place.lineno}"
