"""Input that nobody thought of: refused with a ValueError, or used; never more memory
than it is worth."""

import dataclasses
import resource

import numpy as np
import original_files
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtn_tf.data import loaders
from gtn_tf.runs import fields
from gtn_tf.runs.config import TrainingConfig
from nas.search.config import SearchConfig
from nas.spaces import nao
from nas.spaces.registry import SPACES

FIXTURES = [HealthCheck.function_scoped_fixture]
FIELDS = {field.name: field for field in dataclasses.fields(TrainingConfig)}


@given(st.text() | st.lists(st.integers(-2, 17), max_size=44).map(str))
def test_any_text_as_an_architecture(text):
    for given_text in (text, text.strip("[]").replace(",", "")):
        try:
            spec = nao.read(given_text)
        except ValueError as error:
            assert str(error)
        else:
            assert nao.decode(nao.encode(spec)) == spec


SIGNS = "()[],|+~0123456 " + "Genotype(normal=[('sep_conv_3x3', 0)], reduce=range"


@given(st.sampled_from(list(SPACES)), st.text() | st.text(SIGNS, max_size=80))
def test_any_text_as_an_architecture_of_any_space(name, text):
    space = SPACES[name]()
    try:
        architecture = space.decode(text)
    except ValueError as error:
        assert str(error)
    else:
        assert space.decode(space.encode(architecture)) == architecture


@given(st.lists(st.integers(-1, 5), min_size=5, max_size=7))
def test_any_numbers_as_a_cell_of_edges(numbers):
    space = SPACES["nasbench201"]()
    try:
        cell = space.decode(str(numbers))
    except ValueError as error:
        assert str(error)
    else:
        assert space.decode(space.encode(cell)) == cell


PAIRS = st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 7)), max_size=9)


@given(st.lists(PAIRS, max_size=3))
def test_any_pairs_as_cells_of_nodes(pairs):
    space = SPACES["darts"]()
    try:
        architecture = space.decode(str(pairs))
    except ValueError as error:
        assert str(error)
    else:
        assert space.decode(space.encode(architecture)) == architecture


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["node_1", "node_2", "node_3"]), inner)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_any_json_as_an_architecture(conv_dag, reduc_dag):
    text = nao.json.dumps({"conv_dag": conv_dag, "reduc_dag": reduc_dag})
    try:
        assert nao.read(nao.to_json(nao.read(text)))
    except ValueError as error:
        assert str(error)


def any_value(field):
    """Values in the field's range, at its ends and beyond, and of its choices."""
    low, high = field.metadata["low"], field.metadata["high"]
    if field.metadata["choices"]:
        return st.sampled_from([*field.metadata["choices"], "other"])
    if field.type == "int":
        return st.integers(low - 1, high + 1) | st.sampled_from([low, high])
    if field.type == "float":
        return st.floats(allow_nan=True) | st.floats(low, high)
    if field.type == "bool":
        return st.booleans()
    return st.text("abc019:-. ", max_size=8)


COMBINATIONS = st.fixed_dictionaries(
    {}, optional={name: any_value(field) for name, field in FIELDS.items()}
)


@settings(max_examples=300)
@given(COMBINATIONS)
def test_any_combination_of_flags(values):
    try:
        config = TrainingConfig(**values)
    except ValueError as error:
        assert "--" in str(error)
        return
    again = TrainingConfig(**TrainingConfig.values_of(config.as_flagfile()))
    assert again == config and again.run_folder == config.run_folder


@given(st.text())
def test_any_text_as_a_flagfile(text):
    for config_class in (TrainingConfig, SearchConfig):
        try:
            config_class(**config_class.values_of(text))
        except (ValueError, TypeError) as error:
            assert isinstance(error, ValueError) and str(error)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(scope="module")
def idx_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("idx")
    original_files.write_idx_files(folder, gzipped=False)
    return folder


CHANGES = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4
)


@settings(max_examples=200, suppress_health_check=FIXTURES, deadline=None)
@given(st.sampled_from(original_files.IDX_STEMS), CHANGES, st.integers(0, 40))
def test_idx_files_with_bytes_changed(idx_folder, stem, changes, cut):
    """Most changes are in the header: sizes that are absurd must not be allocated."""
    path = idx_folder / stem
    whole = path.read_bytes()
    content = bytearray(whole)
    for position, byte in changes:
        content[position % (16 if position % 3 else len(content))] = byte
    path.write_bytes(bytes(content[: len(content) - cut]))
    before = peak_bytes()
    try:
        assert loaders.load("mnist", str(idx_folder), 0).train.images.dtype == np.uint8
    except ValueError as error:
        assert str(error)
    finally:
        path.write_bytes(whole)
    assert peak_bytes() - before < 50_000_000


@pytest.fixture(scope="module")
def cifar_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    for name, content in original_files.cifar10_members(20).items():
        (batches / name).write_bytes(content)
    return folder


@settings(max_examples=200, suppress_health_check=FIXTURES, deadline=None)
@given(
    st.sampled_from(["data_batch_2", "test_batch", "batches.meta"]),
    CHANGES,
    st.integers(0, 3),
)
def test_cifar_pickles_with_bytes_changed(cifar_folder, name, changes, cut):
    path = cifar_folder / "cifar-10-batches-py" / name
    whole = path.read_bytes()
    content = bytearray(whole)
    for position, byte in changes:
        content[position % min(len(content), 300 if position % 3 else 2**30)] = byte
    path.write_bytes(bytes(content[: len(content) - cut]))
    before = peak_bytes()
    try:
        loaders.load("cifar10", str(cifar_folder), 0)
    except ValueError as error:
        assert str(error)
    finally:
        path.write_bytes(whole)
    assert peak_bytes() - before < 50_000_000


def test_every_flag_has_what_the_fuzz_needs():
    assert FIELDS and fields.field
    for name, field in FIELDS.items():
        assert field.type in ("str", "int", "float", "bool"), name
