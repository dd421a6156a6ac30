"""Muon: momentum whose matrices are orthogonalized (Jordan et al., 2024).

    velocity = momentum * velocity + gradient
    params_i = params_i - learning_rate * factor_i * size_i * direction_i

for each tensor i of the network. The direction of a kernel is its velocity with every
singular value brought near one, that of any other tensor its velocity; both are scaled
to a root mean square of one. size_i is the root mean square with which a kernel or
gain began, so that a learning rate of 0.1 moves every kernel by about a tenth of its
size, whatever the width, depth and initializer of the network: one learned rate fits
networks that it was not learned with. The factors, 1 for kernels, are learned.

Unlike Jordan's, all kernels are orthogonalized, the first and last included, and
convolutions as matrices; there is no Nesterov step and no weight decay.
"""

from __future__ import annotations

import math

import tensorflow as tf

from gtn_tf.networks import stateless

FACTORS = ("gain_factor", "bias_factor", "embedding_factor")
NAMES = ("learning_rate", "momentum", *FACTORS)

# Of what begins as nothing or nearly so: embeddings are added to activations of about
# one, biases to less.
_SIZES = {"bias": 0.05, "embedding": 0.5}
# Three take singular values from (0.02, 1) to about (0.7, 1.2); five, which is usual,
# taught no better and take longer.
_NUM_ITERATIONS = 3
# Of the polynomial a X + b (X X') X + c (X X')^2 X.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_TINY = 1e-20  # under roots: their derivative at zero would be infinite


def init(params: tf.Tensor, layout: stateless.Layout) -> tuple[tf.Tensor, tf.Tensor]:
    """Velocity [P] of zero, and the size of each tensor [N]."""
    tensors = stateless.unflatten(params, layout.shapes)
    sizes = [
        _initial_size(tensor, kind)
        for tensor, kind in zip(tensors, layout.kinds, strict=True)
    ]
    return tf.zeros_like(params), tf.stop_gradient(tf.stack(sizes))


def _initial_size(tensor: tf.Tensor, kind: str) -> tf.Tensor:
    if kind in _SIZES:
        return tf.constant(_SIZES[kind], tensor.dtype)
    size = _root_mean_square(tensor)
    # A kernel of zeros, as some last layers begin, is taken for one of unit gain.
    unit_gain = tf.constant(1 / math.sqrt(math.prod(tensor.shape[:-1])), tensor.dtype)
    return tf.where(size > 1e-6, size, unit_gain)


def update(gradient, slots, params, hyperparameters, layout: stateless.Layout):
    """One step; see the module. All vectors are [P]."""
    velocity, sizes = slots
    learning_rate, momentum, *factors = hyperparameters
    velocity = momentum * velocity + gradient
    by_kind = dict(zip(FACTORS, factors, strict=True))
    rates = [
        learning_rate * size * by_kind.get(f"{kind}_factor", 1.0)
        for size, kind in zip(
            tf.unstack(sizes, num=len(layout.kinds)), layout.kinds, strict=True
        )
    ]
    tensors = stateless.unflatten(velocity, layout.shapes)
    changes = [
        rate * direction
        for rate, direction in zip(rates, _directions(tensors, layout), strict=True)
    ]
    return params - stateless.flatten(changes, params.dtype), (velocity, sizes)


def _root_mean_square(tensor: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(tensor)) + _TINY)


def _directions(tensors, layout: stateless.Layout) -> list[tf.Tensor]:
    """Of root mean square one. Matrices of one shape are orthogonalized together."""
    directions: list = [None] * len(tensors)
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (tensor, kind) in enumerate(zip(tensors, layout.kinds, strict=True)):
        rows, columns = _matrix_shape(tuple(tensor.shape))
        if kind == "kernel" and min(rows, columns) > 1:
            groups.setdefault((rows, columns), []).append(index)
        else:
            directions[index] = tensor / _root_mean_square(tensor)
    for (rows, columns), members in groups.items():
        matrices = tf.stack([tf.reshape(tensors[i], [rows, columns]) for i in members])
        results = tf.unstack(_orthogonalized(matrices), num=len(members))
        for index, result in zip(members, results, strict=True):
            directions[index] = tf.reshape(result, tensors[index].shape)
    return directions


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The most square matrix that a tensor is, axes in order.

    A convolution's is [h * w * C, filters] but for very few filters, a depthwise one's
    [h * w, C], and those of attention have the heads on the side of the layer that they
    belong to.
    """
    splits = [
        (math.prod(shape[:axis]), math.prod(shape[axis:])) for axis in range(len(shape))
    ]
    return max(splits or [(1, 1)], key=min)


def _orthogonalized(matrices: tf.Tensor) -> tf.Tensor:
    """[G, rows, columns] with singular values made alike, of mean square one.

    The iteration X = (a + b X X' + c (X X')^2) X only changes X by factors that are
    polynomials of its first X X', so that they are gathered on the shorter side, with
    fewer multiplications for the long matrices of convolutions.
    """
    rows, columns = matrices.shape[1:]
    x = matrices / _norms(matrices)
    tall = rows > columns
    square = tf.matmul(x, x, transpose_a=tall, transpose_b=not tall)  # [G, n, n]
    factor = step = _polynomial(square)
    for _ in range(_NUM_ITERATIONS - 1):
        square = tf.matmul(tf.matmul(step, square), step)
        step = _polynomial(square)
        factor = tf.matmul(step, factor)
    x = tf.matmul(x, factor) if tall else tf.matmul(factor, x)
    return x * (math.sqrt(rows * columns) / _norms(x))


def _polynomial(square: tf.Tensor) -> tf.Tensor:
    """a I + b S + c S^2 of [G, n, n]."""
    identity = tf.eye(square.shape[-1], dtype=square.dtype)
    return _A * identity + _B * square + _C * tf.matmul(square, square)


def _norms(matrices: tf.Tensor) -> tf.Tensor:
    """Frobenius norms [G, 1, 1]."""
    squares = tf.reduce_sum(tf.square(matrices), [1, 2], keepdims=True)
    return tf.sqrt(squares + _TINY)
