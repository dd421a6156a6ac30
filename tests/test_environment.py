"""bin/environment.py, in real processes and virtual environments but without network.

A checkout in a temporary folder gets a script whose pip is a stub: it installs two
empty packages, fails, or waits, as the test wants. All else is the real thing.
"""

import ast
import configparser
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import types

import pytest
from packaging.requirements import Requirement

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")

SCRIPT = """
import sys

import environment

def run(command, lock):
    with open("commands.log", "a") as log:
        print(*command[1:], file=log)
    if "venv" in command:
        return real_run(command + ["--without-pip"], lock)
    return real_run([sys.executable, "pip.py", str(environment.VENV)], lock)

real_run, environment.run = environment.run, run
environment.REQUIRED = ("stub_gtn_tf", "stub_tensorflow")
environment.ensure()
print(sys.prefix, sys.argv[1:], sys.stdin.read())
"""

PIP = """
import pathlib, sys, time

sys.stdin.read()
while pathlib.Path("pip_waits").exists():
    pathlib.Path("pip_is_waiting").touch()
    time.sleep(0.01)
if pathlib.Path("pip_fails").exists():
    print("ERROR: No matching distribution found")
    sys.exit(1)
[site] = pathlib.Path(sys.argv[1]).glob("lib/python*/site-packages")
for name in ("stub_gtn_tf", "stub_tensorflow"):
    (site / name).mkdir(exist_ok=True)
    (site / name / "__init__.py").touch()
"""

VENV_COMMAND = "-I -m venv --clear {checkout}/.venv"
PIP_COMMAND = (
    "-I -m pip install -qq --constraint constraints.txt --editable .[test,docs]"
)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path.resolve() / "the checkout"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(CHECKOUT / "bin" / "environment.py", folder / "bin")
    for name in ("setup.cfg", "constraints.txt"):
        shutil.copy(CHECKOUT / name, folder)
    (folder / "bin" / "hello").write_text(SCRIPT)
    (folder / "pip.py").write_text(PIP)
    yield folder
    (folder / "pip_waits").unlink(missing_ok=True)  # where a test failed before it


