"""Random batches: every image once, with its own label, as the seed says."""

import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.data import batches
from gtn_tf.data.dataset import Split

NUM_IMAGES = 7
SEED = tf.constant([3, 4])


def numbered_split(side=2, channels=1) -> Split:
    """Image i is filled with i + 1 and has label 10 * i."""
    numbers = np.arange(NUM_IMAGES)
    shape = (NUM_IMAGES, side, side, channels)
    images = np.broadcast_to(numbers[:, None, None, None] + 1, shape)
    return Split(images.astype(np.uint8), (10 * numbers).astype(np.int32))


def drawn_numbers(images) -> np.ndarray:
    """Which images came, in their order; each is whole."""
    flat = np.reshape(images, [-1, np.prod(images.shape[2:])])
    assert np.all(flat == flat[:, :1])
    return flat[:, 0].astype(int) - 1


@pytest.mark.parametrize(
    "num_batches, batch_size", [(1, 1), (2, 3), (1, 7), (7, 1), (2, 5), (3, 7), (1, 20)]
)
def test_no_image_twice_until_all_have_come(num_batches, batch_size):
    draw = batches.sampler(numbered_split(channels=3), augment=False)
    images, labels = draw(num_batches, batch_size, SEED)
    assert images.shape == (num_batches, batch_size, 2, 2, 3)
    assert labels.shape == (num_batches, batch_size)
    assert images.dtype == tf.uint8 and labels.dtype == tf.int32
    numbers = drawn_numbers(images)
    np.testing.assert_array_equal(np.ravel(labels), 10 * numbers)
    rounds = [
        numbers[start : start + NUM_IMAGES]
        for start in range(0, num_batches * batch_size, NUM_IMAGES)
    ]
    for part in rounds:
        assert len(set(part)) == len(part)
    orders = {tuple(part) for part in rounds}
    assert len(orders) == len(rounds)


def test_seed_decides_the_order():
    draw = batches.sampler(numbered_split(), augment=False)
    orders = [
        tuple(np.ravel(draw(1, NUM_IMAGES, tf.constant(seed))[1]))
        for seed in ([0, 0], [0, 1], [1, 0], [1, 1], [0, 0])
    ]
    assert orders[0] == orders[-1]
    assert len(set(orders)) == 4
    assert (0, 10, 20, 30, 40, 50, 60) not in orders


def test_every_image_comes_first_about_equally_often():
    draw = batches.sampler(numbered_split(), augment=False)
    first = [int(draw(1, 1, tf.constant([0, i]))[1][0, 0]) for i in range(210)]
    counts = np.bincount(np.array(first) // 10, minlength=NUM_IMAGES)
    assert counts.sum() == 210
    assert counts.min() >= 15 and counts.max() <= 50  # 30 expected


def test_compiled_equals_eager():
    draw = batches.sampler(numbered_split(), augment=True)
    compiled = tf.function(lambda seed: draw(2, 5, seed))
    for value, expected in zip(compiled(SEED), draw(2, 5, SEED), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_augmentation_moves_images_and_keeps_labels():
    split = numbered_split(side=12)
    gradient = np.arange(12, dtype=np.uint8)
    split.images[:, :, :, 0] = 20 * split.images[:, :, :, 0] + gradient
    plain, labels = batches.sampler(split, augment=False)(3, 5, SEED)
    moved, moved_labels = batches.sampler(split, augment=True)(3, 5, SEED)
    np.testing.assert_array_equal(labels, moved_labels)
    assert moved.shape == plain.shape and moved.dtype == plain.dtype

    changed, directions = 0, set()
    for image, original, label in zip(
        tf.reshape(moved, [15, 12, 12]).numpy(),
        tf.reshape(plain, [15, 12, 12]).numpy(),
        np.ravel(labels),
        strict=True,
    ):
        visible = image[image > 0].astype(int)  # the rest is padding
        assert set(visible // 20) == {label // 10 + 1}
        changed += not np.array_equal(image, original)
        row = image[np.argmax(image.max(axis=1) > 0)].astype(int)
        directions.add(int(np.sign(np.diff(row[row > 0])).sum() > 0))
    assert changed >= 13  # of 15; one in 162 stays by chance
    assert directions == {0, 1}  # some are flipped, some not

    again, _ = batches.sampler(split, augment=True)(3, 5, SEED)
    other, _ = batches.sampler(split, augment=True)(3, 5, SEED + 1)
    np.testing.assert_array_equal(moved, again)
    assert np.any(moved != other)


def test_images_are_copied_once_and_only_for_who_draws():
    split = numbered_split()
    plain, augmented = (batches.sampler(split, augment) for augment in (False, True))
    assert "tensors" not in vars(split)
    drawn = tf.function(plain)(2, 3, tf.constant(SEED))  # the copy outlives the tracing
    copied = split.tensors
    augmented(2, 3, SEED)
    assert split.tensors is copied
    for own, other in zip(drawn, plain(2, 3, SEED), strict=True):
        np.testing.assert_array_equal(own, other)
