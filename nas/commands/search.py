"""A search: proposals of an oracle, judged one by one, kept in a journal.

WORKDIR/  flags.txt  journal.jsonl  teacher.json  table.md  keras_tuner/
          teacher_run/ (of a teacher that the search has trained itself)

In one process, or with a chief that proposes and keeps the journal and workers that
judge, over keras-tuner's own gRPC service. Of a --hypermodel, keras_tuner/ is what is
kept, in place of a journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import tensorflow as tf
from keras_tuner.engine import base_tuner
from keras_tuner.errors import FatalError
from tqdm import tqdm

from gtn_tf.errors import UserError
from gtn_tf.runs import files, workdirs
from gtn_tf.runs.locks import locked
from gtn_tf.teaching.loaded_teacher import LoadedTeacher
from nas.commands import teacher_search
from nas.evaluations.base import Context
from nas.evaluations.dismissal import Dismissal
from nas.evaluations.registry import EVALUATIONS
from nas.reporting import tables
from nas.search import distribution, oracles
from nas.search.config import SearchConfig
from nas.search.context import (
    build_context,
    check,
    of_architecture,
    own_teacher,
    train_own_teacher,
    with_shared_weights,
)
from nas.search.journal import Entry, Journal
from nas.search.registry import ORACLES
from nas.spaces.base import Architecture, SearchSpace

_CALL_SECONDS = 10  # between a worker's signs of life


class _Tuner(base_tuner.BaseTuner):
    """keras-tuner's loop; one trial judges one architecture."""

    def __init__(self, config: SearchConfig, the_oracle, context: Context | None):
        self._config = config
        self._context = context
        super().__init__(
            the_oracle,
            directory=str(Path(config.run_folder).expanduser()),
            project_name="keras_tuner",
            overwrite=config.role != "worker",
        )

    def run_trial(self, trial, *args, **kwargs) -> dict:
        """Judges the trial's architecture.

        Raises:
          FatalError: anything that the evaluation raises; a network that diverges
            raises nothing, it has a bad score.
        """
        config = self._config
        evaluate = EVALUATIONS[config.evaluation]
        space = config.search_space()
        architecture = space.from_values(trial.hyperparameters.values)
        context = of_architecture(self._context, space, architecture)
        size = config.size(context.dataset)
        build = functools.partial(space.build, architecture, size)
        try:
            with self._signs_of_life(trial.trial_id):
                result = evaluate(context, build, config.evaluation_seed)
        except Exception as error:
            text = space.encode(architecture)
            raise FatalError(f"evaluating {text} failed") from error
        told = f"score {result.score:.4g} in {result.seconds:.1f} s"
        distribution.tell(config, f"trial {trial.trial_id}, {told}")
        trial.hyperparameters.values[oracles.RESULT] = result.as_json()
        return {"score": result.score}

    @contextlib.contextmanager
    def _signs_of_life(self, trial_id: str):
        """Within, a worker calls the chief now and then."""
        done = threading.Event()

        def call():
            while not done.wait(_CALL_SECONDS):
                with contextlib.suppress(grpc.RpcError):
                    self.oracle.get_trial(trial_id)

        thread = threading.Thread(target=call, daemon=True)
        if self._config.role == "worker":
            thread.start()
        try:
            yield
        finally:
            done.set()

    def pre_create_trial(self) -> None:
        """keras-tuner asks again at once when it is told to wait."""
        if self._config.role == "worker":
            threading.Event().wait(0.2)

    def save(self) -> None:
        """Nothing: the journal is what is kept."""


def run(config: SearchConfig) -> list[Entry]:
    """A search to its end, from where its journal stands.

    Raises:
      UserError: a folder, teacher, data or list of architectures that cannot be
        used; a teacher that was trained anew since the search began; a chief's port
        that is taken, or a chief that does not answer.
    """
    if config.hypermodel:
        teacher_search.run(config)
        return []
    if config.role == "worker":
        distribution.reach_chief(config.address)
        distribution.tell(config, f"judges for the chief at {config.address}")
        with distribution.as_worker(config):
            journal = Journal(Path("unused"), config.search_space())
            _search(config, journal, build_context(config), None)
        return []
    architectures = _given(config)
    if config.role == "chief":
        distribution.check_free(config.address)
    context = None
    trains = own_teacher(config) is not None
    if trains:
        check(config)
    elif config.role == "local":
        context = build_context(config)  # refuses before anything is written
    folder = Path(config.run_folder).expanduser()
    workdirs.open_workdir(folder, config)
    print(f"search folder: {folder}", file=sys.stderr)
    with locked(folder):
        if trains:
            train_own_teacher(config)
            context = build_context(config) if config.role == "local" else None
        if context and context.teacher:
            _keep_to_one_teacher(folder / "teacher.json", context.teacher)
        journal = Journal(folder / "journal.jsonl", config.search_space())
        if config.role == "chief":
            with distribution.as_chief(config):
                print(f"serves workers at {config.address}", file=sys.stderr)
                _search(config, journal, None, architectures)
        else:
            _search(config, journal, context, architectures)
        table = tables.best_table(journal.entries) + "\n"
        files.write_text_atomically(folder / "table.md", table)
    print(table.replace(r"\|", "|"))  # in a terminal nothing ends a cell
    return journal.entries


