"""Which layers are not homogeneous: every submodule is probed on the activations that it really receives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from captum_xg._function import ScalarFunction
from captum_xg.homogeneity.explanations import explain_module
from captum_xg.homogeneity.modules import named_modules_of
from captum_xg.homogeneity.report import Culprit
from captum_xg.homogeneity.trials import scale_inputs


@dataclass(frozen=True)
class _Call:
    """One execution of a module: what it got."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def find_culprits(
    function: ScalarFunction, inputs: tuple[Tensor, ...], example: int, scale: float
) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
    """Return the modules under the forward function that are not homogeneous of any degree, in order of execution.

    The forward function runs at x and at αx, for one example, and the arguments of each module are kept. Those that
    differ depend on the input; a module is probed by scaling just these. A module with submodules counts only if none
    of those that ran inside it is to blame: then it is the operations of its own forward.

    Args:
        function: F.
        inputs: x.
        example: The example to look at.
        scale: The α at which F(αx) ≠ αᵏF(x) was seen.

    Returns:
        The culprits, and sentences on what could not be looked at.
    """
    named = named_modules_of(function.forward_func)
    if not named:
        return (), ()
    n = len(inputs[0])
    one = function.examples(example, example + 1, n)
    batch = tuple(x.detach()[example : example + 1] for x in inputs)
    try:
        with torch.inference_mode(False), torch.no_grad():
            here, inside = _record(one, batch, 1.0, named)
            there, _ = _record(one, batch, scale, named)
            return _blame(here, there, inside, named, scale), ()
    except Exception as error:
        # The violation stands; only its place is unknown. Any model may do anything when run in pieces.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return (), (f"The layers could not be probed one by one ({reason}).",)


def _record(
    function: ScalarFunction, inputs: tuple[Tensor, ...], scale: float, named: dict[int, tuple[str, nn.Module]]
) -> tuple[list[_Call], list[set[int]]]:
    """Run F at the scaled inputs and return each module call, and the ids of the modules that ran inside it."""
    calls: list[_Call] = []
    inside: list[set[int]] = []
    stack: list[int] = []

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for outer in stack:
            inside[outer].add(id(module))
        stack.append(len(calls))
        calls.append(_Call(module, _copy(args), _copy(kwargs)))
        inside.append(set())

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        stack.pop()

    handles = []
    try:
        for _, module in named.values():
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        function(scale_inputs(inputs, torch.full((len(inputs[0]),), scale, dtype=torch.float64)))
    finally:
        for handle in handles:
            handle.remove()
    return calls, inside


def _blame(
    here: list[_Call],
    there: list[_Call],
    inside: list[set[int]],
    named: dict[int, tuple[str, nn.Module]],
    scale: float,
) -> tuple[Culprit, ...]:
    guilty: dict[int, float] = {}
    m = max(1, round(abs(math.log2(scale))))
    comparable = len(here) == len(there) and all(a.module is b.module for a, b in zip(here, there, strict=False))
    for index, call in enumerate(here):
        if id(call.module) in guilty:
            continue
        leaves, spec = tree_flatten((call.args, call.kwargs))
        others = tree_flatten((there[index].args, there[index].kwargs))[0] if comparable else [None] * len(leaves)
        varying = [_depends_on_input(a, b) for a, b in zip(leaves, others, strict=True)]
        if not any(varying):
            continue
        deviation = _deviation(call.module, leaves, varying, spec, m)
        if deviation is not None:
            guilty[id(call.module)] = deviation
    order = list(guilty)
    blamed_inside = {
        id(call.module) for index, call in enumerate(here) if any(child in guilty for child in inside[index])
    }
    with_layers = {id(call.module) for index, call in enumerate(here) if inside[index]}
    return tuple(
        Culprit(path, type(module).__name__, *explain_module(module, layers_ran=id(module) in with_layers))
        for path, module in (named[key] for key in order if key not in blamed_inside)
    )


def _depends_on_input(value: Any, other: Any) -> bool:
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        return False
    return not (isinstance(other, Tensor) and value.shape == other.shape and torch.equal(value, other))


def _deviation(module: nn.Module, leaves: list[Any], varying: list[bool], spec: Any, m: int) -> float | None:
    """Return how far the module is from any one degree on these arguments, None if within rounding."""

    def run(alpha: float) -> list[Tensor]:
        scaled = [x * alpha if v else _copy(x) for x, v in zip(leaves, varying, strict=True)]
        args, kwargs = torch.utils._pytree.tree_unflatten(scaled, spec)
        flat = tree_flatten(_plain(module(*args, **kwargs)))[0]
        return [t.double() for t in flat if isinstance(t, Tensor) and not t.dtype.is_complex]

    limits = max((torch.finfo(x.dtype) for x, v in zip(leaves, varying, strict=True) if v), key=lambda f: f.eps)
    base, low, high = run(1.0), run(2.0**-m), run(2.0**m)
    worst = 0.0
    for at, below, above in zip(base, low, high, strict=True):
        if at.shape != below.shape or at.shape != above.shape:
            return math.inf
        size = float(at.abs().max()) if at.numel() else 0.0
        if size == 0:
            worst = max(worst, math.inf if bool(below.any()) or bool(above.any()) else 0.0)
            continue
        if size * 2.0**-m < limits.tiny:
            continue  # scaled down it would lose digits, which proves nothing against the module
        entry = int(at.abs().argmax())
        degrees = [
            math.log2(abs(r)) / e
            if (r := float(moved.flatten()[entry] / at.flatten()[entry])) and math.isfinite(r)
            else None
            for moved, e in ((below, -m), (above, m))
        ]
        if degrees[0] is None or degrees[1] is None or abs(degrees[0] - degrees[1]) > 1e-3:
            return math.inf
        degree = round(degrees[0] * 12) / 12 if abs(degrees[0] * 12 - round(degrees[0] * 12)) < 1e-2 else degrees[0]
        for moved, e in ((below, -m), (above, m)):
            worst = max(worst, float((moved * 2.0 ** (-e * degree) - at).abs().max()) / size)
    return worst if not worst <= 32 * limits.eps else None


def _copy(value: Any) -> Any:
    return tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, value)


def _plain(output: Any) -> Any:
    # Model outputs of other libraries are dictionaries or named containers that a pytree does not know.
    if isinstance(output, dict):
        return dict(output)
    return vars(output) if hasattr(output, "__dataclass_fields__") else output
