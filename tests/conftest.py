"""One thread and reproducible examples: two runs of one test do the same arithmetic. CI draws more of them."""

import os

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("default", deadline=None, max_examples=20)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items):
    """Begin with the tutorials, which take minutes, so that no process works alone at the end."""
    items.sort(key=lambda item: not item.name.startswith("test_a_tutorial_runs"))
