"""Original files of MNIST, Fashion-MNIST and CIFAR-10, as their authors published them.

Files come from the network by other hands, so nothing in them is trusted: sizes in
headers are compared with what is there before anything is shaped by them, archives are
read member by member and never unpacked, and pickles may build arrays and nothing else.
Everything that is wrong raises UserError in one line that names the file.
"""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import math
import pickle
import struct
import tarfile
import zlib
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from gtn_tf.data.dataset import Split
from gtn_tf.errors import UserError

NUM_CLASSES = 10  # of all three sets
IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_BATCHES = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
_CIFAR10_META = "batches.meta"
_CIFAR10_MEMBERS = (*CIFAR10_BATCHES["train"], *CIFAR10_BATCHES["test"], _CIFAR10_META)
_CIFAR10_OPENERS = {".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.xz": lzma.open}
_CIFAR10_SHAPE = (3, 32, 32)
_MAX_MEMBER_BYTES = 1 << 27  # four times an original batch
_DECOMPRESSION_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def read_idx_files(name: str, data_dir: str) -> dict[str, Split] | None:
    """Reads the four idx files of `name` from data_dir/name, else from data_dir.

    Each may be gzipped (.gz) or not; images are [N, H, W, 1].

    Returns:
      The official splits {"train", "test"}, or None where none of the files is there.
    Raises:
      UserError: files are missing while others are there, or damaged.
    """
    stems = [stem for pair in IDX_FILES.values() for stem in pair]
    for folder in (Path(data_dir) / name, Path(data_dir)):
        found = {
            stem: path
            for stem in stems
            for path in (folder / f"{stem}.gz", folder / stem)
            if path.is_file()
        }
        if found:
            break
    else:
        return None
    _require_all(stems, found, folder, "each as it is or gzipped (.gz)")
    splits = {}
    for split, (images_stem, labels_stem) in IDX_FILES.items():
        images = _read_idx(found[images_stem], num_dims=3)[..., np.newaxis]
        labels = _read_idx(found[labels_stem], num_dims=1)
        _check_labels(found[labels_stem], labels, len(images))
        splits[split] = Split(images, labels.astype(np.int32))
    shapes = [split.images.shape[1:] for split in splits.values()]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{folder}: training images are {shapes[0]}, test images {shapes[1]}; "
            f"allowed: one shape; put all four files of one set there"
        )
    return splits


def read_cifar10_files(
    data_dir: str,
) -> tuple[dict[str, Split], tuple[str, ...] | None] | None:
    """Reads CIFAR-10's python version: a folder, or a .tar.gz, .tgz or .tar.xz of it.

    Returns:
      The official splits {"train", "test"} of images [N, 32, 32, 3], and the class
      names where batches.meta has them; or None where there is neither folder nor
      archive.
    Raises:
      UserError: batches are missing while others are there, or damaged.
    """
    source = _find_cifar10(Path(data_dir))
    if source is None:
        return None
    members = _folder_members if source.is_dir() else _archive_members
    batches, class_names = {}, None
    for name, content in members(source):
        if name == _CIFAR10_META:
            class_names = _cifar10_class_names(source / name, content)
        else:
            batches[name] = _cifar10_batch(source / name, content)
    wanted = [name for names in CIFAR10_BATCHES.values() for name in names]
    _require_all(wanted, batches, source, "all batches of the python version")
    splits = {
        split: Split(
            np.concatenate([batches[name].images for name in names]),
            np.concatenate([batches[name].labels for name in names]),
        )
        for split, names in CIFAR10_BATCHES.items()
    }
    return splits, class_names


def _require_all(
    wanted: Iterable[str], found: Container[str], place: Path, allowed: str
) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(
            f"{place}: {', '.join(missing)} missing; needed: {allowed}; "
            f"add what is missing from the original download"
        )


def _damaged(path: Path, found: str, allowed: str) -> UserError:
    # What libraries say may span lines; errors are one line each.
    found = " ".join(found.split())[:200]
    return UserError(
        f"{path}: {found}; allowed: {allowed}; fetch the original file again"
    )


def _unreadable(path: Path, error: Exception, allowed: str) -> UserError:
    """A file that the system does not give, or one whose content is damaged."""
    if isinstance(error, OSError) and error.errno:
        return UserError(
            f"{path} cannot be read ({error.strerror}); allowed: a file that you may "
            "read; change its permissions, or copy it to where you may"
        )
    return _damaged(path, f"unreadable ({error})", allowed)


def _read_bytes(path: Path) -> bytes:
    """The file's content, decompressed if it is gzip, whatever its name says."""
    try:
        content = path.read_bytes()
        is_gzip = content[:2] == b"\x1f\x8b"
        return gzip.decompress(content) if is_gzip else content
    except _DECOMPRESSION_ERRORS as error:
        raise _unreadable(path, error, "a whole file") from error


