"""Meta-training of one teacher in one folder: recorded, saved, continued."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from gtn_tf import assembly, evaluation, figures, outer_loop, summaries, workdirs
from gtn_tf.config import TrainingConfig
from gtn_tf.data import Dataset
from gtn_tf.meta_gradients import MetaProblem
from gtn_tf.outer_loop import Progress, StepResult


class Trained(NamedTuple):
    """A meta-trained teacher, what evaluates it, and how far training came."""

    problem: MetaProblem
    evaluator: evaluation.Evaluator
    progress: Progress


def meta_train(config: TrainingConfig, dataset: Dataset, folder: Path) -> Trained:
    """Trains the configured teacher to the end, from where the folder stands.

    Only the training and validation splits are read.
    """
    problem, evaluator, step, checkpoints = _build(config, dataset, folder)
    start = checkpoints.restore()
    with tqdm(
        total=config.num_outer_steps,
        initial=start.outer_step,
        desc=config.teacher,
        unit="outer step",
        file=sys.stderr,
    ) as bar:
        progress = outer_loop.train(
            lambda outer_step: step(outer_step, config.seed),
            start,
            config.num_outer_steps,
            config.time_limit_seconds,
            _Recorder(config, dataset, folder, evaluator, checkpoints, start, bar),
        )
    checkpoints.save(progress)
    return Trained(problem, evaluator, progress)


def restore(config: TrainingConfig, dataset: Dataset, folder: Path) -> Trained:
    """The teacher of the folder's last checkpoint, as it is.

    Raises:
      ValueError: no outer step has been saved.
    """
    problem, evaluator, _, checkpoints = _build(config, dataset, folder)
    progress = checkpoints.restore()
    if not progress.outer_step:
        raise ValueError(
            f"--workdir={folder} holds no checkpoint of an outer step: train with "
            f"bin/train --flagfile={folder}/flags.txt first"
        )
    return Trained(problem, evaluator, progress)


def _build(config: TrainingConfig, dataset: Dataset, folder: Path):
    problem = assembly.build_problem(config, dataset)
    specs = assembly.build_learner_specs(config, dataset)
    step = assembly.build_outer_step(config, dataset, problem, specs)
    checkpoints = workdirs.Checkpoints(folder, problem.variables, step.optimizer)
    return problem, evaluation.Evaluator(problem, specs), step, checkpoints


class _Recorder:
    """Called after every outer step: bar, metrics, summaries, checkpoints."""

    def __init__(self, config, dataset, folder, evaluator, checkpoints, start, bar):
        self._config = config
        self._dataset = dataset
        self._evaluator = evaluator
        self._checkpoints = checkpoints
        self._bar = bar
        self._metrics = workdirs.Metrics(folder, start.outer_step)
        self._summaries = summaries.Summaries(folder)
        self._saved_at = time.perf_counter()

    def __call__(self, progress: Progress, result: StepResult) -> None:
        config = self._config
        self._summaries.step(progress, result)
        last = progress.outer_step == config.num_outer_steps
        accuracy = None
        if last or progress.outer_step % config.validate_every == 0:
            accuracy = self._validate(progress)
        self._metrics.write(progress, result, accuracy)
        now = time.perf_counter()
        if now - self._saved_at >= config.checkpoint_every_seconds:
            self._checkpoints.save(progress)
            self._saved_at = now
        self._bar.set_postfix(meta_loss=f"{result.meta_loss:.4f}", refresh=False)
        self._bar.update()

    def _validate(self, progress: Progress) -> float:
        problem = self._evaluator.problem
        validation = self._dataset.validation
        accuracy = self._evaluator.score(validation, 0, self._config.seed).accuracy
        grid = figures.curriculum_grid(problem.teacher, self._dataset.class_names)
        self._summaries.validation(progress, accuracy, problem.hyperparameters, grid)
        return accuracy
