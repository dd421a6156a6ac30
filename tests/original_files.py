"""Writes small data sets in the formats of the original files."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np

IDX_STEMS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3")
IDX_STEMS = tuple(f"{stem}-ubyte" for stem in (*IDX_STEMS, "t10k-labels-idx1"))
BATCH_NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
CLASS_NAMES = tuple(f"class {i}" for i in range(10))


def numbered_images(first: int, num_images: int, shape: tuple) -> np.ndarray:
    """uint8 [N, *shape], random but for the first two values: the image's number."""
    rng = np.random.default_rng(first)
    images = rng.integers(0, 256, (num_images, *shape), np.uint8)
    numbers = np.arange(first, first + num_images)
    flat = images.reshape(num_images, -1)
    flat[:, 0], flat[:, 1] = numbers // 256, numbers % 256
    return images


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx_files(
    folder: Path, num_train: int = 60, num_test: int = 10, gzipped: bool = True
) -> None:
    """MNIST-like files: images of 5x4 numbered through, labels number modulo 10."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = []
    for first, num_images in ((0, num_train), (num_train, num_test)):
        arrays.append(numbered_images(first, num_images, (5, 4)))
        arrays.append(np.arange(first, first + num_images) % 10)
    for stem, array in zip(IDX_STEMS, arrays, strict=True):
        content = idx_bytes(array)
        if gzipped:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / stem).write_bytes(content)


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings."""

    def _save_python2_string(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch = pickle._Pickler.dispatch | {bytes: _save_python2_string}


def python2_pickle(values) -> bytes:
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(values)
    # The name of the time; NumPy 2 has moved it.
    return stream.getvalue().replace(b"numpy._core", b"numpy.core")


def python3_pickle(values) -> bytes:
    return pickle.dumps(values, protocol=2)


def cifar10_members(batch_size: int = 4, write=python2_pickle) -> dict[str, bytes]:
    """CIFAR-like batches of planes [N, 3 * 32 * 32] numbered through, by file name."""
    members = {
        "batches.meta": write({b"label_names": [c.encode() for c in CLASS_NAMES]})
    }
    for i, name in enumerate(BATCH_NAMES):
        planes = numbered_images(i * batch_size, batch_size, (3072,))
        labels = [int(n) % 10 for n in range(i * batch_size, (i + 1) * batch_size)]
        members[name] = write({b"data": planes, b"labels": labels})
    return members


def write_folder(folder: Path, members: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in members.items():
        (folder / name).write_bytes(content)


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_cifar10(data_dir: Path, place: str, members: dict[str, bytes]) -> None:
    """Writes an archive, or a folder where `place` has no archive's ending."""
    is_archive = place.endswith((".gz", ".tgz", ".xz"))
    (write_archive if is_archive else write_folder)(data_dir / place, members)
