"""Architectures that differ from the trained ones, each in what it says."""

import pytest

from gtn_tf.evaluation import unseen_architectures
from gtn_tf.networks import learners

TRAINED = learners.LearnerSpec("digits", (64, 128, 129), (8, 8, 1), 10)


def test_each_differs_in_what_it_says():
    specs = unseen_architectures.specs([TRAINED])
    assert (
        len({*specs.values(), TRAINED})
        == len(unseen_architectures.UNSEEN_ARCHITECTURES) + 1
    )
    assert specs["half as wide"].widths == (32, 64, 64)
    assert specs["twice as wide"].widths == (128, 256, 258)
    assert specs["without weight norm"].weight_norm is False
    assert specs["fully connected"].family == "fully_connected"


def test_what_was_trained_with_is_not_held_out():
    half = unseen_architectures.UNSEEN_ARCHITECTURES["half as wide"](TRAINED)
    assert "half as wide" not in unseen_architectures.specs([TRAINED, half])
    assert "twice as wide" in unseen_architectures.specs([TRAINED, half])


@pytest.mark.parametrize("name", unseen_architectures.UNSEEN_ARCHITECTURES)
@pytest.mark.parametrize("family", ["mnist", "cifar10"])
def test_each_can_be_built_for_other_shapes(name, family):
    widths = (4,) * len(learners.FAMILIES[family].width_ranges)
    trained = learners.LearnerSpec(family, widths, (12, 12, 3), 5)
    model = learners.build_model(
        unseen_architectures.UNSEEN_ARCHITECTURES[name](trained)
    )
    assert model.input_shape == (None, 12, 12, 3) and model.output_shape == (None, 5)
