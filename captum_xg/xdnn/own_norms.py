"""Norms that people write themselves: modules without linear layers that divide by the size of what comes in.

Example: ``x / sqrt(x.pow(2).mean(1, keepdim=True) + eps) * weight + bias``. Without eps and bias that has degree 0, and
all behind it would forget the size of the example. So it is treated as the norms of PyTorch are, as a whole: kept as it
is at the typical size of its input, and extended along the ray.

What divides by a size and grows with its input all the same (global response norm) is left to the rules for the
constants in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from captum_xg.xdnn.dataflow import Dataflow
from captum_xg.xdnn.registry import Entry, find_conversion
from captum_xg.xdnn.rules.normalization import norm

OWN_NORM = Entry(nn.Module, "normalisation and gates", norm)
"""The conversion of such modules: that of PyTorch's norms."""
_FACTORS = 2.0**6, 2.0**8
"""Far out, where a bias or eps, which training changes, does not count: what is decided is decided for all weights."""
_OFF = 0.1
"""What the exponent by which a result grows may differ from 1 for a module that is no norm."""


def own_norms(model: nn.Module, flow: Dataflow, run: Callable[[nn.Module], object]) -> frozenset[str]:
    """Return the paths of the modules of a model that are norms of the user's own.

    Args:
        model: The model.
        flow: What flows in it.
        run: Runs it on the examples.
    """
    candidates = {path: m for path, m in model.named_modules() if flow[path].divides_by_input and _may_be_norm(m)}
    found: set[str] = set()
    if not candidates:
        return frozenset()
    watches = [m.register_forward_pre_hook(_watch(path, found)) for path, m in candidates.items()]
    try:
        run(model)
    finally:
        for watch in watches:
            watch.remove()
    return frozenset(found)


def _may_be_norm(module: nn.Module) -> bool:
    """Return whether a module has a forward of the user's own and no parameters but numbers for each channel."""
    if type(module).__module__.startswith(("torch.", "captum_xg.")) or find_conversion(type(module)) is not None:
        return False
    return all(p.numel() == max(p.shape, default=1) for p in module.parameters())


def _watch(path: str, found: set[str]) -> Callable[[nn.Module, tuple[object, ...]], None]:
    """Return a hook that finds out whether a module keeps the shape of its input, but grows by another power of it."""

    def look(module: nn.Module, arguments: tuple[object, ...]) -> None:
        x = arguments[0] if len(arguments) == 1 else None
        if not isinstance(x, Tensor) or x.dim() < 2:
            return
        try:
            with torch.no_grad():
                small, large = (module.forward(factor * x) for factor in _FACTORS)
        except Exception:  # whatever a forward of the user's own does at another size
            return
        if not isinstance(small, Tensor) or not isinstance(large, Tensor) or small.shape != x.shape:
            return
        sizes = float(small.double().norm()), float(large.double().norm())
        if all(0 < size < math.inf for size in sizes):
            exponent = math.log(sizes[1] / sizes[0]) / math.log(_FACTORS[1] / _FACTORS[0])
            if abs(exponent - 1) > _OFF:
                found.add(path)

    return look
