"""One's own arrays: Dataset.from_arrays and --dataset=npz:FILE."""

import dataclasses

import numpy as np
import own_images
import pytest
from own_images import numbers

from gtn_tf import data
from gtn_tf.data import loaders
from gtn_tf.data.dataset import Dataset, normalize

SPLITS = ("train", "validation", "test")


def test_missing_splits_are_cut_off_every_class():
    images, labels = own_images.arrays((8, 11, 20))
    dataset = data.Dataset.from_arrays((images, labels), name="mine", seed=3)
    parts = {split: numbers(getattr(dataset, split)) for split in SPLITS}
    counts = {
        split: np.bincount(list(part.values())).tolist()
        for split, part in parts.items()
    }
    # 15 % of 8, 11 and 20: 1.2, 1.65 and 3.
    assert counts == {"train": [6, 7, 14], "validation": [1, 2, 3], "test": [1, 2, 3]}
    merged = parts["train"] | parts["validation"] | parts["test"]
    assert merged == dict(enumerate(labels.tolist()))  # each once, with its label
    assert dataset.class_names == ("0", "1", "2") and dataset.name == "mine"
    assert dataset.image_shape == (6, 7, 1)
    kept = images[sorted(parts["train"])]
    np.testing.assert_array_equal(dataset.train.images, kept)  # in their order
    np.testing.assert_allclose(dataset.mean, kept.mean((0, 1, 2)), rtol=1e-6)


def test_the_split_is_the_seeds():
    first, again, other = (
        Dataset.from_arrays(own_images.arrays(), seed=seed) for seed in (0, 0, 1)
    )
    assert first.digest == again.digest != other.digest
    assert numbers(first.test).keys() != numbers(other.test).keys()


def test_images_added_to_a_class_leave_the_others_where_they_were():
    images, labels = own_images.arrays((8, 14, 20))
    more = np.concatenate([images, own_images.arrays((5,), start=100)[0]])
    before = Dataset.from_arrays((images, labels))
    after = Dataset.from_arrays((more, [*labels, *5 * [2]]))
    for split in SPLITS:
        old, new = (numbers(getattr(d, split)) for d in (before, after))
        assert {n for n in old if old[n] < 2} == {n for n in new if new[n] < 2}


