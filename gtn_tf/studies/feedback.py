"""What feedback is worth to a closed-loop teacher: the same teacher, told nothing."""

from __future__ import annotations

import copy
import dataclasses

from gtn_tf.data.dataset import Split
from gtn_tf.evaluation import few_step
from gtn_tf.runs.meta_training import Trained


def accuracies_without(trained: Trained, split: Split) -> list[float]:
    """Few-step accuracy of the run's fresh learners, of which the teacher is told
    nothing and shows its stored curriculum; empty for one that never listens.

    The learners begin as those that `trained.evaluator` measures.
    """
    setup, config = trained.setup, trained.setup.config
    teacher = copy.copy(setup.problem.teacher)
    nothing = teacher.no_feedback()
    if not nothing:
        return []
    teacher.feedback = lambda targets, outputs: nothing
    problem = dataclasses.replace(setup.problem, teacher=teacher)
    evaluator = few_step.Evaluator(problem, setup.specs)
    return evaluator.accuracies(split, config.num_test_learners, config.seed)
