"""Sets of tensorflow_datasets: tiny ones that it writes and reads, no network."""

import types

import numpy as np
import pytest
import requests
import tensorflow as tf
import tensorflow_datasets as tfds

from gtn_tf.data import loaders
from gtn_tf.data import tfds as data_tfds
from gtn_tf.data.dataset import Split

IMAGE = tfds.features.Image(shape=(6, 5, 3))
LABEL = tfds.features.ClassLabel(names=["left", "right", "middle"])
ALL_SPLITS = {"train": 40, "validation": 8, "test": 6}


def write_set(data_dir, num_images, labels=None, features=None):
    """A set "tiny" whose image i of a split is i everywhere, its class i modulo 3."""
    features = features or {"image": IMAGE, "label": LABEL}

    def examples(size):
        ids = np.arange(size)
        images = np.broadcast_to(ids[:, None, None, None], (size, 6, 5, 3))
        values = {
            "image": images.astype(np.uint8),
            "label": ids % 3 if labels is None else np.array(labels),
        }
        chosen = {name: values[name] for name in features}
        return tf.data.Dataset.from_tensor_slices(chosen)

    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: examples(size) for split, size in num_images.items()},
        data_dir=str(data_dir),
    )
    return str(data_dir)


def error_of(read, *args) -> str:
    with pytest.raises(ValueError) as caught:
        read(*args)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return str(caught.value)


def values_of(split):
    """The numbers of a split's images, which must be whole and have their labels."""
    numbers = split.images[:, 0, 0, 0].astype(int)
    whole = np.broadcast_to(split.images[:, :1, :1, :1], (len(numbers), 6, 5, 3))
    np.testing.assert_array_equal(split.images, whole)
    np.testing.assert_array_equal(split.labels, numbers % 3)
    return sorted(numbers)


def test_sets_keep_their_own_splits(tmp_path):
    data_dir = write_set(tmp_path, ALL_SPLITS)
    dataset = loaders.load("tiny", data_dir, seed=0)
    assert values_of(dataset.train) == list(range(40))
    assert values_of(dataset.validation) == list(range(8))
    assert values_of(dataset.test) == list(range(6))
    assert dataset.image_shape == (6, 5, 3)
    assert dataset.class_names == ("left", "right", "middle")
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.dtype == np.int32
    assert not dataset.augment


@pytest.mark.parametrize(
    "present", [("train",), ("train", "test"), ("train", "validation")]
)
def test_missing_splits_are_a_tenth_of_training_each(tmp_path, present):
    data_dir = write_set(tmp_path, {split: ALL_SPLITS[split] for split in present})
    dataset = loaders.load("tiny", data_dir, seed=0)
    parts = {
        split: values_of(getattr(dataset, split))
        for split in ALL_SPLITS
        if split not in present
    }
    assert {len(part) for part in parts.values()} == {4}
    held_back = [number for part in parts.values() for number in part]
    assert sorted(held_back + values_of(dataset.train)) == list(range(40))
    other = loaders.load("tiny", data_dir, seed=1)
    for split, part in parts.items():
        assert values_of(getattr(other, split)) != part
    for split in set(present) - {"train"}:
        assert values_of(getattr(other, split)) == list(range(ALL_SPLITS[split]))


def test_cifar10_from_tfds_is_split_and_augmented_as_ever(monkeypatch):
    asked = []

    def read(name, data_dir, instead):
        asked.append((name, data_dir, instead))
        images = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1)
        train = Split(images, np.zeros(60, np.int32))
        return {"train": train, "test": train}, tuple("abcdefghij")

    monkeypatch.setattr(loaders, "read_tfds", read)
    sizes = {"cifar10": 6, "mnist": 10, "fashion_mnist": 10}
    for name, num_validation in sizes.items():
        dataset = loaders.load(name, None, seed=0)
        assert len(dataset.validation.labels) == num_validation
        assert len(dataset.train.labels) == 60 - num_validation
        assert len(dataset.test.labels) == 60
        assert dataset.augment == (name == "cifar10")
    assert [name for name, _, _ in asked] == list(sizes)
    assert "cifar-10-python.tar.gz" in asked[0][2]
    for file in ("train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        assert file in asked[1][2] and file in asked[2][2]


@pytest.mark.parametrize("name", ["no_such_set", "mnst", "../mnist", "", "a b"])
def test_unknown_names(tmp_path, name):
    message = error_of(loaders.load, name, str(tmp_path), 0)
    assert message.startswith(f"dataset {name!r} is ")
    assert "allowed: digits, mnist, fashion_mnist, cifar10 and any" in message


def test_unsuited_features(tmp_path):
    data_dir = write_set(tmp_path, {"train": 3}, features={"image": IMAGE})
    message = error_of(loaders.load, "tiny", data_dir, 0)
    assert "has the features ['image']; needed: 'image' (an image) and" in message


@pytest.mark.parametrize(
    "shape, dtype", [((None, None, 3), np.uint8), ((6, 5, 1), np.uint16)]
)
def test_unsuited_images(shape, dtype):
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=shape, dtype=dtype), "label": LABEL}
    )
    builder = types.SimpleNamespace(info=types.SimpleNamespace(features=features))
    message = error_of(data_tfds._image_classification, "tiny", builder)
    assert f"images of shape {shape} and type {np.dtype(dtype)}; allowed" in message
    assert "choose another set" in message


