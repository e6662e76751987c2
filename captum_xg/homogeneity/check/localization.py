"""Which layers are not homogeneous: every submodule is probed on the activations that it really receives."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from captum_xg._core.function import ScalarFunction
from captum_xg._core.modules import named_modules_of
from captum_xg.homogeneity.certificate.explanations import explain_module
from captum_xg.homogeneity.check.report import Culprit
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import scale_inputs


@dataclass(frozen=True)
class _Call:
    """One execution of a module.

    Attributes:
        module: The module.
        leaves: Its arguments, positional and by keyword, flattened; tensors as copies.
        spec: How to put them together again.
        tracked: For each of them, whether autograd saw it depend on the input or on a parameter.
        inside: Ids of the modules that ran inside it.
        autocast: The device type and dtype of autocast, where it was on.
    """

    module: nn.Module
    leaves: list[Any]
    spec: TreeSpec
    tracked: list[bool]
    inside: set[int]
    autocast: tuple[str, torch.dtype] | None


def find_culprits(
    function: ScalarFunction, inputs: tuple[Tensor, ...], example: int, precision: Precision
) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
    """Return the modules under the forward function that are not homogeneous of any degree, in order of execution.

    The forward function runs at x, 2⁻ᵐx and 2ᵐx, for one example, and the arguments of each module are kept. Those
    that differ depend on the input; a module is probed by scaling just these. A module with submodules counts only if
    none of those that ran inside it is to blame: then it is the operations of its own forward.

    Args:
        function: F.
        inputs: x.
        example: The example to look at.
        precision: Of the computation.

    Returns:
        The culprits, and sentences on what could not be looked at.
    """
    named = named_modules_of(function.forward_func)
    if not named:
        return (), ()
    one = function.examples(example, example + 1, len(inputs[0]))
    batch = tuple(x.detach()[example : example + 1] for x in inputs)
    m = precision.exponent
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
        calls.append(_Call(module, [_copy(x) for x in leaves], spec, tracked, set(), _autocast(leaves)))
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
        with torch.autocast(*call.autocast) if call.autocast else nullcontext():
            outputs = tree_flatten(_plain(call.module(*args, **kwargs)))[0]
        return [t for t in outputs if isinstance(t, Tensor) and t.dtype.is_floating_point]

    at_zero = not any(bool(x.any()) for x, v in zip(call.leaves, varying, strict=True) if v)
    base = run(1.0)
    if at_zero:
        return not any(bool(at.any()) for at in base)
    dtypes = {x.dtype for x, v in zip(call.leaves, varying, strict=True) if v}
    limits = max((torch.finfo(d) for d in dtypes | {t.dtype for t in base}), key=lambda f: f.eps)
    while m >= 1:
        below, above = run(2.0**-m), run(2.0**m)
        verdicts = [_scales(*tensors, m, limits) for tensors in zip(base, below, above, strict=True)]
        if None not in verdicts:
            return all(verdicts)
        m //= 2  # out of range at these scales, which proves nothing against the module
    return True


def _scales(at: Tensor, below: Tensor, above: Tensor, m: int, limits: torch.finfo) -> bool | None:
    """Return whether the outputs at 2⁻ᵐ and 2ᵐ are those at 1 times 2^(±mk) for one k; None if out of range."""
    if not at.shape == below.shape == above.shape or at.numel() == 0:
        return at.shape == below.shape == above.shape
    at, below, above = at.double(), below.double(), above.double()
    size, smallest = float(at.abs().max()), float(below.abs().max())
    if not (bool(torch.isfinite(below).all()) and bool(torch.isfinite(above).all())) or 0 < smallest < limits.tiny:
        return None
    if size == 0:
        return smallest == 0 and not bool(above.any())
    entry = int(at.abs().argmax())
    ratios = [float(there.flatten()[entry] / at.flatten()[entry]) for there in (below, above)]
    degrees = [math.log2(ratio) / e for ratio, e in zip(ratios, (-m, m), strict=True) if ratio > 0]
    if len(degrees) < 2 or max(degrees) - min(degrees) > 1e-2:
        return False
    nice = round(degrees[0] * 12) / 12
    degree = nice if abs(degrees[0] - nice) < 1e-2 else degrees[0]
    error = max(float((there * 2.0 ** (-e * degree) - at).abs().max()) for there, e in ((below, -m), (above, m)))
    return error <= (64 if limits.eps < 1e-4 else 4) * limits.eps * size


def _autocast(values: list[Any]) -> tuple[str, torch.dtype] | None:
    for device in {value.device.type for value in values if isinstance(value, Tensor)}:
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            return device, torch.get_autocast_dtype(device)
    return None


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _plain(output: Any) -> Any:
    # Model outputs of other libraries are dictionaries or named containers that a pytree does not know.
    if isinstance(output, dict):
        return dict(output)
    return vars(output) if hasattr(output, "__dataclass_fields__") else output
