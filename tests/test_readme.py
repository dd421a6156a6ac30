"""What the README tells readers to type."""

import pathlib
import re
import textwrap

import keras

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks():
    """The indented blocks of the README."""
    found = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", README, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") for block in found]


def test_the_ten_lines_teach_a_model(capsys):
    (program,) = [block for block in blocks() if "load_teacher" in block]
    assert len([line for line in program.splitlines() if line]) <= 10
    keras.utils.set_random_seed(1)
    exec(program, {})  # as a reader would
    assert float(capsys.readouterr().out.splitlines()[-1]) > 0.9


def test_files_that_the_readme_names_exist():
    for path in re.findall(r"\bbin/[\w./]+\b", README):
        assert (ROOT / path).exists(), path


def test_every_script_is_described():
    scripts = [path.name for path in (ROOT / "bin").iterdir() if not path.suffix]
    for script in {*scripts} - {"__pycache__"}:
        assert f"bin/{script}" in README, script
