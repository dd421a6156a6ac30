"""Files that are whole or not there, also where a disk is full."""

import pytest
import tensorflow as tf

from gtn_tf.runs import files

FULL = "/dev/full"  # every write to it fails, as on a full disk


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_replaced_or_stays(tmp_path):
    path = tmp_path / "flags.txt"
    files.write_text_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text_atomically(path, "new, but not whole \ud800")
    assert path.read_text() == "old"
    files.write_text_atomically(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["flags.txt"]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_full_disk_leaves_what_was_there(tmp_path, is_folder):
    path = tmp_path / "saved"

    def save(new, target=None):
        if is_folder:
            new.mkdir()
            new = new / "part"
        new.write_bytes(b"half")
        tf.io.write_file(target or str(new), b"whole")

    files.write_atomically(path, save)
    with pytest.raises(OSError, match=r"^/dev/full; No space left on device"):
        files.write_atomically(path, lambda new: save(new, FULL))
    assert names(tmp_path) == ["saved"]
    assert (path / "part" if is_folder else path).read_bytes() == b"whole"


def test_what_a_kill_left_is_written_over(tmp_path):
    path = tmp_path / "saved"
    files.temporary_path(path).mkdir()
    files.write_text_atomically(path, "whole")
    assert names(tmp_path) == ["saved"]


def test_other_errors_of_tensorflow_stay():
    with pytest.raises(tf.errors.InvalidArgumentError), files.file_errors():
        tf.reshape(tf.zeros(3), [2])
