"""Studies by name."""

import dataclasses

import pytest

from gtn_tf.commands import study
from gtn_tf.commands.study import StudyConfig
from gtn_tf.networks import learners
from gtn_tf.networks.families import FAMILIES
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.studies import catalog, comparisons, estimators, policies, tuning


@pytest.fixture
def calls(monkeypatch):
    """What the studies would run."""
    calls = []

    def record(*arguments):
        calls.append(arguments)
        return "the table"

    monkeypatch.setattr(comparisons, "run", record)
    monkeypatch.setattr(tuning, "run", record)
    monkeypatch.setattr(estimators, "run", record)
    monkeypatch.setattr(policies, "run", record)
    return calls


@pytest.mark.parametrize("name", catalog.STUDIES)
def test_every_study_runs_with_its_flags(name, calls, tmp_path, capsys):
    config = StudyConfig(
        study=name, num_seeds=2, num_trials=3, workdir=str(tmp_path), latent_size=7
    )
    study.run(config)
    assert capsys.readouterr().out == "the table\n"
    ((*_, base, folder, count),) = calls
    assert base == TrainingConfig(
        workdir=str(tmp_path), latent_size=7, num_test_learners=5
    )
    assert type(base) is TrainingConfig
    assert folder == tmp_path
    budget = estimators.Budget(num_estimates=16, seconds=5, num_seeds=2)
    assert count == {"weight_norm": 3, "estimators": budget}.get(name, 2)


def test_a_folder_is_not_continued_with_other_flags(calls, tmp_path):
    config = StudyConfig(study="sources", workdir=str(tmp_path), num_seeds=2)
    study.run(config)
    study.run(dataclasses.replace(config, num_seeds=3, num_outer_steps=7))
    other = dataclasses.replace(config, inner_batch_size=7)
    with pytest.raises(ValueError, match="--inner_batch_size=32 there, 7 now"):
        study.run(other)
    assert len(calls) == 2


@pytest.mark.parametrize("name", list(catalog.COMPARISONS))
def test_every_variant_is_a_valid_run_of_its_own(name, calls, tmp_path):
    study.run(StudyConfig(study=name, workdir=str(tmp_path)))
    comparison, base, *_ = calls[0]
    runs = [
        dataclasses.replace(base, **changes) for changes in comparison.variants.values()
    ]
    assert len(set(runs)) == len(runs)
    # Each variant of the study of kinds leaves others out than the default.
    assert (base in runs) == (name != "kinds")


def test_a_variant_of_normalization_is_not_drawn_away():
    variant = study.COMPARISONS["recipe"].variants["center-only batch norm"]
    config = dataclasses.replace(TrainingConfig(), **variant)
    specs = learners.parse(
        config.learner,
        config.num_learners,
        config.seed,
        config.left_out,
        config.varied,
        image_shape=(8, 8, 1),
        num_classes=10,
        normalization=config.normalization,
    )
    fixed = [s for s in specs if "normalization" in dict(FAMILIES[s.family].fixed)]
    assert len(fixed) < len(specs)
    assert {s.normalization for s in specs if s not in fixed} == {"center"}


def test_every_kind_is_left_out_once_of_a_study():
    comparison = study.COMPARISONS["left_out"]
    left_out = {
        name: dataclasses.replace(TrainingConfig(), **changes).left_out
        for name, changes in comparison.variants.items()
    }
    default = TrainingConfig().left_out
    assert left_out["default"] == default
    others = [families for name, families in left_out.items() if "real" not in name]
    kinds = {name for name, family in FAMILIES.items() if family.in_any}
    assert {families[-1] for families in others[1:]} == kinds - {*default}
    assert all(families[: len(default)] == default for families in others)
    for name, rival in comparison.against.items():
        assert left_out[rival] == left_out[name]
        real = comparison.variants[rival]
        assert real["teacher"] == "real" and real["warm_start_steps"] == 0


def test_names_and_folders():
    with pytest.raises(ValueError, match="--study=x is unknown: give one of curricula"):
        StudyConfig(study="x")
    assert StudyConfig().run_folder == "runs/digits-curricula"
    assert StudyConfig(workdir="a").run_folder == "a"


def test_policies_are_studied_in_an_environment(tmp_path):
    with pytest.raises(ValueError, match="--study=policies is of policies.*digits"):
        policies.run(TrainingConfig(), tmp_path, 1)


def test_the_worst_policy_and_seed_stand_first():
    found = [
        {"diverged": False, "returns": {"trained with": own}, "a2c": {"test_return": a}}
        for own, a in (([200.0, 150.0], 199.0), ([180.0, 100.0], 90.5))
    ]
    lines = policies.format_table([*found, {"diverged": True}]).splitlines()
    assert lines[2] == "| trained with | 100.0 | 140.0 | 157.5 | 2 |"
    assert lines[3] == "| A2C, one policy | 90.5 | 90.5 | 144.8 | 2 |"
    assert lines[-1] == "1 seeds diverged."


def test_other_studies_are_not_of_policies(tmp_path):
    flags = {
        "dataset": "gym:CartPole-v1",
        "objective": "actor_critic",
        "leave_out": "",
        "warm_start_steps": 0,
        "outer_batch_size": 200,
    }
    config = StudyConfig(study="recipe", workdir=str(tmp_path), **flags)
    with pytest.raises(ValueError, match="--study=recipe is of images.*=policies"):
        study.run(config)
