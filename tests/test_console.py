"""The scripts in bin/ and those that an installation makes."""

import configparser
import importlib
import os
import pathlib
import subprocess
import sys

import pytest

from gtn_tf.commands import command_line, console
from nas.commands import console as search_console

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = {
    path.name: path.read_text()
    for path in (ROOT / "bin").iterdir()
    if path.is_file() and not path.suffix and path.name not in ("test", "docs")
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


def test_what_trains_or_judges_networks_uses_onednn(monkeypatch):
    used = []
    for module in (console, search_console):
        monkeypatch.setattr(module, "use_onednn", lambda: used.append(1))
    monkeypatch.setattr(command_line, "run", lambda *_: 0)
    for script in (console.train, console.study, console.evaluate, console.export):
        script()
    assert len(used) == 4
    search_console.search()
    assert len(used) == 5
    search_console.report()
    assert len(used) == 5


@pytest.mark.parametrize(("given", "then"), [(None, "1"), ("0", "0")])
def test_a_users_word_on_onednn_stands(monkeypatch, given, then):
    variables = {} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given}
    monkeypatch.setattr(os, "environ", variables)
    console.use_onednn()
    assert variables == {"TF_ENABLE_ONEDNN_OPTS": then}


PROGRAM = """
import sys
from {module} import {function}
try:
    code = {function}()
finally:
    heavy = {{"tensorflow", "keras", "keras_tuner", "scipy", "sklearn", "matplotlib"}}
    print("imported:", *sorted(heavy & sys.modules.keys()))
sys.exit(code)
"""


def start(name, *arguments, **options):
    """A process that runs what gtn-NAME does, and then says what it has imported."""
    module, function = entry_points()[f"gtn-{name}"].split(":")
    program = PROGRAM.format(module=module, function=function)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        **options,
    )


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_help_imports_nothing_that_takes_seconds(name):
    done = start(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    help_text, _, imported = done.stdout.rpartition("imported:")
    assert "--flagfile=FILE" in help_text and imported == "\n"


def test_a_command_says_what_it_says_and_tensorflow_nothing(tmp_path):
    (tmp_path / "flags.txt").write_text("--seed=0\n--no_such_flag=1\n")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}
    done = start("evaluate", f"--workdir={tmp_path}", env=environment)
    assert done.returncode == 2 and "tensorflow" in done.stdout
    assert done.stderr.startswith("error: --workdir=") and done.stderr.count("\n") == 1


def test_who_wants_tensorflows_lines_gets_them(tmp_path):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = start("evaluate", f"--workdir={tmp_path}", env=environment)
    assert done.stderr.count("\n") > 1 and "error: --workdir=" in done.stderr


HOLDING = """
import os, sys
from gtn_tf.commands import tensorflow_start
with tensorflow_start.held_back():
    os.write(2, b"said before\\n")
    {then}
os.write(2, b"after\\n")
"""


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("pass", "after\n"),
        ("raise ImportError('no library')", "said before\nTraceback"),
        ("os.abort()", "said before\n"),
        ("os.kill(os.getpid(), 9)", "said before\n"),
    ],
)
def test_what_is_held_back_is_lost_only_on_success(then, expected):
    done = subprocess.run(
        [sys.executable, "-c", HOLDING.format(then=then)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) is (then == "pass")
    found = done.stderr
    if "Traceback" in expected:
        found = found[: len(expected)]
    assert found == expected


def test_a_library_user_keeps_what_tensorflow_says():
    program = "import gtn_tf, nas, os; print('TF_CPP_MIN_LOG_LEVEL' in os.environ)"
    environment = {k: v for k, v in os.environ.items() if "TF_CPP" not in k}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "False\n"
