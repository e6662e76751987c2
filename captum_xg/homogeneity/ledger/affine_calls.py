"""Calls of PyTorch that add a constant t to what depends on the input, y = A·h + t, and the t of each.

A rule takes ``known``, which returns a value that does not depend on the input and None for one that does, and the
call's own arguments; it returns t, of a shape that broadcasts to that of y, or None if nothing constant is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_xg._core.batch_norm import slope_and_shift

_T = TypeVar("_T")


class Known(Protocol):
    """Tells constants from what depends on the input."""

    def __call__(self, value: _T, /) -> _T | None:
        """Return a value that does not depend on the input, None for one that does."""


Constant: TypeAlias = Tensor | float | None
"""What a call adds: of a shape that broadcasts to that of its result; None if it adds nothing constant."""

Rule: TypeAlias = Callable[..., Constant]

Function: TypeAlias = Callable[..., object]
"""A function or method of PyTorch, as function modes receive it."""


def _bias(position: int, spatial: int = 0) -> Rule:
    """Return the rule of a layer with a bias, that argument of it, of one number per channel."""

    def rule(known: Known, *args: Tensor | None, bias: Tensor | None = None, **options: object) -> Constant:
        found = known(args[position] if len(args) > position else bias)
        return found if found is None or not spatial else found.reshape(-1, *(1,) * spatial)

    return rule


def _batch_norm(
    known: Known,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Constant:
    """Return bias − running_mean·weight/√(running_var + eps)."""
    mean, variance, scale, shift = map(known, (running_mean, running_var, weight, bias))
    if training or mean is None or variance is None or (scale is None) != (weight is None):
        return None
    _, moved = slope_and_shift(mean, variance, scale, shift, eps)
    return moved.reshape(-1, *(1,) * (input.dim() - 2))


def _instance_norm(known: Known, input: Tensor, *args: Any, use_input_stats: bool = True, **options: Any) -> Constant:
    if len(args) <= 4:  # else the fifth of them says it
        options["training"] = use_input_stats
    return _batch_norm(known, input, *args, **options)


def _sum(of_input: Callable[[float], float], of_other: Callable[[float], float]) -> Rule:
    """Return the rule of a sum of two terms, from the factor of each by the argument ``alpha``."""

    def rule(
        known: Known, input: Tensor | float, other: Tensor | float, *, alpha: float = 1, out: Tensor | None = None
    ) -> Constant:
        one, two = known(input), known(other)
        if two is not None:
            return of_other(alpha) * two
        return None if one is None else of_input(alpha) * one

    return rule


def _add_product(known: Known, input: Tensor, *factors: Tensor, beta: float = 1, **options: object) -> Constant:
    bias = known(input)
    return None if bias is None else beta * bias


def _join(func: Callable[..., Tensor]) -> Rule:
    def rule(known: Known, tensors: Sequence[Tensor], *rest: object, **options: object) -> Constant:
        constants = [known(t) for t in tensors]
        if all(c is None for c in constants):
            return None
        options.pop("out", None)
        parts = [torch.zeros_like(t) if c is None else c for t, c in zip(tensors, constants, strict=True)]
        return func(parts, *rest, **options)

    return rule


def _where(
    known: Known,
    condition: Tensor,
    input: Tensor | float = 0.0,
    other: Tensor | float = 0.0,
    *,
    out: Tensor | None = None,
) -> Constant:
    constants = [known(input), known(other)]
    if all(c is None for c in constants) or not any(isinstance(v, Tensor) for v in (input, other)):
        return None
    like = next(value for value in (input, other) if isinstance(value, Tensor))
    zero = torch.zeros((), dtype=like.dtype, device=like.device)
    one, two = (zero if c is None else c for c in constants)
    return torch.where(condition, one, two)


def _masked_fill(known: Known, input: Tensor, mask: Tensor, value: Tensor | float) -> Constant:
    filled = known(value)
    if filled is None or filled == 0:
        return None
    return torch.zeros((), dtype=input.dtype, device=input.device).masked_fill(mask, filled)


def _pad(
    known: Known, input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Constant:
    if mode != "constant" or not known(value):
        return None
    return F.pad(torch.zeros_like(input), pad, value=value)


_ADD = _sum(lambda alpha: 1, lambda alpha: alpha)
_SUBTRACT = _sum(lambda alpha: 1, lambda alpha: -alpha)

CONSTANT_OF: dict[Function, Rule] = {
    F.linear: _bias(2),
    F.bilinear: _bias(3),
    **{getattr(torch, f"conv{d}d"): _bias(2, d) for d in (1, 2, 3)},
    **{getattr(torch, f"conv_transpose{d}d"): _bias(2, d) for d in (1, 2, 3)},
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.add_, Tensor.__iadd__), _ADD),
    **dict.fromkeys((torch.sub, torch.subtract, Tensor.sub, Tensor.subtract, Tensor.__sub__), _SUBTRACT),
    **dict.fromkeys((Tensor.sub_, Tensor.subtract_, Tensor.__isub__), _SUBTRACT),
    **dict.fromkeys((torch.rsub, Tensor.__rsub__), _sum(lambda alpha: -alpha, lambda alpha: 1)),
    **{
        getattr(owner, name): _add_product
        for owner in (torch, Tensor)
        for name in ("addmm", "addmv", "addbmm", "baddbmm", "addr")
    },
    **{
        getattr(torch, name): _join(getattr(torch, name))
        for name in ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack")
    },
    torch.where: _where,
    **dict.fromkeys((torch.masked_fill, Tensor.masked_fill), _masked_fill),
    F.pad: _pad,
}
"""Call → how to read off the constant that it adds."""

CHANGES_ITS_FIRST_ARGUMENT: dict[Function, Function] = {
    Tensor.add_: torch.add,
    Tensor.__iadd__: torch.add,
    Tensor.sub_: torch.sub,
    Tensor.subtract_: torch.sub,
    Tensor.__isub__: torch.sub,
}
"""Call that works in place → the same that does not. Its result can be tapped and then copied, also into a view."""

LEAVES_TORCH: frozenset[Function] = frozenset(
    (Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__float__, Tensor.__array__)
)
"""Calls that return values as what PyTorch does not follow."""

ONLY_LIKE_ITS_FIRST_ARGUMENT: frozenset[Function] = frozenset(
    (
        *(getattr(torch, f"{name}_like") for name in ("empty", "zeros", "ones", "full", "rand", "randn")),
        *(getattr(Tensor, f"new_{name}") for name in ("empty", "zeros", "ones", "full", "tensor")),
    )
)
"""Calls that take shape, dtype and device of their first argument and none of its values."""
