"""Architectures as keras-tuner's hyperparameters."""

import pytest

from nas.spaces import nao, nao_values


@pytest.mark.parametrize("num_nodes", [1, 2, 5])
def test_there_and_back(num_nodes):
    for seed in range(20):
        spec = nao.sample(num_nodes, seed)
        assert nao_values.from_values(nao_values.to_values(spec)) == spec


def test_the_space_has_every_architecture_and_no_other():
    space = {p.name: p for p in nao_values.hyperparameters(2).space}
    spec = nao.sample(2, 0)
    assert set(space) == set(nao_values.to_values(spec))
    assert list(space["conv_cell/3/input_2"].values) == [0, 1, 2]
    assert list(space["reduction_cell/2/input_1"].values) == [0, 1]
    assert space["conv_cell/2/operation_1"].values == list(nao.OPERATIONS)
