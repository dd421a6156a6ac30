"""Folders as bin/train and bin/search leave them, for reports; made in no time."""

import csv
import json
import math
import shutil

import numpy as np

from gtn_tf.evaluation import few_step
from gtn_tf.runs import workdirs
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.teaching import ready_teachers
from nas.evaluations.base import Result
from nas.search.config import SearchConfig
from nas.search.journal import Entry, Journal
from nas.spaces import nao
from nas.spaces.nasbench201 import EdgeCell

SPECS = [nao.sample(2, 0, index) for index in range(30)]
CELLS = [EdgeCell((0, 2, 3, 4, a, b)) for a in range(3) for b in range(5)]


def write_search(folder, evaluation, scores, **changes):
    config = SearchConfig(workdir=str(folder), evaluation=evaluation, **changes)
    workdirs.open_workdir(folder, config)
    space = config.search_space()
    journal = Journal(folder / "journal.jsonl", space)
    specs = CELLS if config.space == "nasbench201" else SPECS
    for spec, score in zip(specs, scores, strict=False):
        result = Result(float(score), 2.0, False, 1234)
        journal.append(Entry.of(space, spec, result, config.evaluation_seed))
    return str(folder)


BEST = 99.0


def values(number, with_time=False, sign=1):
    """Published numbers of a cell, which grow with its number; synflow falls."""

    def proxy(score):
        return {"score": score, "time": 0.5} if with_time else score

    return {
        "val_accuracy": 80 + sign * number if number < 12 else BEST,
        "nwot": proxy(2.0 * number),
        "synflow": proxy(-3.0 * number),
        "jacov": proxy(math.nan if number == 9 else number),
        "id": "no number",
    }


def write_published(path, cells=CELLS, dataset="cifar10", more=None, **options):
    content = {
        str(cell.operations): values(i, **options) for i, cell in enumerate(cells)
    }
    path.write_text(json.dumps({dataset: content} | (more or {})))
    return str(path)


def write_training(folder, seed=0, teacher=0.9, real=0.8, with_teacher=False, **flags):
    """A finished run of two kinds of networks, whose accuracies spread by 0.02."""
    config = TrainingConfig(workdir=str(folder), seed=seed, **flags)
    workdirs.open_workdir(folder, config)
    write_metrics(folder, teacher)
    (folder / "real").mkdir()
    write_metrics(folder / "real", real)
    results = {"num_outer_steps": 40, "seconds": 80.0}
    for source, accuracy in (("teacher", teacher), ("real", real)):
        if accuracy is not None:
            values = [accuracy - 0.01, accuracy + 0.01] * 4
            found = few_step.summarize(values, 0)
            kinds = {
                "mnist": found | {"unseen": False},
                "wide": found | {"unseen": True},
            }
            results[source] = {"test_accuracy": found, "kinds": kinds}
    workdirs.write_results(folder, results)
    if with_teacher:
        shutil.copytree(ready_teachers.folder("digits"), folder / "teacher")
    return str(folder)


def write_metrics(folder, accuracy):
    """40 outer steps of two seconds, every tenth with an accuracy that rises to this
    one."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(workdirs.COLUMNS)
        for step in range(1, 41):
            told = (accuracy or 0) - (40 - step) / 100 if step % 10 == 0 else ""
            writer.writerow([step, 2 * step, 1 / step, 1.0, 1.0, told, 0])


def write_inner_steps(folder, accuracies):
    """Rows of bin/evaluate: source -> accuracies [learners, steps]."""
    (folder / "evaluation").mkdir()
    with (folder / "evaluation" / "evaluation.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["measure", "source", "condition", "learner", "accuracy"])
        for source, values in accuracies.items():
            for (learner, step), accuracy in np.ndenumerate(np.array(values)):
                writer.writerow(["inner_steps", source, step + 1, learner, accuracy])
