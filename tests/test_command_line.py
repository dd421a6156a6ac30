"""Flags in, library call, exit code and one line out."""

import dataclasses
import re
import subprocess
import sys

import pytest
from absl import app, flags
from absl.testing import flagsaver

from gtn_tf.commands import (
    benchmark,
    command_line,
    evaluate,
    export,
    study,
    train,
)
from gtn_tf.errors import Diverged, UserError
from gtn_tf.runs.config import TrainingConfig
from nas.commands import report, search
from nas.search.config import SearchConfig


@pytest.fixture(autouse=True)
def own_flags(monkeypatch):
    """absl's flags are global: what a test defines goes with it."""
    app.define_help_flags()
    monkeypatch.setattr(sys, "argv", ["train"])
    with flagsaver.flagsaver():
        before = set(flags.FLAGS)
        yield
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


def run(*arguments, command=lambda config: None):
    return command_line.run(TrainingConfig, command, ["train", *arguments])


def error_line(capsys) -> str:
    """The one line that was printed, without its start."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
    return err.removeprefix("error: ").removesuffix("\n")


def test_command_gets_the_configuration(capsys):
    configs = []
    code = run(
        *("--teacher=real", "--num_inner_steps", "3", "--inner_momentum=0.25"),
        *("--noweight_norm", "--workdir=a folder"),
        command=configs.append,
    )
    assert code == 0
    expected = TrainingConfig(
        teacher="real",
        num_inner_steps=3,
        inner_momentum=0.25,
        weight_norm=False,
        workdir="a folder",
    )
    assert configs == [expected]
    assert capsys.readouterr() == ("", "")


def test_later_flags_override_a_flagfile(tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("# a comment\n\n--seed=3\n--latent_size=5\n")
    configs = []
    assert run(f"--flagfile={path}", "--seed=4", command=configs.append) == 0
    assert configs == [TrainingConfig(seed=4, latent_size=5)]


@pytest.mark.parametrize(
    "flag",
    [
        ["--flagfile=mnist.flags"],
        ["-flagfile=mnist.flags"],
        ["--flagfile", "mnist.flags"],
        ["-flagfile", "mnist.flags"],
    ],
)
@pytest.mark.parametrize(
    "own, expected",
    [(None, ("mnist", 128)), ("--latent_size=5\n", ("digits", 5))],
)
def test_a_flagfile_of_the_package_goes_by_its_name(
    tmp_path, monkeypatch, own, expected, flag
):
    """Unless there is one of that name where the command is given."""
    monkeypatch.chdir(tmp_path)
    if own:
        (tmp_path / "mnist.flags").write_text(own)
    configs = []
    assert run(*flag, "--seed=4", command=configs.append) == 0
    (config,) = configs
    assert (config.dataset, config.latent_size) == expected and config.seed == 4


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--num_steps=3", ["Unknown", "num_steps", "--help"]),
        ("--num_inner_steps=many", ["--num_inner_steps=many", "--help"]),
        ("--inner_momentum=half", ["--inner_momentum=half", "--help"]),
        ("--weight_norm=perhaps", ["--weight_norm=perhaps", "--help"]),
        ("--teacher", ["teacher", "--help"]),
        ("--flagfile=missing.flags", ["missing.flags", "--help"]),
        ("--flagfile", ["--flagfile", "--help"]),
        ("flagfile=mnist.flags", ["'flagfile=mnist.flags' is no flag"]),
        ("digits", ["'digits' is no flag", "--name=value", "--help"]),
        ("--teacher=gan", ["--teacher=gan", "gtn, distillation, real"]),
        ("--seed=-1", ["--seed=-1", "from 0 to"]),
        ("--generator_widths=64", ["--generator_widths=64", "1024-128-64"]),
        ("--segment_length=99", ["--segment_length=99", "--num_inner_steps=10"]),
    ],
)
def test_a_users_mistake(capsys, argument, words):
    called = []
    assert run(argument, command=called.append) == 2
    line = error_line(capsys)
    for word in words:
        assert word in line
    assert not called


def test_a_mistake_in_a_flagfile(capsys, tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("--teacher=real\n--num_steps=3\n")
    assert run(f"--flagfile={path}") == 2
    assert "num_steps" in error_line(capsys)


def failing(error):
    def command(config):
        raise error

    return command


@pytest.mark.parametrize(
    "error, code, line",
    [
        (UserError("--data_dir=x has no files"), 2, "--data_dir=x has no files"),
        (UserError("two\n  lines"), 2, "two lines"),
        (Diverged("diverged at 3"), 1, "diverged at 3"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; the same command goes on from the last checkpoint",
        ),
    ],
)
def test_what_the_command_raises(capsys, error, code, line):
    assert run(command=failing(error)) == code
    assert error_line(capsys) == line


@pytest.mark.parametrize(
    "error", [ValueError("a shape"), ZeroDivisionError("by zero"), TypeError("ours")]
)
def test_a_mistake_of_the_library_shows_where_it_is(capsys, error):
    assert run(command=failing(error)) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Traceback") and "in command" in err
    assert err.rstrip().endswith(f"{type(error).__name__}: {error}")


def section_of(text: str, name: str) -> str:
    """What help says of one flag, on one line; the flag is there once."""
    found = re.findall(rf"^  --(?:\[no\])?{name}: .*(?:\n {{6}}.*)*", text, re.M)
    assert len(found) == 1, name
    return " ".join(found[0].split())


@pytest.mark.parametrize("argument", ["--help", "-help", "--helpshort", "-?"])
def test_help_shows_each_flag_once_with_its_default_and_what_it_takes(capsys, argument):
    assert run(argument) == 0
    out, err = capsys.readouterr()
    assert err == "" and max(map(len, out.splitlines())) <= 88
    for field in dataclasses.fields(TrainingConfig):
        section = section_of(out, field.name)
        assert field.metadata["help"] in section
        assert f"(default: {str(field.default).lower() or 'empty'}" in section
        choices, low, high = (field.metadata[k] for k in ("choices", "low", "high"))
        if choices:
            assert section.endswith(f"; one of {', '.join(choices)})")
        elif low is not None:
            ends = (low, high) if field.type == "int" else (f"{low:g}", f"{high:g}")
            assert section.endswith("; from {} to {})".format(*ends))
        else:
            assert section.endswith(")") and ";" not in section.rpartition("(")[2]


def test_full_help_shows_the_flags_of_libraries_too(capsys):
    assert run("--helpfull") == 0
    text = capsys.readouterr().out
    assert "--[no]weight_norm: " in text and "--verbosity: " in text


GROUPS = ["Data", "Teacher", "Learners", "Inner loop", "Outer loop", "Run"]
SEARCH = [
    *("Search", "Data", "Networks", "Few steps"),
    *("Finalists of a hypermodel", "Training on real data", "Run"),
]


@pytest.mark.parametrize(
    "module, config_class, expected",
    [
        (train, TrainingConfig, GROUPS),
        (study, study.StudyConfig, ["Study", *GROUPS]),
        (benchmark, benchmark.BenchmarkConfig, ["Benchmark", *GROUPS]),
        (evaluate, evaluate.EvaluationConfig, ["Runs", "Measures"]),
        (export, export.ExportConfig, ["Flags"]),
        (report, report.ReportConfig, ["Flags"]),
        (search, SearchConfig, SEARCH),
    ],
)
def test_help_says_what_the_command_does_and_groups_its_flags(
    monkeypatch, capsys, module, config_class, expected
):
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    assert module.main() == 0
    text = capsys.readouterr().out
    assert module.__doc__.strip() in text
    assert re.findall(r"(?<=\n\n)(\w[\w ]*):(?=\n  --)", text) == expected
    for field in dataclasses.fields(config_class):
        section_of(text, field.name)


def test_help_whose_reader_has_gone_is_no_error():
    program = "from gtn_tf.commands import train; exit(train.main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    errors = process.stderr.read()  # TensorFlow may say something of its own
    assert b"error: " not in errors and b"BrokenPipeError" not in errors
    assert process.wait() == 0