def start(checkout, *arguments, python=sys.executable, python_path=""):
    return subprocess.Popen(
        [str(python), "bin/hello", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(python_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process, text=""):
    """(exit code, stdout without its end of line, lines of stderr)"""
    out, err = process.communicate(text, timeout=60)
    return process.returncode, out.rstrip(), err.splitlines()


def hello(checkout, *arguments, **options):
    return finish(start(checkout, *arguments, **options))


def start_and_wait_for_pip(checkout):
    (checkout / "pip_waits").touch()
    process = start(checkout)
    while not (checkout / "pip_is_waiting").exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def commands(checkout):
    log = checkout / "commands.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.replace(str(checkout), "{checkout}") for line in lines]


def in_venv(checkout):
    return (0, f"{checkout}/.venv []")


def test_sets_up_once_and_starts_the_script_again(checkout):
    code, out, err = finish(start(checkout, "--a", "b c"), "the input")
    assert (code, out) == (0, f"{checkout}/.venv ['--a', 'b c'] the input")
    assert [line.split(",")[0] for line in err] == [
        f"gtn_tf: setting up {checkout}/.venv",
        "gtn_tf: set-up finished",
    ]
    assert commands(checkout) == [VENV_COMMAND, PIP_COMMAND]
    assert hello(checkout) == (*in_venv(checkout), [])
    assert hello(checkout, python=checkout / ".venv/bin/python")[2] == []
    assert len(commands(checkout)) == 2


@pytest.mark.parametrize("name", ["setup.cfg", "constraints.txt"])
@pytest.mark.parametrize("inside", [False, True])
def test_changed_inputs_run_pip_again(checkout, name, inside):
    hello(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    python = checkout / ".venv/bin/python" if inside else sys.executable
    *result, err = hello(checkout, python=python)
    assert tuple(result) == in_venv(checkout)
    assert "setup.cfg or constraints.txt has changed" in err[0]
    assert commands(checkout) == [VENV_COMMAND, PIP_COMMAND, PIP_COMMAND]


def test_moved_checkout_is_installed_again(checkout):
    hello(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    assert hello(moved)[:2] == in_venv(moved)
    assert commands(moved)[2:] == [PIP_COMMAND]


@pytest.mark.parametrize("finished_before", [False, True])
def test_failed_pip_leaves_nothing_that_is_taken_for_good(checkout, finished_before):
    if finished_before:
        hello(checkout)
        (checkout / "constraints.txt").write_text("# changed\n")
    (checkout / "pip_fails").touch()
    code, out, err = hello(checkout)
    assert (code, out) == (2, "")
    assert err[1] == "ERROR: No matching distribution found"
    assert err[2].startswith(f"gtn_tf: pip could not install into {checkout}/.venv")
    assert len(err) == 3
    assert not (checkout / ".venv/gtn_tf.stamp").exists()
    (checkout / "pip_fails").unlink()
    assert hello(checkout)[:2] == in_venv(checkout)
    assert commands(checkout)[-2:] == [VENV_COMMAND, PIP_COMMAND]


def test_killed_set_up_is_waited_for_and_redone(checkout):
    first = start_and_wait_for_pip(checkout)
    first.kill()
    first.wait()
    others = [start(checkout), start(checkout)]
    # pip outlives the process that started it, and nobody touches .venv meanwhile.
    for process in others:
        assert "waiting for another process" in process.stderr.readline()
    assert commands(checkout) == [VENV_COMMAND, PIP_COMMAND]
    (checkout / "pip_waits").unlink()
    results = [finish(process) for process in others]
    assert [result[:2] for result in results] == [in_venv(checkout)] * 2
    assert sorted(len(result[2]) for result in results) == [0, 2]
    assert commands(checkout) == [VENV_COMMAND, PIP_COMMAND] * 2


def test_keyboard_interrupt_is_one_line(checkout):
    process = start_and_wait_for_pip(checkout)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert err[-1] == "gtn_tf: set-up interrupted; run this again to continue"
    assert not any("Traceback" in line for line in err)
    assert not (checkout / ".venv/gtn_tf.stamp").exists()


def test_unfinished_environment_is_made_anew_from_inside(checkout):
    hello(checkout)
    (checkout / ".venv/gtn_tf.stamp").unlink()
    (checkout / ".venv/left_over").touch()
    assert hello(checkout, python=checkout / ".venv/bin/python")[:2] == in_venv(
        checkout
    )
    assert not (checkout / ".venv/left_over").exists()


def test_lost_base_interpreter_means_made_anew(checkout):
    hello(checkout)
    python = checkout / ".venv/bin/python"
    python.unlink()
    python.symlink_to(checkout / "removed")
    assert hello(checkout)[:2] == in_venv(checkout)
    assert commands(checkout) == [VENV_COMMAND, PIP_COMMAND] * 2


def test_finished_environment_without_its_packages_is_reported(checkout):
    hello(checkout)
    [package] = checkout.glob(".venv/lib/python*/site-packages/stub_tensorflow")
    shutil.rmtree(package)
    code, _, [line] = hello(checkout)
    assert code == 2
    assert line.startswith(f"gtn_tf: packages are missing from {checkout}/.venv; ")


def test_folder_that_cannot_be_written_is_one_line(checkout):
    (checkout / ".venv.lock").mkdir()
    code, _, err = hello(checkout)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"gtn_tf: cannot make {checkout}/.venv: ")


@pytest.mark.parametrize(
    ("files", "used"),
    [
        (["stub_gtn_tf/__init__.py", "stub_tensorflow/__init__.py"], True),
        (["stub_gtn_tf/__init__.py"], False),
        (["stub_gtn_tf/__init__.py", "stub_tensorflow/not_a_package"], False),
    ],
)
def test_environment_that_has_the_packages_is_used(checkout, tmp_path, files, used):
    for name in files:
        (tmp_path / "active" / name).parent.mkdir(parents=True)
        (tmp_path / "active" / name).touch()
    code, out, _ = hello(checkout, python_path=tmp_path / "active")
    assert code == 0
    assert out == (f"{sys.prefix} []" if used else f"{checkout}/.venv []")
    assert commands(checkout) == ([] if used else [VENV_COMMAND, PIP_COMMAND])


def load(checkout):
    path = checkout / "bin" / "environment.py"
    spec = importlib.util.spec_from_file_location("environment_under_test", path)
    environment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(environment)
    return environment


@pytest.fixture
def refusal(checkout, monkeypatch, capsys):
    """Calls ensure() with one name replaced in its module; returns its only line."""

    def call(name, value):
        environment = load(checkout)
        environment.REQUIRED = ("stub_gtn_tf", "stub_tensorflow")
        monkeypatch.setattr(environment, name, value)
        with pytest.raises(SystemExit) as exit_:
            environment.ensure()
        assert exit_.value.code == 2
        assert not (checkout / ".venv").exists()
        return capsys.readouterr().err.splitlines()[-1]

    return call


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ((3, 6, 9), "Python >= 3.10 needed, this is 3.6.9; run this with a newer one"),
        ((3, 9, 19), "Python >= 3.10 needed, this is 3.9.19; "),
        ((3, 14, 0), "TensorFlow needs Python 3.10 to 3.13, this is 3.14; "),
    ],
)
def test_unsuitable_python_is_refused(refusal, version, message):
    fake = types.SimpleNamespace(**{**vars(sys), "version_info": version})
    assert refusal("sys", fake).startswith(f"gtn_tf: {message}")


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_missing_venv_module_is_one_line(refusal, missing):
    found = importlib.util.find_spec

    def find_spec(name):
        return None if name == missing else found(name)

    util = types.SimpleNamespace(find_spec=find_spec)
    fake = types.SimpleNamespace(util=util)
    assert f"has no module {missing}, which making" in refusal("importlib", fake)


def test_failing_venv_is_reported(refusal, checkout):
    line = refusal("run", lambda command, lock: 1)
    assert line.startswith(f"gtn_tf: cannot make {checkout}/.venv (see above)")


@pytest.mark.parametrize("name", ["environment.py", "test"])
def test_old_pythons_can_parse(name):
    source = (CHECKOUT / "bin" / name).read_text()
    assert "from __future__" not in source  # annotations: a SyntaxError before 3.7
    ast.parse(source, feature_version=(3, 6))


def pins(python_version):
    """{name: version} that constraints.txt gives on that Python, on Linux."""
    found = {}
    for line in (CHECKOUT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if not applies(requirement, python_version):
            continue
        [specifier] = requirement.specifier
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(specifier)), line
        assert requirement.url is None, line
        assert requirement.name not in found, line
        found[requirement.name] = specifier.version
    return found


def applies(requirement, python_version):
    full = {"python_version": python_version, "python_full_version": python_version}
    return requirement.marker is None or requirement.marker.evaluate(full)


@pytest.mark.parametrize("python_version", SUPPORTED)
def test_every_requirement_has_an_exact_pin(python_version):
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    lines = [
        *config["options"]["install_requires"].splitlines(),
        *config["options.extras_require"]["test"].splitlines(),
        *config["options.extras_require"]["docs"].splitlines(),
    ]
    requirements = [Requirement(line) for line in lines if line]
    found = pins(python_version)
    needed = [r for r in requirements if applies(r, python_version)]
    assert len(needed) == (26 if python_version == "3.10" else 29)  # 3 of the site
    for requirement in needed:
        assert requirement.specifier.contains(found[requirement.name]), requirement
