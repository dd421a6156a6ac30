"""`gtn_tf.meta_train`: what bin/train does to get a teacher, from Python."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from gtn_tf.commands import train
from gtn_tf.data.dataset import Dataset
from gtn_tf.data.dataset_flags import IN_PYTHON
from gtn_tf.errors import UserError
from gtn_tf.runs import meta_training, replica_flags, run_setup, workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.runs.locks import locked
from gtn_tf.teaching.loaded_teacher import LoadedTeacher, load_teacher


def meta_train(
    dataset: Dataset | str, config: TrainingConfig | None = None, **flags
) -> LoadedTeacher:
    """Meta-trains a teacher of a data set, and returns it as `load_teacher` does.

        train, test = keras.datasets.mnist.load_data()
        mnist = gtn_tf.data.Dataset.from_arrays(train, test=test, name="mnist")
        teacher = gtn_tf.meta_train(mnist, num_outer_steps=200)
        teacher.teach(model)

    The folder of the run is the configuration's `workdir`, or runs/NAME-TEACHER-HASH.
    The same call goes on where it was interrupted, and returns at once when the run is
    finished. No final table is made, and nothing is trained on real data to compare.

    Args:
      dataset: a Dataset, or what --dataset of bin/train takes. The splits of a Dataset
        are its own; those of a name are drawn by the configuration's `seed`.
      config: the configuration of the run; by default, the defaults of bin/train. What
        it says of the data set is replaced.
      **flags: fields of TrainingConfig, in place of those of `config`.

    Raises:
      UserError: a data set or a configuration that cannot be used, or a folder that
        holds another run.
      Diverged: training diverges more often than is allowed.
    """
    if isinstance(dataset, str):
        flags |= {"dataset": dataset}
    config = dataclasses.replace(config or TrainingConfig(), **flags)
    replica_flags.refuse_workers(config, "gtn_tf.meta_train")
    if config.teacher == "real":
        raise UserError(
            "teacher='real' has nothing that could be loaded: real images are not its "
            "own; give teacher='gtn' or 'distillation'"
        )
    setup = _prepare(dataset, config)
    config = setup.config
    folder = Path(config.run_folder).expanduser()
    workdirs.open_workdir(folder, config)
    print(f"run folder: {folder}", file=sys.stderr)
    with locked(folder):
        trained = meta_training.meta_train(setup, folder)
        train.export_teacher(trained, folder)
    return load_teacher(folder)


def _prepare(dataset: Dataset | str, config: TrainingConfig) -> run_setup.RunSetup:
    if isinstance(dataset, str):
        return run_setup.prepare(config)
    if not isinstance(dataset, Dataset):
        raise UserError(
            f"a {type(dataset).__name__} is no data set: give a gtn_tf.data.Dataset, "
            "as Dataset.from_arrays makes it, or a name, as for --dataset"
        )
    if config.image_size:
        raise UserError(
            f"image_size={config.image_size!r} is for data sets by name: resize the "
            "arrays, or give a name"
        )
    # The digest makes another run of other arrays.
    name = f"{IN_PYTHON}:{dataset.name}-{dataset.digest[:8]}"
    return run_setup.prepare(dataclasses.replace(config, dataset=name), dataset)
