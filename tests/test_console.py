"""The scripts in bin/ and those that an installation makes."""

import configparser
import importlib
import os
import pathlib
import subprocess
import sys

import pytest

from gtn_tf import console

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = {
    path.name: path.read_text()
    for path in (ROOT / "bin").iterdir()
    if path.is_file() and not path.suffix and path.name != "test"
}


def entry_points():
    """Name -> module:function, as setup.cfg has them."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    return dict(line.split(" = ") for line in lines)


def test_every_script_is_installed_and_runs_the_same():
    points = entry_points()
    assert set(points) == {f"gtn-{name}" for name in SCRIPTS}
    for name, text in SCRIPTS.items():
        module, function = points[f"gtn-{name}"].split(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert f"from {module.rpartition('.')[0]} import" in text
        assert f"{module.rpartition('.')[2]}.{function}()" in text


def test_what_trains_learners_uses_onednn_and_the_search_does_not():
    users = {name for name, text in SCRIPTS.items() if "import console" in text}
    assert users == {"train", "study", "evaluate", "export", "benchmark"}


@pytest.mark.parametrize(("given", "then"), [(None, "1"), ("0", "0")])
def test_a_users_word_on_onednn_stands(monkeypatch, given, then):
    variables = {} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given}
    monkeypatch.setattr(os, "environ", variables)
    console.use_onednn()
    assert variables == {"TF_ENABLE_ONEDNN_OPTS": then}


def test_tensorflow_is_not_there_before_its_environment_is_set():
    program = (
        "import sys; from gtn_tf import console; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
