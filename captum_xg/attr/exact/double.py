"""The function that is explained, in float64: a copy of a module, or a callable that computes in what it is given."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from captum_xg._core.function import ScalarFunction
from captum_xg._core.types import Tensors
from captum_xg.errors import OptionError

_SAME = 1e-2
"""How near F in float64 must come to what it is in its own dtype, relative to its largest value."""


def in_float64(own: ScalarFunction, inputs: Tensors) -> ScalarFunction:
    """Return F in float64, which gives at the inputs what F gives in its own dtype.

    Args:
        own: F.
        inputs: Where to compare, in the caller's dtypes.

    Raises:
        OptionError: If it cannot be had in float64.
    """
    where, forward_func = own.where, own.forward_func
    here = own.values(tuple(x.clone() for x in inputs)).double()
    wide = forward_func
    if isinstance(forward_func, nn.Module):
        try:
            wide = copy.deepcopy(forward_func).double()
        except Exception as error:
            raise OptionError(
                f"{where}: breakpoints are found in float64, and the model cannot be copied to that ({error}). "
                "Pass model.double() and inputs in float64."
            ) from error
        for parameter in wide.parameters():
            parameter.requires_grad_(False)
    arguments = tuple(v.double() if isinstance(v, Tensor) and v.dtype.is_floating_point else v for v in own.additional)
    function = ScalarFunction(wide, arguments, own.target, where)
    try:
        there = function.values(tuple(x.to(torch.float64, copy=True) for x in inputs))
        problem = f"its result is {there.dtype}" if there.dtype != torch.float64 else ""
        if not problem and _differ(there, here):
            again = own.values(tuple(x.clone() for x in inputs)).double()
            # A function that gives other values each time is told about elsewhere.
            problem = "" if _differ(again, here) else "it gives other values there"
    except (RuntimeError, TypeError, ValueError) as error:
        problem = f"it raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if problem:
        raise OptionError(
            f"{where}: breakpoints are found in float64, and the forward function does not compute in that: {problem}. "
            "Pass a module, of which a copy is made in float64; or a function that computes in the dtype of its inputs."
        )
    return function


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool(((one - other).abs() > _SAME * other.abs().max()).any())
