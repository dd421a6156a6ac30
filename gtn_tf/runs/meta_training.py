"""Meta-training of one teacher in one folder: recorded, saved, continued."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.errors import UserError
from gtn_tf.evaluation import few_step
from gtn_tf.meta import outer_loop
from gtn_tf.meta.adversary import AdversarialLosses
from gtn_tf.meta.meta_gradients import MemoryPolicy
from gtn_tf.meta.outer_loop import Progress, StepResult
from gtn_tf.runs import (
    checkpoints,
    data_records,
    divergence,
    image_grids,
    interruption,
    memory_plans,
    recording,
    run_setup,
    state_charts,
    workdirs,
)
from gtn_tf.runs.run_setup import RunSetup
from gtn_tf.teachers import warm_start


class Trained(NamedTuple):
    """A run whose teacher is meta-trained, what evaluates it, how far training came."""

    setup: RunSetup
    evaluator: few_step.Evaluator
    progress: Progress


def meta_train(
    setup: RunSetup,
    folder: Path,
    observe: Callable[[RunSetup, Progress], None] | None = None,
) -> Trained:
    """Trains the run's teacher to the end, from where the folder stands.

    Only the training and validation splits are read. Of several workers, this is what
    the chief does.

    Args:
      setup: newly built.
      observe: called after each validation.

    Raises:
      Diverged: training diverges more often than is allowed.
      Interrupted: by a signal, after saving.
      UserError: the machine has no memory for it, or the folder's run began with
        other images.
      WorkerLost: another worker has ended.
    """
    data_records.record(folder, setup.dataset)
    memory_policy = memory_plans.of_run(folder, setup.memory_plan)
    run = _Run(setup, memory_policy, checkpoints.Checkpoints(folder / "checkpoints"))
    start = run.restore()
    if not start.outer_step:
        start = _begin(setup)

    def recorder(start: Progress, bar: tqdm) -> _Recorder:
        return _Recorder(run, folder, start, bar, observe)

    return Trained(setup, run.evaluator, _train(run, start, recorder))


def follow(setup: RunSetup) -> None:
    """Trains with the chief, from where its folder stands; nothing is written.

    Raises:
      Diverged, Interrupted, UserError, WorkerLost: as of `meta_train`.
    """

    def recorder(start: Progress, bar: tqdm):
        return lambda progress, result: bar.update()

    run = _Run(setup, setup.memory_plan.policy, None)
    _train(run, Progress(0, 0.0), recorder)


def _train(run: _Run, start: Progress, make_recorder: Callable) -> Progress:
    """Outer steps of all replicas, which begin as the chief's."""
    config, replicas = run.setup.config, run.setup.replicas
    start = run.take_chiefs(start)
    with (
        interruption.defer_signals() as request,
        tqdm(
            total=config.num_outer_steps,
            initial=start.outer_step,
            desc=config.teacher,
            unit="outer step",
            file=sys.stderr,
        ) as bar,
    ):
        progress = outer_loop.train(
            run.guarded_step,
            start,
            config.num_outer_steps,
            config.time_limit_seconds,
            make_recorder(start, bar),
            lambda: bool(request),
            replicas,
        )
        run.save(progress)
        signal_number = int(replicas.gather([request.signal_number]).max())
    if signal_number:
        raise interruption.Interrupted(signal_number, progress.outer_step)
    return progress


def restore(setup: RunSetup, folder: Path) -> Trained:
    """The run's teacher as it is in the folder's last checkpoint.

    Nothing of what trains it is built, so that the memory of its training is not
    needed.

    Raises:
      UserError: no outer step has been saved.
    """
    found = checkpoints.Checkpoints(folder / "checkpoints").restore()
    if found is None or not found[0].outer_step:
        raise UserError(
            f"--workdir={folder} holds no checkpoint of an outer step: train with "
            f"bin/train --flagfile={folder}/flags.txt first"
        )
    progress, arrays = found
    data_records.warn_of_change(folder, setup.dataset)
    _assign(setup.problem.variables, arrays)
    return Trained(setup, few_step.Evaluator(setup.problem, setup.specs), progress)


def _assign(variables, arrays: dict) -> None:
    """Values of a checkpoint, which has the problem's variables first."""
    for i, variable in enumerate(variables):
        variable.assign(arrays[f"variable_{i}"])


def _begin(setup: RunSetup) -> Progress:
    """The start of a run; its seconds are those of the warm start."""
    began = time.perf_counter()
    config, teacher = setup.config, setup.problem.teacher
    if config.warm_start_steps and teacher.has_fixed_batches:
        num_steps = config.warm_start_steps
        warm_start.warm_start(teacher, setup.dataset, num_steps, config.seed)
    return Progress(0, time.perf_counter() - began)


