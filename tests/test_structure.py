"""The order of the modules, and the size of what they hold."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = sorted(p.stem for p in (ROOT / "gtn_tf").glob("*.py") if p.stem[0] != "_")


def documented_order():
    """Module names in the order of the README's table."""
    readme = (ROOT / "README.md").read_text()
    table = readme.split("| gtn_tf/ | purpose |")[1].split("\n\n")[0]
    return [
        name
        for row in table.splitlines()
        for name in re.findall(r"(\w+)\.py", row.split("|")[1] if "|" in row else "")
    ]


def imported_modules(tree):
    """Names of gtn_tf's modules that a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "gtn_tf":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "gtn_tf."
        ):
            yield node.module.split(".")[1]


def parse(module):
    return ast.parse((ROOT / "gtn_tf" / f"{module}.py").read_text())


def test_every_module_is_documented_once():
    assert sorted(documented_order()) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_modules_above(module):
    order = documented_order()
    above = set(order[: order.index(module)])
    assert set(imported_modules(parse(module))) <= above


def test_nas_is_imported_by_nobody_in_gtn_tf():
    for module in MODULES:
        source = (ROOT / "gtn_tf" / f"{module}.py").read_text()
        assert not re.search(r"^\s*(from|import) nas\b", source, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_stay_small(module):
    source = (ROOT / "gtn_tf" / f"{module}.py").read_text()
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            names = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert len([n for n in names if n.arg != "self"]) <= 7, node.name
            assert node.end_lineno - node.lineno < 65, node.name


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_are_documented_and_typed(module):
    for node in parse(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
            assert ast.get_docstring(node), node.name
