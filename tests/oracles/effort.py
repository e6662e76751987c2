"""How many cases a law is tried on: few by default, more in CI, as the profiles of Hypothesis in conftest.py."""

import os

THOROUGH = bool(os.environ.get("CI"))


def tries(few: int, many: int) -> int:
    """Return the first number, and in CI the second."""
    return many if THOROUGH else few
