"""What is measured of teachers side by side."""

import numpy as np
import problems
import pytest

from gtn_tf.data.dataset import Split
from gtn_tf.evaluation import measures, unseen_architectures
from gtn_tf.evaluation.few_step import Evaluator
from gtn_tf.evaluation.registry import MEASURES
from gtn_tf.networks import learners, stock_models

SPEC = learners.LearnerSpec(
    "digits", (8, 8, 8), problems.IMAGE_SHAPE, problems.NUM_CLASSES
)
SPLIT = Split(
    problems.random_images([23, *problems.IMAGE_SHAPE], 8).numpy(),
    problems.random_labels([23], 9).numpy(),
)
T = 3
UNSEEN_ARCHITECTURES = ("twice as wide", "without weight norm")


@pytest.fixture(scope="module")
def setting():
    options = dict(precision="float32", num_steps=T)
    sources = {
        "gtn": problems.build_case(teacher="gtn", **options).problem,
        "real": problems.build_case(teacher="real", **options).problem,
    }
    return measures.Setting(sources, [SPEC], SPLIT, 3, 5, seed=7)


def rows(setting, measure):
    return [row for part in MEASURES[measure](setting) for row in part]


@pytest.fixture(scope="module")
def inner_steps(setting):
    return rows(setting, "inner_steps")


@pytest.fixture(scope="module")
def architectures(setting):
    """Of few: each takes seconds to compile; test_unseen_architectures builds all."""
    few = {
        name: unseen_architectures.UNSEEN_ARCHITECTURES[name]
        for name in UNSEEN_ARCHITECTURES
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unseen_architectures, "UNSEEN_ARCHITECTURES", few)
        return rows(setting, "architectures")


def values(found, source, condition):
    return [
        row.accuracy
        for row in found
        if (row.source, row.condition) == (source, condition)
    ]


@pytest.mark.parametrize("source", ["gtn", "real"])
def test_the_last_inner_step_is_the_accuracy_of_the_trained(
    setting, inner_steps, source
):
    evaluator = Evaluator(setting.sources[source], [SPEC])
    expected = evaluator.accuracies(SPLIT, 3, 7)
    assert values(inner_steps, source, str(T)) == pytest.approx(expected)
    assert len(inner_steps) == 2 * T * 3


@pytest.mark.parametrize("source", ["gtn", "real"])
def test_architectures_are_measured_with_rates_that_fit(setting, architectures, source):
    evaluator = Evaluator(setting.sources[source], [SPEC], fits_rates=True)
    trained = values(architectures, source, "trained with")
    assert trained == pytest.approx(evaluator.accuracies(SPLIT, 3, 7))


def test_every_architecture_is_measured_with_every_source(architectures):
    found = architectures
    conditions = list(dict.fromkeys(row.condition for row in found))
    assert (
        conditions == ["trained with", *UNSEEN_ARCHITECTURES]
        and len(found) == 3 * 2 * 3
    )
    assert all(0 <= row.accuracy <= 1 for row in found)
    assert len({row.accuracy for row in found}) > 3


def test_stock_models_are_measured_with_every_source(setting, monkeypatch):
    names = ("one convolution (the README's)", "multilayer perceptron")
    few = {name: stock_models.STOCK_MODELS[name] for name in names}
    monkeypatch.setattr(measures, "STOCK_MODELS", few)
    found = rows(setting, "stock_models")
    conditions = list(dict.fromkeys(row.condition for row in found))
    assert conditions == list(names) and len(found) == 2 * 2 * 3
    assert all(0 <= row.accuracy <= 1 for row in found)
    assert found == rows(setting, "stock_models")  # fresh weights are of the seed


def test_an_ensemble_is_the_mean_of_probabilities(setting):
    found = rows(setting, "ensembles")
    evaluator = Evaluator(setting.sources["gtn"], [SPEC])
    each = np.stack([evaluator.probabilities(SPLIT, index, 7) for index in range(5)])
    np.testing.assert_allclose(each.sum(-1), 1, rtol=1e-5)
    right = (each.argmax(-1) == SPLIT.labels).mean(-1)
    assert values(found, "gtn", "alone") == pytest.approx(right.tolist())
    scores = [evaluator.score(SPLIT, index, 7).accuracy for index in range(5)]
    assert right.tolist() == pytest.approx(scores)
    for size in (1, 2, 4):
        together = (each[:size].mean(0).argmax(-1) == SPLIT.labels).mean()
        assert values(found, "gtn", str(size)) == [pytest.approx(together)]
    assert values(found, "gtn", "8") == []  # there are five


def test_stored_data_is_not_stretched(setting, inner_steps):
    batch = problems.BATCH_SIZE
    for measure, number in (("batch_sizes", batch), ("more_steps", T)):
        found = rows(setting, measure)
        assert {row.source for row in found} == {"real"}
        conditions = list(dict.fromkeys(row.condition for row in found))
        assert conditions == [str(factor * number) for factor in (1, 2, 4, 8)]
        trained = values(inner_steps, "real", str(T))
        assert values(found, "real", str(number)) == pytest.approx(trained)
        assert values(found, "real", conditions[-1]) != pytest.approx(trained)


def test_p_value():
    values = [0.9, 0.8, 0.7, 0.95, 0.85, 0.75]
    worse = [value - 0.1 - 0.01 * i for i, value in enumerate(values)]
    assert measures.p_value(values, values) == 1
    assert measures.p_value(values, worse) == pytest.approx(2 / 2**6)
