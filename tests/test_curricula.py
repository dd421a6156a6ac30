import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.teachers import curricula
from gtn_tf.teachers.registry import CURRICULA

NUM_STEPS, BATCH_SIZE = 7, 6
NUM_ITEMS = NUM_STEPS * BATCH_SIZE
ITEMS = np.arange(NUM_ITEMS).reshape(NUM_STEPS, BATCH_SIZE)
ORDERED = [name for name in CURRICULA if name != "none"]


def order(name, seed):
    function = CURRICULA[name].order
    return function(NUM_STEPS, BATCH_SIZE, tf.constant([seed, 0])).numpy()


def test_names_and_what_shuffles():
    shuffled = {name: c.shuffled for name, c in CURRICULA.items()}
    assert shuffled == {
        "none": False,
        "all_shuffled": True,
        "shuffled_batch": True,
        "full": False,
    }
    assert CURRICULA["none"].order is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ORDERED)
def test_every_item_is_shown_once(name, seed):
    shown = order(name, seed)
    assert shown.shape == (NUM_STEPS, BATCH_SIZE)
    np.testing.assert_array_equal(np.sort(shown, axis=None), np.arange(NUM_ITEMS))


@pytest.mark.parametrize("name", ORDERED)
def test_order_depends_on_the_seed_only_where_it_shuffles(name):
    np.testing.assert_array_equal(order(name, 1), order(name, 1))
    changes = not np.array_equal(order(name, 1), order(name, 2))
    assert changes == CURRICULA[name].shuffled


def test_full_keeps_the_learned_order():
    np.testing.assert_array_equal(order("full", 3), ITEMS)


def test_shuffled_batch_keeps_batches_together():
    shown = order("shuffled_batch", 3)
    assert {tuple(batch) for batch in shown} == {tuple(batch) for batch in ITEMS}
    assert not np.array_equal(shown, ITEMS)


def test_all_shuffled_mixes_batches():
    shown = order("all_shuffled", 3)
    assert not {tuple(sorted(batch)) for batch in shown} & {
        tuple(batch) for batch in ITEMS
    }


@pytest.mark.parametrize("name", ["all_shuffled", "shuffled_batch"])
def test_every_item_comes_to_every_step(name):
    first = [order(name, seed)[0] // BATCH_SIZE for seed in range(60)]
    assert set(np.ravel(first)) == set(range(NUM_STEPS))


@pytest.mark.parametrize("name", ORDERED)
def test_labels_keep_with_their_items(name):
    labels = curricula.even_labels(NUM_STEPS, BATCH_SIZE, 4)
    stored = tf.stack([tf.cast(labels, tf.float32), tf.constant(ITEMS, tf.float32)], -1)
    shown = order(name, 5)
    items = curricula.present(stored, shown).numpy()  # [T, B, 2]
    np.testing.assert_array_equal(items[..., 1], shown)
    np.testing.assert_array_equal(curricula.present(labels, shown), items[..., 0])


def test_present_hands_each_item_its_gradient():
    stored = tf.Variable(tf.ones([NUM_STEPS, BATCH_SIZE, 2]))
    shown = order("all_shuffled", 1)
    weights = tf.reshape(tf.range(2.0 * NUM_ITEMS), stored.shape)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(curricula.present(stored, shown) * weights)
    gradient = tf.convert_to_tensor(tape.gradient(total, stored)).numpy()
    np.testing.assert_array_equal(
        gradient.reshape(-1, 2)[shown.ravel()], tf.reshape(weights, [-1, 2])
    )


@pytest.mark.parametrize("num_classes", [3, 4, 10])
def test_labels_are_even(num_classes):
    labels = curricula.even_labels(NUM_STEPS, BATCH_SIZE, num_classes).numpy()
    counts = np.bincount(labels.ravel(), minlength=num_classes)
    assert len(counts) == num_classes
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(labels.ravel()[:num_classes], np.arange(num_classes))
