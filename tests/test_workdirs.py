"""A run's folder: never somebody else's, and nothing lost or doubled when continued."""

import contextlib
import csv
import dataclasses
import json
import re

import pytest

from gtn_tf.errors import UserError
from gtn_tf.meta.outer_loop import Progress, StepResult
from gtn_tf.runs import workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.fields import Config, field
from nas.search.config import SearchConfig

CONFIG = TrainingConfig(num_inner_steps=12, seed=5)


def contents(folder):
    """Everything below a folder, byte for byte."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_new_folder_holds_its_flags(tmp_path):
    folder = tmp_path / "runs" / "new"
    workdirs.open_workdir(folder, CONFIG)
    assert [path.name for path in folder.iterdir()] == ["flags.txt"]
    text = (folder / "flags.txt").read_text()
    assert TrainingConfig(**TrainingConfig.values_of(text)) == CONFIG


def test_an_empty_folder_is_taken(tmp_path):
    workdirs.open_workdir(tmp_path, CONFIG)
    assert (tmp_path / "flags.txt").read_text() == CONFIG.as_flagfile()


def test_the_same_run_goes_on_and_keeps_its_files(tmp_path):
    workdirs.open_workdir(tmp_path, CONFIG)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-3.index").write_bytes(b"\0\1")
    before = contents(tmp_path)
    workdirs.open_workdir(tmp_path, CONFIG)
    assert contents(tmp_path) == before


def test_what_may_change_is_written_down(tmp_path):
    workdirs.open_workdir(tmp_path, CONFIG)
    changed = dataclasses.replace(
        CONFIG, num_outer_steps=7, time_limit_seconds=9.0, data_dir="elsewhere"
    )
    workdirs.open_workdir(tmp_path, changed)
    assert (tmp_path / "flags.txt").read_text() == changed.as_flagfile()
    assert len(list(tmp_path.iterdir())) == 1


def another_run(folder):
    workdirs.open_workdir(folder, dataclasses.replace(CONFIG, num_inner_steps=9))
    (folder / "metrics.csv").write_text("outer_step,seconds\n1,2\n")
    return folder, [
        f"--workdir={folder} holds a run of another configuration "
        "(--num_inner_steps=9 there, 12 now): ",
        f"--flagfile={folder}/flags.txt",
        "another --workdir",
    ]


def twice_another_run(folder):
    other = dataclasses.replace(CONFIG, teacher="real", seed=6, num_outer_steps=9)
    workdirs.open_workdir(folder, other)
    return folder, ["(--teacher=real there, gtn now; --seed=6 there, 5 now)"]


def an_older_run(folder):
    text = CONFIG.as_flagfile().replace("--latent_size=64\n", "")
    (folder / "flags.txt").write_text(text)
    return folder, [
        f"{folder}/flags.txt lacks --latent_size: ",
        "add what is missing, or give another --workdir",
    ]


def emptied(folder):
    (folder / "flags.txt").write_text("")
    return folder, ["flags.txt lacks --dataset, --augment, --teacher and ", "emptied"]


def blank(folder):
    (folder / "flags.txt").write_text("  \n")
    return folder, [f"--workdir={folder} holds no run of this program"]


def cut_short(folder):
    text = CONFIG.as_flagfile()
    (folder / "flags.txt").write_text(text[: text.index("--outer_decay")])
    return folder, ["flags.txt lacks --outer_decay, --outer_beta_1, ", "cut short"]


def an_unknown_flag(folder):
    (folder / "flags.txt").write_text("--seed=5\n--num_steps=3\n")
    return folder, [
        f"--workdir={folder} holds no run of this program (in flags.txt: ",
        "'--num_steps=3' is no flag",
        "give another --workdir",
    ]


def no_text(folder):
    (folder / "flags.txt").write_bytes(b"\xff\xfe")
    return folder, [f"--workdir={folder} holds no run of this program"]


def other_files(folder):
    (folder / "thesis.tex").write_text("years of work")
    return folder, [
        f"--workdir={folder} is not empty and holds no run (no flags.txt): "
        "give a new or an empty folder"
    ]


def an_empty_subfolder(folder):
    (folder / "flags.txt").mkdir()
    return folder, ["is not empty and holds no run"]


def a_file(folder):
    (folder / "file").write_text("kept")
    return folder / "file", [
        f"--workdir={folder / 'file'} cannot be written (",
        "give a folder that you may write to",
    ]


def below_a_file(folder):
    (folder / "file").write_text("kept")
    return folder / "file" / "run", ["cannot be written (Not a directory)"]


@pytest.mark.parametrize(
    "prepare",
    [
        another_run,
        twice_another_run,
        an_older_run,
        emptied,
        blank,
        cut_short,
        an_unknown_flag,
        no_text,
        other_files,
        an_empty_subfolder,
        a_file,
        below_a_file,
    ],
)
def test_refused_and_left_as_it_was(tmp_path, prepare):
    folder, words = prepare(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError) as caught:
        workdirs.open_workdir(folder, CONFIG)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert contents(tmp_path) == before


def test_results_are_json_and_replaced_whole(tmp_path):
    for mean in (0.25, 0.1 + 0.2):
        results = {"num_outer_steps": 3, "teacher": {"test_accuracy": {"mean": mean}}}
        workdirs.write_results(tmp_path, results)
        assert json.loads((tmp_path / "results.json").read_text()) == results
    assert len(list(tmp_path.iterdir())) == 1


HEADER = (
    "outer_step,seconds,meta_loss,intermediate_loss,gradient_norm,validation_accuracy,"
    "num_divergences"
)


def write_steps(metrics, first, last, seconds=1.0):
    for step in range(first, last + 1):
        result = StepResult(step + 0.123456789, 2.0 * step, 3.0)
        accuracy = step / 8 if step % 2 == 0 else None
        metrics.write(Progress(step, seconds * step), result, accuracy)


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert ",".join(header) == HEADER
    return rows


def test_a_row_is_there_as_soon_as_its_step_is_done(tmp_path):
    metrics = workdirs.Metrics(tmp_path, 0)
    assert (tmp_path / "metrics.csv").read_text() == f"{HEADER}\n"
    write_steps(metrics, 1, 2, seconds=1.23456)
    assert (tmp_path / "metrics.csv").read_text() == (
        f"{HEADER}\n1,1.235,1.123456789,2.0,3.0,,0\n2,2.469,2.123456789,4.0,3.0,0.25,0\n"
    )


@pytest.mark.parametrize("num_done", range(6))
def test_continued_metrics_have_no_gap_and_no_repeat(tmp_path, num_done):
    """The checkpoint is of step `num_done`; five rows were written, a sixth torn."""
    write_steps(workdirs.Metrics(tmp_path, 0), 1, 5)
    before = rows(tmp_path)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,6.0,0.1")
    metrics = workdirs.Metrics(tmp_path, num_done)
    assert rows(tmp_path) == before[:num_done]
    write_steps(metrics, num_done + 1, 7, seconds=10.0)
    after = rows(tmp_path)
    assert [int(row[0]) for row in after] == [1, 2, 3, 4, 5, 6, 7]
    seconds = [float(row[1]) for row in after]
    assert seconds == [n if n <= num_done else 10 * n for n in range(1, 8)]
    assert after[:num_done] == before[:num_done]


@pytest.mark.parametrize("prepare", [an_older_run, emptied, blank, cut_short, no_text])
def test_flags_that_are_not_whole_are_not_filled_up_with_defaults(tmp_path, prepare):
    _, words = prepare(tmp_path)
    with pytest.raises(UserError) as caught:
        workdirs.read_config(tmp_path)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("at", range(0, len(CONFIG.as_flagfile()) - 12, 9))
def test_flags_cut_anywhere_are_no_other_run(tmp_path, at):
    text = CONFIG.as_flagfile()
    (tmp_path / "flags.txt").write_text(text[:at])
    if at < text.index("\n--workers"):
        with pytest.raises(UserError):
            workdirs.read_config(tmp_path)
        return
    with contextlib.suppress(UserError):  # what follows may change
        assert workdirs.read_config(tmp_path).fixed() == CONFIG.fixed()


@pytest.mark.parametrize("content", [b"\xff\xfe\x80", b"a,b\n\0\n\x81"])
def test_metrics_that_are_no_text_are_named(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    for read in (workdirs.validations, lambda folder: workdirs.Metrics(folder, 3)):
        with pytest.raises(UserError, match=f"^{path} is no metrics file of bin/train"):
            read(tmp_path)
    assert path.read_bytes() == content


@dataclasses.dataclass(frozen=True)
class Old(Config):
    workdir: "str" = field("", "folder", may_change=True)
    size: "int" = field(3, "a number")


@dataclasses.dataclass(frozen=True)
class New(Old):
    before = {"kind": "plain"}
    kind: "str" = field("plain", "what is new")


def test_a_run_from_before_a_field_was_there_goes_on(tmp_path):
    workdirs.open_workdir(tmp_path, Old())
    assert New().digest == Old().digest != New(kind="other").digest
    assert workdirs.read(New, tmp_path).kind == "plain"
    with pytest.raises(ValueError, match="--kind=plain there, other now"):
        workdirs.open_workdir(tmp_path, New(kind="other"))
    workdirs.open_workdir(tmp_path, New())
    assert "--kind=plain" in (tmp_path / "flags.txt").read_text()


def test_a_run_from_before_a_default_was_another_is_told_how_to_go_on(tmp_path):
    now = SearchConfig()
    older = now.as_flagfile().replace("--early_loss_weight=0.2\n", "")
    assert older != now.as_flagfile()
    (tmp_path / "flags.txt").write_text(older)
    going_on = f"--flagfile={tmp_path}/flags.txt --early_loss_weight=0.0, or give"
    with pytest.raises(ValueError, match=re.escape(going_on)):
        workdirs.open_workdir(tmp_path, now)
    workdirs.open_workdir(tmp_path, dataclasses.replace(now, early_loss_weight=0.0))
