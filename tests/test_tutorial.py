"""The tutorial notebook runs from top to bottom."""

import json
import pathlib
import re

import matplotlib

NOTEBOOK = pathlib.Path(__file__).resolve().parent.parent / "gtn_tf" / "tutorial.ipynb"


def test_every_cell_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    matplotlib.use("agg")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    shortened = [re.sub(r"OUTER_STEPS = \d+", "OUTER_STEPS = 1", s) for s in sources]
    assert shortened != sources
    small = 'learner="digits:8-8-8", leave_out="", vary="none", warm_start_steps=0, '
    quick = [s.replace("workdir=", f"{small}workdir=") for s in shortened]
    assert quick != shortened
    names = {}
    for source in quick:
        exec(compile(source, str(NOTEBOOK), "exec"), names)
    printed = capsys.readouterr().out
    assert len(re.findall(r"(?:SGD|Adam) .*%", printed)) == 6
    assert re.search(r"10 steps in [\d.]+ s\ntest accuracy [\d.]+%", printed)
    assert (tmp_path / "runs" / "tutorial" / "results.json").is_file()


def test_what_readers_see_was_run():
    """Stored outputs are those of a whole run: the table and the two figures."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    text = "".join("".join(output.get("text", [])) for output in outputs)
    assert "(700 outer steps" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
