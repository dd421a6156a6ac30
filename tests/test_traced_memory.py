"""What is counted in the traced program of a loop and its way back."""

import pytest
import tensorflow as tf

from gtn_tf.meta import inner_loop, traced_memory

NUMBERS = 256
STATE = 4 * NUMBERS  # bytes


def traced(step, dtype="float32"):
    """The gradient through five turns of step(state) -> state."""

    @tf.function(autograph=False)
    def program(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            turns = tf.zeros([5, 1])
            state = inner_loop.unroll(lambda s, _: step(s), x, turns, 5)
            loss = tf.reduce_sum(state)
        return tape.gradient(loss, x)

    return program.get_concrete_function(tf.TensorSpec([NUMBERS], dtype))


def count(step, dtype="float32"):
    return traced_memory.count(traced(step, dtype))


@pytest.mark.parametrize("dtype, size", [("float32", 4), ("float64", 8)])
def test_bytes_that_a_turn_keeps(dtype, size):
    """The square's gradient needs what was squared."""
    assert count(tf.square, dtype).step == size * NUMBERS


def test_what_the_way_back_makes():
    """2 x and its product with the gradient, after which x and 2 x are done; the
    gradient that came is the turn's own to begin with."""
    assert count(tf.square).back == pytest.approx(2 * STATE, abs=64)


def test_branches_are_gone_back_through_side_by_side():
    """Each of four has its own cosine and product with the gradient meanwhile, where
    one after the other would do with those of one beside four results."""

    def branches(state):
        found = []
        for factor in (1.0, 2.0, 3.0, 4.0):
            found.append(tf.sin(tf.sin(tf.sin(factor * state))))
        return tf.add_n(found)

    assert count(branches).back >= 8 * STATE


def test_reshaping_makes_nothing():
    def folded(state):
        return tf.reshape(tf.square(tf.reshape(state, [16, 16])), [NUMBERS])

    assert count(folded).back == pytest.approx(count(tf.square).back, abs=64)


def test_a_larger_program_takes_more():
    def thrice(state):
        return tf.square(tf.square(tf.square(state)))

    assert count(thrice).program > count(tf.square).program > 0


def test_few_turns_run_at_once():
    """Each holds what the way back puts off: of ten, a fifth of a cell's memory."""
    nodes = traced(tf.square).graph.as_graph_def().node
    loops = [node for node in nodes if node.op in ("While", "StatelessWhile")]
    assert [loop.attr["parallel_iterations"].i for loop in loops] == [2, 2]
