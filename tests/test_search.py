"""Searches from flags to journal: stopped, killed, in several processes, refused."""

import dataclasses
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import grpc
import pytest
import tensorflow as tf

from gtn_tf.commands import train
from nas.commands import search
from nas.evaluations import registry
from nas.evaluations.base import Result
from nas.search import context, distribution, oracles
from nas.search.config import SearchConfig
from nas.search.journal import Journal
from nas.spaces import nao
from nas.spaces.nao_space import NaoSpace

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = {"num_nodes": 1, "num_filters": 2, "evaluation": "params", "max_trials": 5}


CONTEXT = types.SimpleNamespace(
    teacher=None,
    hypernetwork=None,
    dataset=types.SimpleNamespace(image_shape=(8, 8, 1), num_classes=10),
)


@pytest.fixture
def judged(monkeypatch):
    """What a made-up evaluation was asked for."""
    asked = []

    def evaluate(context, build, seed):
        text = str(build.args[0])  # the architecture that would be built
        asked.append((text, seed))
        return Result(float(len(set(text))), 0.1, False, 7)

    monkeypatch.setitem(registry.EVALUATIONS, "params", evaluate)
    monkeypatch.setattr(search, "build_context", lambda config: CONTEXT)
    return asked


def run(folder, **changes):
    return search.run(SearchConfig(workdir=str(folder), **SMALL | changes))


