"""The order of the modules, and the size of what they hold."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("gtn_tf", "nas")
MODULES = [
    (package, path.stem)
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("*.py"))
    if path.stem[0] != "_"
]


def documented_order(package):
    """Module names in the order of the README's table."""
    readme = (ROOT / "README.md").read_text()
    table = readme.split(f"| {package}/ | purpose |")[1].split("\n\n")[0]
    return [
        name
        for row in table.splitlines()
        for name in re.findall(r"(\w+)\.py", row.split("|")[1] if "|" in row else "")
    ]


def imported_modules(package, tree):
    """Names of a package's modules that a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            f"{package}."
        ):
            yield node.module.split(".")[1]


def source(package, module):
    return (ROOT / package / f"{module}.py").read_text()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_is_documented_once(package):
    modules = [module for owner, module in MODULES if owner == package]
    assert sorted(documented_order(package)) == modules


@pytest.mark.parametrize("package, module", MODULES)
def test_modules_import_only_modules_above(package, module):
    order = documented_order(package)
    above = set(order[: order.index(module)])
    tree = ast.parse(source(package, module))
    assert set(imported_modules(package, tree)) <= above


def test_nas_is_imported_by_nobody_in_gtn_tf():
    for package, module in MODULES:
        if package == "gtn_tf":
            text = source(package, module)
            assert not re.search(r"^\s*(from|import) nas\b", text, re.MULTILINE)


@pytest.mark.parametrize("package, module", MODULES)
def test_modules_and_functions_stay_small(package, module):
    text = source(package, module)
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            names = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert len([n for n in names if n.arg != "self"]) <= 7, node.name
            assert node.end_lineno - node.lineno < 65, node.name


@pytest.mark.parametrize("package, module", MODULES)
def test_public_functions_are_documented_and_typed(package, module):
    for node in ast.parse(source(package, module)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
            assert ast.get_docstring(node), node.name
