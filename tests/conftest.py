"""One thread and reproducible examples: two runs of one test do the same arithmetic. CI tries more of them."""

import collections
import types

import pytest
import torch
from effort import THOROUGH
from hypothesis import settings

torch.set_num_threads(1)

# Without a GPU every torch.manual_seed formats the whole stack for each kind of accelerator, to say later where an
# error arose. Samples of operations and random examples set some hundred thousand seeds, deep inside of pytest.
for _lazy in (torch.cuda, torch.xpu, getattr(torch, "mtia", None)):
    if hasattr(_lazy, "traceback") and not _lazy.is_available():
        _lazy.traceback = types.SimpleNamespace(format_stack=list)

settings.register_profile("default", deadline=None, max_examples=10)
settings.register_profile("ci", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("ci" if THOROUGH else "default")

CASES = 3
"""Cases on which a law is tried by default when all tests run. CI, and who names a file or a test, tries all."""


def pytest_configure_node(node):
    """Tell the processes of xdist what the command was: to them every test is named."""
    node.workerinput["all tests"] = runs_all_tests(node.config)


def runs_all_tests(config):
    """Return whether the command names neither files nor tests."""
    said = getattr(config, "workerinput", {}).get("all tests")
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS if said is None else said


def spread(items):
    """Return the items, at most CASES of each law: the first, the last, and those at equal distances between them."""
    laws = collections.defaultdict(list)
    for item in items:
        laws[item.nodeid.partition("[")[0]].append(item)
    kept = set()
    for cases in laws.values():
        few = min(CASES, len(cases))
        kept.update(cases[round(k * (len(cases) - 1) / max(few - 1, 1))] for k in range(few))
    return [item for item in items if item in kept]


def pytest_collection_modifyitems(config, items):
    """Leave thorough tests to CI or ``-m thorough``; begin with the tutorials, so that none runs alone at the end."""
    if not THOROUGH and "thorough" not in config.option.markexpr:
        kept = [item for item in items if not item.get_closest_marker("thorough")]
        kept = spread(kept) if runs_all_tests(config) else kept
        config.hook.pytest_deselected(items=list(set(items).difference(kept)))
        items[:] = kept
    items.sort(key=lambda item: not item.name.startswith("test_a_tutorial_runs"))
