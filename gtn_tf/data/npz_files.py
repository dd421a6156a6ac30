"""One's own images and labels as arrays in an .npz file.

x_train, y_train    x_validation (or x_val), y_validation    x_test, y_test
class_names [K], where it is there
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from gtn_tf.errors import UserError

_SPLITS = {
    "train": ("train",),
    "validation": ("validation", "val"),
    "test": ("test",),
}
_CLASS_NAMES = "class_names"


def read_npz(path: Path) -> tuple[dict[str, tuple], list[str] | None]:
    """Reads arrays by `Dataset.from_arrays`' names of splits.

    Nothing is unpickled: arrays of objects are refused.

    Returns:
      Split -> (images, labels) as they are in the file, and the class names or None.

    Raises:
      UserError: no such file, no .npz file or a damaged one, arrays of objects, arrays
        that are missing or of unknown names.
    """
    if not path.is_file():
        raise UserError(
            f"--dataset=npz:{path} is no file; needed: one as numpy.savez writes it; "
            "correct the path, or give in --data_dir the folder that it is in now"
        )
    arrays = _arrays(path)
    given = {}
    known = {_CLASS_NAMES}
    for split, endings in _SPLITS.items():
        there = [end for end in endings if {f"x_{end}", f"y_{end}"} & set(arrays)]
        known |= {f"{axis}_{end}" for axis in "xy" for end in endings}
        if len(there) > 1:
            raise UserError(
                f"{path} has arrays of {' and of '.join(there)}; allowed: one of the "
                "two; leave the others out"
            )
        for end in there or (endings[:1] if split == "train" else ()):
            missing = [n for n in (f"x_{end}", f"y_{end}") if n not in arrays]
            if missing:
                raise UserError(
                    f"{path} has no {' and no '.join(missing)}, but "
                    f"{', '.join(sorted(arrays)) or 'nothing'}; needed: x_train and "
                    "y_train, and both of what else is there (x_validation, "
                    "y_validation, x_test, y_test); save them by these names"
                )
            given[split] = (arrays[f"x_{end}"], arrays[f"y_{end}"])
    unknown = sorted(set(arrays) - known)
    if unknown:
        raise UserError(
            f"{path} has an array {unknown[0]!r}; allowed: "
            f"{', '.join(sorted(known))}; rename or remove it"
        )
    names = arrays.get(_CLASS_NAMES)
    return given, None if names is None else [str(name) for name in np.ravel(names)]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (
        *(OSError, EOFError, ValueError, TypeError, AttributeError, KeyError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError),
    ) as error:
        raise UserError(
            f"{path} cannot be read as an .npz file ({' '.join(str(error).split())}); "
            "allowed: arrays of numbers as numpy.savez writes them, none of objects; "
            "save it again"
        ) from error
