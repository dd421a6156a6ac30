"""Original files: every way in which they may lie there, and may be damaged."""

import functools
import gzip
import os
import pathlib
import tarfile

import numpy as np
import original_files as files
import pytest

from gtn_tf.data import original_files


def error_of(read, *args) -> str:
    """The one line that `read` fails with."""
    with pytest.raises(ValueError) as caught:
        read(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("place", [".", "mnist"])
def test_idx_files_are_read_as_written(tmp_path, place, gzipped):
    files.write_idx_files(tmp_path / place, gzipped=gzipped)
    splits = original_files.read_idx_files("mnist", str(tmp_path))
    for split, first, num_images in (("train", 0, 60), ("test", 60, 10)):
        expected = files.numbered_images(first, num_images, (5, 4))[..., np.newaxis]
        np.testing.assert_array_equal(splits[split].images, expected)
        assert splits[split].images.dtype == np.uint8
        numbers = np.arange(first, first + num_images)
        np.testing.assert_array_equal(splits[split].labels, numbers % 10)
        assert splits[split].labels.dtype == np.int32


def test_a_set_is_not_taken_from_the_folder_of_another(tmp_path):
    files.write_idx_files(tmp_path / "mnist")
    assert original_files.read_idx_files("fashion_mnist", str(tmp_path)) is None
    files.write_idx_files(tmp_path / "fashion_mnist", num_train=30)
    splits = original_files.read_idx_files("fashion_mnist", str(tmp_path))
    assert len(splits["train"].labels) == 30


def test_nothing_there_is_no_error(tmp_path):
    files.write_archive(tmp_path / "cifar-100-python.tar.gz", files.cifar10_members())
    (tmp_path / "cifar-10.txt").write_text("notes")
    assert original_files.read_idx_files("mnist", str(tmp_path)) is None
    assert original_files.read_cifar10_files(str(tmp_path)) is None


def test_missing_idx_files_are_named(tmp_path):
    files.write_idx_files(tmp_path)
    for stem in files.IDX_STEMS[1:3]:
        (tmp_path / f"{stem}.gz").unlink()
    message = error_of(original_files.read_idx_files, "mnist", str(tmp_path))
    assert "train-labels-idx1-ubyte, t10k-images-idx3-ubyte missing" in message
    assert "train-images" not in message and "t10k-labels" not in message


def cut(content):
    return content[: len(content) // 2]


def corrupt(content):
    """Keeps header and trailer, damages what is between."""
    middle = len(content) // 2
    changed = bytes(255 - byte for byte in content[middle : middle + 8])
    return content[:middle] + changed + content[middle + 8 :]


def labels_file(labels):
    return gzip.compress(files.idx_bytes(np.array(labels)))


def header_only(*words):
    return np.array(words, ">u4").tobytes()


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
DAMAGED_IDX = {
    "truncated gzip": (IMAGES, cut, "unreadable"),
    "corrupted gzip": (IMAGES, corrupt, "unreadable"),
    "empty": (IMAGES, lambda _: b"", "0 bytes; allowed: 16 or more"),
    "not gzip": (IMAGES, lambda _: b"<html>" * 9, "magic number 0x3c68746d"),
    "labels for images": (
        IMAGES,
        lambda _: labels_file([1] * 60),
        "magic number 0x0801; allowed: 0x0803",
    ),
    "payload too short": (
        IMAGES,
        lambda c: gzip.compress(gzip.decompress(c)[:-1]),
        "header says 60x5x4, 1199 bytes follow",
    ),
    "payload too long": (
        IMAGES,
        lambda c: gzip.compress(gzip.decompress(c) + b"\0"),
        "header says 60x5x4, 1201 bytes follow",
    ),
    "absurd sizes": (
        IMAGES,
        lambda _: header_only(0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        "header says 4294967295x4294967295x4294967295, 0 bytes follow",
    ),
    "no images": (IMAGES, lambda _: header_only(0x803, 0, 5, 4), "0x5x4, 0 bytes"),
    "a label too few": (
        LABELS,
        lambda _: labels_file([1] * 59),
        "59 labels; allowed: 60, one per image",
    ),
    "label out of range": (
        LABELS,
        lambda _: labels_file([9] * 59 + [10]),
        "label 10; allowed: 0 to 9",
    ),
}


@pytest.mark.parametrize("case", DAMAGED_IDX)
def test_damaged_idx_files_are_named(tmp_path, case):
    name, damage, expected = DAMAGED_IDX[case]
    files.write_idx_files(tmp_path)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    message = error_of(original_files.read_idx_files, "mnist", str(tmp_path))
    assert message.startswith(f"{path}: ") and expected in message


def test_training_and_test_images_must_have_one_shape(tmp_path):
    files.write_idx_files(tmp_path)
    images = files.idx_bytes(np.ones((10, 4, 5)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(images)
    message = error_of(original_files.read_idx_files, "mnist", str(tmp_path))
    assert "training images are (5, 4, 1), test images (4, 5, 1)" in message


CIFAR10_PLACES = (
    "cifar-10-batches-py",
    ".",
    "cifar-10-python.tar.gz",
    "cifar-10-batches-py.tar.xz",
    "cifar-10-batches-py.tgz",
)


@pytest.mark.parametrize("place", CIFAR10_PLACES)
@pytest.mark.parametrize("write", [files.python2_pickle, files.python3_pickle])
def test_cifar10_is_read_as_written(tmp_path, place, write):
    files.write_cifar10(tmp_path, place, files.cifar10_members(write=write))
    before = sorted(tmp_path.rglob("*"))
    splits, class_names = original_files.read_cifar10_files(str(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked
    assert class_names == files.CLASS_NAMES
    planes = [files.numbered_images(4 * i, 4, (3072,)) for i in range(6)]
    for split, parts in (("train", planes[:5]), ("test", planes[5:])):
        expected = np.concatenate(parts)
        images = splits[split].images
        assert images.dtype == np.uint8 and images.shape[1:] == (32, 32, 3)
        for channel in range(3):
            plane = expected[:, channel * 1024 : (channel + 1) * 1024]
            np.testing.assert_array_equal(
                images[..., channel], plane.reshape(-1, 32, 32)
            )
    np.testing.assert_array_equal(splits["train"].labels, np.arange(20) % 10)
    np.testing.assert_array_equal(splits["test"].labels, np.arange(20, 24) % 10)
    assert splits["test"].labels.dtype == np.int32


def test_the_python_version_is_preferred_to_others_beside_it(tmp_path):
    files.write_archive(tmp_path / "cifar-10-binary.tar.gz", {"data_batch_1.bin": b""})
    message = error_of(original_files.read_cifar10_files, str(tmp_path))
    assert "data_batch_1, data_batch_2" in message and "python version" in message
    members = files.cifar10_members()
    files.write_archive(tmp_path / "cifar-10-python.tar.gz", members)
    splits, _ = original_files.read_cifar10_files(str(tmp_path))
    assert len(splits["train"].labels) == 20


@pytest.mark.parametrize("place", CIFAR10_PLACES)
def test_missing_batches_are_named(tmp_path, place):
    members = files.cifar10_members()
    del members["data_batch_3"], members["test_batch"]
    files.write_cifar10(tmp_path, place, members)
    message = error_of(original_files.read_cifar10_files, str(tmp_path))
    assert f"{tmp_path / place}: data_batch_3, test_batch missing" in message


@pytest.mark.parametrize("place", CIFAR10_PLACES[2:])
@pytest.mark.parametrize("damage", [cut, corrupt, lambda _: b"<html>" * 99])
def test_damaged_archives_are_named(tmp_path, place, damage):
    path = tmp_path / place
    files.write_archive(path, files.cifar10_members())
    path.write_bytes(damage(path.read_bytes()))
    message = error_of(original_files.read_cifar10_files, str(tmp_path))
    assert message.startswith(f"{path}: unreadable (")


def test_archives_are_checked_to_their_end(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    files.write_archive(path, files.cifar10_members())
    padded = gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1 << 22))
    path.write_bytes(padded[:-8] + b"sum?" + padded[-4:])
    message = error_of(original_files.read_cifar10_files, str(tmp_path))
    assert "CRC check failed" in message


def test_absurd_member_sizes_are_not_read(tmp_path):
    info = tarfile.TarInfo("cifar-10-batches-py/test_batch")
    info.size = 1 << 40
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)))
    message = error_of(original_files.read_cifar10_files, str(tmp_path))
    assert "test_batch: 1099511627776 bytes; allowed: 134217728 at most" in message


planes = functools.partial(np.zeros, dtype=np.uint8)
DAMAGED_BATCHES = {
    "truncated": (cut(files.cifar10_members()["test_batch"]), "bad pickle ("),
    "no dict": ([1, 2], "pickle of a list"),
    "no data": ({b"labels": [1]}, "data is NoneType []"),
    "images of another size": (
        {b"data": planes((2, 3071)), b"labels": [1, 2]},
        "data is uint8 [2, 3071]; allowed: uint8 [N, 3072]",
    ),
    "one image": ({b"data": planes((3072,))}, "data is uint8 [3072]"),
    "no images": ({b"data": planes((0, 3072))}, "data is uint8 [0, 3072]; allowed:"),
    "scalar": ({b"data": planes(())}, "data is uint8 []"),
    "floats": (
        {b"data": np.zeros((1, 3072), np.float32), b"labels": [1]},
        "data is float32 [1, 3072]",
    ),
    "no labels": ({b"data": planes((2, 3072))}, "labels are not integers"),
    "labels of text": (
        {b"data": planes((1, 3072)), b"labels": ["cat"]},
        "labels are not integers",
    ),
    "a label too many": (
        {b"data": planes((1, 3072)), b"labels": [1, 2]},
        "2 labels; allowed: 1, one per image",
    ),
    "negative label": (
        {b"data": planes((2, 3072)), b"labels": [1, -1]},
        "label -1; allowed: 0 to 9",
    ),
}


@pytest.mark.parametrize("case", DAMAGED_BATCHES)
def test_damaged_batches_are_named(tmp_path, case):
    values, expected = DAMAGED_BATCHES[case]
    content = values if isinstance(values, bytes) else files.python2_pickle(values)
    files.write_folder(tmp_path, files.cifar10_members() | {"data_batch_2": content})
    message = error_of(original_files.read_cifar10_files, str(tmp_path))
    assert message.startswith(f"{tmp_path / 'data_batch_2'}: {expected}")


class _Malicious:
    def __init__(self, victim):
        self.victim = str(victim)

    def __reduce__(self):
        return os.mkdir, (self.victim,)


@pytest.mark.parametrize("place", CIFAR10_PLACES)
def test_pickles_do_not_run_code(tmp_path, place):
    victim = tmp_path / "victim"
    attack = files.python3_pickle({b"data": _Malicious(victim), b"labels": [1]})
    files.write_cifar10(
        tmp_path, place, files.cifar10_members() | {"data_batch_4": attack}
    )
    message = error_of(original_files.read_cifar10_files, str(tmp_path))
    assert "data_batch_4: bad pickle (it asks for" in message and "mkdir" in message
    assert not victim.exists()


UNREADABLE_NAMES = {
    "pickle broken": b"\x80\x02}q",
    "not there": files.python2_pickle({}),
    "too few": files.python2_pickle({b"label_names": [b"cat"]}),
    "no strings": files.python2_pickle({b"label_names": list(range(10))}),
    "no text": files.python2_pickle({b"label_names": [b"\xff"] * 10}),
}


@pytest.mark.parametrize("case", UNREADABLE_NAMES)
def test_class_names_are_not_needed(tmp_path, case):
    members = files.cifar10_members() | {"batches.meta": UNREADABLE_NAMES[case]}
    files.write_folder(tmp_path, members)
    splits, class_names = original_files.read_cifar10_files(str(tmp_path))
    assert class_names is None and len(splits["train"].labels) == 20


def test_class_names_do_not_run_code(tmp_path):
    victim = tmp_path / "victim"
    attack = files.python3_pickle({b"label_names": _Malicious(victim)})
    files.write_folder(tmp_path, files.cifar10_members() | {"batches.meta": attack})
    assert original_files.read_cifar10_files(str(tmp_path))[1] is None
    assert not victim.exists()


def test_a_file_that_may_not_be_read_is_not_fetched_again(tmp_path, monkeypatch):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
    path = tmp_path / "train-images-idx3-ubyte"

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
    with pytest.raises(ValueError) as caught:
        original_files._read_bytes(path)
    assert f"{path} cannot be read (Permission denied)" in str(caught.value)
    assert "again" not in str(caught.value)
