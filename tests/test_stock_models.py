"""Models of Keras' own layers that teachers are measured on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.networks.stock_models import STOCK_MODELS
from gtn_tf.teaching import classifiers


@pytest.mark.parametrize("shape, num_classes", [((8, 8, 1), 10), ((32, 32, 3), 7)])
@pytest.mark.parametrize("name", STOCK_MODELS)
def test_every_model_has_logits(name, shape, num_classes):
    model = STOCK_MODELS[name](shape, num_classes)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, num_classes)
    images = tf.random.stateless_normal([3, *shape], [1, 2])
    logits = model(images, training=True).numpy()
    assert logits.shape == (3, num_classes) and np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).max() > 1e-3  # they tell images apart
    assert logits.min() < 0
    assert not classifiers.are_probabilities(model, logits)
    classifiers.check_teachable(model, images, logits)


@pytest.mark.parametrize("name", STOCK_MODELS)
def test_every_model_is_new_and_of_its_own_kind(name):
    first, second = (STOCK_MODELS[name]((8, 8, 1), 10) for _ in range(2))
    assert not {id(v) for v in first.variables} & {id(v) for v in second.variables}
    others = [STOCK_MODELS[n]((8, 8, 1), 10) for n in STOCK_MODELS if n != name]
    assert first.count_params() not in {other.count_params() for other in others}
    assert isinstance(first, keras.Model)
