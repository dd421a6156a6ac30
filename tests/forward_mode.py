"""The meta-gradient of a small dense learner by forward-mode differentiation in NumPy.

Nothing is shared with the library: not the network, whose inner gradient is written
out by hand, not the optimizer, and not the differentiation, which carries one
directional derivative along with every number (dual numbers).

The learner: weight-normalized dense, batch norm with the batch's statistics,
LeakyReLU, weight-normalized dense with bias; trained by SGD with momentum on
softmax cross-entropy, evaluated with the last inner batch's statistics.
"""

from __future__ import annotations

import numpy as np

# TensorFlow keeps the slope 0.1 as a float32 attribute, whatever the dtype of x.
NEGATIVE_SLOPE = float(np.float32(0.1))
EPSILON = 1e-5


class Dual:
    """A NumPy array and its derivative in one direction, of the same shape."""

    __array_ufunc__ = None

    def __init__(self, value, tangent=None):
        self.value = np.asarray(value, np.float64)
        self.tangent = np.zeros_like(self.value) if tangent is None else tangent

    def __add__(self, other):
        other = dual(other)
        return Dual(self.value + other.value, self.tangent + other.tangent)

    def __mul__(self, other):
        other = dual(other)
        return Dual(
            self.value * other.value,
            self.tangent * other.value + self.value * other.tangent,
        )

    def __matmul__(self, other):
        other = dual(other)
        return Dual(
            self.value @ other.value,
            self.tangent @ other.value + self.value @ other.tangent,
        )

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -dual(other)

    def __pow__(self, power):
        slope = power * self.value ** (power - 1)
        return Dual(self.value**power, slope * self.tangent)

    def __getitem__(self, index):
        return Dual(self.value[index], self.tangent[index])

    @property
    def transposed(self):
        return Dual(self.value.T, self.tangent.T)

    def sum(self, axis, keepdims=False):
        return Dual(
            self.value.sum(axis, keepdims=keepdims),
            self.tangent.sum(axis, keepdims=keepdims),
        )

    def mean(self, axis):
        return self.sum(axis) * (1 / self.value.shape[axis])


def dual(value) -> Dual:
    return value if isinstance(value, Dual) else Dual(value)


def exp(x: Dual) -> Dual:
    value = np.exp(x.value)
    return Dual(value, value * x.tangent)


def log(x: Dual) -> Dual:
    return Dual(np.log(x.value), x.tangent / x.value)


def sigmoid(x: Dual) -> Dual:
    return (exp(-x) + 1.0) ** -1


def _slope(x: Dual):
    return np.where(x.value > 0, 1.0, NEGATIVE_SLOPE)


def _probabilities(logits: Dual) -> Dual:
    powers = exp(logits - logits.value.max(1, keepdims=True))
    return powers * powers.sum(1, keepdims=True) ** -1


def loss(probabilities: Dual, targets) -> Dual:
    """Mean cross-entropy of probabilities [B, K] from targets [B, K]."""
    return -(log(probabilities) * targets).sum(1).mean(0)


def _normalized(kernel: Dual, gain: Dual) -> Dual:
    return kernel * (gain * (kernel * kernel).sum(0) ** -0.5)


def _normalized_gradient(d_weight: Dual, kernel: Dual, gain: Dual):
    """d kernel and d gain of `_normalized`."""
    inverse_norm = (kernel * kernel).sum(0) ** -0.5
    unit = kernel * inverse_norm
    d_gain = (d_weight * unit).sum(0)
    return (d_weight - unit * d_gain) * (gain * inverse_norm), d_gain


def statistics(params: dict, x: Dual):
    """Mean and variance [units] of the hidden layer over the batch."""
    hidden = x @ _normalized(params["hidden/kernel"], params["hidden/gain"])
    mean = hidden.mean(0)
    return mean, ((hidden - mean) ** 2).mean(0)


def probabilities(params: dict, batch_stats, x: Dual) -> Dual:
    """Evaluation: softmax [B, K] of x [B, pixels] under given batch statistics."""
    mean, variance = batch_stats
    hidden = x @ _normalized(params["hidden/kernel"], params["hidden/gain"])
    unit = (hidden - mean) * (variance + EPSILON) ** -0.5
    scaled = unit * params["norm/gamma"] + params["norm/beta"]
    output = _normalized(params["output/kernel"], params["output/gain"])
    logits = (scaled * _slope(scaled)) @ output + params["output/bias"]
    return _probabilities(logits)


