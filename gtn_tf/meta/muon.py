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
    own_sizes = tf.unstack(sizes, num=len(layout.kinds))
    parts = tf.split(velocity, layout.sizes)
    changes: list = [None] * len(parts)
    for (kind, shape), members in _groups(layout).items():
        together = tf.stack([parts[i] for i in members])  # [G, numbers of each]
        rate = learning_rate * by_kind.get(f"{kind}_factor", 1.0)
        rates = rate * tf.stack([own_sizes[i] for i in members])
        moves = rates[:, None] * _directions(together, shape)
        for index, change in zip(
            members, tf.unstack(moves, num=len(members)), strict=True
        ):
            changes[index] = change
    return params - stateless.flatten(changes, params.dtype), (velocity, sizes)


def _groups(layout: stateless.Layout) -> dict[tuple, list[int]]:
    """Which tensors one operation can take together: kind and shape -> indices.

    The shape is that of the matrix which a kernel is, and the number of numbers in
    what is no matrix. One operation for each tensor took seconds to trace.
    """
    groups: dict[tuple, list[int]] = {}
    for index, (shape, kind) in enumerate(
        zip(layout.shapes, layout.kinds, strict=True)
    ):
        own = _matrix_shape(shape)
        if kind != "kernel" or min(own) <= 1:
            own = (math.prod(shape),)
        groups.setdefault((kind, own), []).append(index)
    return groups


def _directions(velocities: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Of root mean square one, [G, numbers], of tensors or matrices of one shape."""
    if len(shape) == 1:
        return velocities / _root_mean_square(velocities, axis=1)
    matrices = _orthogonalized(tf.reshape(velocities, [-1, *shape]))
    return tf.reshape(matrices, [-1, math.prod(shape)])


def _root_mean_square(tensor: tf.Tensor, axis: int | None = None) -> tf.Tensor:
    squares = tf.reduce_mean(tf.square(tensor), axis, keepdims=axis is not None)
    return tf.sqrt(squares + _TINY)


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
    identity = _A * tf.eye(min(rows, columns), dtype=square.dtype)
    factor = step = identity + _polynomial(square)
    for _ in range(_NUM_ITERATIONS - 1):
        square = tf.matmul(tf.matmul(step, square), step)
        step = identity + _polynomial(square)
        factor = tf.matmul(step, factor)
    x = tf.matmul(x, factor) if tall else tf.matmul(factor, x)
    return x * (math.sqrt(rows * columns) / _norms(x))


def _polynomial(square: tf.Tensor) -> tf.Tensor:
    """b S + c S^2 of [G, n, n]."""
    return _B * square + _C * tf.matmul(square, square)


def _norms(matrices: tf.Tensor) -> tf.Tensor:
    """Frobenius norms [G, 1, 1]."""
    squares = tf.reduce_sum(tf.square(matrices), [1, 2], keepdims=True)
    return tf.sqrt(squares + _TINY)
