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
    configs,
    console,
    evaluate,
    export,
    study,
    train,
)
from gtn_tf.errors import Diverged, UserError
from gtn_tf.runs.config import TrainingConfig
from nas.commands import console as search_console
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
        ["--flagfile=bin/flagfiles/mnist.flags"],
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
        path = tmp_path / flag[-1].rpartition("=")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(own)
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
        ("--flagfile=missing.flags", ["missing.flags", "Unable to open", "--help"]),
        ("--flagfile", ["--flagfile", "--help"]),
        ("flagfile=mnist.flags", ["'flagfile=mnist.flags' is no flag"]),
        ("digits", ["'digits' is no flag", "--name=value", "--help"]),
        (
            "--teacher=gan",
            ["--teacher=gan", "gtn, closed_loop, distillation, state_actions, real"],
        ),
        ("--seed=-1", ["--seed=-1", "from 0 to"]),
        ("--generator_widths=64", ["--generator_widths=64", "1024-128-64"]),
        ("--segment_length=99", ["--segment_length=99", "--num_inner_steps=10"]),
        ("--estimator=adjoint", ["--estimator=adjoint", "backpropagation, es, pes"]),
    ],
)
def test_a_users_mistake(capsys, argument, words):
    called = []
    assert run(argument, command=called.append) == 2
    line = error_line(capsys)
    for word in words:
        assert word in line
    assert not called and "ERROR" not in line


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


GROUPS = [
    *("Data", "Teacher", "Learners", "Inner loop", "Outer loop"),
    *("Gradient estimation", "Run", "Several devices and machines"),
]
BENCHMARK = ["Benchmark", *GROUPS]
SEARCH = [
    *("Search", "Data", "Networks", "Few steps"),
    *("Finalists of a hypermodel", "Training on real data", "Run"),
]


@pytest.mark.parametrize(
    "script, module, config_class, expected",
    [
        (console.train, train, TrainingConfig, GROUPS),
        (console.study, study, configs.StudyConfig, ["Study", *GROUPS]),
        (console.benchmark, benchmark, configs.BenchmarkConfig, BENCHMARK),
        (console.evaluate, evaluate, configs.EvaluationConfig, ["Runs", "Measures"]),
        (console.export, export, configs.ExportConfig, ["Flags"]),
        (search_console.report, report, report.ReportConfig, ["Flags"]),
        (search_console.search, search, SearchConfig, SEARCH),
    ],
)
def test_help_says_what_the_command_does_and_groups_its_flags(
    monkeypatch, capsys, script, module, config_class, expected
):
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    assert script() == 0
    text = capsys.readouterr().out
    assert module.__doc__.strip() in text
    assert re.findall(r"(?<=\n\n)(\w[\w ]*):(?=\n  --)", text) == expected
    for field in dataclasses.fields(config_class):
        section_of(text, field.name)


def test_help_whose_reader_has_gone_is_no_error():
    program = "from gtn_tf.commands import console; exit(console.train())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


@pytest.mark.parametrize(
    "program, evaluate_with", [("bin/train", "bin/"), ("/usr/bin/gtn-train", "gtn-")]
)
def test_the_last_line_says_what_to_do_next(
    monkeypatch, capsys, program, evaluate_with
):
    monkeypatch.setattr(sys, "argv", [program, "--workdir=a run"])
    monkeypatch.setattr(train, "run", lambda config: None)
    assert console.train() == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"next: {evaluate_with}evaluate --workdir='a run', or {evaluate_with}export "
        "--workdir='a run', or tensorboard --logdir='a run'\n"
    )


def test_every_command_has_next_steps_that_its_flags_allow():
    """Commands that are named exist, with the flags that they are given."""
    given = {
        train: TrainingConfig(workdir="w"),
        evaluate: configs.EvaluationConfig("w"),
        export: configs.ExportConfig("w"),
        study: configs.StudyConfig(),
        benchmark: configs.BenchmarkConfig(),
        report: report.ReportConfig("w", "out"),
        search: SearchConfig(workdir="w"),
    }
    flags_of = {module.__name__.rpartition(".")[2]: c for module, c in given.items()}
    for module, config in given.items():
        steps = module.next_steps(config)
        assert steps
        for step in steps:
            if found := re.match(r"bin/(\w+)", step):
                for flag in re.findall(r"--(\w+)=", step):
                    assert hasattr(flags_of[found[1]], flag)