class _Run:
    """What changes during training, its guard, and its checkpoints.

    All randomness is drawn from (seed, outer_step), so that the variables, the guard
    and the progress are the whole state.
    """

    def __init__(
        self,
        setup: RunSetup,
        memory_policy: MemoryPolicy,
        saved: checkpoints.Checkpoints | None,
    ):
        """
        Args:
          saved: of the run's folder; None where this process has none.
        """
        self.setup = setup
        self.evaluator = few_step.Evaluator(setup.problem, setup.specs)
        rate_factor = tf.Variable(1.0)
        self._step = run_setup.build_outer_step(setup, rate_factor, memory_policy)
        slots = [variable.value for variable in self._step.optimizer.variables]
        changed = [*setup.problem.variables, *slots]
        if self._step.adversary is not None:
            changed += self._step.adversary.variables
        self._variables = [*changed, rate_factor]
        max_divergences = setup.config.max_divergences
        self.guard = divergence.Guard(changed, rate_factor, max_divergences)
        self._checkpoints = saved

    def guarded_step(self, outer_step: int) -> StepResult:
        """One outer step, undone where it shows that training has diverged."""
        seed = self.setup.config.seed
        return self.guard(lambda number: self._step(number, seed), outer_step)

    def adversarial_losses(self) -> list[AdversarialLosses]:
        """Those of the last step, where there is a discriminator."""
        adversary = self._step.adversary
        return [] if adversary is None else [adversary.last]

    def save(self, progress: Progress) -> None:
        if self._checkpoints:
            self._checkpoints.save(progress, self._state())

    def restore(self) -> Progress:
        """Progress of the last checkpoint, its values in the variables."""
        found = self._checkpoints.restore()
        if found is None:
            return Progress(0, 0.0)
        return self._set_state(*found)

    def take_chiefs(self, own: Progress) -> Progress:
        """Progress of the chief, its values in the variables."""
        replicas = self.setup.replicas
        if replicas.num_processes == 1:
            return own
        content = replicas.from_chief(checkpoints.encode(own, self._state()))
        return self._set_state(*checkpoints.decode(content))

    def _state(self) -> dict[str, np.ndarray]:
        variables = {f"variable_{i}": v.numpy() for i, v in enumerate(self._variables)}
        return variables | self.guard.state()

    def _set_state(self, progress: Progress, arrays: dict) -> Progress:
        _assign(self._variables, arrays)
        self.guard.set_state(arrays)
        return progress


class _Recorder:
    """Called after every outer step: bar, metrics, summaries, checkpoints."""

    def __init__(
        self,
        run: _Run,
        folder: Path,
        start: Progress,
        bar: tqdm,
        observe: Callable | None,
    ):
        self._run = run
        self._bar = bar
        self._observe = observe
        self._metrics = workdirs.Metrics(folder, start.outer_step)
        self._summaries = recording.Summaries(folder, run.setup.config.fixed())
        self._saved_at = time.perf_counter()

    def __call__(self, progress: Progress, result: StepResult) -> None:
        config = self._run.setup.config
        self._summaries.step(progress, result, *self._run.adversarial_losses())
        last = progress.outer_step == config.num_outer_steps
        accuracy = None
        if last or progress.outer_step % config.validate_every == 0:
            accuracy = self._validate(progress)
        num_divergences = self._run.guard.num_divergences
        self._metrics.write(progress, result, accuracy, num_divergences)
        now = time.perf_counter()
        if now - self._saved_at >= config.checkpoint_every_seconds:
            self._metrics.sync()
            self._run.save(progress)
            self._saved_at = now
        self._bar.set_postfix(meta_loss=f"{result.meta_loss:.4f}", refresh=False)
        self._bar.update()

    def _validate(self, progress: Progress) -> float:
        setup, evaluator = self._run.setup, self._run.evaluator
        dataset, problem = setup.dataset, setup.problem
        accuracies = evaluator.accuracies(
            dataset.validation, problem.objective.num_validated, setup.config.seed
        )
        accuracy = float(np.mean(accuracies))
        is_vector = len(dataset.image_shape) == 1
        draw = (
            state_charts.state_histograms if is_vector else image_grids.curriculum_grid
        )
        grid = draw(problem.teacher, dataset.class_names)
        name = problem.objective.measured.name
        self._summaries.validation(
            progress, accuracy, problem.hyperparameters, grid, name
        )
        if self._observe is not None:
            self._observe(setup, progress)
        return accuracy