def test_splits_that_are_given_stay_as_they_are():
    train, test = own_images.arrays(), own_images.arrays((1, 2, 1), start=100)
    dataset = Dataset.from_arrays(train, test=test)
    np.testing.assert_array_equal(dataset.test.images, test[0])
    assert len(dataset.validation.labels) == 6 and len(dataset.train.labels) == 36
    whole = Dataset.from_arrays(train, test, test)
    np.testing.assert_array_equal(whole.train.images, train[0])
    np.testing.assert_array_equal(whole.validation.labels, test[1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_normalized_like_bytes(dtype):
    images, labels = own_images.arrays(channels=3)
    floats = Dataset.from_arrays(((images / 256).astype(dtype), labels))
    as_bytes = Dataset.from_arrays((images, labels))
    assert floats.train.images.dtype == np.float32
    x, expected = (
        normalize(d.train.images, d.mean, d.std).numpy() for d in (floats, as_bytes)
    )
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_statistics_of_floats_far_from_zero():
    """A difference of squares would have no digit left."""
    images = np.float64(1e6) + np.random.default_rng(0).normal(0, 2, (40, 8, 8))
    dataset = Dataset.from_arrays((images, np.arange(40) % 2))
    assert dataset.std == pytest.approx(2, rel=0.05)


def test_labels_of_keras_data_sets_and_grayscale_without_channels():
    images, labels = own_images.arrays()
    column = Dataset.from_arrays((images[..., 0], labels[:, np.newaxis]))
    assert column.digest == Dataset.from_arrays((images, labels)).digest


def change(**arrays):
    """(x, y) of train with something else."""
    images, labels = own_images.arrays()
    return {"train": (arrays.get("x", images), arrays.get("y", labels))}


IMAGES, LABELS = own_images.arrays()
WITH_NAN = np.where(np.arange(42)[:, None, None, None] == 7, np.nan, IMAGES)
# What is wrong -> arguments, words of the line: what came, what is allowed.
MISTAKES = {
    "integers": (change(x=IMAGES.astype(int)), ["x_train is of type int64", "uint8"]),
    "booleans": (change(x=IMAGES > 9), ["x_train is of type bool", "uint8"]),
    "objects": (change(x=IMAGES.astype(object)), ["x_train is of type object"]),
    "vectors": (change(x=IMAGES[:, 0, :, 0]), ["x_train has shape (42, 7)", "[N, H"]),
    "channels first": (
        change(x=np.zeros((42, 3, 32, 32), np.uint8)),
        ["has shape (42, 3, 32, 32)", "channels last"],
    ),
    "tiny": (change(x=IMAGES[:, :3]), ["shape (42, 3, 7, 1)", "sides of 4"]),
    "none": (change(x=IMAGES[:0], y=LABELS[:0]), ["shape (0, 6, 7, 1)", "one image"]),
    "ragged": (change(x=[[1, 2], [3]]), ["x_train is no array", "stack it"]),
    "lengths": (change(y=LABELS[:-1]), ["42 images and y_train 41 labels"]),
    "NaN": (change(x=WITH_NAN), ["NaN or infinite", "in image 7", "finite"]),
    "too large": (change(x=IMAGES * 1e300), ["NaN or infinite", "in image 0"]),
    "constant": (change(x=np.zeros_like(IMAGES)), ["standard deviation 0 in channel"]),
    "constant floats": (
        change(x=np.full(IMAGES.shape, 0.1)),
        ["standard deviation 0 in channel 0"],
    ),
    "float labels": (change(y=LABELS / 1), ["y_train is of type float64", "integers"]),
    "one-hot": (change(y=np.eye(3, dtype=int)[LABELS]), ["shape (42, 3)", "argmax"]),
    "negative": (change(y=LABELS - 1), ["label -1", "ids from 0"]),
    "a gap": (change(y=LABELS * 2), ["labels up to 4 and none is 1", "without gaps"]),
    "huge": (change(y=LABELS * 10**9), ["labels up to 2000000000 and none is 1"]),
    "huger": (change(y=LABELS * 10**10), ["label 10000000000"]),
    "one class": (change(y=LABELS * 0), ["has the classes 0;", "two or more"]),
    "names": (
        change() | {"class_names": ["a", "b"]},
        ["y_train has the label 2", "0 to 1"],
    ),
    "name twice": (
        change() | {"class_names": ["a", "b", "b"]},
        ["has the classes a, b, b", "each once"],
    ),
    "name too many": (
        change() | {"class_names": ["a", "b", "c", "d"]},
        ["no train image of class 'd' (1 of 4"],
    ),
    "label of test": (
        change() | {"test": (IMAGES, LABELS + 1)},
        ["y_test has the label 3", "0 to 2"],
    ),
    "class of test": (
        change() | {"test": (IMAGES[:20], LABELS[:20])},
        ["no test image of class '2' (1 of 3", "or no test images"],
    ),
    "channels differ": (
        change() | {"test": own_images.arrays(channels=3)},
        ["x_train has images of 6x7x1 uint8", "x_test of 6x7x3 uint8", "one shape"],
    ),
    "types differ": (
        change() | {"validation": (IMAGES / 2, LABELS)},
        ["x_validation of 6x7x1 float32", "one type"],
    ),
    "too few to cut": (
        {"train": own_images.arrays((2, 14, 20))},
        ["2 training images of class '0'", "needed: 3 or more", "validation and test"],
    ),
    "no pair": ({"train": IMAGES}, ["train is a ndarray", "give train=(x, y)"]),
    "seed": (change() | {"seed": -1}, ["seed -1", "0 and above"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case):
    arguments, words = MISTAKES[case]
    with pytest.raises(ValueError) as caught:
        Dataset.from_arrays(**arguments)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def write(path, **arrays):
    images, labels = own_images.arrays()
    all_arrays = {"x_train": images, "y_train": labels} | arrays
    np.savez(path, **{name: a for name, a in all_arrays.items() if a is not None})
    return f"npz:{path}"


def test_a_file_of_arrays_is_as_from_arrays(tmp_path):
    name = write(tmp_path / "pets.npz", class_names=np.array(["cat", "dog", "eel"]))
    dataset = loaders.load(name, None, seed=3)
    expected = Dataset.from_arrays(
        own_images.arrays(), class_names=["cat", "dog", "eel"], seed=3
    )
    assert dataset.digest == expected.digest and dataset.name == "pets"
    by_folder = loaders.load("npz:pets.npz", str(tmp_path), seed=3)
    moved = loaders.load("npz:/old/place/pets.npz", str(tmp_path), seed=3)
    assert by_folder.digest == moved.digest == dataset.digest


@pytest.mark.parametrize("ending", ["val", "validation"])
def test_splits_of_a_file(tmp_path, ending):
    held, test = (own_images.arrays((1, 1, 1), start=start) for start in (100, 200))
    held = {f"x_{ending}": held[0], f"y_{ending}": held[1]}
    name = write(tmp_path / "pets.npz", **held, x_test=test[0], y_test=test[1])
    dataset = loaders.load(name, None, seed=0)
    assert sorted(numbers(dataset.validation)) == [100, 101, 102]
    assert sorted(numbers(dataset.test)) == [200, 201, 202]
    assert len(dataset.train.labels) == 42


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_arrays_are_resized(tmp_path, dtype):
    """Twice as small by means of two by two pixels, nearly: what is bilinear and
    antialiased weighs their neighbors too."""
    smooth = np.add.outer(np.arange(8), np.arange(12))[..., np.newaxis]
    images = (smooth + np.arange(42).reshape(-1, 1, 1, 1)).astype(dtype)
    name = write(tmp_path / "pets.npz", x_train=images)
    dataset = loaders.load(name, None, 0, image_size="4x6")
    assert dataset.image_shape == (4, 6, 1) and dataset.train.images.dtype == dtype
    means = loaders.load(name, None, 0).train.images.astype(float)
    means = means.reshape(-1, 4, 2, 6, 2, 1).mean((2, 4))
    inner = np.abs(dataset.train.images - means)[:, 1:-1, 1:-1]
    assert inner.max() < {"uint8": 0.51, "float32": 1e-4}[dtype]
    assert dataset.mean == pytest.approx(dataset.train.images.mean(), rel=1e-5)


def damaged(path):
    write(path)
    path.write_bytes(path.read_bytes()[:500])


FILE_MISTAKES = {
    "missing": (lambda path: None, ["is no file", "numpy.savez"]),
    "no npz": (lambda path: path.write_bytes(b"text"), ["cannot be read as an .npz"]),
    "empty": (lambda path: path.write_bytes(b""), ["cannot be read as an .npz"]),
    "one array": (
        lambda path: np.save(path.open("wb"), IMAGES),
        ["cannot be read as an .npz"],
    ),
    "damaged": (damaged, ["cannot be read as an .npz"]),
    "objects": (
        lambda path: write(path, x_train=IMAGES.astype(object)),
        ["Object arrays cannot be loaded", "none of objects"],
    ),
    "no labels": (
        lambda path: write(path, y_train=None),
        ["has no y_train, but x_train", "save them by these names"],
    ),
    "other names": (
        lambda path: np.savez(path, images=IMAGES, labels=LABELS),
        ["no x_train and no y_train, but images, labels"],
    ),
    "half a split": (
        lambda path: write(path, x_test=IMAGES),
        ["has no y_test, but x_test, x_train, y_train"],
    ),
    "two validations": (
        lambda path: write(path, x_val=IMAGES, y_validation=LABELS),
        ["arrays of validation and of val", "one of the two"],
    ),
    "a slip": (
        lambda path: write(path, x_tets=IMAGES),
        ["has an array 'x_tets'", "x_test, x_train"],
    ),
    "wrong arrays": (
        lambda path: write(path, y_train=LABELS[1:]),
        ["'pets': x_train has 42 images and y_train 41 labels"],
    ),
}


@pytest.mark.parametrize("case", FILE_MISTAKES)
def test_mistakes_in_files_are_one_line(tmp_path, case):
    prepare, words = FILE_MISTAKES[case]
    path = tmp_path / "pets.npz"
    prepare(path)
    with pytest.raises(ValueError) as caught:
        loaders.load(f"npz:{path}", None, 0)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_the_digest_stands_for_all_that_is_there():
    dataset = Dataset.from_arrays(own_images.arrays())
    digests = {dataset.digest}
    for split in SPLITS:
        part = getattr(dataset, split)
        for name in ("images", "labels"):
            array = getattr(part, name).copy()
            array.flat[-1] ^= 1
            changed = dataclasses.replace(part, **{name: array})
            digests.add(dataclasses.replace(dataset, **{split: changed}).digest)
    digests.add(dataclasses.replace(dataset, class_names=("a", "b", "c")).digest)
    assert len(digests) == 8
