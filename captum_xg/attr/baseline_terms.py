"""Baselines of any form as sets of points, and the terms that they contribute, remembered while nothing has changed.

What a set of baselines contributes to an attribution depends on them, on the target and on the model, and on no input.
It is used again if the model has the structure, the tensors and the numbers that it had.

What must never happen: a term of another model state is used. Weights are also written to behind autograd's back
(``parameter.data.copy_(average)``), where no version tells it; so sums over all numbers are compared as well, weighted
by where the numbers stand, as they may be shuffled.
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.function import recordable
from captum_xg._core.inputs import all_finite, paired_baselines
from captum_xg._core.modules import named_modules_of, tensors_referred_to
from captum_xg._core.options import single_number
from captum_xg._core.reflection import plainly, tensors_of
from captum_xg._core.types import Arguments, ForwardFunction, Tensors
from captum_xg.attr.task import Outcome
from captum_xg.errors import BaselineError
from captum_xg.homogeneity.certificate.cache import versions_of
from captum_xg.homogeneity.certificate.fingerprint import fingerprint_of

_MOST = 2048
"""How many terms are remembered: one for each target."""

BaselineSet: TypeAlias = int | float | Tensor | tuple[int | float | Tensor, ...] | Callable[..., Any] | None
"""A number, a set of points ``(M, …)``, a tuple with one of these for each input, or a function that returns them."""


def baseline_points(baselines: object, inputs: Tensors, where: str) -> Tensors:
    """Return the baselines as points: for each input a tensor ``(M, …)``, with one number M of points for all.

    Raises:
        BaselineError: If there is something else than numbers and tensors, or one does not fit its input.
    """
    if callable(baselines) and not isinstance(baselines, Tensor):
        given = (inputs if len(inputs) > 1 else inputs[0],) if inspect.signature(baselines).parameters else ()
        baselines = baselines(*given)
    named = [(name, _points(b, x, name, where)) for name, b, x in paired_baselines(baselines, inputs, where)]
    most = max(len(p) for _, p in named)
    for name, p in named:
        if len(p) not in (1, most):
            raise BaselineError(
                f"{where}: `{name}` has {len(p)} baselines and another one has {most}. They belong together row by row."
            )
    return tuple(p.expand(most, *p.shape[1:]) for _, p in named)


def _points(baseline: object, x: Tensor, name: str, where: str) -> Tensor:
    if not isinstance(baseline, Tensor) or baseline.dim() == 0:
        number = 0.0 if baseline is None else single_number(baseline)
        if number is None or not math.isfinite(number):
            found = baseline if isinstance(baseline, float) else type(baseline).__name__
            raise BaselineError(
                f"{where}: `{name}` must be a finite number, a tensor of shape (M, …) or a function that returns one, "
                f"but is {found}."
            )
        return torch.full_like(x[:1].detach(), number)
    if baseline.is_meta or baseline.dtype.is_complex or baseline.dtype == torch.bool:
        raise BaselineError(
            f"{where}: `{name}` must hold real numbers but is of {baseline.dtype} on {baseline.device}."
        )
    if baseline.shape[1:] != x.shape[1:] or len(baseline) == 0:
        raise BaselineError(
            f"{where}: `{name}` has shape {tuple(baseline.shape)} but its input has {tuple(x.shape)}. Pass a set of "
            f"baselines of shape (M, {', '.join(map(str, x.shape[1:]))}), each of which is used for every example."
        )
    if not all_finite(baseline.to(x.dtype)):
        raise BaselineError(f"{where}: `{name}` has NaN or infinity. Clean the data.")
    return recordable(baseline).detach().to(dtype=x.dtype, device=x.device)


@dataclass(frozen=True)
class _Kept:
    outcome: Outcome
    anchors: list[object]
    sums: Tensor


class TermCache:
    """Remembers what baselines contribute."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self.n_terms = 0
        """How many terms were computed."""

    def __reduce__(self) -> tuple[type[TermCache], tuple[()]]:
        # A copy belongs to a copy of the model, at other addresses.
        return type(self), ()

    def term(
        self,
        forward_func: ForwardFunction,
        baselines: object,
        points: Tensors,
        additional: Arguments,
        settings: tuple[Hashable, ...],
        compute: Callable[[], Outcome],
    ) -> Outcome:
        """Return a term from memory if it still holds, else compute it.

        Args:
            forward_func: The model.
            baselines: What the caller passed: the same objects in the same state are the same baselines.
            points: The baselines as tensors.
            additional: What follows the inputs in a call.
            settings: The target, and what else tells terms apart.
            compute: Computes it.
        """
        fingerprint, anchors, _ = fingerprint_of(forward_func, points, additional)
        given = [*(baselines if isinstance(baselines, tuple) else (baselines,)), *additional]
        identities = tuple(_identity(value) for value in given)
        key = (fingerprint, tuple(versions_of(forward_func).items()), identities, settings)
        sums = _sums(forward_func, points, additional)
        kept = self._kept.get(key)
        if kept is None or not torch.equal(kept.sums, sums):
            self.n_terms += 1
            kept = _Kept(compute(), [*anchors, *given], sums)
            self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return kept.outcome


def _identity(value: object) -> Hashable:
    if isinstance(value, Tensor):
        return id(value), value.data_ptr(), None if value.is_inference() else value._version
    return (type(value), value) if isinstance(value, (int, float, str, bool, type(None))) else id(value)


@torch.no_grad()
def _sums(forward_func: ForwardFunction, points: Tensors, additional: Arguments) -> Tensor:
    """Return sums over each tensor that a term is computed from, from one transfer to the CPU for each device."""
    with plainly():
        tensors = [
            tensor
            for _, module in named_modules_of(forward_func).values()
            for _, _, tensor in tensors_of(module)
            if isinstance(tensor, Tensor)
        ]
    tensors += [*points, *tensors_referred_to(forward_func), *(a for a in additional if isinstance(a, Tensor))]
    usable = [t.detach() for t in tensors if t.layout == torch.strided and not t.is_meta and not t.is_nested]
    found = [
        _digest(t)
        for t in usable
        if not t.dtype.is_complex and not t.is_quantized and t.dtype != torch.bool and t.numel()
    ]
    return torch.stack([sums.to("cpu") for sums in found]) if found else torch.empty(0)


def _digest(tensor: Tensor) -> Tensor:
    """Return four sums over a tensor, of which no two numbers can change places unseen."""
    table = tensor.reshape(len(tensor), -1) if tensor.dim() else tensor.reshape(1, 1)
    by_row, by_column = (table.sum(dim, dtype=torch.float64) for dim in (1, 0))
    weighted = [
        sums @ torch.arange(1, len(sums) + 1, device=sums.device, dtype=sums.dtype).sqrt()
        for sums in (by_row, by_column)
    ]
    return torch.stack([by_row.sum(), table.abs().sum(dtype=torch.float64), *weighted]).nan_to_num()
