"""How many cases a law is tried on: few by default, more in CI, as the profiles of Hypothesis in conftest.py."""

import os
from collections.abc import Iterable

import pytest

THOROUGH = bool(os.environ.get("CI"))


def tries(few: int, many: int) -> int:
    """Return the first number, and in CI the second."""
    return many if THOROUGH else few


def thorough(cases: Iterable[object]) -> list[object]:
    """Return further cases of a law that others hold by default; these are for CI."""
    return [pytest.param(case, marks=pytest.mark.thorough) for case in cases]
