"""From a search's flags to what its architectures are evaluated with."""

from __future__ import annotations

import sys
from pathlib import Path

import gtn_tf
from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.data.dataset import Dataset
from gtn_tf.errors import UserError
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.teaching import ready_teachers
from gtn_tf.teaching.loaded_teacher import LoadedTeacher
from nas.evaluations.base import Context, Procedure
from nas.search.config import SearchConfig

# Cells make deep convolutional networks: the teacher has learned to teach a small one.
DIGITS_TEACHER = TrainingConfig(
    learner="cifar10:16-32-32-32-32",
    leave_out="",
    vary="none",
    inner_optimizer="sgd",
    inner_learning_rate=0.1,
    inner_decay=1.0,
    num_inner_steps=20,
    warm_start_steps=0,
    num_outer_steps=200,
    outer_learning_rate=0.01,
    compare_with_real=False,
)


def build_context(config: SearchConfig) -> Context:
    """Data, teacher and training procedure of a configuration.

    Raises:
      UserError: data or a teacher that cannot be used, or do not suit each other.
    """
    teacher = _load_teacher(config)
    steps = teacher.num_inner_steps if teacher else 128
    # The teacher's own splits: it has seen the images that it was trained on.
    flags = teacher.description["flags"] if teacher else {}
    dataset = loaders.load(
        config.dataset,
        config.data_dir,
        flags.get("seed", 0),
        config.image_size or flags.get("image_size", ""),
    )
    if teacher:
        _check_suits(teacher, config, dataset)
    return Context(
        dataset=dataset,
        teacher=teacher,
        procedure=Procedure(
            num_epochs=config.num_epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            cutout=config.cutout,
        ),
        num_steps=config.num_steps or steps,
        early_epochs=config.early_epochs or config.num_epochs / 10,
        num_validation_images=config.num_validation_images,
        num_networks=config.num_networks,
    )


def _load_teacher(config: SearchConfig) -> LoadedTeacher | None:
    folder = config.teacher or (config.dataset if config.hypermodel else "")
    if not folder and config.evaluation == "teacher":
        folder = _default_teacher(config.dataset)
    return gtn_tf.load_teacher(folder) if folder else None


def _default_teacher(dataset: str) -> str:
    """One that is trained here on digits, and one that comes with the package."""
    if dataset == "digits":
        folder = DIGITS_TEACHER.run_folder
        if not (Path(folder) / "results.json").is_file():
            train.run(DIGITS_TEACHER)
        return folder
    if dataset in ready_teachers.names():
        return dataset
    raise UserError(
        f"--evaluation=teacher on {dataset} needs --teacher=FOLDER: train one with "
        "bin/train"
    )


def _check_suits(
    teacher: LoadedTeacher, config: SearchConfig, dataset: Dataset
) -> None:
    its_dataset = teacher.description["flags"]["dataset"]
    ours = (config.dataset, dataset.image_shape, dataset.num_classes)
    its = (its_dataset, teacher.image_shape, len(teacher.class_names))
    if not loaders.is_same(its_dataset, config.dataset) or ours[1:] != its[1:]:
        raise UserError(
            f"--teacher={config.teacher} was trained for {its[0]}, images of {its[1]} "
            f"and {its[2]} classes; --dataset={ours[0]} has {ours[1]} and {ours[2]}: "
            "give a teacher for it"
        )
    if teacher.description.get("data_digest", dataset.digest) != dataset.digest:
        print(
            f"warning: the teacher was trained on other images of {dataset.name!r} "
            "than those that are there now: it may have seen the validation images",
            file=sys.stderr,
        )
