"""One operation as its rule sees it: arguments by name, their tangents, and a place to report conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch._ops import OpOverload

from captum_xg._core.operations import tensors_in
from captum_xg._core.recorder import OpEvent
from captum_xg.homogeneity.piecewise.bounds import Bounds
from captum_xg.homogeneity.piecewise.tangents import Tangents


class NotAffineError(Exception):
    """An operation is not affine in pieces; its text says in what way."""


class PieceCall:
    """An operation some of whose arguments depend on α.

    Attributes:
        event: The operation; it has run, unless it writes to an argument.
        name: Its name, without namespace, overload and the ``_`` of forms in place.
    """

    def __init__(self, event: OpEvent, name: str, tangents: Tangents, bounds: Bounds) -> None:
        self.event, self.name = event, name
        self._tangents, self._bounds = tangents, bounds

    def __contains__(self, name: str) -> bool:
        return name in self.event.arguments

    def __getitem__(self, name: str) -> Any:
        """Return an argument."""
        return self.event.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument; the default for one that this overload does not have, or that is None."""
        value = self.event.arguments.get(name)
        return default if value is None else value

    def tangent(self, name: str) -> Tensor | None:
        """Return the tangent of an argument; None if it does not depend on α, or is no tensor."""
        return self.tangent_of(self.event.arguments.get(name))

    def tangent_of(self, value: object) -> Tensor | None:
        """Return the tangent of a value; None if it does not depend on α, or is no tensor."""
        return self._tangents.of(value) if isinstance(value, Tensor) else None

    def moving(self, name: str) -> Tensor | None:
        """Return the tangent of an argument; None as well if it is zero, as the argument then stands still."""
        tangent = self.tangent(name)
        return tangent if tangent is not None and bool(tangent.any()) else None

    def moves(self) -> bool:
        """Return whether anything that the operation is given does."""
        tangents = (self._tangents.of(value) for value in tensors_in(self.event.arguments.values()))
        return any(tangent is not None and bool(tangent.any()) for tangent in tangents)

    def crosses(self, values: Tensor, tangents: Tensor | None) -> None:
        """Report numbers whose signs decide which piece holds, and their tangents."""
        if tangents is not None:
            self._bounds.add(values, tangents)

    def pair(self, first: str, second: str) -> tuple[Tensor, Tensor | None]:
        """Return the difference of two arguments, the second of which may be a number, and its tangent."""
        a, b = self[first], self[second]
        da, db = self.tangent(first), self.tangent(second)
        if db is None:
            return a - b, da
        return a - b, -db if da is None else da - db

    def fixed(self, *names: str) -> None:
        """Refuse arguments that move."""
        for name in names:
            if self.moving(name) is not None:
                raise NotAffineError(f"its `{name}` depends on the input")

    def refuse(self, reason: str) -> NoReturn:
        """Refuse the operation."""
        raise NotAffineError(reason)

    def on(self, replaced: Mapping[str, object]) -> Any:
        """Return what the operation gives with some arguments replaced."""
        return called(self.event.op, {**self.event.arguments, **replaced})

    def on_tangents(self, zeroed: Collection[str] = ()) -> Any:
        """Return what the operation gives of tangents, with zeros for other floating-point tensors.

        Args:
            zeroed: The names of arguments that are numbers to be added or put somewhere, and become zero as well.
        """
        arguments: dict[str, object] = {}
        for name, value in self.event.arguments.items():
            if name in zeroed and isinstance(value, (bool, int, float)):
                arguments[name] = 0.0
            else:
                arguments[name] = self._of_tangents(value, name in self.event.schema.written)
        return called(self.event.op, arguments)

    def _of_tangents(self, value: Any, written: bool) -> Any:
        if isinstance(value, Tensor):
            tangent = self._tangents.of(value)
            if tangent is not None:
                return tangent.clone() if written else tangent
            return torch.zeros_like(value) if value.dtype.is_floating_point else value
        if isinstance(value, (list, tuple)):
            return [self._of_tangents(part, written) for part in value]
        return value


def called(op: OpOverload, arguments: dict[str, object]) -> Any:
    """Call an operation with arguments by their names in its schema."""
    positional, by_name = _kinds(op)
    return op(*(arguments[name] for name in positional), **{name: arguments[name] for name in by_name})


@lru_cache(maxsize=1024)
def _kinds(op: OpOverload) -> tuple[tuple[str, ...], tuple[str, ...]]:
    arguments = op._schema.arguments
    return (
        tuple(a.name for a in arguments if not a.kwarg_only),
        tuple(a.name for a in arguments if a.kwarg_only),
    )
