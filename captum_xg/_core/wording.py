"""Long lists in messages."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 10


def first_ten(items: Sequence[str]) -> list[str]:
    """Return the first ten ``items``, and "and n more" in place of the rest."""
    rest = [f"and {len(items) - MOST} more"] if len(items) > MOST else []
    return [*items[:MOST], *rest]
