"""Muon: what each tensor's step is, and that it has a derivative everywhere."""

import math

import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.meta import muon
from gtn_tf.networks.stateless import Layout

RATE = 0.1
FACTORS = (0.5, 2.0, 3.0)  # of gains, biases and embeddings
SIZES = {"bias": 0.05, "embedding": 0.5}  # whatever they begin as


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def flat(*tensors, dtype="float64"):
    return tf.constant(np.concatenate([np.ravel(t) for t in tensors]), dtype)


def layout_of(kinds, tensors):
    return Layout(tuple(np.shape(t) for t in tensors), tuple(kinds))


def steps(kinds, tensors, gradients, momentum=0.0, count=1):
    """How far each tensor moves in the last of `count` steps against one gradient."""
    layout = layout_of(kinds, tensors)
    params = flat(*tensors)
    slots = muon.init(params, layout)
    values = [tf.constant(v, params.dtype) for v in (RATE, momentum, *FACTORS)]
    for _ in range(count):
        before = params
        params, slots = muon.update(flat(*gradients), slots, params, values, layout)
    moved = np.split((before - params).numpy(), np.cumsum(layout.sizes)[:-1])
    return [m.reshape(shape) for m, shape in zip(moved, layout.shapes, strict=True)]


def step(kind, tensor, gradient, **options):
    return steps([kind], [tensor], [gradient], **options)[0]


def root_mean_square(values):
    return math.sqrt(np.mean(np.square(values)))


def matrix(rows, columns, seed=0):
    """Of singular values from a half to one."""
    size = min(rows, columns)
    left, _ = np.linalg.qr(random(rows, size, seed=seed))
    right, _ = np.linalg.qr(random(columns, size, seed=seed + 1))
    return left @ np.diag(np.linspace(0.5, 1, size)) @ right.T


@pytest.mark.parametrize("shape", [(6, 6), (40, 6), (6, 40), (2, 3)])
def test_the_direction_of_a_kernel_is_orthogonal(shape):
    gradient = matrix(*shape)
    moved = step("kernel", random(*shape), gradient)
    values = np.linalg.svd(moved, compute_uv=False)
    assert np.all(values > 0.6 * values.mean()) and np.all(values < 1.3 * values.mean())
    # Along the gradient: the singular vectors are its own.
    left, _, right = np.linalg.svd(gradient, full_matrices=False)
    along = left.T @ moved @ right.T
    np.testing.assert_allclose(along, np.diag(np.diag(along)), atol=1e-9)
    assert np.all(np.diag(along) > 0)


# Kind of tensor, its shape, and what the learning rate is multiplied by.
KINDS = [
    ("kernel", (12, 8), 1.0),
    ("kernel", (3, 3, 4, 10), 1.0),
    ("gain", (8,), FACTORS[0]),
    ("bias", (8,), FACTORS[1]),
    ("embedding", (5, 4), FACTORS[2]),
    ("kernel", (8, 1), 1.0),  # one column: as it is
]


@pytest.mark.parametrize("kind, shape, factor", KINDS)
@pytest.mark.parametrize("size", [0.3, 4.0])
def test_a_step_is_as_large_as_rate_times_size(kind, shape, factor, size):
    tensor = random(*shape, seed=5)
    tensor *= size / root_mean_square(tensor)
    rows = math.prod(shape[:-1])
    is_matrix = kind == "kernel" and shape[-1] > 1
    gradient = matrix(rows, shape[-1]) if is_matrix else random(*shape)
    moved = step(kind, tensor, gradient)
    expected = RATE * factor * SIZES.get(kind, size)
    assert root_mean_square(moved) == pytest.approx(expected, rel=1e-6)
    if not is_matrix:
        scale = expected / root_mean_square(gradient)
        np.testing.assert_allclose(moved, scale * gradient, rtol=1e-6)


@pytest.mark.parametrize(
    "kind, shape, size",
    [
        ("kernel", (3, 3, 4, 6), 1 / 6),  # 1 / sqrt(3 * 3 * 4)
        ("embedding", (5, 4), SIZES["embedding"]),
        ("gain", (4,), 1 / math.sqrt(1)),
        ("bias", (4,), SIZES["bias"]),
    ],
)
def test_what_begins_as_zeros_has_a_size_too(kind, shape, size):
    zeros = np.zeros(shape)
    _, sizes = muon.init(flat(zeros), layout_of([kind], [zeros]))
    np.testing.assert_allclose(sizes, [size])


def test_velocity_begins_at_zero_and_sizes_are_those_of_the_start():
    tensors = [random(4, 3), np.full(3, 2.0), random(3) + 7]
    layout = layout_of(["kernel", "gain", "bias"], tensors)
    velocity, sizes = muon.init(flat(*tensors), layout)
    np.testing.assert_array_equal(velocity, np.zeros(18))
    np.testing.assert_allclose(
        sizes, [root_mean_square(tensors[0]), 2.0, SIZES["bias"]], rtol=1e-9
    )
    values = [tf.constant(v, tf.float64) for v in (RATE, 0.5, *FACTORS)]
    gradient = flat(*(random(*np.shape(t), seed=3) for t in tensors))
    _, slots = muon.update(
        gradient, (velocity, sizes), 2 * flat(*tensors), values, layout
    )
    np.testing.assert_array_equal(slots[0], gradient)
    np.testing.assert_array_equal(slots[1], sizes)


