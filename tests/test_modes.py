"""What is told of images: classes covered, entropy, distance from real ones."""

import numpy as np
import problems
import pytest

from gtn_tf.data import loaders
from gtn_tf.data.dataset import normalize
from gtn_tf.evaluation import modes, real_classifier


class FirstPixels:
    """Takes an image's first K pixels for logits and all of it for features."""

    def look(self, x):
        flat = x.reshape(len(x), -1)
        return flat[:, :4], flat


def images_of(classes, seed=0):
    """Noise whose classes are these."""
    x = np.random.default_rng(seed).normal(size=(len(classes), 3, 3, 1))
    x.reshape(len(classes), -1)[np.arange(len(classes)), classes] += 100
    return x


def test_one_class_has_no_entropy():
    x = images_of(np.zeros(50, int))
    found = modes.of_images(FirstPixels(), x, x)
    assert found.num_classes == 1 and found.entropy == 0


def test_even_classes_have_most():
    x = images_of(np.arange(80) % 4)
    found = modes.of_images(FirstPixels(), x, x)
    assert found.num_classes == 4
    assert found.entropy == pytest.approx(2)
    assert found.distance == pytest.approx(0, abs=1e-6)


def test_a_class_that_hardly_occurs_is_not_covered():
    classes = np.repeat([0, 1, 2, 3], [970, 1, 25, 4])  # a tenth of even: 25
    found = modes.of_images(FirstPixels(), images_of(classes), images_of(classes))
    assert found.num_classes == 2
    shares = np.array([0.97, 0.001, 0.025, 0.004])
    assert found.entropy == pytest.approx(-np.sum(shares * np.log2(shares)))


def test_the_distance_of_gaussians():
    own = np.random.default_rng(1).normal(size=(400, 5))
    own = (own - own.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(own.T)).T)
    np.testing.assert_allclose(np.cov(own.T), np.eye(5), atol=1e-9)
    shift = np.array([3.0, 0, 0, 4, 0])
    assert modes.distance(own, own + shift) == pytest.approx(25)
    assert modes.distance(own, 3 * own) == pytest.approx(5 * (3 - 1) ** 2)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    scales = np.array([1.0, 2, 3, 4, 5])
    other = own @ (turn * scales)  # covariance of eigenvalues scales^2
    assert modes.distance(own, other) == pytest.approx(np.sum((scales - 1) ** 2))


def test_images_of_several_learners_where_each_is_shown_others():
    fresh = problems.build_teacher(
        problems.CaseSpec(teacher="gtn", curriculum="none", precision="float32")
    )
    count = problems.NUM_STEPS * problems.BATCH_SIZE
    x = modes.shown(fresh, 2 * count + 3)
    assert x.shape == (2 * count + 3, *problems.IMAGE_SHAPE)
    assert len(np.unique(x, axis=0)) == len(x)
    fixed = problems.build_teacher(problems.CaseSpec(precision="float32"))
    assert modes.shown(fixed, 10 * count).shape[0] == count
    assert modes.shown(fixed, 4).shape[0] == 4


def test_the_classifier_knows_real_images():
    digits = loaders.load("digits", None, 0)
    classifier = real_classifier.train(digits)
    x = normalize(digits.test.images, digits.mean, digits.std).numpy()
    logits, features = classifier.look(x)
    assert np.mean(logits.argmax(-1) == digits.test.labels) > 0.95
    assert features.shape == (300, 128)
    weights, bias = classifier.model.layers[-1].get_weights()
    np.testing.assert_allclose(features @ weights + bias, logits, atol=1e-3)
