"""bin/search --hypermodel=MODULE:NAME: a user's own models, judged by a teacher.

WORKDIR/  flags.txt  table.md  keras_tuner/ (of TeacherTuner, with halving.json)
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras_tuner
from keras_tuner.errors import FatalError
from keras_tuner.src import config as tuner_config

from gtn_tf.errors import UserError
from gtn_tf.runs import files, plugins, workdirs
from gtn_tf.runs.locks import locked
from nas.evaluations.base import Context
from nas.reporting import hypermodels
from nas.search import distribution
from nas.search.config import SearchConfig
from nas.search.context import build_context
from nas.search.real_epochs import Finalist
from nas.search.tuner import TeacherTuner
from nas.search.tuner_oracles import (
    MAX_FAILURES_IN_A_ROW,
    OBJECTIVE,
    SECONDS,
    build_oracle,
)


def run(config: SearchConfig) -> None:
    """A search to its end, from where keras-tuner's files stand.

    Raises:
      UserError: a hypermodel that cannot be used; else as `nas.commands.search.run`.
    """
    hypermodel = find_hypermodel(config.hypermodel)
    if config.role == "worker":
        distribution.reach_chief(config.address)
        distribution.tell(config, f"judges for the chief at {config.address}")
        # What a worker writes is of no use to anybody.
        with tempfile.TemporaryDirectory() as unused, distribution.as_worker(config):
            _search(config, hypermodel, build_context(config), Path(unused))
        return
    alone = config.role == "local"
    if not alone:
        distribution.check_free(config.address)
    context = build_context(config)
    folder = Path(config.run_folder).expanduser()
    workdirs.open_workdir(folder, config)
    print(f"search folder: {folder}", file=sys.stderr)
    with (
        locked(folder),
        contextlib.nullcontext() if alone else distribution.as_chief(config),
    ):
        tuner = _search(config, hypermodel, context, folder)
        table = hypermodels.trials_table(list(tuner.oracle.trials.values())) + "\n"
        files.write_text_atomically(folder / "table.md", table)
        if config.num_finalists:
            finalists = _halve(config, tuner, context)
            table += f"\n{hypermodels.finalists_table(finalists)}\n"
            files.write_text_atomically(folder / "table.md", table)
    print(table)


def find_hypermodel(name: str) -> keras_tuner.HyperModel | Callable:
    """What MODULE:NAME stands for; the working directory comes first.

    A HyperModel's class stands for one made without arguments.

    Raises:
      UserError: no such module or name, or nothing that builds models.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UserError(
            f"--hypermodel={name} is no MODULE:NAME: give it as in spaces:build"
        )
    module = plugins.load(module_name, f"--hypermodel={name}")
    found = getattr(module, attribute, None)
    if inspect.isclass(found) and issubclass(found, keras_tuner.HyperModel):
        found = found()
    if not isinstance(found, keras_tuner.HyperModel) and not callable(found):
        raise UserError(
            f"--hypermodel={name}: {attribute} of {module.__file__} is "
            f"{'not there' if found is None else f'a {type(found).__name__}'}: give "
            "the name of a keras_tuner.HyperModel or of a function build(hp)"
        )
    return found


class _Tuner(TeacherTuner):
    """Tells of each trial in one line."""

    def run_trial(self, trial, x, y) -> dict[str, float]:
        """The trial's accuracy, as of `TeacherTuner`."""
        name = f"trial {trial.trial_id}"
        try:
            found = super().run_trial(trial, x, y)
        except FatalError:
            raise  # ends the search, and is told as its error
        except Exception as error:
            told = " ".join(plugins.describe(error).split())
            print(
                f"{name} failed ({told}); its trial.json has the traceback",
                file=sys.stderr,
            )
            raise
        values = trial.hyperparameters.values.items()
        text = ", ".join(f"{key}={value}" for key, value in values)
        print(
            f"{name}: {OBJECTIVE.name} {found[OBJECTIVE.name]:.4f} in "
            f"{found[SECONDS]:.1f} s ({text})",
            file=sys.stderr,
        )
        return found


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Within, keras-tuner keeps the traceback of a failed trial in its file alone."""
    before = tuner_config.DEBUG
    tuner_config.DEBUG = False
    try:
        yield
    finally:
        tuner_config.DEBUG = before


def _search(
    config: SearchConfig, hypermodel, context: Context, folder: Path
) -> TeacherTuner:
    oracle = build_oracle(config.oracle, config.max_trials, config.seed)
    if config.role == "chief":
        distribution.give_back_locks(oracle)
    split = context.scoring_split
    # keras-tuner prints, and so may the hypermodel.
    with contextlib.redirect_stdout(sys.stderr), _without_tracebacks():
        with _blaming(config, "does not build a model of its default values"):
            tuner = _Tuner(
                hypermodel,
                context.teacher,
                oracle,
                seed=config.evaluation_seed,
                directory=str(folder),
                project_name="keras_tuner",
            )
            if config.num_finalists and config.role != "worker":
                tuner.check_compiled()  # sooner than after the whole search
        with _telling_of_failures(config):
            tuner.search(split.images, split.labels, verbose=0)
    return tuner


@contextlib.contextmanager
def _telling_of_failures(config: SearchConfig) -> Iterator[None]:
    """Within, keras-tuner's end after so many failures in a row is a user's mistake."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("Number of consecutive failures"):
            raise
        last = str(error).strip().splitlines()[-1]
        raise UserError(
            f"--hypermodel={config.hypermodel} failed in {MAX_FAILURES_IN_A_ROW} "
            f"trials in a row, the last with {last!r}: correct it; each trial's "
            "trial.json has its traceback"
        ) from error


def _halve(
    config: SearchConfig, tuner: TeacherTuner, context: Context
) -> list[Finalist]:
    train, validation = context.dataset.train, context.scoring_split
    with (
        contextlib.redirect_stdout(sys.stderr),
        _blaming(config, "does not train on images [N, H, W, C] and label ids [N]"),
    ):
        return tuner.halve(
            train.images,
            train.labels,
            validation.images,
            validation.labels,
            config.num_finalists,
            config.finalist_epochs,
            config.halving_factor,
            verbose=2,
        )


@contextlib.contextmanager
def _blaming(config: SearchConfig, what: str) -> Iterator[None]:
    """Within, what is raised is the hypermodel's: a user's code may raise anything."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        described = plugins.describe(error)
        raise UserError(
            f"--hypermodel={config.hypermodel} {what} ({described}): correct it"
        ) from error