def _read_idx(path: Path, num_dims: int) -> np.ndarray:
    """An idx file of bytes as uint8 [N] (num_dims 1) or [N, H, W] (num_dims 3)."""
    content = _read_bytes(path)
    header = struct.Struct(f">{1 + num_dims}I")
    if len(content) < header.size:
        raise _damaged(path, f"{len(content)} bytes", f"{header.size} or more")
    magic, *shape = header.unpack_from(content)
    expected_magic = 0x800 + num_dims  # 0x08: unsigned bytes
    if magic != expected_magic:
        raise _damaged(path, f"magic number {magic:#06x}", f"{expected_magic:#06x}")
    num_values = len(content) - header.size
    if math.prod(shape) != num_values or num_values == 0:
        sizes = "x".join(str(size) for size in shape)
        raise _damaged(
            path,
            f"header says {sizes}, {num_values} bytes follow",
            "as many as it says",
        )
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)


def _check_labels(path: Path, labels: Sequence[int], num_images: int) -> None:
    if len(labels) != num_images:
        raise _damaged(path, f"{len(labels)} labels", f"{num_images}, one per image")
    wrong = [label for label in labels if not 0 <= label < NUM_CLASSES]
    if wrong:
        raise _damaged(path, f"label {wrong[0]}", f"0 to {NUM_CLASSES - 1}")


def _find_cifar10(data_dir: Path) -> Path | None:
    for folder in (data_dir / CIFAR10_FOLDER, data_dir):
        if any((folder / name).is_file() for name in _CIFAR10_MEMBERS):
            return folder
    archives = [
        path
        for path in data_dir.glob("cifar-10*")
        if path.name.endswith(tuple(_CIFAR10_OPENERS))
        and not path.name.startswith("cifar-100")
    ]
    # Binary and Matlab versions may lie beside the python one.
    return min(archives, key=lambda p: ("-py" not in p.name, p.name), default=None)


def _folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in _CIFAR10_MEMBERS:
        if (folder / name).is_file():
            yield name, _read_bytes(folder / name)


def _archive_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Streams the wanted members in one pass; to the end, where the checksum is."""
    suffix = next(suffix for suffix in _CIFAR10_OPENERS if path.name.endswith(suffix))
    try:
        with (
            _CIFAR10_OPENERS[suffix](path) as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as archive,
        ):
            for member in archive:
                name = PurePosixPath(member.name).name
                if not member.isfile() or name not in _CIFAR10_MEMBERS:
                    continue
                if member.size > _MAX_MEMBER_BYTES:
                    raise _damaged(
                        path / name,
                        f"{member.size} bytes",
                        f"{_MAX_MEMBER_BYTES} at most",
                    )
                yield name, archive.extractfile(member).read()
            while stream.read(1 << 20):
                pass
    except (*_DECOMPRESSION_ERRORS, tarfile.TarError) as error:
        raise _unreadable(path, error, "a whole archive") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Loads arrays and built-in values; whatever else a pickle names is refused."""

    # NumPy 1 and 2 name the same function differently; bytes written by Python 3 in an
    # old protocol come as text to encode.
    _admitted = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,
    }

    def find_class(self, module_name, global_name):
        if (module_name, global_name) not in self._admitted:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return self._admitted[module_name, global_name]


def _unpickle(path: Path, content: bytes) -> dict:
    try:
        # bytes: Python 2 wrote the originals, its strings hold no text.
        values = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # damage can make the unpickler raise nearly anything
        raise _damaged(path, f"bad pickle ({error})", "arrays of bytes") from error
    if not isinstance(values, dict):
        raise _damaged(path, f"pickle of a {type(values).__name__}", "a dict")
    return values


def _cifar10_batch(path: Path, content: bytes) -> Split:
    values = _unpickle(path, content)
    planes, labels = values.get(b"data"), values.get(b"labels")
    num_values = math.prod(_CIFAR10_SHAPE)
    is_array = isinstance(planes, np.ndarray) and planes.dtype == np.uint8
    if not is_array or planes.shape[1:] != (num_values,) or planes.size == 0:
        found = f"data is {getattr(planes, 'dtype', type(planes).__name__)} "
        found += str(list(getattr(planes, "shape", [])))
        raise _damaged(path, found, f"uint8 [N, {num_values}]")
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise _damaged(path, "labels are not integers", "a list of integers")
    _check_labels(path, labels, len(planes))
    images = planes.reshape(-1, *_CIFAR10_SHAPE).transpose(0, 2, 3, 1)  # [N, H, W, C]
    return Split(np.ascontiguousarray(images), np.array(labels, np.int32))


def _cifar10_class_names(path: Path, content: bytes) -> tuple[str, ...] | None:
    """The names, or None where they cannot be read: the images do without."""
    try:
        names = _unpickle(path, content)[b"label_names"]
        names = tuple(name.decode() for name in names)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return names if len(names) == NUM_CLASSES else None
