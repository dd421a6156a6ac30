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
    shortened = [
        re.sub(
            r"(NUM_\w+) = \d+", r"\1 = 1", re.sub(r"RATES = .*", "RATES = (0.01,)", s)
        )
        for s in sources
    ]
    assert shortened[0].count(" = 1 ") == 2 and "RATES = (0.01,)" in shortened[0]
    small = (
        'learner="digits:8-8-8", leave_out="", vary="none", warm_start_steps=0, '
        'weight_norm=False, normalization="none", '
    )
    quick = [s.replace("workdir=", f"{small}workdir=") for s in shortened]
    assert quick != shortened
    names = {}
    for source in quick:
        exec(compile(source, str(NOTEBOOK), "exec"), names)
    printed = capsys.readouterr().out
    told = r"[\d.]+% \([\d.]+% to [\d.]+%\)"
    assert len(re.findall(rf"taught, test accuracy of 1 models: {told}", printed)) == 2
    assert len(re.findall(rf"(?:SGD|Adam) +0.01 +validation {told}", printed)) == 4
    assert len(re.findall(rf"(?:SGD|Adam) at 0.01, test: {told}", printed)) == 4
    assert (tmp_path / "runs" / "tutorial" / "results.json").is_file()


def test_what_readers_see_was_run():
    """Stored outputs are those of a whole run: the table and the two figures."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    text = "".join("".join(output.get("text", [])) for output in outputs)
    assert "(600 outer steps" in text and "of 5 models" in text
    assert len(re.findall("validation", text)) == 2 * 2 * 7  # models, optimizers, rates
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
