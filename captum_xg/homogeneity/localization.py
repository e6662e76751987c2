"""Which layers are not homogeneous: every submodule is probed on the activations that it really receives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from captum_xg._function import ScalarFunction
from captum_xg.homogeneity.explanations import explain_module
from captum_xg.homogeneity.modules import named_modules_of
from captum_xg.homogeneity.precision import Precision
from captum_xg.homogeneity.report import Culprit
from captum_xg.homogeneity.trials import scale_inputs


@dataclass(frozen=True)
class _Call:
    """One execution of a module.

    Attributes:
        module: The module.
        leaves: Its arguments, positional and by keyword, flattened; tensors as copies.
        spec: How to put them together again.
        tracked: For each of them, whether autograd saw it depend on the input or on a parameter.
        inside: Ids of the modules that ran inside it.
    """

    module: nn.Module
    leaves: list[Any]
    spec: TreeSpec
    tracked: list[bool]
    inside: set[int]


def find_culprits(
    function: ScalarFunction, inputs: tuple[Tensor, ...], example: int
) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
    """Return the modules under the forward function that are not homogeneous of any degree, in order of execution.

    The forward function runs at x, 2⁻ᵐx and 2ᵐx, for one example, and the arguments of each module are kept. Those
    that differ depend on the input; a module is probed by scaling just these. A module with submodules counts only if
    none of those that ran inside it is to blame: then it is the operations of its own forward.

    Args:
        function: F.
        inputs: x.
        example: The example to look at.

    Returns:
        The culprits, and sentences on what could not be looked at.
    """
    named = named_modules_of(function.forward_func)
    if not named:
        return (), ()
    one = function.examples(example, example + 1, len(inputs[0]))
    batch = tuple(x.detach()[example : example + 1] for x in inputs)
    m = Precision.of(*batch).exponent
    try:
        here, low, high = (_record(one, batch, scale, named) for scale in (1.0, 2.0**-m, 2.0**m))
        return _blame(here, (low, high), named, m), ()
    except Exception as error:
        # The violation stands; only its place is unknown. Any model may do anything when run in pieces.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return (), (f"The layers could not be probed one by one ({reason}).",)


def _record(
    function: ScalarFunction, inputs: tuple[Tensor, ...], scale: float, named: dict[int, tuple[str, nn.Module]]
) -> list[_Call]:
    """Run F at the scaled inputs and return each module call in order."""
    calls: list[_Call] = []
    running: list[_Call] = []

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for outer in running:
            outer.inside.add(id(module))
        leaves, spec = tree_flatten((args, kwargs))
        tracked = [isinstance(x, Tensor) and x.requires_grad for x in leaves]
        calls.append(_Call(module, [_copy(x) for x in leaves], spec, tracked, set()))
        running.append(calls[-1])

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        running.pop()

    handles = []
    try:
        for _, module in named.values():
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        scaled = scale_inputs(inputs, torch.full((len(inputs[0]),), scale, dtype=torch.float64))
        with torch.enable_grad():
            # Not leaves: the first layer may work in place.
            function(tuple(x.requires_grad_().clone() for x in scaled))
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _blame(
    here: list[_Call], elsewhere: tuple[list[_Call], ...], named: dict[int, tuple[str, nn.Module]], m: int
) -> tuple[Culprit, ...]:
    guilty: set[int] = set()
    order = [call.module for call in here]
    comparable = [calls for calls in elsewhere if [call.module for call in calls] == order]
    for index, call in enumerate(here):
        if id(call.module) in guilty:
            continue
        others = [calls[index].leaves for calls in comparable]
        varying = [
            _depends_on_input(x, [leaves[i] if i < len(leaves) else None for leaves in others], tracked)
            for i, (x, tracked) in enumerate(zip(call.leaves, call.tracked, strict=True))
        ]
        with torch.no_grad():
            if any(varying) and not _is_homogeneous(call, varying, m):
                guilty.add(id(call.module))
    innocent = {id(call.module) for call in here if call.inside & guilty}
    with_layers = {id(call.module) for call in here if call.inside}
    ordered = dict.fromkeys(id(module) for module in order if id(module) in guilty - innocent)
    return tuple(
        Culprit(path, type(module).__name__, *explain_module(module, layers_ran=id(module) in with_layers))
        for path, module in (named[key] for key in ordered)
    )


def _depends_on_input(value: Any, others: list[Any], tracked: bool) -> bool:
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        return False
    if tracked and not others:
        return True
    # Zeros stay zeros at every scale, but if autograd followed them they are no constant.
    if tracked and not value.any():
        return True
    return any(not (isinstance(x, Tensor) and x.shape == value.shape and torch.equal(value, x)) for x in others)


def _is_homogeneous(call: _Call, varying: list[bool], m: int) -> bool:
    """Return whether the module's outputs scale by one degree each when these arguments are scaled by 2⁻ᵐ and 2ᵐ."""

    def run(alpha: float) -> list[Tensor]:
        scaled = [x * alpha if v else _copy(x) for x, v in zip(call.leaves, varying, strict=True)]
        args, kwargs = tree_unflatten(scaled, call.spec)
        outputs = tree_flatten(_plain(call.module(*args, **kwargs)))[0]
        return [t.double() for t in outputs if isinstance(t, Tensor) and not t.dtype.is_complex]

    at_zero = not any(bool(x.any()) for x, v in zip(call.leaves, varying, strict=True) if v)
    dtypes = [x.dtype for x, v in zip(call.leaves, varying, strict=True) if v]
    limits = max(map(torch.finfo, dtypes), key=lambda f: f.eps)
    for at, below, above in zip(run(1.0), run(2.0**-m), run(2.0**m), strict=True):
        if at_zero:
            if bool(at.any()):
                return False
        elif not _scales(at, ((below, -m), (above, m)), limits):
            return False
    return True


def _scales(at: Tensor, moved: tuple[tuple[Tensor, int], ...], limits: torch.finfo) -> bool:
    """Return whether each moved tensor is 2^(e·k) times the first for one degree k, up to rounding."""
    if any(there.shape != at.shape for there, _ in moved):
        return False
    size = float(at.abs().max()) if at.numel() else 0.0
    if size == 0:
        return not any(bool(there.any()) for there, _ in moved)
    degrees = []
    entry = int(at.abs().argmax())
    for there, e in moved:
        ratio = float(there.flatten()[entry] / at.flatten()[entry])
        if size * 2.0**e < limits.tiny:
            return True  # scaled down it would lose digits, which proves nothing against the module
        if not (math.isfinite(ratio) and ratio > 0):
            return False
        degrees.append(math.log2(ratio) / e)
    if max(degrees) - min(degrees) > 1e-2:
        return False
    nice = round(degrees[0] * 12) / 12
    degree = nice if abs(degrees[0] - nice) < 1e-2 else degrees[0]
    error = max(float((there * 2.0 ** (-e * degree) - at).abs().max()) for there, e in moved)
    return error <= 32 * limits.eps * size


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _plain(output: Any) -> Any:
    # Model outputs of other libraries are dictionaries or named containers that a pytree does not know.
    if isinstance(output, dict):
        return dict(output)
    return vars(output) if hasattr(output, "__dataclass_fields__") else output
