"""The order of the folders, and the size of functions."""

import ast
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("gtn_tf", "nas")
PUBLIC_NAMES = ("nas/search_space.py", "nas/network.py")  # of what is in folders
MODULES = [
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("**/*.py"))
    if path.stem[0] != "_" and path.relative_to(ROOT).as_posix() not in PUBLIC_NAMES
]


def documented_order():
    """Modules in the order of docs/architecture.md."""
    order, folder = [], ""
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        if heading := re.fullmatch(r"\| (gtn_tf|(?:gtn_tf|nas)/\w+) \| \|", line):
            folder = heading[1]
        elif line == "## I want to change":
            return order
        elif line.startswith("| ") and folder:
            names = re.findall(r"\w+\.py", line.split("|")[1])
            order += [f"{folder}/{name}" for name in names]
    raise AssertionError("the tables are not found")


def imported_modules(tree):
    """Paths of the project's modules that a syntax tree imports."""
    for node in ast.walk(tree):
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if module.split(".")[0] in PACKAGES:
            path = module.replace(".", "/")
            whole = f"{path}.py"
            names = (f"{path}/{alias.name}.py" for alias in node.names)
            yield from [whole] if (ROOT / whole).is_file() else names


def source(module):
    return (ROOT / module).read_text()


def test_every_module_is_documented_once():
    assert sorted(documented_order()) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_folders_above_or_their_own(module):
    folders = list(
        dict.fromkeys(name.rpartition("/")[0] for name in documented_order())
    )
    own = folders.index(module.rpartition("/")[0])
    for name in imported_modules(ast.parse(source(module))):
        assert folders.index(name.rpartition("/")[0]) <= own, name


def test_no_import_runs_in_a_circle():
    imports = {name: set(imported_modules(ast.parse(source(name)))) for name in MODULES}
    sorter = graphlib.TopologicalSorter(imports)
    assert len(list(sorter.static_order())) == len(MODULES)


def test_nas_is_imported_by_nobody_in_gtn_tf():
    for module in MODULES:
        if module.startswith("gtn_tf/"):
            text = source(module)
            assert not re.search(r"^\s*(from|import) nas\b", text, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_functions_stay_small(module):
    for node in ast.walk(ast.parse(source(module))):
        if isinstance(node, ast.FunctionDef):
            names = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert len([n for n in names if n.arg != "self"]) <= 7, node.name
            assert node.end_lineno - node.lineno < 65, node.name


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_are_documented_and_typed(module):
    for node in ast.parse(source(module)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
            assert ast.get_docstring(node), node.name
