"""From a search's flags to what its architectures are evaluated with."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import keras

import gtn_tf
from gtn_tf.commands import train
from gtn_tf.data import dataset_flags, loaders
from gtn_tf.data.dataset import Dataset
from gtn_tf.errors import UserError
from gtn_tf.networks.initial_weights import initialize
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.teaching import ready_teachers
from gtn_tf.teaching.loaded_teacher import LoadedTeacher
from nas.evaluations import hypernetwork, shared_weights
from nas.evaluations.base import Context, Procedure
from nas.evaluations.few_steps import LEARNER
from nas.search.config import SearchConfig
from nas.spaces.base import Architecture, SearchSpace

_FIRST_SHARED = 10**6  # draws that a search by the same seed does not come to

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


def own_teacher(config: SearchConfig) -> Path | None:
    """The folder of the teacher that a search trains by itself, if it does: in its own
    workdir, so that the same search goes on with it, and bin/export finds it.

    Raises:
      UserError: the search needs a teacher, and there is none for its data.
    """
    if config.teacher or config.hypermodel or config.evaluation != "teacher":
        return None
    if config.dataset == "digits":
        return Path(config.run_folder).expanduser() / "teacher_run"
    if config.dataset in ready_teachers.names():
        return None
    raise UserError(
        f"--evaluation=teacher on {config.dataset} needs --teacher=FOLDER: train one "
        "with bin/train"
    )


def teacher_of(config: SearchConfig) -> str:
    """Folder or name of the teacher that judges.

    Raises:
      UserError: as of `own_teacher`.
    """
    return str(own_teacher(config) or config.teacher or config.dataset)


def check(config: SearchConfig) -> None:
    """Refuses, before a teacher is trained, data that a search cannot use.

    Raises:
      UserError: no such data set or folder, or files that cannot be read.
    """
    if own_teacher(config):
        loaders.load(config.dataset, config.data_dir, DIGITS_TEACHER.seed)


def train_own_teacher(config: SearchConfig) -> None:
    """Trains the search's own teacher to its end; nothing to do where that is reached.

    Raises:
      UserError: the folder is another process's, or holds another run.
    """
    folder = own_teacher(config)
    if folder and not (folder / "results.json").is_file():
        print(f"first, the teacher is trained: {folder}", file=sys.stderr)
        train.run(dataclasses.replace(DIGITS_TEACHER, workdir=str(folder)))


def build_context(config: SearchConfig) -> Context:
    """Data, teacher and training procedure of a configuration.

    Raises:
      UserError: data or a teacher that cannot be used, or do not suit each other; the
        search's own teacher is not there.
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
        if config.dismiss_after >= teacher.num_inner_steps:
            raise UserError(
                f"--dismiss_after={config.dismiss_after} is the end, the teacher has "
                f"{teacher.num_inner_steps} steps: give fewer"
            )
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
        early_loss_weight=config.early_loss_weight,
    )


def with_shared_weights(context: Context, config: SearchConfig) -> Context:
    """With what `config.num_shared` architectures leave, by the teacher's steps: their
    weights or a hypernetwork.

    They come from the seed of the evaluation alone, so that a search that goes on, and
    every worker, has the same.
    """
    space, size = config.search_space(), config.size(context.dataset)
    seed = config.evaluation_seed
    num_steps = context.teacher.num_inner_steps
    drawn = (space.sample(seed, _FIRST_SHARED + i) for i in range(config.num_shared))

    def fresh(architecture: Architecture) -> keras.Model:
        return initialize(space.build(architecture, size, LEARNER), seed)

    def teach(model: keras.Model) -> None:
        # Batch norm's statistics are not shared.
        trainer = context.teacher.trainer(model, seed)
        trainer.train(goes_on=lambda losses: len(losses) < num_steps)

    def pupil(architecture: Architecture) -> hypernetwork.Pupil:
        model = fresh(architecture)
        encoding = hypernetwork.encode(space, architecture)
        return hypernetwork.Pupil(model, encoding, context.teacher.trainer(model, seed))

    if config.shared == "weights":
        weights = shared_weights.train(map(fresh, drawn), teach)
        return dataclasses.replace(context, shared_weights=weights)
    pupils = list(map(pupil, drawn))
    made = hypernetwork.Hypernetwork(pupils, seed)
    hypernetwork.train(made, pupils, num_steps)
    return dataclasses.replace(context, hypernetwork=made)


def of_architecture(
    context: Context, space: SearchSpace, architecture: Architecture
) -> Context:
    """With the weights that the hypernetwork makes for an architecture, if there is
    one."""
    if context.hypernetwork is None:
        return context
    encoding = hypernetwork.encode(space, architecture)
    weights = context.hypernetwork.weights(encoding)
    return dataclasses.replace(context, shared_weights=weights)


def _load_teacher(config: SearchConfig) -> LoadedTeacher | None:
    if config.evaluation != "teacher" and not config.teacher and not config.hypermodel:
        return None
    own = own_teacher(config)
    if own and not (own / "results.json").is_file():
        raise UserError(
            f"the search's own teacher is not in {own}: give a worker the --workdir of "
            "its chief, which trains it, or give all of them --teacher=FOLDER"
        )
    return gtn_tf.load_teacher(teacher_of(config))


def _check_suits(
    teacher: LoadedTeacher, config: SearchConfig, dataset: Dataset
) -> None:
    its_dataset = teacher.description["flags"]["dataset"]
    ours = (config.dataset, dataset.image_shape, dataset.num_classes)
    its = (its_dataset, teacher.image_shape, len(teacher.class_names))
    if not dataset_flags.is_same(its_dataset, config.dataset) or ours[1:] != its[1:]:
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
