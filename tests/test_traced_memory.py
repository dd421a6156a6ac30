"""What is counted in the traced program of a loop and its way back."""

import pytest
import tensorflow as tf

from gtn_tf.meta import inner_loop, traced_memory

NUMBERS = 256
STATE = 4 * NUMBERS  # bytes


def count(step, dtype="float32"):
    """Of the gradient through five turns of step(state) -> state."""

    @tf.function(autograph=False)
    def program(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            turns = tf.zeros([5, 1])
            state = inner_loop.unroll(lambda s, _: step(s), x, turns, 5)
            loss = tf.reduce_sum(state)
        return tape.gradient(loss, x)

    spec = tf.TensorSpec([NUMBERS], dtype)
    return traced_memory.count(program.get_concrete_function(spec))


@pytest.mark.parametrize("dtype, size", [("float32", 4), ("float64", 8)])
def test_bytes_that_a_turn_keeps(dtype, size):
    """The square's gradient needs what was squared."""
    assert count(tf.square, dtype).step == size * NUMBERS


def test_what_the_way_back_makes():
    """2 x and its product with the gradient, after which x and 2 x are done; the
    gradient that came is the turn's own to begin with."""
    assert count(tf.square).back == pytest.approx(2 * STATE, abs=64)


def test_wide_turns_hold_more_than_long_ones():
    """Four sines side by side have their cosines at once, one after the other not."""

    def wide(state):
        return tf.add_n([tf.sin(factor * state) for factor in (1.0, 2.0, 3.0, 4.0)])

    def long(state):
        for factor in (1.0, 2.0, 3.0, 4.0):
            state = tf.sin(factor * state)
        return state

    assert count(wide).back >= count(long).back + 2 * STATE


def test_reshaping_makes_nothing():
    def folded(state):
        return tf.reshape(tf.square(tf.reshape(state, [16, 16])), [NUMBERS])

    assert count(folded).back == pytest.approx(count(tf.square).back, abs=64)


def test_a_larger_program_takes_more():
    def thrice(state):
        return tf.square(tf.square(tf.square(state)))

    assert count(thrice).program > count(tf.square).program > 0
