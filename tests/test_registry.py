"""Things by name, imported when they are first asked for."""

import sys

import pytest

from gtn_tf.registry import Registry


@pytest.fixture
def lazy(tmp_path, monkeypatch):
    """A registry of something in a module that nobody has imported."""
    (tmp_path / "far_away.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry({"thing": "far_away:Thing", "number": 3})
    sys.modules.pop("far_away", None)


def test_names_are_known_without_an_import(lazy):
    assert list(lazy) == ["thing", "number"] and len(lazy) == 2
    assert "thing" in lazy and "other" not in lazy
    assert "far_away" not in sys.modules


def test_what_is_asked_for_is_imported_once(lazy):
    thing = lazy["thing"]
    assert thing is sys.modules["far_away"].Thing
    del sys.modules["far_away"]
    assert lazy["thing"] is thing
    assert dict(lazy) == {"thing": thing, "number": 3}


def test_others_add_and_take_away(lazy):
    lazy["mine"] = len
    del lazy["thing"]
    assert list(lazy) == ["number", "mine"] and lazy["mine"] is len
    with pytest.raises(KeyError):
        lazy["thing"]
