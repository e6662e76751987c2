"""A model as a function of its inputs and of some of its constants, each with a value of its own for every example.

``Augmented(F, 1, constants)(x, *values, *additional)`` is F(x; c): rows of ``values`` take the place of the constants
that F holds, one row for each example. So constants are inputs like others: attributions, checks and proofs of
functions with several inputs apply to them as they are, example by example.

Each example is computed by itself, vectorised over the batch (``torch.vmap``), or one after the other where the model
cannot be vectorised. So examples are never mixed, and the model's memory is that of one forward pass.

What must never happen: a model is left with a value that is not its own. Places are put back whatever happens, and
whoever reads or replaces what is in them holds :data:`ALONE`, as other threads may explain the same model.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from captum_xg._core.function import has_rows
from captum_xg._core.module_attributes import ModuleAttributes
from captum_xg._core.modules import named_modules_of
from captum_xg._core.types import ForwardFunction, Tensors
from captum_xg.homogeneity.joint.constants import Constant
from captum_xg.homogeneity.joint.fixed_norms import FixedNorms

ALONE = threading.RLock()
"""Held by the one thread that may look at, or replace, the constants of models."""


class Augmented:
    """F as a function of inputs and constants.

    Args:
        forward_func: F.
        n_inputs: How many inputs it has.
        constants: The tensors that become inputs.
    """

    def __init__(self, forward_func: ForwardFunction, n_inputs: int, constants: Sequence[Constant]) -> None:
        self.forward_func = forward_func
        self.constants = tuple(constants)
        self._n_inputs = n_inputs
        self._vectorised = True

    def __call__(self, *args: Any) -> Any:
        """Return F of inputs, values of the constants and additional arguments, in this order."""
        n = len(args[0])
        mapped = len(self.constants) + self._n_inputs
        dims = tuple(0 if i < mapped or has_rows(value, n) else None for i, value in enumerate(args))
        # The code of this method names the function, by which the modules behind it are found.
        forward_func = self.forward_func

        def one(*own: Any) -> Any:
            rows = [value if dim is None else value.unsqueeze(0) for value, dim in zip(own, dims, strict=True)]
            inputs, values, additional = rows[: self._n_inputs], rows[self._n_inputs : mapped], rows[mapped:]
            with self._in_place(values), FixedNorms():
                return tree_map(_first, forward_func(*inputs, *additional))

        if self._vectorised:
            # What the model keeps of a vectorised pass, such as an activation, cannot be used outside of it.
            kept = ModuleAttributes(module for _, module in named_modules_of(forward_func).values())
            try:
                return torch.vmap(one, in_dims=dims, randomness="error")(*args)
            finally:
                kept.put_back()
        results = [
            one(*(value if dim is None else value[i] for value, dim in zip(args, dims, strict=True))) for i in range(n)
        ]
        return tree_map(_stacked, *results)

    def settle(self, args: tuple[Any, ...]) -> None:
        """Find out with one example whether F can be vectorised: once, before anybody watches it run."""
        n = len(args[0])
        own = [value[:1] if has_rows(value, n) else value for value in args]
        try:
            with torch.no_grad(), warnings.catch_warnings():
                # Of operations that run one example after the other inside of vmap; said once for each of them.
                warnings.filterwarnings("ignore", "There is a performance drop")
                self(*own)
        except Exception:  # then it raises when it is used, too, or takes one example at a time
            self._vectorised = False

    def values(self, n: int) -> Tensors:
        """Return the constants as they are, once for each of n examples."""
        return tuple(constant.value.unsqueeze(0).expand(n, *constant.value.shape) for constant in self.constants)

    @contextmanager
    def _in_place(self, rows: Sequence[Tensor]) -> Iterator[None]:
        """Let rows of one example be the values that the model holds."""
        own = [(holder, key, holder[key]) for constant in self.constants for holder, key in constant.places]
        try:
            for constant, row in zip(self.constants, rows, strict=True):
                for holder, key in constant.places:
                    holder[key] = row.squeeze(0)
            yield
        finally:
            for holder, key, value in own:
                holder[key] = value


def _first(value: object) -> object:
    return value.squeeze(0) if isinstance(value, Tensor) and value.dim() and len(value) == 1 else value


def _stacked(*rows: Any) -> Any:
    return torch.stack(rows) if isinstance(rows[0], Tensor) else rows[0]
