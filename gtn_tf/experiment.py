"""One run: from a configuration to a folder with teacher, learner and final table."""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from gtn_tf import (
    batches,
    data,
    evaluation,
    export,
    figures,
    generators,
    inner_loop,
    inner_optimizers,
    learners,
    memory,
    outer_loop,
    summaries,
    teachers,
    workdirs,
)
from gtn_tf.config import TrainingConfig
from gtn_tf.data import Dataset
from gtn_tf.inner_optimizers import InnerHyperparameters
from gtn_tf.meta_gradients import Differentiation, MetaProblem
from gtn_tf.outer_loop import Progress, StepResult


def build_learner_specs(config: TrainingConfig, dataset: Dataset):
    """The predefined set of learners that the configuration names."""
    return learners.parse(
        config.learner,
        config.num_learners,
        config.seed,
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        weight_norm=config.weight_norm,
        batch_norm=config.batch_norm,
        precision=config.precision,
    )


def _gtn(config: TrainingConfig, dataset: Dataset, spec) -> teachers.Teacher:
    generator = generators.build_generator(
        generators.GeneratorSpec(
            config.latent_size,
            dataset.num_classes,
            dataset.image_shape,
            tuple(map(int, config.generator_widths.split("-"))),
            config.generator_output_scale,
            config.weight_norm,
            config.precision,
        ),
        config.seed,
    )
    return teachers.GTN(spec, generator, config.seed)


def _distillation(config: TrainingConfig, dataset: Dataset, spec) -> teachers.Teacher:
    return teachers.Distillation(spec, config.seed)


def _real(config: TrainingConfig, dataset: Dataset, spec) -> teachers.Teacher:
    draw = batches.sampler(dataset.train, augment=False)
    return teachers.Real(spec, draw, _normaliser(dataset))


TEACHERS = {"gtn": _gtn, "distillation": _distillation, "real": _real}


def _normaliser(dataset: Dataset):
    return functools.partial(data.normalise, mean=dataset.mean, std=dataset.std)


def _outer_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy on real data (Appendix A)."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def build_problem(config: TrainingConfig, dataset: Dataset) -> MetaProblem:
    """The teacher, the inner loop's parts, and the loss that they are learned by.

    Raises:
      ValueError: image sides that do not suit the generator.
    """
    spec = teachers.TeacherSpec(
        config.num_inner_steps,
        config.inner_batch_size,
        dataset.image_shape,
        dataset.num_classes,
        config.curriculum,
    )
    initial = {
        "learning_rate": config.inner_learning_rate,
        "momentum": config.inner_momentum,
        "beta_2": 0.999,
    }
    optimizer = inner_optimizers.INNER_OPTIMIZERS[config.inner_optimizer]
    return MetaProblem(
        TEACHERS[config.teacher](config, dataset, spec),
        InnerHyperparameters(
            {name: initial[name] for name in optimizer.names},
            config.num_inner_steps,
            config.inner_hyperparameters == "per_step",
        ),
        optimizer,
        inner_loop.INNER_LOSSES[config.inner_loss],
        _outer_loss,
        _normaliser(dataset),
        config.intermediate_loss_every,
    )


def build_differentiation(config: TrainingConfig, problem, specs) -> Differentiation:
    """The memory policy; `auto` decides by the largest learner of the set."""
    if config.recompute != "auto":
        return Differentiation(config.recompute == "always", config.segment_length)
    generator = getattr(problem.teacher, "generator", None)
    largest = max(
        memory.activation_bytes(
            [learners.build_model(spec)] + ([generator] if generator else []),
            config.inner_batch_size,
        )
        for spec in specs
    )
    recompute = memory.should_recompute(largest, config.num_inner_steps)
    return Differentiation(recompute, config.segment_length if recompute else 1)


