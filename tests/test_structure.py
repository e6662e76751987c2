"""Imports point one way, and Captum's private helpers are imported in one place."""

import ast
from pathlib import Path

import captum_xg

PACKAGE = Path(captum_xg.__file__).parent
LAYERS = (
    ("_version", "errors", "_core", "assets"),
    ("homogeneity.degree",),
    ("homogeneity.rules",),
    ("homogeneity.scaling",),
    ("homogeneity.certificate",),
    ("homogeneity.check", "homogeneity.ledger"),
    ("attr", "xdnn", "testing"),
    ("priors", "metrics"),
    ("models", "datasets"),
    ("benchmark",),
    ("repro", "demo"),
    ("cli",),
)
"""Rooms, from the ground up: each imports from its own row and those above it in this list."""


def _imports(path: Path) -> list[str]:
    """Return the modules that a file imports, wherever in it, except for type checkers only."""
    tree = ast.parse(path.read_text())
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.ImportFrom):
            found += [node.module or ""]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def _room(module: str) -> int:
    """Return the row of the room that a module, named without ``captum_xg.``, is in."""
    return next(i for i, row in enumerate(LAYERS) for room in row if f"{module}.".startswith(f"{room}."))


def test_imports_point_from_later_rooms_to_earlier_ones():
    for path in PACKAGE.rglob("*.py"):
        own = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if path.name in ("__init__.py", "__main__.py"):
            continue  # a package hands on names from wherever they are
        for module in _imports(path):
            if module.startswith("captum_xg."):
                assert _room(module.removeprefix("captum_xg.")) <= _room(own), f"{path} imports {module}"


def test_only_one_module_imports_the_private_helpers_of_captum():
    for path in PACKAGE.rglob("*.py"):
        private = [m for m in _imports(path) if m.startswith("captum.") and "._" in m]
        assert not private or path.name == "captum_compat.py", f"{path.name}: {private}"


def test_the_public_names_are_all_there():
    assert all(hasattr(captum_xg, name) for name in captum_xg.__all__)
    assert (PACKAGE / "py.typed").exists()
