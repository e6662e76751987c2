"""Importing the package is cheap, and its names and submodules are there all the same."""

import ast
import copy
import importlib
import inspect
import json
import pickle
import pkgutil
import subprocess
import sys
import typing
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

import captum_xg
from captum_xg._core.loading import on_demand
from captum_xg.cli.repro import EXPERIMENTS

PACKAGE = Path(captum_xg.__file__).parent
SUBMODULES = sorted(file.name for file in pkgutil.iter_modules([str(PACKAGE)]) if not file.name.startswith("_"))
NEED_TORCHMETRICS_OR_TORCHVISION = ("benchmark", "demo", "metrics", "models")
PACKAGES_ON_DEMAND = ("captum_xg", "captum_xg.datasets", "captum_xg.repro")


def _run(program):
    """Run a program in a process that has imported nothing yet, and return what it prints, read as JSON."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_names_and_light_submodules_import_nothing_that_captum_does_not():
    plain, alike, more = _run(
        f"""
import json, sys, threading

def foreign():
    return {{name.split(".")[0] for name in sys.modules}} - sys.stdlib_module_names - {{"captum_xg"}}

at_the_start = foreign()
import captum_xg
dir(captum_xg), captum_xg.__version__, captum_xg.errors
plain = foreign() - at_the_start

import captum.attr
captums = foreign()

names, got = captum_xg.__all__, [[] for _ in range(6)]
start = threading.Barrier(len(got))
def ask(i):  # from several threads at once, each in another order
    start.wait()
    got[i] = [getattr(captum_xg, name) for name in names[3 * i:] + names[:3 * i]]
threads = [threading.Thread(target=ask, args=[i]) for i in range(len(got))]
[t.start() for t in threads], [t.join() for t in threads]
alike = all(set(map(id, each)) == {{id(getattr(captum_xg, n)) for n in names}} for each in got)

[getattr(captum_xg, name) for name in {SUBMODULES!r} if name not in {NEED_TORCHMETRICS_OR_TORCHVISION!r}]
print(json.dumps([sorted(plain), alike, sorted(foreign() - captums)]))
"""
    )
    assert plain == []
    assert alike
    assert more == []


def test_help_and_version_import_nothing_at_all():
    arguments = [
        [],
        ["demo"],
        ["certify"],
        ["convert"],
        ["distance"],
        ["evaluate"],
        ["explain"],
        ["attribute"],
        ["view"],
        ["repro"],
        *(["repro", name] for name in EXPERIMENTS),
    ]
    loaded, statuses, commands = _run(
        f"""
import contextlib, io, json, sys
at_the_start = set(sys.modules)
from captum_xg.cli.command_line import _parser, main
statuses = []
for arguments in {[[*each, "--help"] for each in arguments] + [["--version"]]!r}:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main(arguments)
    except SystemExit as end:
        statuses.append(end.code)
new = {{name.split(".")[0] for name in set(sys.modules) - at_the_start}}
choices = next(a.choices for a in _parser()._actions if a.dest == "command")
print(json.dumps([sorted(new - sys.stdlib_module_names), statuses, sorted(choices)]))
"""
    )
    assert loaded == ["captum_xg"]
    assert statuses == [0] * (len(arguments) + 1)
    assert commands == sorted(each[0] for each in arguments if len(each) == 1)


@pytest.mark.parametrize("name", SUBMODULES)
def test_a_submodule_is_an_attribute_without_an_import_of_its_own(name, monkeypatch):
    monkeypatch.delitem(vars(captum_xg), name, raising=False)
    module = getattr(captum_xg, name)
    assert isinstance(module, ModuleType)
    assert module.__name__ == f"captum_xg.{name}"
    assert name in dir(captum_xg)


def test_parts_of_lazy_submodules_are_attributes_too(monkeypatch):
    for path in ("datasets.decoy", "repro.sparsity"):
        room, part = path.split(".")
        monkeypatch.delitem(vars(getattr(captum_xg, room)), part, raising=False)
        assert getattr(getattr(captum_xg, room), part).__name__ == f"captum_xg.{path}"


@pytest.mark.parametrize("package", PACKAGES_ON_DEMAND)
def test_type_checkers_see_what_is_there_at_run_time(package):
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    branch = next(node for node in tree.body if isinstance(node, ast.If) and node.test.id == "TYPE_CHECKING")
    imports = [node for node in branch.body if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: f"{node.module}.{alias.name}" if node.module == package else node.module
        for node in imports
        for alias in node.names
    }
    names = {name for name, home in seen.items() if home != f"{package}.{name}"}
    assert names == set(getattr(module, "__all__", ())) - {"__version__"}
    there = {name for name in dir(module) if not name.startswith("_")}
    assert seen.keys() == (there & seen.keys() if package == "captum_xg.repro" else there)
    for name, home in seen.items():
        value = getattr(module, name)
        assert value is (
            getattr(importlib.import_module(home), name) if name in names else importlib.import_module(home)
        )
    # A submodule that is imported becomes an attribute, and would take the place of a name that is not there yet.
    assert not names & {file.name for file in pkgutil.iter_modules(module.__path__)}


def test_a_star_import_brings_the_public_names_and_nothing_else():
    namespace = {}
    exec("from captum_xg import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(captum_xg.__all__)


def test_a_wrong_name_is_an_attribute_error_that_names_it():
    for module, name in (
        (captum_xg, "XGradeint"),
        (captum_xg.datasets, "mnist"),
        (captum_xg, "_nothing"),
        (captum_xg, "no.thing"),
    ):
        assert not hasattr(module, name)
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute '{name}'"):
            getattr(module, name)
    with pytest.raises(ImportError, match="XGradeint"):
        exec("from captum_xg import XGradeint")


def test_an_error_inside_of_a_submodule_is_not_hidden(tmp_path, monkeypatch):
    package = tmp_path / "lazy_package_of_the_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(package.name)
    get, _ = on_demand(package.name)
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        get("broken")


def test_reloading_patching_and_inspecting_work():
    before = captum_xg.XGradient
    assert importlib.reload(captum_xg) is captum_xg
    assert captum_xg.XGradient is before
    members = dict(inspect.getmembers(captum_xg))
    assert set(captum_xg.__all__) <= members.keys()
    vars(captum_xg).pop("certify", None)
    with mock.patch("captum_xg.certify", 1):
        assert captum_xg.certify == 1
    assert inspect.isfunction(captum_xg.certify)


@pytest.mark.parametrize("name", [name for name in captum_xg.__all__ if name != "__version__"])
def test_what_is_public_can_be_pickled_copied_and_asked_for_its_types(name):
    value = getattr(captum_xg, name)
    assert pickle.loads(pickle.dumps(value)) is value
    assert copy.deepcopy(value) is value
    typing.get_type_hints(value)
    inspect.signature(value)
    for method in vars(value).values() if inspect.isclass(value) else ():
        if inspect.isfunction(method) and method.__name__ != "plot":  # plot speaks of matplotlib, imported when drawn
            typing.get_type_hints(method)
