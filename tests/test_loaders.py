"""Data sets: who is in which split, what normalizes them, what augmentation does."""

import os
from pathlib import Path

import numpy as np
import original_files as files
import pytest
import sklearn.datasets
import tensorflow as tf

from gtn_tf.data import loaders
from gtn_tf.data.dataset import Split, augment, normalize

SPLITS = ("train", "validation", "test")


def write_mnist(data_dir):
    files.write_idx_files(data_dir / "mnist", num_train=60, num_test=10)


def write_cifar10(data_dir):
    members = files.cifar10_members(batch_size=12)
    files.write_folder(data_dir / "cifar-10-batches-py", members)


# name -> writer of files, numbers of images in the splits
ORIGINALS = {
    "mnist": (write_mnist, (50, 10, 10)),
    "cifar10": (write_cifar10, (54, 6, 12)),
}


def numbers_of(split: Split) -> list[int]:
    """The numbers that the synthetic images carry, checked against their labels."""
    assert split.images.dtype == np.uint8
    first_row = split.images[:, 0, :, 0].astype(int)  # [N, W]
    numbers = first_row[:, 0] * 256 + first_row[:, 1]
    np.testing.assert_array_equal(split.labels, numbers % 10)
    return numbers.tolist()


def parts_of(name, data_dir, seed):
    dataset = loaders.load(name, str(data_dir), seed)
    return {part: numbers_of(getattr(dataset, part)) for part in SPLITS}


@pytest.mark.parametrize("name", ORIGINALS)
def test_splits_are_disjoint_complete_and_seeded(tmp_path, name):
    write, sizes = ORIGINALS[name]
    write(tmp_path)
    parts = parts_of(name, tmp_path, seed=0)
    num_train, num_validation, num_test = sizes
    num_official = num_train + num_validation
    assert sorted(parts["train"] + parts["validation"]) == list(range(num_official))
    assert len(parts["validation"]) == num_validation
    assert parts["test"] == list(range(num_official, num_official + num_test))
    assert parts_of(name, tmp_path, seed=0) == parts
    other = parts_of(name, tmp_path, seed=1)
    assert set(other["validation"]) != set(parts["validation"])
    assert other["test"] == parts["test"]


def test_digits_are_all_there_and_split_by_seed():
    expected = sklearn.datasets.load_digits()
    kept = {}
    for seed in (0, 1):
        dataset = loaders.load("digits", None, seed)
        splits = [getattr(dataset, part) for part in SPLITS]
        assert [len(split.labels) for split in splits] == [1297, 200, 300]
        images = np.concatenate([split.images for split in splits])
        labels = np.concatenate([split.labels for split in splits])
        assert images.dtype == np.uint8 and images.max() == 16
        rows = np.column_stack([images.reshape(1797, 64), labels])
        wanted = np.column_stack([expected.data.astype(int), expected.target])
        assert sorted(map(tuple, rows)) == sorted(map(tuple, wanted))
        kept[seed] = splits
    for first, second in zip(kept[0], kept[1], strict=True):
        assert not np.array_equal(first.images, second.images)


@pytest.mark.parametrize(
    "name, shape, last_class, augmented",
    [
        ("digits", (8, 8, 1), "9", False),
        ("mnist", (5, 4, 1), "9", False),
        ("fashion_mnist", (5, 4, 1), "Ankle boot", False),
        ("cifar10", (32, 32, 3), "class 9", True),
    ],
)
def test_what_a_dataset_says_of_itself(tmp_path, name, shape, last_class, augmented):
    files.write_idx_files(tmp_path)
    files.write_archive(tmp_path / "cifar-10-python.tar.gz", files.cifar10_members())
    dataset = loaders.load(name, str(tmp_path), seed=0)
    assert dataset.name == name
    assert dataset.image_shape == shape
    assert dataset.num_classes == len(set(dataset.class_names)) == 10
    assert dataset.class_names[-1] == last_class
    assert dataset.augment is augmented
    assert all(getattr(dataset, part).labels.dtype == np.int32 for part in SPLITS)


