"""Imports point one way, and Captum's private helpers are imported in one place."""

import ast
from pathlib import Path

import captum_xg

PACKAGE = Path(captum_xg.__file__).parent
LAYERS = (
    {
        *("_version", "errors", "_types", "_loading", "_options", "_failures", "_files", "_reading", "_devices"),
        *("_batches", "_losses", "_text", "_figures"),
    },
    {"_captum", "_inputs", "_target", "_function"},
    {"homogeneity"},
    {"attr", "xdnn", "testing"},
    {"priors", "metrics"},
    {"models", "datasets", "targets"},
    {"repro", "demo"},
    {"commands"},
    {"cli"},
)


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


def _layer(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


def test_imports_point_from_later_layers_to_earlier_ones():
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if own in ("__init__", "__main__", "assets"):
            continue
        for module in _imports(path):
            if module.startswith("captum_xg."):
                other = module.split(".")[1]
                assert other == own or _layer(other) <= _layer(own), f"{path.name} imports {module}"


def test_only_one_module_imports_the_private_helpers_of_captum():
    for path in PACKAGE.rglob("*.py"):
        private = [m for m in _imports(path) if m.startswith("captum.") and "._" in m]
        assert not private or path.name == "_captum.py", f"{path.name}: {private}"


def test_the_public_names_are_all_there():
    assert all(hasattr(captum_xg, name) for name in captum_xg.__all__)
    assert (PACKAGE / "py.typed").exists()
