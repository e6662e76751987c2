"""Registry of transfer functions: for each operation, the rule by which its results scale.

A rule is a function of an :class:`~captum_xg.homogeneity.OpCall`. The files of this folder register those of PyTorch's
operations, one algebraic family each, and are imported at the first look-up; no list of them is kept.

*What must never happen*: an operation without a rule taken for harmless. :func:`find_rule` returns None for it, and the
certificate is unknown from there on. Two rules for one operation are refused, since the order of imports would decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from captum_xg._core.loading import import_files
from captum_xg.homogeneity.degree import Reason, Scaling
from captum_xg.homogeneity.rules.reasons import is_generated

if TYPE_CHECKING:
    from captum_xg.homogeneity.rules.op_call import OpCall

Rule: TypeAlias = "Callable[[OpCall], Scaling | Sequence[Scaling]]"
"""From an operation and its arguments to the scaling of its results: one for all of them, or one for each."""


@dataclass(frozen=True)
class Entry:
    """A rule as it is registered.

    Attributes:
        name: The operation, ``"namespace::name"``.
        rule: The rule.
        elementwise: Each element of the result depends only on the arguments' elements at its place (after
            broadcasting).
        moves: Arguments whose elements are the elements of the result, besides zeros; the others only say which.
    """

    name: str
    rule: Rule
    elementwise: bool
    moves: tuple[str, ...]

    def results(self, call: OpCall, n_results: int) -> list[Scaling]:
        """Return how the results of a call scale, one scaling for each.

        A rule written as its formula reads, ``sum_of(product_of(x, w), b)``, does not ask whether ``b`` is zero.
        So where it finds that degrees do not fit, it is asked once more with every constant of zeros known to be zero.
        Only then: each constant that is looked at is one more thing that the proof rests on.

        Raises:
            ValueError: If the rule returns another number of scalings.
        """
        answer, known = self._answer(call, n_results), call.reasons
        if _fits(answer, known) or (with_zeros := call.with_zeros_known()) is None:
            return answer
        again = self._answer(with_zeros, n_results)
        return again if _fits(again, known) else answer

    def _answer(self, call: OpCall, n_results: int) -> list[Scaling]:
        answer = self.rule(call)
        scalings = [answer] * n_results if isinstance(answer, Scaling) else list(answer)
        if len(scalings) != n_results:
            raise ValueError(
                f"The rule for {self.name} ({self.rule.__qualname__}) returned {len(scalings)} scalings, but the "
                f"operation has {n_results} results. Return one scaling for all results, or one for each."
            )
        return scalings


def _fits(results: Sequence[Scaling], known: frozenset[Reason]) -> bool:
    """Return whether an operation brings no degrees together that disagree, whatever went wrong before it."""
    return not any(reason.kind == "value" for scaling in results for reason in scaling.reasons - known)


_ENTRIES: dict[str, Entry] = {}


def degree_rule(*operations: str, elementwise: bool = False, moves: tuple[str, ...] = ()) -> Callable[[Rule], Rule]:
    """Register a function as the rule for operations.

    One rule serves all overloads of an operation, its in-place form (``relu_`` for ``relu``) and its ``out=`` form. It
    sees each argument as one scaling. Where the parts of a tensor scale differently, that is the scaling of their sum,
    unless ``elementwise`` or ``moves`` allow to keep the parts apart.

    Args:
        operations: Names such as ``"mylib::rotate"``; without a namespace, ``"aten"`` is meant.
        elementwise: Each element of the result depends only on the arguments' elements at its place (after
            broadcasting).
        moves: Arguments whose elements are the elements of the result, besides zeros; all other arguments only say
            which. The operation itself then tells where each part goes.

    Raises:
        ValueError: If an operation has a rule already, or the name is not one.

    Example:
        A custom operation that turns pairs of channels by an angle is linear in ``x``::

            @degree_rule("mylib::rotate")
            def rotate(call):
                return product_of(call.scaling("x"), nonlinear_of(call.scaling("angle"), Reason("turns by an angle")))
    """

    def register(rule: Rule) -> Rule:
        for operation in operations:
            name = operation if "::" in operation else f"aten::{operation}"
            if name.count("::") != 1 or "." in name:
                raise ValueError(f"degree_rule: {operation!r} is no operation; write 'namespace::name', no overload.")
            if name in _ENTRIES:
                raise ValueError(
                    f"degree_rule: {name} has a rule already ({_ENTRIES[name].rule.__module__}."
                    f"{_ENTRIES[name].rule.__qualname__}). Remove it first with forget_degree_rule({name!r})."
                )
            _ENTRIES[name] = Entry(name, rule, elementwise, moves)
        return rule

    return register


def forget_degree_rule(operation: str) -> None:
    """Remove the rule for an operation, so that it is unknown again or can be given another.

    Raises:
        KeyError: If it has none.
    """
    load_rules()
    del _ENTRIES[operation if "::" in operation else f"aten::{operation}"]


def find_rule(name: str) -> Entry | None:
    """Return the rule for ``"namespace::name"``, which may be an in-place form, or None if there is none."""
    load_rules()
    entry = _ENTRIES.get(name)
    if entry is None and name.endswith("_"):
        entry = _ENTRIES.get(name[:-1])
    return entry


def rule_vouches_for(function: str) -> bool:
    """Return whether a Python autograd function is the backward pass of a library operation that has a rule.

    ``torch.library`` wraps the gradient that is registered for an operation in a function of this name. Who writes a
    rule for the operation vouches for its gradient as well.
    """
    return any(is_generated(function, name) for name in rules())


def rules() -> dict[str, Entry]:
    """Return all rules by the name of their operation."""
    load_rules()
    return dict(_ENTRIES)


@lru_cache(maxsize=1)
def load_rules() -> None:
    """Import every file of rules."""
    import_files("captum_xg.homogeneity.rules")
