"""Which floating dtypes a forward function computes in, also where casts hide them from its inputs and outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captum_xg._core.function import ScalarFunction


class _Dtypes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the dtype of every floating-point tensor that an operation returns."""

    supports_higher_order_operators = True  # torch.cond and the like, too

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.dtype.is_floating_point:
                self.seen.add(leaf.dtype)
        return result


def inner_dtypes(function: ScalarFunction, inputs: tuple[Tensor, ...]) -> set[torch.dtype]:
    """Return the floating dtypes of all results of operations while F runs once."""
    dtypes = _Dtypes()
    try:
        with dtypes:
            function.values(tuple(x.detach().clone() for x in inputs))
    except Exception:  # F ran before, so it is the looking that it does not bear
        return set()
    return dtypes.seen