def test_cifar10_has_class_names_without_their_file(tmp_path):
    members = files.cifar10_members()
    del members["batches.meta"]
    files.write_folder(tmp_path, members)
    class_names = loaders.load("cifar10", str(tmp_path), seed=0).class_names
    assert class_names[:2] == ("airplane", "automobile") and len(set(class_names)) == 10


@pytest.mark.parametrize("name", ["digits", *ORIGINALS])
def test_training_images_alone_give_mean_and_variance(tmp_path, name):
    for write, _ in ORIGINALS.values():
        write(tmp_path)
    dataset = loaders.load(name, str(tmp_path), seed=0)
    x = normalize(dataset.train.images, dataset.mean, dataset.std).numpy()
    assert x.dtype == np.float32 and x.shape == dataset.train.images.shape
    assert dataset.mean.dtype == dataset.std.dtype == np.float32
    assert dataset.mean.shape == dataset.std.shape == (dataset.image_shape[2],)
    per_channel = x.astype(np.float64).reshape(-1, x.shape[-1])
    np.testing.assert_allclose(per_channel.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(per_channel.var(0), 1, atol=1e-6)
    both = np.concatenate([dataset.train.images, dataset.validation.images])
    assert np.all(np.abs(both.mean((0, 1, 2)) - dataset.mean) > 1e-3)


def test_normalize_treats_channels_apart_and_runs_in_graphs():
    images = np.array([[[[10, 20], [30, 40]]]], np.uint8)  # [1, 1, 2, 2]
    mean, std = np.array([10, 30], np.float32), np.array([2, 5], np.float32)
    expected = np.array([[[[0, -2], [10, 2]]]], np.float32)
    compiled = tf.function(normalize)
    for x in (images, images[0], images.astype(np.float64), tf.constant(images)):
        for function in (normalize, compiled):
            result = function(x, mean, std)
            assert result.dtype == tf.float32
            np.testing.assert_allclose(result, expected.reshape(x.shape))


def find_transforms(images, outputs):
    """Per image, which (top, left, flipped) made the output: a plain search."""
    _, height, width, _ = images.shape
    padded = np.zeros((len(images), height + 8, width + 8, 3), images.dtype)
    padded[:, 4:-4, 4:-4] = images
    found = [[] for _ in images]
    for top in range(9):
        for left in range(9):
            crops = padded[:, top : top + height, left : left + width]
            for flipped in (False, True):
                candidates = crops[:, :, ::-1] if flipped else crops
                for i in np.flatnonzero(np.all(candidates == outputs, axis=(1, 2, 3))):
                    found[i].append((top, left, flipped))
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_augmentation_crops_and_flips_each_image(dtype):
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (3000, 7, 6, 3)).astype(dtype)
    outputs = augment(images, (1, 2))
    assert outputs.dtype == dtype and outputs.shape == images.shape
    found = find_transforms(images, outputs.numpy())
    assert {len(transforms) for transforms in found} == {1}
    transforms = [transforms[0] for transforms in found]
    assert len(set(transforms)) == 9 * 9 * 2  # each crop, flipped and not
    share_flipped = np.mean([flipped for _, _, flipped in transforms])
    assert 0.46 < share_flipped < 0.54  # four standard deviations
    for axis in (0, 1):  # corners are uniform: 333 each, deviation 17
        counts = np.bincount([t[axis] for t in transforms], minlength=9)
        assert counts.min() > 260 and counts.max() < 406


