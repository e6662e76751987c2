"""Registry of operations that are affine, or affine in pieces: for each, its derivative and where its pieces end.

A rule is a function of a :class:`~captum_xg.homogeneity.piecewise.call.PieceCall`. It reports the conditions of the
piece that holds, returns the tangents of the results (None where those are constant within the piece), and refuses what
is not affine in it. The files of ``rules`` register those of PyTorch's operations, and are imported when the first one
is asked for.

*What must never happen*: an operation without a rule taken for affine. It is refused as soon as what it is given moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor

from captum_xg._core.loading import import_files

if TYPE_CHECKING:
    from captum_xg.homogeneity.piecewise.call import PieceCall

Found: TypeAlias = "Tensor | Sequence[Tensor | None] | None"
PieceRule: TypeAlias = "Callable[[PieceCall], Found]"

_RULES: dict[str, PieceRule] = {}


def piece_rule(*operations: str) -> Callable[[PieceRule], PieceRule]:
    """Register a function as the rule for operations of PyTorch, all their overloads and their forms in place.

    Raises:
        ValueError: If one has a rule already.
    """

    def register(rule: PieceRule) -> PieceRule:
        for operation in operations:
            if operation in _RULES:
                raise ValueError(f"piece_rule: {operation} has a rule already ({_RULES[operation].__qualname__}).")
            _RULES[operation] = rule
        return rule

    return register


def find_rule(operation: str) -> PieceRule | None:
    """Return the rule for an operation, without namespace, overload and the ``_`` of forms in place."""
    _load()
    return _RULES.get(operation)


def operations() -> list[str]:
    """Return the names of all operations that have a rule."""
    _load()
    return sorted(_RULES)


@lru_cache(maxsize=1)
def _load() -> None:
    import_files("captum_xg.homogeneity.piecewise.rules")
