"""The floating dtypes that a forward function computes in, also where casts hide them from its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_xg._core.recorder import Observer, OpEvent, Recorder


class _Dtypes(Observer):
    """The dtype of every floating-point tensor that an operation returns."""

    def __init__(self) -> None:
        self.seen: set[torch.dtype] = set()

    def after(self, event: OpEvent) -> None:
        self.seen |= floating_dtypes(event)


def floating_dtypes(event: OpEvent) -> set[torch.dtype]:
    """Return the floating dtypes of what an operation returned."""
    return {result.dtype for result in event.results if result.dtype.is_floating_point}


def inner_dtypes(run: Callable[[tuple[Tensor, ...]], object], inputs: tuple[Tensor, ...]) -> set[torch.dtype]:
    """Return the floating dtypes of all results of operations while F, ``run``, runs once."""
    dtypes = _Dtypes()
    try:
        with Recorder(dtypes):
            run(tuple(x.detach().clone() for x in inputs))
    except Exception:  # F ran before, so it is the looking that it does not bear
        return set()
    return dtypes.seen