def test_augmentation_follows_its_seed_however_it_runs():
    images = np.random.default_rng(0).integers(1, 256, (20, 7, 6, 3)).astype(np.float32)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 7, 6, 3], tf.float32),
            tf.TensorSpec([2], tf.int32),
        ]
    )
    def compiled(x, seed):
        outputs = augment(x, seed)
        assert outputs.shape.as_list() == [None, 7, 6, 3]
        return outputs

    eager = augment(images, (3, 4)).numpy()
    for num_images in (20, 5, 0):
        expected = augment(images[:num_images], (3, 4))
        result = compiled(images[:num_images], (3, 4))
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(augment(images, (3, 4)), eager)
    by_xla = tf.function(augment, jit_compile=True)(images, tf.constant([3, 4]))
    np.testing.assert_array_equal(by_xla, eager)
    for other_seed in ((3, 5), (4, 4)):
        assert np.any(augment(images, other_seed) != eager)


def constant_channel(data_dir):
    files.write_idx_files(data_dir)
    for stem in files.IDX_STEMS[::2]:
        num_images = 60 if "train" in stem else 10
        content = files.idx_bytes(np.full((num_images, 5, 4), 7))
        (data_dir / f"{stem}.gz").write_bytes(content)


def too_few(data_dir):
    files.write_idx_files(data_dir, num_train=5)


ERRORS = {
    "seed": (None, -1, "seed -1; allowed: 0 and above; pass another seed"),
    "constant": (constant_channel, 0, "standard deviation 0 in channel 0; allowed:"),
    "too few": (too_few, 0, "'mnist' has 5 training images; needed: enough for"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(tmp_path, case):
    prepare, seed, expected = ERRORS[case]
    if prepare is not None:
        prepare(tmp_path)
    with pytest.raises(ValueError) as caught:
        loaders.load("mnist", str(tmp_path), seed)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["digits", "mnist", "no_such_set"])
def test_data_dir_must_be_a_folder(tmp_path, name):
    (tmp_path / "file").write_text("")
    for data_dir in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ValueError, match="is no folder; allowed: an existing"):
            loaders.load(name, str(data_dir), 0)


def test_data_dir_may_start_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_mnist(tmp_path / "sets")
    assert loaders.load("mnist", "~/sets", 0).image_shape == (5, 4, 1)


REAL_DATA_DIR = os.environ.get("GTN_DATA_DIR")
REAL = {
    "mnist": {
        "files": "mnist/*-ubyte*",
        "sizes": [50_000, 10_000, 10_000],
        "first test labels": [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
        "class counts": [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958],
        "mean": [33.3],
        "std": [78.6],
    },
    "cifar10": {
        "files": "cifar-10-*",
        "sizes": [45_000, 5_000, 10_000],
        "first test labels": [3, 8, 8, 0, 6, 6, 1, 6, 3, 1],
        "class counts": [6000] * 10,
        "mean": [125.3, 123.0, 113.9],
        "std": [63.0, 62.1, 66.7],
    },
}


@pytest.mark.skipif(REAL_DATA_DIR is None, reason="GTN_DATA_DIR is not set")
@pytest.mark.parametrize("name", REAL)
def test_real_files(name):
    expected = REAL[name]
    if not any(Path(REAL_DATA_DIR).glob(expected["files"])):
        pytest.skip(f"GTN_DATA_DIR has no original files of {name}")
    dataset = loaders.load(name, REAL_DATA_DIR, seed=0)
    splits = [getattr(dataset, part) for part in SPLITS]
    assert [len(split.labels) for split in splits] == expected["sizes"]
    assert splits[2].labels[:10].tolist() == expected["first test labels"]
    labels = np.concatenate([split.labels for split in splits])
    assert np.bincount(labels).tolist() == expected["class counts"]
    np.testing.assert_allclose(dataset.mean, expected["mean"], atol=0.3)
    np.testing.assert_allclose(dataset.std, expected["std"], atol=0.3)
    assert dataset.num_classes == 10


def test_an_environment_is_no_data_set():
    with pytest.raises(ValueError, match="gym:CartPole-v1 is an environment, and im"):
        loaders.load("gym:CartPole-v1", None, 0)
