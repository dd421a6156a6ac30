"""NAO's search space: cells, their formats, and which architectures are equal."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.spaces import nao
from nas.spaces.nao import ArchitectureSpec, CellSpec, NodeSpec
from nas.spaces.nao_space import NaoSpace

NAONET_A = (
    "0 7 1 15 2 8 1 7 0 6 1 7 0 8 4 7 1 5 0 7 "
    "0 7 1 13 0 6 0 14 0 9 1 10 0 14 2 6 1 11 0 7"
)


KEY = NaoSpace().key


def cell(*rows):
    """Rows of input, operation, input, operation."""
    return CellSpec(tuple(NodeSpec((a, b), (p, q)) for a, p, b, q in rows))


@st.composite
def cells(draw, least=1, most=5):
    rows = []
    for number in range(2, 2 + draw(st.integers(least, most))):
        reads = st.integers(0, number - 1)
        operations = st.sampled_from(list(nao.OPERATIONS))
        rows.append([draw(s) for s in (reads, operations, reads, operations)])
    return cell(*rows)


def test_what_naos_integers_mean():
    spec = nao.decode(NAONET_A)
    first, second = spec.conv_cell.nodes[:2]
    assert first == NodeSpec((0, 1), (7, 15))
    assert second == NodeSpec((2, 1), (8, 7))
    assert spec.reduction_cell.nodes[0] == NodeSpec((0, 1), (7, 13))
    assert spec.conv_cell.num_nodes == spec.reduction_cell.num_nodes == 5
    assert str(spec) == NAONET_A


def test_outputs_are_what_nothing_reads():
    spec = nao.decode(NAONET_A)
    # Node 2 is read by node 3, and node 4 by node 5.
    assert spec.conv_cell.outputs == (3, 5, 6)
    assert cell((0, 5, 0, 5), (2, 5, 2, 5)).outputs == (1, 3)


def test_json_has_naos_names():
    dags = json.loads(nao.to_json(nao.decode(NAONET_A)))
    assert list(dags) == ["conv_dag", "reduc_dag"]
    conv = dags["conv_dag"]
    assert conv["node_1"] == ["node_1", None, None, None, None]
    assert conv["node_3"] == ["node_3", "node_1", "node_2", "conv 3x3", "avg_pool 5x5"]
    assert conv["node_4"][1:3] == ["node_3", "node_2"]
    assert conv["node_4"][3:] == ["conv 1x3+3x1", "conv 3x3"]
    assert list(conv) == [f"node_{i}" for i in range(1, 8)]


@settings(max_examples=200, deadline=None)
@given(cells(least=4, most=4), cells(least=4, most=4))
def test_formats_are_read_as_written(conv_cell, reduction_cell):
    spec = ArchitectureSpec(conv_cell, reduction_cell)
    assert nao.decode(nao.encode(spec)) == spec
    assert nao.from_json(nao.to_json(spec)) == spec


@settings(max_examples=200, deadline=None)
@given(cells(), st.randoms(use_true_random=False))
def test_renumbered_cells_are_equal(original, random):
    """Nodes in another order in which each comes after what it reads, operations
    swapped at random."""
    remaining, order = list(range(original.num_nodes)), []
    while remaining:
        ready = [
            i
            for i in remaining
            if all(r < 2 or r - 2 in order for r in original.nodes[i].inputs)
        ]
        order.append(random.choice(ready))
        remaining.remove(order[-1])
    number = {0: 0, 1: 1} | {2 + old: 2 + new for new, old in enumerate(order)}
    rows = []
    for old in order:
        node = original.nodes[old]
        pairs = [
            (number[r], p) for r, p in zip(node.inputs, node.operations, strict=True)
        ]
        random.shuffle(pairs)
        rows.append([*pairs[0], *pairs[1]])
    renumbered = cell(*rows)
    assert renumbered.canonical() == original.canonical()
    assert original.canonical().canonical() == original.canonical()
    assert len(renumbered.outputs) == len(original.outputs)


def test_what_differs_is_not_equal():
    shared = cell((0, 7, 1, 7), (0, 7, 1, 7), (2, 5, 2, 5))
    apart = cell((0, 7, 1, 7), (0, 7, 1, 7), (2, 5, 3, 5))
    inputs = cell((1, 7, 1, 7), (0, 7, 1, 7), (2, 5, 2, 5))
    cells = [shared, apart, inputs]
    assert len({c.canonical() for c in cells}) == 3
    digests = {KEY(ArchitectureSpec(a, b)) for a in cells for b in cells}
    assert len(digests) == 9 and all(len(d) == 16 for d in digests)


def test_equal_architectures_have_one_digest():
    one = ArchitectureSpec(cell((0, 7, 1, 6), (0, 5, 0, 9)), cell((0, 5, 0, 5)))
    other = ArchitectureSpec(cell((0, 9, 0, 5), (1, 6, 0, 7)), cell((0, 5, 0, 5)))
    assert one != other and KEY(one) == KEY(other)


def test_sampling_is_uniform_and_follows_the_seed():
    specs = [nao.sample(5, seed) for seed in range(2000)]
    assert specs == [nao.sample(5, seed) for seed in range(2000)]
    assert len({KEY(spec) for spec in specs}) == 2000
    nodes = [
        (number, node)
        for spec in specs
        for c in (spec.conv_cell, spec.reduction_cell)
        for number, node in enumerate(c.nodes, start=2)
    ]
    operations = np.array([op for _, node in nodes for op in node.operations])
    shares = np.bincount(operations, minlength=16)[5:] / len(operations)
    np.testing.assert_allclose(shares, 1 / 11, atol=0.006)  # 4 standard deviations
    last = np.array([r for number, node in nodes if number == 6 for r in node.inputs])
    np.testing.assert_allclose(np.bincount(last) / len(last), 1 / 6, atol=0.017)


def test_no_tensorflow_is_imported():
    program = (
        "import sys; import nas.search_space; sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "'' is no architecture: give integers"),
        ("0 7 1 x 0 7 1 5", "is no architecture: give integers"),
        ("0 7 1 -5 0 7 1 5", "is no architecture: give integers"),
        ("0 7 1 15", "has 4 integers: give 8 for each node"),
        ("0 7 1 16 0 7 1 5", r"node 2 has operation 16: give one of 5 \(identity\)"),
        ("0 4 1 5 0 7 1 5", "node 2 has operation 4"),
        ("2 7 1 5 0 7 1 5", "node 2 reads 2: it can read .* nodes up to 1"),
        ("0 7 1 5 0 7 1 5 0 7 9 5 0 7 1 5", "node 2 reads 9"),
        ("9" * 500, "has 1 integers"),
    ],
)
def test_what_is_no_architecture_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        nao.decode(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"conv_dag": {}}',
        '{"conv_dag": {"node_1": 1}, "reduc_dag": {}}',
        nao.to_json(nao.decode(NAONET_A)).replace("conv 3x3", "x"),
        nao.to_json(nao.decode(NAONET_A)).replace("node_4", "node_9"),
        "[" * 100_000,
    ],
)
def test_what_is_no_json_architecture_is_refused(text):
    with pytest.raises(ValueError):
        nao.from_json(text)