def test_velocity_is_a_decaying_sum_of_gradients():
    layout = Layout(((3,),), ("gain",))
    gradients = [random(3, seed=s) for s in range(3)]
    momenta = [0.9, 0.5, 0.2]
    params = flat(np.ones(3))
    slots = muon.init(params, layout)
    for gradient, momentum in zip(gradients, momenta, strict=True):
        before = params
        values = [tf.constant(v, tf.float64) for v in (RATE, momentum, *FACTORS)]
        params, slots = muon.update(flat(gradient), slots, params, values, layout)
    velocity = 0.2 * (0.5 * gradients[0] + gradients[1]) + gradients[2]
    np.testing.assert_allclose(slots[0], velocity, rtol=1e-12)
    expected = RATE * FACTORS[0] * velocity / root_mean_square(velocity)
    np.testing.assert_allclose(before - params, expected, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-4, 1e3])
@pytest.mark.parametrize("kind, shape", [(kind, shape) for kind, shape, _ in KINDS])
def test_the_size_of_a_gradient_does_not_matter(kind, shape, scale):
    gradient = random(*shape)
    moved = step(kind, random(*shape, seed=1), gradient)
    scaled = step(kind, random(*shape, seed=1), scale * gradient)
    np.testing.assert_allclose(scaled, moved, rtol=1e-6, atol=1e-12)
    assert np.any(moved)


def test_tensors_do_not_change_each_other_s_steps():
    """Kernels of one shape are orthogonalized together, and as if they were not."""
    kinds = ["kernel", "bias", "kernel", "embedding", "kernel", "kernel"]
    shapes = [(6, 4), (4,), (4, 6), (6, 4), (6, 4), (2, 3, 4)]
    tensors = [random(*shape, seed=s) for s, shape in enumerate(shapes)]
    gradients = [10**s * random(*shape, seed=s) for s, shape in enumerate(shapes)]
    together = steps(kinds, tensors, gradients)
    for own, *arguments in zip(together, kinds, tensors, gradients, strict=True):
        np.testing.assert_allclose(own, step(*arguments), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((20, 10), (20, 10)),  # dense
        ((3, 3, 16, 32), (144, 32)),  # convolution
        ((1, 1, 16, 32), (16, 32)),
        ((3, 3, 40, 1), (9, 40)),  # depthwise convolution
        ((32, 4, 8), (32, 32)),  # attention: query, key, value
        ((64, 4, 8), (64, 32)),  # of fewer heads than the layer has room for
        ((4, 8, 32), (32, 32)),  # attention: output
    ],
)
def test_the_matrix_that_a_kernel_is(shape, expected):
    gradient = matrix(*expected).reshape(shape)
    moved = step("kernel", random(*shape, seed=2), gradient).reshape(expected)
    values = np.linalg.svd(moved, compute_uv=False)
    # As another matrix than the one with singular values near one, it would not be.
    assert values.min() > 0.6 * values.mean() and values.max() < 1.3 * values.mean()


def test_zeros_move_nothing_and_have_a_finite_derivative():
    kinds = [kind for kind, *_ in KINDS]
    tensors = [random(*shape, seed=s) for s, (_, shape, _) in enumerate(KINDS)]
    layout = layout_of(kinds, tensors)
    params = flat(*tensors, dtype="float32")
    gradient = tf.zeros_like(params)
    values = [tf.constant(v) for v in (RATE, 0.5, *FACTORS)]
    with tf.GradientTape() as tape:
        tape.watch([gradient, params, *values])
        slots = muon.init(params, layout)
        moved, slots = muon.update(gradient, slots, params, values, layout)
        total = tf.reduce_sum(moved * random(*moved.shape))
    np.testing.assert_array_equal(moved, params)
    for value in tape.gradient(total, [gradient, params, *values]):
        if value is not None:
            assert np.all(np.isfinite(value))


def test_the_derivative_by_the_gradient_is_that_of_the_step():
    """Against central differences, along random directions."""
    kinds = ["kernel", "gain", "kernel", "embedding"]
    tensors = [random(4, 3), random(3), random(2, 2, 2, 3), random(2, 3)]
    layout = layout_of(kinds, tensors)
    params, weights = flat(*tensors), random(flat(*tensors).shape[0], seed=9)
    values = [tf.constant(v, tf.float64) for v in (RATE, 0.5, *FACTORS)]

    def total(gradient):
        slots = muon.init(params, layout)
        moved, _ = muon.update(gradient, slots, params, values, layout)
        return tf.reduce_sum(moved * weights)

    gradient = flat(*(random(*np.shape(t), seed=4) for t in tensors))
    with tf.GradientTape() as tape:
        tape.watch(gradient)
        value = total(gradient)
    derivative = tape.gradient(value, gradient)
    for seed in range(3):
        direction = random(*gradient.shape, seed=20 + seed)
        rise = total(gradient + 1e-6 * direction) - total(gradient - 1e-6 * direction)
        np.testing.assert_allclose(
            np.sum(derivative * direction), rise / 2e-6, rtol=1e-5, atol=1e-8
        )
