"""The picture of the curriculum: which image stands where."""

import types

import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.runs import image_grids

NAMES = ("zero", "one", "two", "three")


class KnownTeacher:
    """In step t, image i of the batch is filled with 100 t + i; labels are given."""

    def __init__(self, labels, num_inner_steps=2, channels=1):
        self.spec = types.SimpleNamespace(num_inner_steps=num_inner_steps)
        self._labels = labels
        self._channels = channels

    def batch(self, step, seed):
        assert 0 <= step < self.spec.num_inner_steps
        numbers = 100.0 * step + tf.range(len(self._labels), dtype=tf.float32)
        shape = [len(self._labels), 4, 4, self._channels]
        images = tf.broadcast_to(tf.reshape(numbers, [-1, 1, 1, 1]), shape)
        return images, tf.one_hot(self._labels, len(NAMES))


def test_columns_are_classes_in_their_order():
    row = image_grids._row(KnownTeacher([2, 0, 2, 3, 1, 0]), 1, len(NAMES))
    assert row.shape == (4, 4, 4, 1)
    expected = np.array([101, 104, 100, 103])  # the first image of each class
    np.testing.assert_array_equal(row[:, 0, 0, 0], expected)
    np.testing.assert_array_equal(row, np.broadcast_to(row[:, :1, :1], row.shape))


def test_a_class_that_is_missing_leaves_its_place_empty():
    row = image_grids._row(KnownTeacher([3, 0, 3]), 0, len(NAMES))
    np.testing.assert_array_equal(row[:, 0, 0, 0], [1, np.nan, np.nan, 0])
    assert np.all(np.isnan(row[1:3]))


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of the last picture that was drawn."""
    arguments = []
    draw = image_grids._draw

    def record(*values):
        arguments[:] = values
        return draw(*values)

    monkeypatch.setattr(image_grids, "_draw", record)
    return arguments


def test_values_are_spread_from_black_to_white(drawn):
    image_grids.curriculum_grid(KnownTeacher([1, 0, 3]), NAMES)
    images, row_names, column_names = drawn
    assert images.shape == (2, 4, 4, 4, 1)
    expected = np.array([[1, 0, np.nan, 2], [101, 100, np.nan, 102]]) / 102
    expected[:, 2] = 1  # white
    np.testing.assert_allclose(images[..., 0, 0, 0], expected, rtol=1e-6)
    assert row_names == ["1", "2"] and column_names == NAMES


@pytest.mark.parametrize(
    "num_inner_steps, rows",
    [
        (1, "1"),
        (3, "1 2 3"),
        (10, "1 2 3 4 5 6 7 8 9 10"),
        (11, "1 2 3 4 5 7 8 9 10 11"),
        (32, "1 4 8 11 15 18 22 25 29 32"),
        (128, "1 15 29 43 57 72 86 100 114 128"),
    ],
)
def test_at_most_ten_rows_evenly_spaced(drawn, num_inner_steps, rows):
    image_grids.curriculum_grid(KnownTeacher([0, 1], num_inner_steps), NAMES)
    images, row_names, _ = drawn
    assert " ".join(row_names) == rows
    shown = images[:, 0, 0, 0, 0] * (100 * (num_inner_steps - 1) + 1) / 100 + 1
    np.testing.assert_allclose(shown, [int(name) for name in row_names], rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("num_inner_steps", [1, 2, 12])
def test_picture_is_of_bytes(channels, num_inner_steps):
    teacher = KnownTeacher([0, 1, 3], num_inner_steps, channels)
    picture = image_grids.curriculum_grid(teacher, NAMES)
    assert picture.dtype == np.uint8
    height, width, colors = picture.shape
    assert colors == 3 and width > 100 and height > 100
    assert picture.min() < 50 and picture.max() == 255
    again = image_grids.curriculum_grid(teacher, NAMES)
    np.testing.assert_array_equal(picture, again)


def test_more_rows_make_a_taller_picture():
    few, many = (
        image_grids.curriculum_grid(KnownTeacher([0, 1, 2, 3], steps), NAMES)
        for steps in (2, 10)
    )
    assert many.shape[0] > few.shape[0] and many.shape[1] == few.shape[1]


class Shaded(KnownTeacher):
    """All white but class 1 in the first step, black, and class 2 then, grey."""

    def batch(self, step, seed):
        images, targets = super().batch(step, seed)
        shades = [[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.5, 1.0]][step]
        return tf.zeros_like(images) + tf.reshape(shades, [4, 1, 1, 1]), targets


def test_classes_go_right_and_steps_go_down():
    picture = image_grids.curriculum_grid(Shaded([0, 1, 2, 3]), NAMES)[..., 0]
    places = []
    for shade in (picture < 10, (picture > 110) & (picture < 145)):
        shares = shade.mean(axis=1), shade.mean(axis=0)
        # Text covers less of a row or column of the picture, its frame more.
        places.append([np.flatnonzero((s > 0.1) & (s < 0.5)) for s in shares])
        assert 20 < len(places[-1][0]) == pytest.approx(len(places[-1][1]), abs=2)
    (black_rows, black_columns), (grey_rows, grey_columns) = places
    assert black_rows.max() < grey_rows.min()
    assert black_columns.max() < grey_columns.min()


class Constant(KnownTeacher):
    def batch(self, step, seed):
        images, targets = super().batch(step, seed)
        return tf.fill(images.shape, 3.0), targets


def test_equal_images_can_be_drawn(drawn):
    picture = image_grids.curriculum_grid(Constant([0, 1, 2, 3]), NAMES)
    assert picture.dtype == np.uint8
    assert np.all(drawn[0] == 0)