class Training:
    """Meta-training of one teacher in one folder, continued where it stopped."""

    def __init__(self, config: TrainingConfig, dataset: Dataset, folder: Path):
        self.config = config
        self.problem = build_problem(config, dataset)
        self.specs = build_learner_specs(config, dataset)
        self._dataset = dataset
        self._folder = folder
        self.evaluator = evaluation.Evaluator(self.problem, self.specs)

    def run(self) -> Progress:
        """Trains to the end, with progress bar, metrics, summaries and checkpoints."""
        config = self.config
        step, checkpoints = self._build()
        start = checkpoints.restore()
        self._checkpoints = checkpoints
        self._metrics = workdirs.Metrics(self._folder, start.outer_step)
        self._summaries = summaries.Summaries(self._folder)
        self._saved_at = time.perf_counter()
        with tqdm(
            total=config.num_outer_steps,
            initial=start.outer_step,
            desc=config.teacher,
            unit="outer step",
            disable=None,
            file=sys.stderr,
        ) as self._bar:
            progress = outer_loop.train(
                lambda outer_step: step(outer_step, config.seed),
                start,
                config.num_outer_steps,
                config.time_limit_seconds,
                self._on_step,
            )
        if progress.outer_step > start.outer_step:
            checkpoints.save(progress)
        return progress

    def _build(self):
        config = self.config
        variables = self.problem.variables
        optimizer = outer_loop.build_optimizer(
            outer_loop.OuterOptimizerSpec(
                config.outer_learning_rate,
                config.outer_decay,
                config.outer_beta_1,
                config.outer_beta_2,
                config.outer_epsilon,
                config.clip_norm,
            ),
            config.num_outer_steps,
            variables,
        )
        augment = {"auto": self._dataset.augment, "always": True, "never": False}
        step = outer_loop.OuterStep(
            self.problem,
            self.specs,
            batches.sampler(self._dataset.train, augment[config.augment]),
            config.outer_batch_size,
            optimizer,
            config.clip_norm,
            build_differentiation(config, self.problem, self.specs),
        )
        return step, workdirs.Checkpoints(self._folder, variables, optimizer)

    def _on_step(self, progress: Progress, result: StepResult) -> None:
        config = self.config
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
        accuracy = self.evaluator.accuracy(
            self._dataset.validation, 0, self.config.seed
        )
        grid = figures.curriculum_grid(self.problem.teacher, self._dataset.class_names)
        hyperparameters = self.problem.hyperparameters
        self._summaries.validation(progress, accuracy, hyperparameters, grid)
        return accuracy


def run(config: TrainingConfig) -> dict:
    """A whole run; `results.json` and the returned value are the same.

    Raises:
      ValueError: a configuration, data or folder that cannot be used; nothing has
        been written then.
    """
    dataset = data.load(config.dataset, config.data_dir or None, config.seed)
    folder = Path(config.run_folder)
    build_learner_specs(config, dataset)
    build_problem(config, dataset)
    workdirs.open_workdir(folder, config)
    print(f"run folder: {folder}", file=sys.stderr)
    training = Training(config, dataset, folder)
    progress = training.run()
    results = {
        "num_outer_steps": progress.outer_step,
        "seconds": progress.seconds,
        "teacher": _test(training, dataset),
    }
    if config.teacher == "real":
        results["real"] = results["teacher"]
    elif config.compare_with_real:
        results["real"] = _compare(config, dataset, folder / "real")
    export.export_teacher(
        folder / "teacher", training.problem.teacher, training.problem.hyperparameters
    )
    learner, state = training.evaluator.train(0, config.seed)
    model = learner.assign(state.params, state.batch_stats)
    export.export_learner(folder / "learner", model, dataset)
    workdirs.write_results(folder, results)
    print(format_table(config, results))
    return results


def _compare(config: TrainingConfig, dataset: Dataset, folder: Path) -> dict:
    real = dataclasses.replace(config, teacher="real", curriculum="full")
    workdirs.open_workdir(folder, real)
    training = Training(real, dataset, folder)
    training.run()
    return _test(training, dataset)


def _test(training: Training, dataset: Dataset) -> dict:
    config = training.config
    values = training.evaluator.accuracies(
        dataset.test, config.num_test_learners, config.seed
    )
    return {"test_accuracy": evaluation.summarise(values, config.seed)}


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
