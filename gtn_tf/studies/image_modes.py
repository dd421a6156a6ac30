"""What a run's images are like over meta-training: classes covered, distance from real.

At each validation the images that the teacher shows are kept in
WORKDIR/samples/outer_step_000100.npz, so that a run that goes on has those of before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gtn_tf.data.dataset import normalize
from gtn_tf.evaluation import modes, real_classifier
from gtn_tf.meta.outer_loop import Progress
from gtn_tf.runs import files
from gtn_tf.runs.meta_training import Trained
from gtn_tf.runs.run_setup import RunSetup

_NUM_IMAGES = 1000


def keep(setup: RunSetup, progress: Progress) -> None:
    """Writes the images of an outer step."""
    x = modes.shown(setup.problem.teacher, _NUM_IMAGES).astype(np.float16)
    name = f"outer_step_{progress.outer_step:06d}.npz"

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, x=x)

    files.write_atomically(Path(setup.config.workdir) / "samples" / name, save)


def by_outer_step(trained: Trained) -> dict:
    """Modes of the images kept, beside validation images.

    Returns:
      outer_step, num_classes, entropy and distance, each a list; and real_distance,
      that of as many training images.
    """
    dataset, folder = trained.setup.dataset, Path(trained.setup.config.workdir)
    classifier = real_classifier.train(dataset)
    train, real = (
        normalize(split.images[:_NUM_IMAGES], dataset.mean, dataset.std).numpy()
        for split in (dataset.train, dataset.validation)
    )
    found: dict[str, list] = {"outer_step": []}
    for path in sorted((folder / "samples").glob("outer_step_*.npz")):
        with np.load(path) as file:
            x = file["x"].astype(np.float32)
        found["outer_step"].append(int(path.stem.rpartition("_")[2]))
        for name, value in modes.of_images(classifier, x, real)._asdict().items():
            found.setdefault(name, []).append(value)
    return found | {"real_distance": modes.of_images(classifier, train, real).distance}
