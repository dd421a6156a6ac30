"""One run: from a configuration to a folder with teacher, learner and final table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import gtn_tf
from gtn_tf.data import dataset_flags
from gtn_tf.evaluation import few_step
from gtn_tf.export import saved_models
from gtn_tf.meta.objectives import Measured
from gtn_tf.runs import meta_training, recording, run_setup, workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.locks import locked
from gtn_tf.runs.meta_training import Trained
from gtn_tf.runs.run_setup import RunSetup
from gtn_tf.studies import kinds, policies


def run(config: TrainingConfig) -> dict:
    """A whole run; `results.json` and the returned value are the same.

    Of several workers, the chief writes and returns them, and the others nothing.

    Raises:
      UserError: a configuration, data or folder that cannot be used; nothing has
        been written then.
      WorkerLost: another worker has ended.
    """
    setup = run_setup.prepare(config)
    if not setup.replicas.is_chief:
        return _follow(setup)
    folder = Path(config.run_folder).expanduser()
    workdirs.open_workdir(folder, config)
    print(f"run folder: {folder}", file=sys.stderr)
    with locked(folder):
        return _run(setup, folder)


def _follow(setup: RunSetup) -> dict:
    """What the other workers do beside the chief: all of its training, no results."""
    meta_training.follow(setup)
    if setup.config.has_control:
        meta_training.follow(setup.with_real_data())
    return {}


def _run(setup: RunSetup, folder: Path) -> dict:
    config, measured = setup.config, setup.problem.objective.measured
    trained = meta_training.meta_train(setup, folder)
    found = {config.teacher: _test(trained, folder)}
    if config.has_control:
        real = setup.with_real_data()
        workdirs.open_workdir(folder / "real", real.config)
        trained_real = meta_training.meta_train(real, folder / "real")
        found["real"] = _test(trained_real, folder / "real")
    results = {
        "num_outer_steps": trained.progress.outer_step,
        "seconds": trained.progress.seconds,
        "teacher": _summary(config, measured, found[config.teacher]),
    }
    if "real" in found:
        results["real"] = _summary(config, measured, found["real"])
    export_run(trained, folder)
    if dataset_flags.environment(config.dataset):
        policies.record_episode(trained, folder)
        if config.compare_with_real:
            results["a2c"] = policies.train_directly(config)
    workdirs.write_results(folder, results)
    print(format_table(config, measured, results, found))
    return results


def _test(trained: Trained, folder: Path) -> dict[str, list[float]]:
    """Family -> test accuracies of fresh learners; TensorBoard gets their mean."""
    setup = trained.setup
    found = kinds.accuracies(trained, kinds.specs_by_kind(setup), setup.dataset.test)
    accuracy = float(np.mean(_of_seen(setup.config, found)))
    name = setup.problem.objective.measured.name
    recording.write_test_accuracy(folder, trained.progress, accuracy, name)
    return found


def _of_seen(config: TrainingConfig, found: dict[str, list[float]]) -> list[float]:
    """Accuracies of all learners of the kinds that were trained with."""
    seen = [own for family, own in found.items() if family not in config.left_out]
    return [accuracy for own in seen for accuracy in own]


def _summary(
    config: TrainingConfig, measured: Measured, found: dict[str, list[float]]
) -> dict:
    """Of all learners of seen kinds, and of each kind by itself."""
    return {
        f"test_{measured.name}": few_step.summarize(
            _of_seen(config, found), config.seed
        ),
        "kinds": {
            family: few_step.summarize(values, config.seed)
            | {"unseen": family in config.left_out}
            for family, values in found.items()
        },
    }


def export_run(trained: Trained, folder: Path) -> keras.Model:
    """Writes teacher/ and learner/; returns the learner, trained on seed's data."""
    export_teacher(trained, folder)
    learner, state = trained.evaluator.train(0, trained.setup.config.seed)
    model = learner.assign(state.params, state.batch_stats)
    saved_models.export_learner(folder / "learner", model, trained.setup.dataset)
    return model


def export_teacher(trained: Trained, folder: Path, half: bool = False) -> None:
    """Writes teacher/.

    Args:
      half: as of `saved_models.export_teacher`.
    """
    problem, dataset = trained.setup.problem, trained.setup.dataset
    provenance = _provenance(trained)
    saved_models.export_teacher(folder / "teacher", problem, dataset, provenance, half)


def _provenance(trained: Trained) -> dict:
    config = trained.setup.config
    # Others get the teacher: they need not know its maker's folders.
    dataset = dataset_flags.without_folders(config.dataset)
    return {
        "flags": config.fixed() | {"dataset": dataset},
        "num_outer_steps": trained.progress.outer_step,
        "seconds": trained.progress.seconds,
        "versions": {
            "gtn_tf": gtn_tf.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def format_table(
    config: TrainingConfig, measured: Measured, results: dict, found: dict
) -> str:
    """The final table: few-step test accuracy, or return, by kind of network."""
    steps = (
        "1 step" if config.num_inner_steps == 1 else f"{config.num_inner_steps} steps"
    )
    items = "states" if measured.name == "return" else "images"
    text = (
        f"test {measured.name} after {steps} of {config.inner_batch_size} {items}, "
        f"{config.num_test_learners} fresh learners of each kind, 95 % intervals "
        f"({results['num_outer_steps']} outer steps, {results['seconds']:.0f} s)\n"
        + kinds.format_table(found, config.left_out, measured)
    )
    if "a2c" in results:
        own = results["a2c"]
        text += f"\nA2C, one policy on {own['frames']} frames: {own['test_return']:.2f}"
    return text


def next_steps(config: TrainingConfig) -> list[str]:
    """What a user may do then: commands, and others in words."""
    if config.workers and config.worker_index:
        return [f"look at the run folder of worker 0, {config.workers.split(',')[0]}"]
    folder = shlex.quote(config.run_folder)
    return [
        f"bin/evaluate --workdir={folder}",
        f"bin/export --workdir={folder}",
        f"tensorboard --logdir={folder}",
    ]