def test_features_that_are_no_dictionary_or_have_no_classes():
    def error_with(features):
        builder = types.SimpleNamespace(info=types.SimpleNamespace(features=features))
        return error_of(data_tfds._image_classification, "tiny", builder)

    assert "has the features []" in error_with(IMAGE)
    features = {"image": IMAGE, "label": tfds.features.ClassLabel()}
    message = error_with(tfds.features.FeaturesDict(features))
    assert "does not say how many classes it has" in message


def test_sets_without_training_split(tmp_path):
    data_dir = write_set(tmp_path, {"test": 3, "extra": 3})
    message = error_of(loaders.load, "tiny", data_dir, 0)
    assert "has the splits ['extra', 'test']; needed: train" in message


def test_sets_without_labels(tmp_path):
    data_dir = write_set(tmp_path, {"train": 3, "test": 3}, labels=[0, -1, 2])
    message = error_of(loaders.load, "tiny", data_dir, 0)
    assert "has the label -1 in its train split; allowed: 0 to 2" in message


def test_damaged_records(tmp_path):
    data_dir = write_set(tmp_path, {"train": 20})
    (record,) = tmp_path.rglob("*.tfrecord*")
    record.write_bytes(record.read_bytes()[:-9])
    message = error_of(loaders.load, "tiny", data_dir, 0)
    assert f"{record.parent} cannot be read (" in message and "delete it" in message


class UnpreparedBuilder:
    """Stands for a set that is not on this machine."""

    url_infos = {"https://example.org/images.zip": None, "https://example.org/b": None}
    prepared = False

    def __init__(self, error=None):
        self.error = error

    def is_prepared(self):
        return self.prepared

    def download_and_prepare(self):
        if self.error is not None:
            raise self.error
        self.prepared = True


@pytest.fixture
def asked(monkeypatch):
    """Where the network was probed; only "https://storage..." and "ok" answer."""
    urls = []

    def head(url, timeout):
        urls.append(url)
        assert 0 < timeout <= 10
        if not url.startswith(("https://storage", "https://ok")):
            raise requests.ConnectionError("no route to host\nat all")

    monkeypatch.setattr(requests, "head", head)
    return urls


def test_no_network_is_reported_without_download(asked, monkeypatch):
    monkeypatch.setattr(data_tfds, "_PREPARED_HOST", "https://example.org")
    builder = UnpreparedBuilder(AssertionError("must not be reached"))
    message = error_of(data_tfds._prepare, "tiny", builder, "in --data_dir the files F")
    assert message == (
        "dataset 'tiny': tensorflow_datasets could not get it (ConnectionError: no "
        "answer from https://example.org/images.zip, ConnectionError); needed: network "
        "access, or in --data_dir the files F"
    )
    assert asked == ["https://example.org/images.zip", "https://example.org"]


@pytest.mark.parametrize(
    "urls, num_probes",
    [
        ({"https://ok.org/a": None}, 1),
        ({"https://example.org/a": None}, 2),  # the host of prepared sets answers
        ({"ftp://example.org/a": None}, 0),
        (None, 0),
    ],
)
def test_sets_are_downloaded_where_something_answers(asked, urls, num_probes):
    builder = UnpreparedBuilder()
    builder.url_infos = urls
    data_tfds._prepare("tiny", builder, "nothing")
    assert builder.prepared and len(asked) == num_probes


def test_prepared_sets_need_no_network(asked):
    builder = UnpreparedBuilder(AssertionError("must not be reached"))
    builder.prepared = True
    data_tfds._prepare("tiny", builder, "nothing")
    assert asked == []


def test_failed_downloads_say_why_in_one_line(asked):
    builder = UnpreparedBuilder(PermissionError("read-only\nfile system" + 999 * "!"))
    message = error_of(data_tfds._prepare, "tiny", builder, "in --data_dir the files F")
    assert "could not get it (PermissionError: read-only file system!!" in message
    assert message.endswith("or in --data_dir the files F")