def inner_gradient(params: dict, x: Dual, targets) -> dict:
    """d loss / d params on one batch x [B, pixels], targets [B, K]."""
    hidden_weight = _normalized(params["hidden/kernel"], params["hidden/gain"])
    output_weight = _normalized(params["output/kernel"], params["output/gain"])
    mean, variance = statistics(params, x)
    inverse_deviation = (variance + EPSILON) ** -0.5
    unit = (x @ hidden_weight - mean) * inverse_deviation
    scaled = unit * params["norm/gamma"] + params["norm/beta"]
    active = scaled * _slope(scaled)
    logits = active @ output_weight + params["output/bias"]

    d_logits = (_probabilities(logits) - targets) * (1 / len(targets))
    d_output, d_output_gain = _normalized_gradient(
        active.transposed @ d_logits, params["output/kernel"], params["output/gain"]
    )
    d_scaled = (d_logits @ output_weight.transposed) * _slope(scaled)
    d_unit = d_scaled * params["norm/gamma"]
    d_hidden = inverse_deviation * (
        d_unit - d_unit.mean(0) - unit * (d_unit * unit).mean(0)
    )
    d_kernel, d_gain = _normalized_gradient(
        x.transposed @ d_hidden, params["hidden/kernel"], params["hidden/gain"]
    )
    return {
        "hidden/kernel": d_kernel,
        "hidden/gain": d_gain,
        "norm/gamma": (d_scaled * unit).sum(0),
        "norm/beta": d_scaled.sum(0),
        "output/kernel": d_output,
        "output/gain": d_output_gain,
        "output/bias": d_logits.sum(0),
    }


def total_loss(params, pixels, targets, raw_rates, raw_momenta, outer, every) -> Dual:
    """The meta-loss plus the loss after every `every` inner steps.

    Args:
      params: name -> array, the fresh learner.
      pixels: [T, B, pixels]; targets: [T, B, K].
      raw_rates, raw_momenta: [T], logarithms and logits.
      outer: (x [L + 1, B, pixels], targets [L + 1, B, K]).
      every: 0 for no intermediate losses.
    """
    params = {name: dual(value) for name, value in params.items()}
    velocity = {name: Dual(np.zeros_like(p.value)) for name, p in params.items()}
    num_steps = len(targets)
    outer_x, outer_targets = outer
    total = Dual(0.0)
    num_scores = 0
    for t in range(num_steps):
        gradient = inner_gradient(params, pixels[t], targets[t])
        batch_stats = statistics(params, pixels[t])
        rate, momentum = exp(raw_rates[t]), sigmoid(raw_momenta[t])
        velocity = {k: velocity[k] * momentum + gradient[k] for k in params}
        params = {k: params[k] - rate * velocity[k] for k in params}
        if t == num_steps - 1 or (every and (t + 1) % every == 0):
            scored = probabilities(params, batch_stats, dual(outer_x[num_scores]))
            total = total + loss(scored, outer_targets[num_scores])
            num_scores += 1
    return total


def gradients(params, inputs, targets, outer, every):
    """The total loss, and its gradient for each of `inputs`, a list of pixels
    [T, B, pixels], raw_rates [T] and raw_momenta [T]: one forward pass for every
    number in them."""
    sizes = [values.size for values in inputs]
    values = np.concatenate([v.ravel() for v in inputs])

    def along(direction):
        parts = [
            Dual(value, tangent.reshape(value.shape))
            for value, tangent in zip(
                inputs, np.split(direction, np.cumsum(sizes)[:-1]), strict=True
            )
        ]
        return total_loss(params, parts[0], targets, *parts[1:], outer, every)

    flat = [along(direction) for direction in np.eye(len(values))]
    parts = np.split(np.array([d.tangent for d in flat]), np.cumsum(sizes)[:-1])
    return flat[0].value, [
        part.reshape(value.shape) for part, value in zip(parts, inputs, strict=True)
    ]
