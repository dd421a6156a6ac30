"""What one inner step takes of memory, counted in a meta-gradient's traced program.

    step      what a turn of the loop keeps in lists, for the way back
    back      the most that a turn of the way back holds beside what lists hand to it
    program   what TensorFlow makes of the graph before it runs

An operation's outputs are taken to live from when it has all of its inputs until the
last of those that read them has run, in the order in which operations become ready.
"""

from __future__ import annotations

import collections
import graphlib
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# What peaks have beside all else: 7,000 to 13,000 for learners and cells of 8,000 to
# 59,000 operations.
_BYTES_PER_OPERATION = 8_000
_FROM_LIST = "TensorListPopBack"
_SAME_MEMORY = {"Reshape", "Identity", "ExpandDims", "Squeeze", "PreventGradient"}


class Counted(NamedTuple):
    """Bytes; see the module."""

    step: int
    back: int
    program: int


def count(program: tf.types.experimental.ConcreteFunction) -> Counted:
    """What a meta-gradient takes that keeps all inner steps, two or more."""
    graph = program.graph.as_graph_def(add_shapes=True)
    functions = [graph.node, *(each.node_def for each in graph.library.function)]
    ways_back = [
        function
        for function in graph.library.function
        if any(node.op == _FROM_LIST for node in function.node_def)
    ]
    return Counted(
        step=sum(map(_kept_in, functions)),
        back=max(map(_held_by, ways_back), default=0),
        program=_BYTES_PER_OPERATION * sum(map(len, functions)),
    )


def _kept_in(nodes) -> int:
    """TensorFlow keeps tensors in lists, one for each, which are made before the loop
    and have the tensor's shape."""
    constants = {node.name: node for node in nodes if node.op == "Const"}
    total = 0
    for node in nodes:
        if node.op == "EmptyTensorList":
            source = constants[node.input[0].partition(":")[0]]
            shape = np.ravel(tf.make_ndarray(source.attr["value"].tensor)).tolist()
            total += num_bytes(shape, node.attr["element_dtype"].type)
    return total


def _held_by(function) -> int:
    """The most that one turn of a way back has made and still needs, less what it has
    taken from lists and no longer needs."""
    nodes = {node.name: node for node in function.node_def}
    inputs = {name: _sources(node.input, nodes) for name, node in nodes.items()}
    order = list(graphlib.TopologicalSorter(inputs).static_order())
    owners = _owners(order, nodes)
    reads = {name: [owners[i] for i in own] for name, own in inputs.items()}
    left = collections.Counter(owner for own in reads.values() for owner in own)
    left.update(owners[name] for name in _sources(function.ret.values(), nodes))
    alive = most = 0
    for name in order:
        if nodes[name].op != _FROM_LIST and owners[name] == name:
            alive += _made_by(nodes[name])
        most = max(most, alive)
        left.subtract(reads[name])
        done = {*reads[name], owners[name]}
        alive -= sum(_made_by(nodes[each]) for each in done if each and not left[each])
    return most


def _owners(order: list[str], nodes) -> dict[str, str]:
    """Whose memory the output of each node lies in; "" for what a function is given."""
    owners: dict[str, str] = {}
    for name in order:
        node = nodes[name]
        if node.op in _SAME_MEMORY:
            owners[name] = owners.get(node.input[0].partition(":")[0], "")
        else:
            owners[name] = name
    return owners


def _sources(names: Iterable[str], nodes) -> set[str]:
    """The nodes behind inputs as "name:output:0" or "^name"; not a function's own."""
    found = {name.lstrip("^").partition(":")[0] for name in names}
    return {name for name in found if name in nodes}


def _made_by(node) -> int:
    """Bytes of a node's outputs, as if all had one type; constants are the graph's."""
    if node.op == "Const":
        return 0
    names = ("DstT", "T", "element_dtype", "dtype")
    found = (node.attr[name].type for name in names if name in node.attr)
    dtype = next(filter(None, found), tf.float32.as_datatype_enum)
    shapes = node.attr["_output_shapes"].list.shape
    return sum(num_bytes(_sizes(shape), dtype) for shape in shapes)


def _sizes(shape) -> list[int]:
    return [-1] if shape.unknown_rank else [each.size for each in shape.dim]


def num_bytes(shape: Iterable[int], dtype) -> int:
    """Of a tensor; 0 where a size is not known, as of lists and resources."""
    known = all(size >= 0 for size in shape)
    return math.prod(shape) * tf.dtypes.as_dtype(dtype).size if known else 0
