"""Few-step accuracy by kind of network: the kinds trained with, and those left out."""

from __future__ import annotations

import dataclasses

from tabulate import tabulate

from gtn_tf.data.dataset import Split
from gtn_tf.evaluation import few_step, measures
from gtn_tf.meta.objectives import ACCURACY, Measured
from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.learner_spec import LearnerSpec
from gtn_tf.runs import run_setup
from gtn_tf.runs.meta_training import Trained
from gtn_tf.runs.run_setup import RunSetup

_UNSEEN_PER_KIND = 4  # architectures drawn of a kind that was left out


def specs_by_kind(setup: RunSetup) -> dict[str, list[LearnerSpec]]:
    """Family -> architectures to measure: those trained with, then draws of the
    families that `--leave_out` names."""
    found: dict[str, list[LearnerSpec]] = {}
    for spec in setup.specs:
        found.setdefault(spec.family, []).append(spec)
    seen = {family: found[family] for family in FAMILIES if family in found}
    return seen | {
        family: unseen_specs(setup, family) for family in setup.config.left_out
    }


def unseen_specs(setup: RunSetup, family: str) -> list[LearnerSpec]:
    """Architectures of one family, of the widths that `any` draws."""
    others = [name for name in FAMILIES if name != family]
    alone = dataclasses.replace(
        setup.config,
        learner="any" if FAMILIES[family].in_any else family,
        leave_out=",".join(others),
        num_learners=_UNSEEN_PER_KIND,
    )
    return run_setup.build_learner_specs(alone, setup.dataset)


def accuracies(
    trained: Trained, kinds: dict[str, list[LearnerSpec]], split: Split
) -> dict[str, list[float]]:
    """Family -> few-step accuracy of each of the run's number of fresh learners, with
    rates that are scaled for each architecture.

    Of the same seed, learners of two teachers begin with equal weights.
    """
    config, evaluator = trained.setup.config, trained.evaluator
    return {
        family: evaluator.of(specs, fits_rates=True).accuracies(
            split, config.num_test_learners, config.seed
        )
        for family, specs in kinds.items()
    }


def format_table(
    found: dict[str, dict[str, list[float]]],
    left_out: tuple[str, ...],
    measured: Measured = ACCURACY,
) -> str:
    """A row for each kind and one for all that were trained with.

    Args:
      found: source -> family -> accuracies; the first source is compared with each
        other one, learner by learner (Wilcoxon's signed-rank test).
    """
    (first, *others) = found
    families = {
        f"{family} (unseen)" if family in left_out else family: [family]
        for family in found[first]
    }
    seen = [family for family in found[first] if family not in left_out]
    rows = {"all seen kinds": seen} | families if len(seen) > 1 else families
    lines = []
    for name, members in rows.items():
        values = {s: [a for m in members for a in found[s][m]] for s in found}
        p_values = [measures.p_value(values[first], values[s]) for s in others]
        lines.append(
            [name, *(few_step.interval(values[source], measured) for source in found)]
            + [f"{p:.2g}" for p in p_values]
        )
    headers = ["kind of network", *found, *(f"p ({source})" for source in others)]
    return tabulate(lines, headers, disable_numparse=True)
