"""One run: from a configuration to a folder with teacher, learner and final table."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import keras
import tensorflow as tf

import gtn_tf
from gtn_tf import assembly, data, evaluation, export, training, workdirs
from gtn_tf.config import TrainingConfig
from gtn_tf.data import Dataset
from gtn_tf.locks import locked
from gtn_tf.training import Trained


def run(config: TrainingConfig) -> dict:
    """A whole run; `results.json` and the returned value are the same.

    Raises:
      ValueError: a configuration, data or folder that cannot be used; nothing has
        been written then.
    """
    dataset = check(config)
    folder = Path(config.run_folder).expanduser()
    workdirs.open_workdir(folder, config)
    print(f"run folder: {folder}", file=sys.stderr)
    with locked(folder):
        return _run(config, dataset, folder)


def check(config: TrainingConfig) -> Dataset:
    """The data of a run that can be; nothing is written.

    Raises:
      ValueError: data or learners that cannot be used, memory that does not suffice.
    """
    dataset = data.load(config.dataset, config.data_dir or None, config.seed)
    assembly.choose_threads(config, dataset)
    specs = assembly.build_learner_specs(config, dataset)
    problem = assembly.build_problem(config, dataset)
    assembly.build_differentiation(config, problem, specs)
    return dataset


def _run(config: TrainingConfig, dataset: Dataset, folder: Path) -> dict:
    trained = training.meta_train(config, dataset, folder)
    results = {
        "num_outer_steps": trained.progress.outer_step,
        "seconds": trained.progress.seconds,
        "teacher": _test(config, dataset, trained),
    }
    if config.teacher == "real":
        results["real"] = results["teacher"]
    elif config.compare_with_real:
        results["real"] = _compare(config, dataset, folder / "real")
    export_run(config, dataset, trained, folder)
    workdirs.write_results(folder, results)
    print(format_table(config, results))
    return results


def _compare(config: TrainingConfig, dataset: Dataset, folder: Path) -> dict:
    """Real data with the same learners, T and batch size, as many outer steps."""
    real = dataclasses.replace(config, teacher="real", curriculum="full")
    workdirs.open_workdir(folder, real)
    return _test(real, dataset, training.meta_train(real, dataset, folder))


def _test(config: TrainingConfig, dataset: Dataset, trained: Trained) -> dict:
    values = trained.evaluator.accuracies(
        dataset.test, config.num_test_learners, config.seed
    )
    return {"test_accuracy": evaluation.summarise(values, config.seed)}


def export_run(
    config: TrainingConfig,
    dataset: Dataset,
    trained: Trained,
    folder: Path,
    half: bool = False,
) -> keras.Model:
    """Writes teacher/ and learner/; returns the learner, trained on seed's data.

    Args:
      half: as of `export.export_teacher`.
    """
    export.export_teacher(
        folder / "teacher", trained.problem, dataset, _provenance(config, trained), half
    )
    learner, state = trained.evaluator.train(0, config.seed)
    model = learner.assign(state.params, state.batch_stats)
    export.export_learner(folder / "learner", model, dataset)
    return model


def _provenance(config: TrainingConfig, trained: Trained) -> dict:
    return {
        "flags": config.fixed(),
        "num_outer_steps": trained.progress.outer_step,
        "seconds": trained.progress.seconds,
        "versions": {
            "gtn_tf": gtn_tf.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def format_table(config: TrainingConfig, results: dict) -> str:
    """The final table: few-step test accuracy of the teacher and of real data."""
    lines = [
        f"test accuracy after {config.num_inner_steps} steps of "
        f"{config.inner_batch_size} images, {config.num_test_learners} fresh learners "
        f"({results['num_outer_steps']} outer steps, {results['seconds']:.0f} s)",
        f"{'training data':<16}{'mean':>8}   95 % interval",
    ]
    rows = {config.teacher: results["teacher"]}
    if config.teacher != "real" and "real" in results:
        rows["real"] = results["real"]
    for name, row in rows.items():
        mean, low, high = (row["test_accuracy"][key] for key in ("mean", "low", "high"))
        lines.append(f"{name:<16}{mean:>8.2%}   {low:.2%} to {high:.2%}")
    return "\n".join(lines)