def _keep_to_one_teacher(path: Path, teacher: LoadedTeacher) -> None:
    """Scores by two teachers do not compare, though both came from one folder."""
    text = json.dumps(teacher.description, indent=2) + "\n"
    if not path.is_file():
        files.write_text_atomically(path, text)
    elif path.read_text() != text:
        raise UserError(
            f"--workdir={path.parent} holds scores by another teacher (described in "
            f"{path}) than the one that --teacher now holds: give another --workdir"
        )


def _search(
    config: SearchConfig,
    journal: Journal,
    context: Context | None,
    architectures: list[Architecture] | None,
) -> None:
    bar = tqdm(
        total=config.max_trials,
        initial=len(journal.entries),
        desc=config.evaluation,
        unit="architecture",
        file=sys.stderr,
        disable=config.role == "worker",
    )
    with bar, _graphs_as_traced():

        def on_entry(entry: Entry) -> None:
            best = max(known.score for known in journal.entries)
            bar.set_postfix(score=f"{entry.score:.4g}", best=f"{best:.4g}")
            bar.update()

        if config.num_shared and config.role != "chief":
            context = with_shared_weights(context, config)
        if config.dismiss_after:
            context = _dismissing(context, config, journal)
        oracle = _build_oracle(config, journal, architectures, on_entry)
        if config.role == "chief":
            distribution.give_back_locks(oracle)
        tuner = _Tuner(config, oracle, context)
        try:
            tuner.search()
        except FatalError as error:
            raise error.__cause__ or error from None


def _dismissing(context: Context, config: SearchConfig, journal: Journal) -> Context:
    """With a dismissal that goes by what the journal has at each time."""

    def known() -> list[float]:
        return [
            entry.early_loss
            for entry in journal.entries
            if entry.early_loss is not None and entry.seed == config.evaluation_seed
        ]

    dismissal = Dismissal(config.dismiss_after, known)
    return dataclasses.replace(context, dismissal=dismissal)


@contextlib.contextmanager
def _graphs_as_traced() -> Iterator[None]:
    """Within, TensorFlow does not optimize graphs: each architecture is another one,
    run a few times, which is not worth it."""
    name = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(name, False)
    tf.config.optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before})


def _build_oracle(config: SearchConfig, journal: Journal, architectures, on_entry):
    options = {
        "journal": journal,
        "max_trials": config.max_trials,
        "seed": config.seed,
        "evaluation_seed": config.evaluation_seed,
        "time_limit_seconds": config.time_limit_seconds,
        "on_entry": on_entry,
    }
    if architectures is not None:
        return oracles.ListOracle(**options, architectures=architectures)
    return ORACLES[config.oracle](**options)


def _given(config: SearchConfig) -> list[Architecture] | None:
    if not config.architectures:
        return None
    path = Path(config.architectures).expanduser()
    return read_architectures(path, config.search_space())


def read_architectures(path: Path, space: SearchSpace) -> list[Architecture]:
    """The architectures of a file: a line each, in an encoding of their space.

    Raises:
      UserError: a file that cannot be read, a line that is no architecture.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--architectures={path} cannot be read ({error}): give a text file with "
            "an architecture in each line"
        ) from None
    found = [
        _read_line(line, space, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not found:
        raise UserError(
            f"--architectures={path} has no architecture: give one in each line, as "
            "bin/report and journal.jsonl write them"
        )
    return found


def _read_line(line: str, space: SearchSpace, where: str) -> Architecture:
    try:
        return space.decode(line)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def next_steps(config: SearchConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    if config.role == "worker":
        return [f"look at the table of the chief at {config.address}"]
    folder = shlex.quote(config.run_folder)
    return [
        f"bin/report {folder} --output={folder}/report",
        f"the same command with --max_trials={2 * config.max_trials}, which goes on",
    ]
