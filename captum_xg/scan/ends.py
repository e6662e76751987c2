"""The other end of completeness: what the model gives for the baselines that a method was told."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.types import Tensors


def other_end(function: ScalarFunction, inputs: Tensors, baselines: Any, *, drawn: bool) -> Tensor:
    """Return F(baseline) for each example, float64 ``(N,)``; NaN where nobody knows what a method took for it.

    Args:
        function: F, for the target that was explained.
        inputs: x.
        baselines: As Captum takes them: a number or a tensor, with one row or one for each example, or one of these for
            each input; zero for None.
        drawn: Whether the method takes them as a sample, of which each example is compared with all: F is the mean.
    """
    n = len(inputs[0])
    given = baselines if isinstance(baselines, tuple) else (baselines,) * len(inputs)
    if drawn and all(isinstance(each, Tensor) for each in given):
        found = torch.zeros(n, dtype=torch.float64, device=inputs[0].device)
        for i in range(len(given[0])):
            found += _values(function, inputs, tuple(each[i : i + 1] for each in given))
        return found / len(given[0])
    if len(given) != len(inputs) or any(callable(each) for each in given):
        return torch.full((n,), torch.nan, dtype=torch.float64, device=inputs[0].device)
    return _values(function, inputs, tuple(0 if each is None else each for each in given))


def _values(function: ScalarFunction, inputs: Tensors, baselines: tuple[Any, ...]) -> Tensor:
    at = (
        each.to(x).expand_as(x).clone() if isinstance(each, Tensor) else torch.full_like(x, each)
        for x, each in zip(inputs, baselines, strict=True)
    )
    return function.values(tuple(at)).double()
