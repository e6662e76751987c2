"""The house: imports point one way between rooms, in no circle, and Captum's private helpers come in by one door.

An import counts wherever it stands: at the top, in a function, under ``TYPE_CHECKING``, or as the name of a module
in a string that is handed to an importer. Only the ``__init__`` of a package may hand on names from anywhere.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

import captum_xg

PACKAGE = Path(captum_xg.__file__).parent
LAYERS = (
    ("_version", "errors", "_core", "assets"),
    ("homogeneity.degree",),
    ("homogeneity.rules", "homogeneity.piecewise"),
    ("homogeneity.scaling",),
    ("homogeneity.certificate", "homogeneity.joint"),
    ("homogeneity.check", "homogeneity.ledger"),
    ("attr", "nn", "xdnn", "testing"),
    ("priors", "metrics", "visualization"),
    ("models", "datasets"),
    ("benchmark", "integrations", "scan", "analysis"),
    ("viewer",),
    ("repro", "demo"),
    ("cli",),
)
"""Rooms, from the ground up: each imports from its own row and those above it in this list."""

MODULES = {
    ".".join(("captum_xg", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(tree: ast.AST) -> set[str]:
    """Return the modules and names that a file asks for, wherever in it and however."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.add(node.value)  # the argument of import_module, on_demand, import_files
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            found.add(str(node.values[0].value).rstrip("."))
    return found


@cache
def edges() -> dict[str, set[str]]:
    """Return for each module of the package those of the package that it asks for."""
    return {
        name: {other for other in imported(ast.parse(path.read_text())) if other in MODULES} - {name, "captum_xg"}
        for name, path in MODULES.items()
        if path.name not in ("__init__.py", "__main__.py")
    }


def floor(module: str) -> int:
    """Return the row of the room that a module is in."""
    name = module.removeprefix("captum_xg.")
    return next(i for i, row in enumerate(LAYERS) for room in row if f"{name}.".startswith(f"{room}."))


def test_imports_point_from_later_rooms_to_earlier_ones():
    wrong = [f"{own} → {other}" for own, others in edges().items() for other in others if floor(other) > floor(own)]
    assert not wrong


def test_no_circle_of_imports():
    wanted = {own: {o for o in others if o in edges()} for own, others in edges().items()}
    while free := [name for name, others in wanted.items() if not others & wanted.keys()]:
        wanted = {name: others for name, others in wanted.items() if name not in free}
    assert not wanted, sorted(f"{own} → {other}" for own, others in wanted.items() for other in others & wanted.keys())


@pytest.mark.parametrize(
    "source",
    [
        "import captum_xg.cli.repro",
        "def f():\n    from captum_xg.cli import repro",
        "if TYPE_CHECKING:\n    from captum_xg.cli.repro import run",
        "import_module('captum_xg.cli.repro')",
        "import_module(f'captum_xg.cli.repro.{name}')",
    ],
)
def test_an_import_is_seen_however_it_is_written(source):
    assert "captum_xg.cli.repro" in imported(ast.parse(source))


def test_only_one_module_imports_the_private_helpers_of_captum():
    private = {
        name
        for name, path in MODULES.items()
        if any(m.startswith("captum.") and "._" in m for m in imported(ast.parse(path.read_text())))
    }
    assert private == {"captum_xg._core.captum_compat"}


def test_no_file_is_long():
    long = {name: n for name, path in MODULES.items() if (n := path.read_text().count("\n")) > 400}
    assert not long


def test_the_public_names_are_all_there():
    assert all(hasattr(captum_xg, name) for name in captum_xg.__all__)
    assert (PACKAGE / "py.typed").exists()