def bin_search(folder, *arguments, **changes):
    flags = [f"--{name}={value}" for name, value in (SMALL | changes).items()]
    return subprocess.Popen(
        [sys.executable, "bin/search", f"--workdir={folder}", *flags, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def without_seconds(folder):
    return [
        entry._replace(seconds=0.0)
        for entry in Journal(folder / "journal.jsonl", NaoSpace()).entries
    ]


def test_a_search_and_its_table(tmp_path, judged, capsys):
    entries = run(tmp_path / "a", evaluation_seed=4)
    specs = [nao.sample(1, 0, index) for index in range(20)]
    distinct = list({spec.canonical(): str(spec) for spec in reversed(specs)}.values())
    assert [text for text, _ in judged] == [
        str(spec) for spec in specs if str(spec) in distinct
    ][:5]
    assert {seed for _, seed in judged} == {4}
    out, err = capsys.readouterr()
    table = (tmp_path / "a" / "table.md").read_text()
    assert out.strip() == table.strip()
    best = max(entries, key=lambda entry: entry.score)
    assert table.splitlines()[2].startswith(f"| {best.score:g} |")
    assert "5/5" in err


def test_more_trials_go_on(tmp_path, judged):
    first = run(tmp_path)
    assert run(tmp_path, max_trials=8)[:5] == first
    assert len(judged) == len(set(judged)) == 8
    assert run(tmp_path, max_trials=8)[:5] == first and len(judged) == 8


def test_another_configuration_is_refused(tmp_path, judged):
    run(tmp_path)
    with pytest.raises(ValueError, match="--num_filters=2 there, 3 now"):
        run(tmp_path, num_filters=3)


def test_a_search_from_before_there_were_spaces_goes_on(tmp_path, judged):
    first = run(tmp_path)
    flagfile = tmp_path / "flags.txt"
    lines = flagfile.read_text().splitlines(keepends=True)
    flagfile.write_text("".join(x for x in lines if not x.startswith("--space=")))
    assert run(tmp_path, max_trials=6)[:5] == first
    assert len(judged) == 6


def test_given_architectures(tmp_path, judged):
    path = tmp_path / "list.txt"
    specs = [nao.sample(2, 1, index) for index in range(2)]
    path.write_text(f"{specs[0]}\n\n{nao.to_json(specs[1])}\n")
    entries = run(tmp_path / "a", architectures=str(path), num_nodes=2)
    assert [entry.architecture for entry in entries] == list(map(str, specs))


def test_a_bug_stops_the_search_with_its_own_error(tmp_path, judged, monkeypatch):
    def evaluate(context, build, seed):
        raise KeyError("a bug")

    monkeypatch.setitem(registry.EVALUATIONS, "params", evaluate)
    with pytest.raises(KeyError, match="a bug"):
        run(tmp_path)
    assert (tmp_path / "journal.jsonl").exists() is False


@pytest.mark.parametrize("before", [False, True])
def test_tensorflow_optimizes_graphs_afterwards_as_before(
    tmp_path, judged, monkeypatch, before
):
    name, options = "disable_meta_optimizer", tf.config.optimizer
    within = []

    def evaluate(*_):
        within.append(options.get_experimental_options()[name])
        if len(within) > 5:
            raise KeyError("a bug")
        return Result(0.5, 0.1, False, 7)

    monkeypatch.setitem(registry.EVALUATIONS, "params", evaluate)
    options.set_experimental_options({name: before})
    try:
        run(tmp_path)
        assert options.get_experimental_options()[name] is before
        with pytest.raises(KeyError, match="a bug"):
            run(tmp_path, max_trials=6)
        assert options.get_experimental_options()[name] is before
    finally:
        options.set_experimental_options({name: False})
    assert within == [True] * 6


def test_a_diverged_network_does_not_stop_the_search(tmp_path, judged, monkeypatch):
    diverged = Result(0.0, 0.1, True, 7)
    monkeypatch.setitem(registry.EVALUATIONS, "params", lambda *_: diverged)
    entries = run(tmp_path)
    assert [entry.diverged for entry in entries] == [True] * 5
    assert "(diverged)" in (tmp_path / "table.md").read_text()


def test_killed_at_once_and_started_again(tmp_path):
    run(tmp_path / "whole")
    part = bin_search(tmp_path / "part")
    journal = tmp_path / "part" / "journal.jsonl"
    while not journal.exists() or journal.read_text().count("\n") < 2:
        assert part.poll() is None
        time.sleep(0.01)
    part.send_signal(signal.SIGKILL)
    part.wait()
    assert 2 <= len(without_seconds(tmp_path / "part")) < 5
    assert bin_search(tmp_path / "part").wait() == 0
    assert without_seconds(tmp_path / "part") == without_seconds(tmp_path / "whole")


def disturb(port):
    """Says to a chief what no worker would: bytes, and calls that it cannot answer."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=300)
        for content in (b"\0" * 99, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP" * 9):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as stranger:
                stranger.sendall(content)
        for name in ("CreateTrial", "UpdateSpace", "EndTrial", "GetTrial", "None"):
            call = channel.unary_unary(f"/keras_tuner.Oracle/{name}")
            # No message at all; one without a field, of a trial that is not there.
            for content in (b"\xff" * 20, b"") if name != "CreateTrial" else (b"\xff",):
                try:
                    call(content, timeout=60)
                except grpc.RpcError:
                    continue
                assert name == "UpdateSpace" and not content


def test_chief_and_workers_judge_the_same(tmp_path):
    """Whatever strangers say to the chief."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"--address=127.0.0.1:{port}"
    chief = bin_search(tmp_path, "--role=chief", address)
    disturb(port)
    workers = [
        bin_search(tmp_path, "--role=worker", f"--worker=w{index}", address)
        for index in range(2)
    ]
    for process in (*workers, chief):
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    entries = without_seconds(tmp_path)
    expected = [nao.sample(1, 0, index) for index in range(5)]
    assert sorted(entry.architecture for entry in entries) == sorted(map(str, expected))
    for entry in entries:  # the parameters of a network are what they are
        assert entry.score == entry.num_params


def test_an_oracle_that_raises_is_not_locked(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", NaoSpace())
    oracle = oracles.RandomOracle(journal, max_trials=2, seed=0)
    distribution.give_back_locks(oracle)
    found = []

    def ask():
        try:
            oracle.get_trial("none")
        except KeyError as error:
            found.append(str(error))

    for _ in range(2):  # each thread for itself, as chief and service
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(60)
    assert found == ["'none'"] * 2


def test_a_taken_port(tmp_path, judged):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match="cannot be served.*free port"):
            run(tmp_path, role="chief", address=address)


def test_no_chief(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "_WAIT_SECONDS", 0.2)
    with pytest.raises(ValueError, match="no chief answers.*--role=chief"):
        run(tmp_path, role="worker", address="127.0.0.1:9")


@pytest.mark.parametrize("address", ["8000", "host:", "host:port", ":80", "a:70000"])
def test_no_address(tmp_path, address):
    with pytest.raises(ValueError, match="is no HOST:PORT"):
        run(tmp_path, role="worker", address=address)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"evaluation": "guess"}, "--evaluation=guess is unknown: give one of teacher"),
        ({"num_nodes": 0}, "--num_nodes=0 is out of range"),
        ({"role": "worker", "worker": "chief"}, "no name for a worker"),
        (
            {"space": "darts", "num_nodes": 4},
            "--num_nodes=4 is of NAO's cells, and --space=darts has none",
        ),
        ({"early_epochs": 30}, "--early_epochs=30 is more than --num_epochs=20"),
    ],
)
def test_flags_that_cannot_be(changes, words):
    with pytest.raises(ValueError, match=words):
        SearchConfig(**changes)


@pytest.mark.parametrize(
    "text, words",
    [
        (b"\n0 7 1", "list.txt, line 2: .* has 3 integers: give 8 for each node"),
        (b"0 7 1 99 0 7 1 5", "operation 99: give one of"),
        (b"0 7 2 5 0 7 1 5", "node 2 reads 2"),
        (b'{"conv_dag": 1}', "NAO's JSON format"),
        (b"\xff", "cannot be read"),
    ],
)
def test_files_of_architectures_that_cannot_be(tmp_path, judged, text, words):
    path = tmp_path / "list.txt"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "a", architectures=str(path))


def test_a_missing_file_of_architectures(tmp_path, judged):
    with pytest.raises(ValueError, match="cannot be read.*text file"):
        run(tmp_path / "a", architectures=str(tmp_path / "none"))


@pytest.fixture
def trained(monkeypatch):
    """The teachers that would be trained."""
    trained = []

    def fake(config):
        trained.append(config)
        folder = pathlib.Path(config.run_folder)
        folder.mkdir(parents=True)
        (folder / "results.json").write_text("{}")

    monkeypatch.setattr(train, "run", fake)
    return trained


