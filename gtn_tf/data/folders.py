"""A folder of one's own images, with a folder for each class.

PATH/CLASS/*.png ...                 split by the seed
PATH/train/CLASS/*.png ...           and validation/ (or val/, valid/) and test/, where
PATH/validation/CLASS/*.png ...      they are there
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from gtn_tf.data import dataset_flags
from gtn_tf.data.splits import Split
from gtn_tf.errors import UserError

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)
MOST_UNREADABLE = 0.1  # of all files; with more, something else is wrong
_NUM_NAMED = 3  # files or sizes in a message
_FOLDERS = {
    "train": ("train",),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
_GRAY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
_TURNED = (5, 6, 7, 8)  # values of Exif's orientation that swap height and width
_ORIENTATION = 0x0112


class _File(NamedTuple):
    path: Path
    split: str
    label: int


class _Header(NamedTuple):
    size: tuple[int, int]  # height, width
    is_gray: bool


def read_folder(
    folder: Path, size: tuple[int, int] | None
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Reads a folder of class folders, or of train/ and other splits of them.

    Images are uint8 [N, H, W, 1] where all files are gray, else [N, H, W, 3]; they are
    turned as Exif says, and transparency is dropped. Files are read in the order of
    their names, also in folders within a class's; other endings than SUFFIXES and
    hidden files are passed over. Files that cannot be read are named on stderr and
    left out, up to MOST_UNREADABLE of all.

    Args:
      size: height and width that images are stretched to; None: they have one size.

    Returns:
      The splits that there are, train among them, and the class names, sorted.

    Raises:
      UserError: no such folder, fewer than two classes, a class without images, other
        classes in another split, images of several sizes, too many damaged files.
    """
    roots = _find_splits(folder)
    class_names = _class_names(folder, roots)
    files = [
        _File(path, split, label)
        for split, root in roots.items()
        for label, class_name in enumerate(class_names)
        for path in _image_files(root / class_name)
    ]
    headers = {file: _read(_header, file) for file in files}
    readable = [file for file, header in headers.items() if header is not None]
    _check_readable(folder, files, readable)
    channels = 1 if all(headers[file].is_gray for file in readable) else 3
    size = size or _common_size(folder, [headers[file].size for file in readable])
    images = np.empty((len(readable), *size, channels), np.uint8)
    decoded = []
    for file in readable:
        image = _read(lambda path: _decode(path, size, channels), file)
        if image is not None:
            images[len(decoded)] = image
            decoded.append(file)
    _check_readable(folder, files, decoded)
    _tell_unreadable(folder, files, decoded)
    return {split: _split(images, decoded, split) for split in roots}, class_names


def _split(images: np.ndarray, files: list[_File], split: str) -> Split:
    indices = [index for index, file in enumerate(files) if file.split == split]
    labels = np.array([files[index].label for index in indices], np.int32)
    return Split(images[indices], labels)


def _find_splits(folder: Path) -> dict[str, Path]:
    """Split -> its folder of class folders; without train/ all is training."""
    if not folder.is_dir():
        raise UserError(
            f"--dataset=folder:{folder} is no folder; needed: one with a folder of "
            "images for each class; correct the path, or give in --data_dir the folder "
            "that it is in now"
        )
    found: dict[str, Path] = {}
    for split, names in _FOLDERS.items():
        # A class may be called train: it has images, no folders.
        there = [name for name in names if _subfolders(folder / name)]
        if len(there) > 1:
            raise UserError(
                f"{folder} has {' and '.join(there)}; allowed: one {split} folder; "
                "remove or rename the others"
            )
        if there:
            found[split] = folder / there[0]
    if found and "train" not in found:
        raise UserError(
            f"{folder} has class folders in "
            f"{' and '.join(root.name for root in found.values())} and none in train; "
            "needed: train/ beside them; add it"
        )
    return found or {"train": folder}


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__"))
    )


def _class_names(folder: Path, roots: dict[str, Path]) -> tuple[str, ...]:
    names = _subfolders(roots["train"])
    if len(names) < 2:
        raise UserError(
            f"{roots['train']} has {', '.join(names) or 'no'} class folder"
            f"{'' if names else 's'}; needed: two or more, each with the images of one "
            "class; sort the images into them"
        )
    for split, root in roots.items():
        others = set(_subfolders(root)) ^ set(names)
        if others:
            raise UserError(
                f"{root} and {roots['train']} have not the same class folders (only in "
                f"one: {', '.join(sorted(others)[:_NUM_NAMED])}); needed: every class "
                f"in every split; add or remove them, or remove {split}/"
            )
        for name in names:
            if not _image_files(root / name):
                raise UserError(
                    f"{root / name} has no images; needed: one or more in each class "
                    f"folder ({', '.join(SUFFIXES)}); add some or remove the folder"
                )
    return tuple(names)


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
    )


def _read(read, file: _File):
    """read(path), or None for a file that is damaged."""
    try:
        return read(file.path)
    except Exception:  # damage makes Pillow raise many kinds of errors
        return None


def _header(path: Path) -> _Header:
    with Image.open(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            height, width = width, height
        return _Header((height, width), image.mode in _GRAY_MODES)


def _decode(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """uint8 [H, W, C] of a file of any size."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UserError(f"{path} has pixels of 32 bits; allowed: 8 or 16")
    image = image.convert("L" if channels == 1 else "RGB")
    width_height = (size[1], size[0])
    if image.size != width_height:
        image = image.resize(width_height, Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*size, channels)


def _check_readable(folder: Path, files: list[_File], readable: list[_File]) -> None:
    unreadable = set(files) - set(readable)
    if len(unreadable) > MOST_UNREADABLE * len(files):
        raise UserError(
            f"{folder}: {len(unreadable)} of {len(files)} image files cannot be read "
            f"({_named(folder, unreadable)}); allowed: {MOST_UNREADABLE:.0%} at most, "
            "which are left out; repair or remove them"
        )


def _tell_unreadable(folder: Path, files: list[_File], readable: list[_File]) -> None:
    unreadable = set(files) - set(readable)
    if unreadable:
        print(
            f"warning: {folder}: {len(unreadable)} of {len(files)} image files cannot "
            f"be read and are left out ({_named(folder, unreadable)})",
            file=sys.stderr,
        )


def _named(folder: Path, files: set[_File]) -> str:
    names = sorted(str(file.path.relative_to(folder)) for file in files)
    return ", ".join(names[:_NUM_NAMED]) + (", ..." if len(names) > _NUM_NAMED else "")


def _common_size(folder: Path, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    counts = collections.Counter(sizes)
    if len(counts) > 1:
        most = [
            f"{height}x{width} ({count})"
            for (height, width), count in counts.most_common(_NUM_NAMED)
        ]
        more = ", ..." if len(counts) > _NUM_NAMED else ""
        raise UserError(
            f"{folder} has images of {len(counts)} sizes, height x width (files): "
            f"{', '.join(most)}{more}; allowed: one size; give --image_size=N or HxW, "
            "to which all are resized, as in --image_size=32"
        )
    (size,) = counts
    if min(size) < dataset_flags.MIN_SIDE:
        raise UserError(
            f"{folder} has images of {size[0]}x{size[1]} pixels; allowed: sides of "
            f"{dataset_flags.MIN_SIDE} or more; give a larger --image_size"
        )
    return size
