"""A teacher that nothing else knows goes through training, export and teaching."""

import dataclasses

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

import gtn_tf
from gtn_tf.commands import train
from gtn_tf.runs.config import TrainingConfig
from gtn_tf.teachers.base import Teacher
from gtn_tf.teachers.registry import TEACHERS


class OneImagePerClass(Teacher):
    """One learned image for each class, shown at every step."""

    has_fixed_batches = True

    def __init__(self, spec):
        super().__init__(spec)
        shape = [spec.num_classes, *spec.image_shape]
        self._use([tf.Variable(tf.zeros(shape, spec.dtype), name="images")])

    @classmethod
    def of_run(cls, spec, config, dataset):
        return cls(spec)

    def begin_as(self, x, labels, num_steps):
        wanted = np.arange(self.spec.num_classes)
        first = [np.argmax(labels[0] == label) for label in wanted]
        self.variables[0].assign(tf.gather(x[0], first))
        return 0.0

    def weights(self):
        return [tf.cast(self.variables[0], self.spec.dtype)]

    def plan(self, seed):
        shape = [self.spec.num_inner_steps, self.spec.inner_batch_size]
        classes = tf.range(self.spec.inner_batch_size) % self.spec.num_classes
        return (self._targets(tf.broadcast_to(classes, shape)),)

    def show(self, weights, targets):
        return tf.einsum("bk,khwc->bhwc", targets, weights[0]), targets


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(TEACHERS, "one_image", OneImagePerClass)


def test_a_new_teacher_is_a_file_and_an_entry(registered, tmp_path):
    config = dataclasses.replace(
        problems.SMALL_RUN,
        teacher="one_image",
        warm_start_steps=1,
        workdir=str(tmp_path),
        compare_with_real=False,
        recompute="always",
    )
    results = train.run(config)
    assert results["num_outer_steps"] == 2
    teacher = gtn_tf.load_teacher(tmp_path)
    images, targets = teacher.batch(1)
    assert images.shape == (10, 8, 8, 1)
    np.testing.assert_array_equal(np.argmax(targets, 1), np.arange(10))
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    before = model.get_weights()[0]
    teacher.teach(model, rate_scale=1.0)
    assert np.any(model.get_weights()[0] != before)


def test_a_teacher_that_is_not_registered_is_refused():
    with pytest.raises(ValueError, match="--teacher=one_image is unknown: give one of"):
        TrainingConfig(teacher="one_image")
