"""The layers that break homogeneity where no certificate can name them, found by running each one alone.

A certificate names operations and is right about them. It sees none in scripted, traced and compiled models, in other
threads, and where an operation has no rule; for these alone the forward pass is cut into its modules here. F runs at x,
2⁻ᵐx and 2ᵐx; the arguments of a module that differ depend on the input, and it is run again with just these scaled. Of
a model 0 → 1 → 2 with a bias in 1, only 1 does not scale: what 2 gets is scaled as a whole, whatever 1 made of x.

A module with modules inside counts only if none of those that ran is to blame. It is a hint: what cannot be run alone,
or leaves the range of its dtype, must never be blamed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from captum_xg._core.function import ScalarFunction
from captum_xg._core.modules import named_modules_of
from captum_xg.homogeneity.certificate.explanations import explain_module
from captum_xg.homogeneity.check.report import Culprit
from captum_xg.homogeneity.scaling.fit import Deviations, fits_a_degree
from captum_xg.homogeneity.scaling.precision import Precision

_Named = Mapping[int, tuple[str, nn.Module]]


@dataclass(frozen=True)
class _Call:
    """One execution of a module: its arguments, which of them autograd followed, and ids of modules that ran inside."""

    module: nn.Module
    arguments: list[object]
    spec: TreeSpec
    tracked: list[bool]
    inside: set[int] = field(default_factory=set)


def find_culprits(
    function: ScalarFunction, inputs: tuple[Tensor, ...], example: int, precision: Precision
) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
    """Return the modules that are not homogeneous of any degree on one example, and what could not be looked at."""
    named, m = named_modules_of(function.forward_func), precision.exponent
    if not named:
        return (), ()
    one = function.examples(example, example + 1, len(inputs[0]))
    x = tuple(x.detach()[example : example + 1] for x in inputs)
    try:
        here, *there = (_calls(one, tuple(alpha * part for part in x), named) for alpha in (1.0, 2.0**-m, 2.0**m))
        return _blamed(here, there, named, m), ()
    except Exception as error:  # the violation stands; any model may do anything when run in pieces
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return (), (f"The layers could not be probed one by one ({reason}).",)


def _calls(function: ScalarFunction, inputs: tuple[Tensor, ...], named: _Named) -> list[_Call]:
    """Run F and return each module call in order."""
    calls: list[_Call] = []
    running: list[_Call] = []

    def enter(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        for outer in running:
            outer.inside.add(id(module))
        values, spec = tree_flatten((args, kwargs))
        tracked = [isinstance(x, Tensor) and x.requires_grad for x in values]
        calls.append(_Call(module, [_copy(x) for x in values], spec, tracked))
        running.append(calls[-1])

    def leave(*_: object) -> None:
        running.pop()

    handles = []
    try:
        for _, module in named.values():
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave))
        with torch.enable_grad():
            function(tuple(x.requires_grad_().clone() for x in inputs))  # no leaves: the first layer may work in place
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _blamed(here: list[_Call], elsewhere: list[list[_Call]], named: _Named, m: int) -> tuple[Culprit, ...]:
    order = [call.module for call in here]
    comparable = [calls for calls in elsewhere if [call.module for call in calls] == order]
    guilty: set[int] = set()
    for calls in zip(here, *comparable, strict=True):
        varying = [_varies(i, *calls) for i in range(len(calls[0].arguments))]
        if id(calls[0].module) not in guilty and any(varying) and not _scales(calls[0], varying, m):
            guilty.add(id(calls[0].module))
    innocent = {id(call.module) for call in here if call.inside & guilty}
    with_layers = {id(call.module) for call in here if call.inside}
    named_once = dict.fromkeys(id(module) for module in order if id(module) in guilty - innocent)
    return tuple(
        Culprit(path, type(module).__name__, *explain_module(module, layers_ran=id(module) in with_layers))
        for path, module in map(named.__getitem__, named_once)
    )


def _varies(i: int, call: _Call, *others: _Call) -> bool:
    """Return whether argument i depends on the input: autograd followed it, or it differs at another scale."""
    value = call.arguments[i]
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        return False
    # Zeros stay zeros at every scale, but if autograd followed them they are no constant.
    if call.tracked[i] and (not others or not value.any()):
        return True
    return not all(_same(value, other.arguments[i] if i < len(other.arguments) else None) for other in others)


def _scales(call: _Call, varying: Sequence[bool], m: int) -> bool:
    """Return whether each output scales by one degree when the varying arguments are scaled by 2⁻ᵐ and 2ᵐ."""

    @torch.no_grad()
    def run(alpha: float) -> list[Tensor]:
        scaled = [alpha * x if v and isinstance(x, Tensor) else _copy(x) for x, v in pairs]
        args, kwargs = tree_unflatten(scaled, call.spec)
        return [y for y in _leaves(call.module(*args, **kwargs)) if isinstance(y, Tensor) and y.is_floating_point()]

    pairs = list(zip(call.arguments, varying, strict=True))
    moved = [x for x, v in pairs if v and isinstance(x, Tensor)]
    here = run(1.0)
    if not any(bool(x.any()) for x in moved):
        return not any(bool(y.any()) for y in here)
    limits = max((torch.finfo(x.dtype) for x in (*moved, *here)), key=lambda limits: limits.eps)
    while m >= 1:
        sides = zip(here, run(2.0**-m), run(2.0**m), strict=True)
        verdicts = [fits_a_degree(Deviations(y, {2.0**-m: low, 2.0**m: high}), limits) for y, low, high in sides]
        if None not in verdicts:
            return all(verdicts)
        m //= 2  # out of range at these scales, which proves nothing against the module
    return True


def _same(one: Tensor, other: object) -> bool:
    return isinstance(other, Tensor) and other.shape == one.shape and torch.equal(one, other)


def _copy(value: object) -> object:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _leaves(output: object) -> list[object]:
    # Model outputs of other libraries are dictionaries or named containers that a pytree does not know.
    known = dict(output) if isinstance(output, dict) else output
    return tree_flatten(vars(known) if hasattr(known, "__dataclass_fields__") else known)[0]
