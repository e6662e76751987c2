"""Parameters that a forward of the user's own adds: dropped where that forward cannot be recorded and rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.modules import named_modules_of
from captum_xg.homogeneity.ledger.added_constants import Added, ConstantWatch
from captum_xg.xdnn.registry import Conversion, NotConvertible

_BESIDE = ("cat", "stack", "pad", "where", "fill")  # torch.concat and column_stack among them
"""What is in the names of functions that put a constant beside values, as a class token, or in their place."""


class _SumWatch(ConstantWatch):
    """Sees constants that are added, and which are put beside what depends on the input, too."""

    def __init__(
        self, inputs: Iterable[Tensor], names: Mapping[int, tuple[str, nn.Module]], outermost: CodeType
    ) -> None:
        super().__init__(inputs, names, outermost)
        self.beside: set[tuple[str, str]] = set()

    def _entry(self, func: Callable[..., Any], sources: list[Any]) -> Added:
        added = super()._entry(func, sources)
        if any(part in func.__name__ for part in _BESIDE):
            self.beside.add((added.module, added.constant))
        return added


def added_parameters(model: nn.Module, inputs: tuple[Tensor, ...], run: Callable[..., object]) -> dict[str, list[str]]:
    """Return which parameters and buffers of each module are added, as they are, to what depends on the input.

    Those that are zero are not seen. Class tokens and the like, which are put beside it, stay.

    Args:
        model: The model.
        inputs: Its inputs.
        run: Calls it with these.
    """
    watches = []

    def watched(*xs: Tensor) -> None:
        watches.append(_SumWatch(xs, named_modules_of(model), watched.__code__))
        with watches[-1]:
            run(*xs)

    try:
        with torch.enable_grad():
            # Clones of leaves, so that the forward may overwrite its inputs.
            watched(*(x.detach().clone().requires_grad_().clone() for x in inputs))
    finally:
        for watch in watches:
            watch.release()
    modules = dict(model.named_modules())
    found: dict[str, list[str]] = {}
    for added in watches[-1].found.added.values():
        module = modules.get(added.module)
        beside = (added.module, added.constant) in watches[-1].beside
        if module is not None and not beside and added.constant in (*module._parameters, *module._buffers):
            found.setdefault(added.module, []).append(added.constant)
    return found


def drop_parameters(module: nn.Module, names: list[str], uses: Mapping[int, int]) -> Conversion | NotConvertible:
    """Put zeros, which are not trained, in the place of parameters and buffers: the forward may ask for them.

    Args:
        module: The module that adds them.
        names: Theirs.
        uses: In how many modules each parameter occurs, by its id.
    """
    given: dict[str, Tensor] = {name: getattr(module, name) for name in names}
    shared = [name for name, tensor in given.items() if uses.get(id(tensor), 1) > 1]
    if shared:
        return NotConvertible(
            f"adds {' and '.join(shared)}, which other modules use, too",
            "Give the sum a parameter of its own, or leave it out",
        )
    dropped, exact = [], True
    for name, tensor in given.items():
        size = float(tensor.detach().abs().max()) if tensor.numel() else 0.0
        dropped.append(f"{name}, of up to {size:.2g}" if size else f"{name}, zero so far")
        exact = exact and not size
        module._parameters.pop(name, None)
        module._buffers.pop(name, None)
        # A buffer, since a parameter of zeros would be trained to something else, and the forward may not take None.
        module.register_buffer(name, torch.zeros_like(tensor.detach()))
    kind = type(module).__name__
    why = f"drops what its forward adds: {'; '.join(dropped)}"
    return Conversion(module, why, exact=exact, before=kind, after=f"{kind} without {' and '.join(names)}")
