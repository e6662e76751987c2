"""One executed operation as a rule sees it: its arguments by name, their values, and how they scale.

A rule computes with scalings, and looks at numbers only where a constant meets what scales: a bias of zeros is none.
The invariant: each look at the numbers of a constant goes through :class:`Constants`, which writes the answer down.

Example: the rule of ``linear(x, w, b)`` takes ``call.scaling("input")``, of degree 1, and asks
``call.is_neutral(call["bias"])``. Of the weight it takes the scaling alone, so that training does not end a proof.

What must never happen: a rule concludes from ``call["bias"]`` itself. What it saw would not be among the assumptions,
and the proof would stand although the bias has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol, SupportsAbs

import torch
from torch import Tensor

from captum_xg._core.finding import or_convert
from captum_xg._core.operations import schema_of, tensors_in
from captum_xg.homogeneity.degree import CONSTANT, ZERO, Reason, Scaling, product_of, sum_of

WITHOUT_IT = "Leave it out, or set it to zero"
"""The remedy for a constant that is added, and has been named."""

WITHOUT_BIAS = or_convert("train it with bias=False")
"""The remedy for a bias."""

PLACES = frozenset({"index", "indices", "mask", "condition", "offsets"})
"""Arguments of operations that say where numbers go, and are none that are added."""


class Constants(Protocol):
    """Answers questions about the values of constants, and remembers them: a proof rests on the answers."""

    def is_neutral(self, tensor: Tensor) -> bool:
        """Return whether a constant tensor holds only zeros and infinities, which no α changes."""

    def is_zero(self, tensor: Tensor) -> bool:
        """Return whether a constant tensor holds only zeros."""

    def read(self, tensor: Tensor) -> None:
        """Note that the proof depends on all values of a constant tensor."""


class OpCall:
    """An operation with its arguments.

    ``call["name"]`` is an argument as it was passed (or its default); ``call.scaling("name")`` is how it scales.
    Argument names are those of the operation's schema.
    """

    def __init__(
        self,
        func: torch._ops.OpOverload,
        arguments: Mapping[str, Any],
        scalings: Mapping[int, Scaling],
        constants: Constants,
    ) -> None:
        self.func = func
        self.arguments = arguments
        self._scalings = scalings
        self._constants = constants

    @property
    def name(self) -> str:
        """The operation, without namespace and overload, ``"add_"``."""
        return schema_of(self.func).name.split("::")[1]

    @property
    def n_results(self) -> int:
        """How many results the operation has."""
        return len(schema_of(self.func).rewrites)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, or the default if this overload has none of that name."""
        return self.arguments.get(name, default)

    def scaling(self, name: str) -> Scaling:
        """Return how an argument scales: a tensor, a number, a list (as their sum), or None (as zero).

        Raises:
            KeyError: If no overload of the operation has an argument of that name.
        """
        if name not in self.arguments and name not in known_arguments(self.func):
            raise KeyError(f"{self.func} has no argument {name!r}; it has {', '.join(self.arguments)}.")
        return self.scaling_of(self.arguments.get(name))

    def scaling_of(self, value: object) -> Scaling:
        """Return how a value scales that is among the arguments."""
        if isinstance(value, Tensor):
            # What the input has gone into is among the scalings, as reading arguments puts it there.
            return self._scalings.get(id(value), CONSTANT)
        if isinstance(value, (list, tuple)):
            return self.sum(*value)
        if value is None or (isinstance(value, (int, float, complex)) and value == 0):
            return ZERO
        return CONSTANT

    def scalings(self, *names: str) -> list[Scaling]:
        """Return how several arguments scale."""
        return [self.scaling(name) for name in names]

    def tensors(self) -> Iterable[Tensor]:
        """Yield all tensors among the arguments, also those in lists."""
        return tensors_in(self.arguments.values())

    def is_neutral(self, value: object) -> bool:
        """Return whether a constant is all zeros and infinities, so that α changes nothing about it.

        It then counts as zero in sums and comparisons. Asking makes the proof depend on the answer.
        """
        if isinstance(value, Tensor):
            return self._constants.is_neutral(value)
        return value is None or (isinstance(value, (int, float, complex)) and _neutral_number(value))

    def depend_on(self, tensor: Tensor) -> None:
        """Make the proof depend on every value of a constant tensor, because the rule looks at them."""
        self._constants.read(tensor)

    def neutralised(self, *values: object) -> list[Scaling]:
        """Return how values scale that are added, compared or put side by side; constants of zero count as zero.

        Constants are looked at only where it matters: where something else scales with α.
        """
        parts = [self.scaling_of(value) for value in values]
        if all(part.scale_free for part in parts):
            return parts
        # A constant with reasons against it is left alone: as zero it would lose them.
        return [
            ZERO if part.constant and part.proven and self.is_neutral(value) else part
            for part, value in zip(parts, values, strict=True)
        ]

    def sum(
        self,
        *values: object,
        reason: Reason | None = None,
        combine: Callable[..., Scaling] = sum_of,
    ) -> Scaling:
        """Return how a sum of arguments' values scales (or a maximum, comparison, …: what ``combine`` gives).

        Args:
            values: Tensors, numbers, None or lists among the arguments.
            reason: What to say if they do not fit; by default which degrees meet, and how large a constant is.
            combine: From scalings, and a ``reason``, to a scaling.
        """
        parts = self.neutralised(*values)
        if reason is None and combine is sum_of and sum(part.constant for part in parts) == 1:
            reason = self._constant_added(parts, values)
        return combine(*parts, reason=reason)

    def product(self, *values: object) -> Scaling:
        """Return how a product of arguments' values scales.

        Where a factor does not scale, constant factors are looked at: zero times anything finite is zero.
        """
        parts = [self.scaling_of(value) for value in values]
        # A product of factors that scale does so whatever the numbers are: it needs no assumption.
        if any(part.reasons for part in parts):
            for part, value in zip(parts, values, strict=True):
                if part.constant and part.proven and isinstance(value, Tensor) and self._constants.is_zero(value):
                    return ZERO
        return product_of(*parts)

    @property
    def reasons(self) -> frozenset[Reason]:
        """What speaks against the arguments already."""
        return frozenset().union(*(scaling.reasons for scaling in self._scalings.values()))

    def with_zeros_known(self) -> OpCall | None:
        """Return the call with constant tensors of zeros as zero instead of constant, or None if there are none."""
        # Zeros alone, without infinities: the rule may multiply by them, and 0·∞ is no number.
        zeros = {
            id(tensor): ZERO
            for tensor in self.tensors()
            if (scaling := self.scaling_of(tensor)).constant and scaling.proven and self._constants.is_zero(tensor)
        }
        return OpCall(self.func, self.arguments, {**self._scalings, **zeros}, self._constants) if zeros else None

    def _constant_added(self, parts: list[Scaling], values: tuple[object, ...]) -> Reason | None:
        # Where nothing else scales, or nobody knows how, the size of the constant explains nothing.
        others = [part for part in parts if not part.constant and not part.zero]
        if not others or any(part.scale_free or part.degree is None for part in others):
            return None
        constant = next(value for value, part in zip(values, parts, strict=True) if part.constant)
        return Reason(f"adds a constant of up to {largest(constant):.2g}", WITHOUT_IT)


def largest(value: object) -> float:
    """Return the largest finite magnitude among numbers or in a tensor; NaN if there is one in it."""
    if isinstance(value, (list, tuple)):
        return max(map(largest, value), default=0.0)
    if not isinstance(value, Tensor):
        assert isinstance(value, SupportsAbs)
        return float(abs(value))
    magnitudes = value.detach().abs().double()
    if bool(magnitudes.isnan().any()):
        return float("nan")  # which taking the finite ones alone would hide
    finite = magnitudes[torch.isfinite(magnitudes)]
    return float(finite.max()) if finite.numel() else 0.0


@lru_cache(maxsize=4096)
def known_arguments(func: torch._ops.OpOverload) -> frozenset[str]:
    """Return the names of arguments that any overload of an operation has."""
    # Of all overloads: a rule serves them all, and asks for ``bias`` where some have none.
    packet = func.overloadpacket
    overloads = (getattr(packet, name) for name in packet.overloads())
    return frozenset(a.name for overload in overloads for a in overload._schema.arguments)


def _neutral_number(value: complex) -> bool:
    # A complex infinity has a direction as well, which sums with finite numbers do not keep.
    return value == 0 or (not isinstance(value, complex) and abs(value) == float("inf"))
