"""One thread and reproducible examples: two runs of one test do the same arithmetic. CI draws more of them."""

import types

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
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ci" if THOROUGH else "default")


def pytest_collection_modifyitems(config, items):
    """Leave thorough tests to CI or ``-m thorough``; begin with the tutorials, so that none runs alone at the end."""
    if not THOROUGH and "thorough" not in config.option.markexpr:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("thorough")])
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    items.sort(key=lambda item: not item.name.startswith("test_a_tutorial_runs"))
