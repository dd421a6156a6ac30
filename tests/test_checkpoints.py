"""Checkpoints: whole or not there, the newest readable one counts."""

import io
import pickle

import numpy as np
import pytest

from gtn_tf.errors import UserError
from gtn_tf.meta.outer_loop import Progress
from gtn_tf.runs import checkpoints
from gtn_tf.runs.checkpoints import Checkpoints

ARRAYS = {
    "weights": np.random.default_rng(0).normal(size=(3, 4)).astype("float32"),
    "count": np.int64(7),
    "none": np.zeros([0, 2]),
}


def save(folder, *steps):
    made = Checkpoints(folder)
    for step in steps:
        made.save(Progress(step, step / 3), ARRAYS | {"count": np.int64(step)})
    return made


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_restored_bit_for_bit(tmp_path):
    save(tmp_path, 5)
    progress, arrays = Checkpoints(tmp_path).restore()
    assert progress == Progress(5, 5 / 3)
    assert arrays.keys() == ARRAYS.keys()
    for name, value in (ARRAYS | {"count": np.int64(5)}).items():
        assert arrays[name].dtype == value.dtype
        np.testing.assert_array_equal(arrays[name], value)


def test_nothing_saved_yet(tmp_path):
    assert Checkpoints(tmp_path / "none").restore() is None


def test_the_last_three_are_kept(tmp_path):
    made = save(tmp_path, 8, 9, 10, 11, 11)
    assert names(tmp_path) == [f"outer_step_{n:08d}.ckpt" for n in (9, 10, 11)]
    assert made.restore()[0].outer_step == 11


def test_every_damage_is_seen_and_the_one_before_used(tmp_path, capsys):
    save(tmp_path, 1, 2)
    newest = tmp_path / "outer_step_00000002.ckpt"
    whole = newest.read_bytes()
    generator = np.random.default_rng(0)
    flipped = generator.integers(len(whole), size=40)
    damaged = [
        *(whole[:n] for n in (0, 1, 31, 32, 33, len(whole) // 2, len(whole) - 1)),
        *(whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in flipped),
        whole + b"more",
    ]
    for content in damaged:
        newest.write_bytes(content)
        progress, arrays = Checkpoints(tmp_path).restore()
        assert progress.outer_step == arrays["count"] == 1
        told = f"warning: {newest} is damaged: the one before is used\n"
        assert capsys.readouterr().err == told


def test_all_damaged_is_an_error_and_nothing_is_lost(tmp_path):
    save(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"?")
    with pytest.raises(ValueError, match="every checkpoint.*remove that folder"):
        Checkpoints(tmp_path).restore()
    assert len(names(tmp_path)) == 2


def test_no_one_before_is_promised_where_there_is_none(tmp_path, capsys):
    save(tmp_path, 1)
    path = tmp_path / "outer_step_00000001.ckpt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="every checkpoint"):
        Checkpoints(tmp_path).restore()
    assert capsys.readouterr().err == f"warning: {path} is damaged\n"


def test_what_cannot_be_read_is_not_called_missing(tmp_path, capsys):
    """A superuser may read all files, but neither a file as a folder nor this."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="file cannot be read .Not a directory.: a run"):
        Checkpoints(tmp_path / "file").restore()
    save(tmp_path, 1)
    (tmp_path / "outer_step_00000002.ckpt").mkdir()
    with pytest.raises(UserError, match="02.ckpt cannot be read .Is a directory."):
        Checkpoints(tmp_path).restore()
    assert capsys.readouterr().err == ""


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    made = save(tmp_path, 1, 2)
    before = names(tmp_path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 3)
    assert names(tmp_path) == before
    assert made.restore()[0].outer_step == 2


def test_what_a_kill_leaves_beside_is_not_read(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "new_outer_step_00000002.ckpt").write_bytes(b"half")
    assert Checkpoints(tmp_path).restore()[0].outer_step == 1


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    buffer = io.BytesIO()
    np.savez(buffer, bomb=np.array([Bomb()], dtype=object))
    content = buffer.getvalue()
    assert pickle.PROTO in content
    digest = checkpoints.hashlib.sha256(content).digest()
    (tmp_path / "outer_step_00000001.ckpt").write_bytes(digest + content)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Checkpoints(tmp_path).restore()