@pytest.mark.parametrize("role", ["local", "chief"])
def test_a_search_on_digits_trains_its_teacher_once_in_its_workdir(
    tmp_path, monkeypatch, trained, role
):
    folder = tmp_path / "search"
    own = str(folder / "teacher_run")
    monkeypatch.setattr("gtn_tf.load_teacher", lambda asked: found.append(asked))
    monkeypatch.setattr(search, "_search", lambda *_: None)
    found = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    for _ in range(2):
        search.run(SearchConfig(workdir=str(folder), role=role, address=address))
    expected = dataclasses.replace(context.DIGITS_TEACHER, workdir=own)
    assert trained == [expected]
    assert [str(asked) for asked in found] == ([own] * 2 if role == "local" else [])
    context.build_context(SearchConfig(workdir=str(folder), role="worker"))
    assert str(found[-1]) == own


def test_a_worker_without_the_teacher_of_its_chief(tmp_path, trained):
    with pytest.raises(ValueError, match="teacher_run: give a worker the --workdir"):
        context.build_context(SearchConfig(workdir=str(tmp_path), role="worker"))
    assert not trained


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"data_dir": "missing"}, "'missing' is no folder"),
        ({"dataset": "nothing_like_it"}, "nothing_like_it needs --teacher=FOLDER"),
        ({"architectures": "missing"}, "--architectures=missing cannot be read"),
        ({"architectures": "empty"}, "--architectures=empty has no architecture"),
        ({"workdir": "full"}, "is not empty and holds no run"),
    ],
)
def test_refused_before_a_teacher_is_trained(
    tmp_path, monkeypatch, trained, changes, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text(" \n\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=words):
        search.run(SearchConfig(**{"workdir": "new"} | changes))
    assert not trained and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "cifar10"])
def test_other_data_has_a_teacher_that_comes_with_the_package(dataset, monkeypatch):
    asked = []
    monkeypatch.setattr("gtn_tf.load_teacher", lambda name: asked.append(name) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        context.build_context(SearchConfig(dataset=dataset))
    assert asked == [dataset]
    with pytest.raises(ValueError, match="on other needs --teacher=FOLDER: train one"):
        context.build_context(SearchConfig(dataset="other"))


def test_early_stopping_is_a_tenth_unless_given():
    few = SearchConfig(evaluation="early_stopped", num_epochs=1)
    assert context.build_context(few).early_epochs == 0.1
    given = dataclasses.replace(few, early_epochs=0.5)
    assert context.build_context(given).early_epochs == 0.5


def test_a_teacher_for_other_images(tmp_path, monkeypatch):
    class Teacher:
        description = {"flags": {"seed": 0, "dataset": "mnist"}}
        num_inner_steps, image_shape, class_names = 3, (28, 28, 1), list("0123456789")

    monkeypatch.setattr("gtn_tf.load_teacher", lambda folder: Teacher())
    with pytest.raises(ValueError, match=r"trained for mnist, images of \(28, 28, 1\)"):
        run(tmp_path / "a", teacher="somewhere", evaluation="teacher")
    assert not (tmp_path / "a").exists()


def test_one_teacher_for_a_search(tmp_path, judged, monkeypatch):
    teacher = types.SimpleNamespace(description={"num_outer_steps": 3})
    with_teacher = types.SimpleNamespace(**vars(CONTEXT) | {"teacher": teacher})
    monkeypatch.setattr(search, "build_context", lambda config: with_teacher)
    run(tmp_path, max_trials=2)
    entries = run(tmp_path, max_trials=3)
    teacher.description = {"num_outer_steps": 4}
    with pytest.raises(ValueError, match="scores by another teacher.*--workdir"):
        run(tmp_path, max_trials=4)
    assert Journal(tmp_path / "journal.jsonl", NaoSpace()).entries == entries
    with pytest.raises(ValueError, match="--teacher= there, elsewhere now"):
        run(tmp_path, teacher="elsewhere")


def search_of(name):
    text = (ROOT / "nas" / "flagfiles" / f"{name}.flags").read_text()
    assert f"bin/search --flagfile={name}.flags" in text
    flags = "".join(f"{line}\n" for line in text.splitlines() if line[:2] == "--")
    return SearchConfig(**SearchConfig.values_of(flags))


def test_the_papers_search_is_a_flagfile():
    config = search_of("cifar10_nas")
    assert (config.num_cells, config.num_filters, config.num_nodes) == (3, 32, 5)
    assert (config.max_trials, config.num_epochs) == (800, 100)


def test_a_search_for_two_cores_is_a_flagfile():
    config = search_of("cifar10_nas_cpu")
    assert (config.num_cells, config.num_filters, config.num_nodes) == (1, 8, 5)
    assert (config.max_trials, config.num_epochs) == (50, 0.5)


def test_a_journal_is_lines_of_json(tmp_path, judged):
    run(tmp_path)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert set(json.loads(lines[0])) == {
        *("architecture", "score", "seconds", "diverged", "num_params", "seed"),
    }
