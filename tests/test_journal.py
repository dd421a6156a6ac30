"""The journal of a search: what is on disk is whole, and nothing is done twice."""

import json

import pytest

from nas.evaluations.base import Result
from nas.search.journal import Entry, Journal
from nas.spaces import nao
from nas.spaces.nao_space import NaoSpace

SPACE = NaoSpace()
SPECS = [nao.sample(2, seed) for seed in range(3)]
RESULT = Result(0.5, 1.25, False, 17)


def entry(index=0, seed=0, **changes):
    return Entry.of(SPACE, SPECS[index], RESULT._replace(**changes), seed)


def line_of(entry):
    """What is on disk of an entry."""
    return {name: value for name, value in entry._asdict().items() if name != "key"}


def test_what_is_appended_is_read_again(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", SPACE)
    journal.append(entry(0))
    journal.append(entry(1, seed=3, score=-2.5, diverged=True))
    again = Journal(tmp_path / "journal.jsonl", SPACE)
    assert again.entries == journal.entries
    assert again.entries[1].architecture == str(SPECS[1])
    assert again.entries[1].score == -2.5 and again.entries[1].diverged


def test_equal_architectures_are_known(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", SPACE)
    spec = nao.decode("0 7 1 15 2 8 1 7 0 7 1 15 2 8 1 7")
    swapped = nao.decode("1 15 0 7 1 7 2 8 0 7 1 15 2 8 1 7")
    journal.append(Entry.of(SPACE, spec, RESULT, 0))
    (again,) = Journal(tmp_path / "journal.jsonl", SPACE).entries
    assert again.key == SPACE.key(swapped) != SPACE.key(SPECS[0])


def test_every_way_to_be_cut_short(tmp_path):
    path = tmp_path / "journal.jsonl"
    whole = Journal(path, SPACE)
    whole.append(entry(0))
    whole.append(entry(1))
    text = path.read_bytes()
    first_line = text.index(b"\n") + 1
    for length in range(first_line, len(text)):
        path.write_bytes(text[:length])
        journal = Journal(path, SPACE)
        assert journal.entries == [entry(0)]
        journal.append(entry(1))
        assert path.read_bytes() == text


@pytest.mark.parametrize(
    "change",
    [
        {"score": "high"},
        {"score": float("nan")},
        {"score": float("inf")},
        {"seconds": None},
        {"diverged": "no"},
        {"diverged": 0},
        {"seed": 1.5},
        {"num_params": True},
        {"architecture": "0 99 1 5 0 5 1 5"},
        {"architecture": 7},
        {"color": "red"},
        {"key": "0"},
    ],
)
def test_a_line_that_is_no_entry(tmp_path, change):
    path = tmp_path / "journal.jsonl"
    lines = [line_of(entry(0)), line_of(entry(1)) | change]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text)
    with pytest.raises(ValueError, match="line 2 is no entry.*another --workdir"):
        Journal(path, SPACE)
    assert path.read_text() == text


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match="line 1 is no entry"):
        Journal(path, SPACE)
