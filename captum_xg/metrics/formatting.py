"""Attributions and baselines as metrics take them: tuples of finite real tensors that fit the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from captum_xg._core.inputs import all_finite, first_not_finite
from captum_xg._core.options import single_number
from captum_xg.errors import BaselineError, InputError

Baseline: TypeAlias = float | Tensor | Callable[[Tensor], object] | None
"""The value of absent features of one input: zeros, a number, a tensor, or a function from the input to one."""

Baselines: TypeAlias = Baseline | tuple[Baseline, ...]
"""One for all inputs, or a tuple of one for each."""


def format_attributions(attributions: object, where: str, name: str = "attributions") -> tuple[Tensor, ...]:
    """Return attributions as a tuple of finite real tensors ``(N, …)`` without a graph.

    Raises:
        InputError: If one is something else.
    """
    tensors = attributions if isinstance(attributions, tuple) else (attributions,)
    if not tensors:
        raise InputError(f"{where}: `{name}` is an empty tuple. Pass the tensor that an attribution method returned.")
    for i, a in enumerate(tensors):
        label = f"{name}[{i}]" if isinstance(attributions, tuple) else name
        if not isinstance(a, Tensor):
            raise InputError(f"{where}: `{label}` must be a torch.Tensor but is {type(a).__name__}.")
        if a.dtype.is_complex or a.dtype == torch.bool or a.layout != torch.strided or a.is_nested:
            raise InputError(f"{where}: `{label}` must be dense and real but is {a.dtype}, {a.layout}.")
        if a.dim() == 0 or a.numel() == 0:
            raise InputError(f"{where}: `{label}` has shape {tuple(a.shape)}; it must be (N, …) and not empty.")
        if not all_finite(a):
            raise InputError(
                f"{where}: `{label}` has NaN or infinity, first in example {first_not_finite(a)}, and says nothing "
                "there. Look for its cause in the attribution method before its quality is measured."
            )
    return tuple(a.detach() for a in tensors)


def require_as_many(attributions: tuple[Tensor, ...], n: int, where: str) -> None:
    """Check that attributions, of whatever shapes, are those of ``n`` examples.

    Raises:
        InputError: If they are not.
    """
    for a in attributions:
        if len(a) != n:
            raise InputError(f"{where}: {len(a)} attributions (shape {tuple(a.shape)}) for {n} examples.")


def require_same_shapes(tensors: tuple[Tensor, ...], others: tuple[Tensor, ...], what: str, where: str) -> None:
    """Check that two tuples of tensors have the same shapes.

    Raises:
        InputError: If they do not.
    """
    shapes = [[tuple(t.shape) for t in group] for group in (tensors, others)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{where}: {what} must have the same shapes but have {shapes[0]} and {shapes[1]}. Entries are compared one "
            "by one, so nothing is broadcast."
        )


def checked_baselines(baselines: Baselines, where: str) -> Baselines:
    """Return an option that :func:`format_baselines` takes, if it is of a type that it takes.

    Raises:
        BaselineError: If it is not: None, a number, a tensor, a function, or a tuple of these.
    """
    for baseline in baselines if isinstance(baselines, tuple) else (baselines,):
        function = callable(baseline) and not isinstance(baseline, type)
        if not (function or baseline is None or isinstance(baseline, Tensor) or single_number(baseline) is not None):
            raise BaselineError(
                f"{where}: `baselines` must be None for zeros, a number, a tensor, a function from an input to its "
                f"baseline, or a tuple of these, but has {type(baseline).__name__}."
            )
    return baselines


def format_baselines(baselines: Baselines, inputs: tuple[Tensor, ...], where: str) -> tuple[Tensor, ...]:
    """Return the values that stand for an absent feature, of the shapes of the inputs: zeros for None.

    Args:
        baselines: None, a number, a tensor of the input's shape or with 1 in place of N, a callable from an input to
            such a tensor, or a tuple of these.
        inputs: Formatted inputs.
        where: The public name that errors begin with.

    Raises:
        BaselineError: If there are too few or too many, or one does not fit.
    """
    several = baselines if isinstance(baselines, tuple) else (baselines,) * len(inputs)
    if len(several) != len(inputs) or (baselines is not None and len(inputs) > 1 and not isinstance(baselines, tuple)):
        given = len(several) if isinstance(baselines, tuple) else 1
        raise BaselineError(
            f"{where}: {given} baselines for {len(inputs)} inputs. Pass one for each, or None for zeros."
        )
    return tuple(_format_baseline(b, x, where) for b, x in zip(several, inputs, strict=True))


def _format_baseline(given: Baseline, x: Tensor, where: str) -> Tensor:
    baseline = given(x.clone()) if callable(given) and not isinstance(given, Tensor) else given
    if baseline is None:
        return torch.zeros_like(x)
    if isinstance(baseline, bool) or not isinstance(baseline, (int, float, Tensor)):
        raise BaselineError(
            f"{where}: a baseline must be a number, a tensor or a callable but is {type(baseline).__name__}. "
            "Pass None for zeros."
        )
    value = torch.as_tensor(baseline, dtype=x.dtype, device=x.device).detach()
    if value.dim() > 0 and value.shape not in (x.shape, (1, *x.shape[1:])):
        raise BaselineError(
            f"{where}: a baseline has shape {tuple(value.shape)} but its input has {tuple(x.shape)}; it must have that "
            "shape, or 1 in place of the number of examples."
        )
    if not all_finite(value):
        raise BaselineError(f"{where}: a baseline is NaN or infinite.")
    return value.expand(x.shape)
