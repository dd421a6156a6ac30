"""Policies taught in one step, beside one that learns in the environment (Figure 8).

bin/study --study=policies --flagfile=cartpole.flags --num_seeds=5
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from gtn_tf.data import dataset_flags
from gtn_tf.errors import UserError
from gtn_tf.evaluation import (
    direct_policies,
    episode_recording,
    plots,
    tables,
    unseen_architectures,
)
from gtn_tf.runs import files, recording, run_setup, workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.locks import locked
from gtn_tf.runs.meta_training import Trained
from gtn_tf.studies import records

GIF = "episode.gif"
_SEEN = "trained with"


def train_directly(config: TrainingConfig) -> dict:
    """What A2C reaches on as many frames as the run's, with its first learner.

    The same for the same configuration, whatever was computed before.
    """
    setup = run_setup.build(config, run_setup.load_dataset(config))
    frames = config.num_outer_steps * config.frames_per_step
    updates = frames // config.outer_batch_size
    found = direct_policies.train(
        setup.problem.objective, setup.specs[0], updates, config.seed
    )
    found.curve[:, 0] *= config.outer_batch_size
    return {
        "frames": frames,
        "curve": found.curve.tolist(),
        "test_return": found.test_return,
    }


def record_episode(trained: Trained, folder: Path) -> None:
    """Writes an episode of the first fresh policy: episode.gif, and TensorBoard's."""
    setup = trained.setup
    learner, state = trained.evaluator.train(0, setup.config.seed)
    model = learner.assign(state.params, state.batch_stats)
    objective, environment = setup.problem.objective, setup.dataset

    def choose(states):
        return np.argmax(model(objective.normalize(states), training=False))

    seed = int(environment.test.seeds[0])
    pictures = episode_recording.record(environment, choose, seed)
    path = folder / GIF
    files.write_atomically(
        path, lambda beside: episode_recording.write_gif(beside, pictures)
    )
    recording.write_gif(folder, trained.progress, path.read_bytes())


def run(config: TrainingConfig, folder: Path, num_seeds: int) -> str:
    """Runs what has not been run; writes figure_8.png and table.md.

    Args:
      config: the base run; its seed gives way to 0, 1, ... num_seeds - 1.

    Returns:
      The table.

    Raises:
      UserError: a run that is not of policies; a folder that another process has.
    """
    if not dataset_flags.environment(config.dataset):
        raise UserError(
            f"--study=policies is of policies in an environment, not of --dataset="
            f"{config.dataset}: give --flagfile=cartpole.flags"
        )
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with locked(folder):
        for seed in range(num_seeds):
            own = dataclasses.replace(
                config, seed=seed, workdir=str(folder / f"seed_{seed}")
            )
            found.append(records.once(own, {"seed": seed}, _measure))
            figure(folder / "figure_8.png", found)
            table = format_table(found)
            files.write_text_atomically(folder / "table.md", table)
    return table


def _measure(trained: Trained) -> dict:
    setup, config = trained.setup, trained.setup.config
    unseen = unseen_architectures.specs(setup.specs)
    returns = {
        name: trained.evaluator.of(specs, fits_rates=False).accuracies(
            setup.dataset.test, config.num_test_learners, config.seed
        )
        for name, specs in {
            _SEEN: setup.specs,
            **{name: [spec] for name, spec in unseen.items()},
        }.items()
    }
    curve = workdirs.validations(Path(config.workdir))
    curve[:, 0] *= config.frames_per_step
    return {
        "frames": trained.progress.outer_step * config.frames_per_step,
        "seconds": trained.progress.seconds,
        "curve": curve.tolist(),
        "returns": returns,
        "a2c": train_directly(config),
    }


def figure(path: Path, found: list[dict]) -> None:
    """Return by frames: of fresh policies taught in one step, and of A2C's one."""
    done = [record for record in found if not record["diverged"]]
    plots.bands(
        path,
        ("frames", "return", "Fresh policies after one step, and A2C"),
        {
            "gtn": [np.array(record["curve"]) for record in done],
            "a2c": [np.array(record["a2c"]["curve"]) for record in done],
        },
    )


def format_table(found: list[dict]) -> str:
    """Markdown: mean return over seeds, and the worst seed's and worst policy's."""
    done = [record for record in found if not record["diverged"]]
    headers = ["policies", "worst policy", "worst seed", "mean", "seeds"]
    rows = []
    for name in done[0]["returns"] if done else ():
        by_seed = [record["returns"][name] for record in done]
        rows.append([name, *_cells(by_seed)])
    if done:
        values = [[record["a2c"]["test_return"]] for record in done]
        rows.append(["A2C, one policy", *_cells(values)])
    diverged = len(found) - len(done)
    text = tables.markdown(rows, headers) + "\n"
    return text + (f"\n{diverged} seeds diverged.\n" if diverged else "")


def _cells(by_seed: list[list[float]]) -> list[str]:
    means = [float(np.mean(values)) for values in by_seed]
    worst = min(min(values) for values in by_seed)
    numbers = [worst, min(means), float(np.mean(means))]
    return [*(f"{number:.1f}" for number in numbers), str(len(means))]
