"""The constants that a forward pass adds, seen at the calls that add them, and what each carries of F.

For y = A·h + t, where h depends on the input and t does not, t·∂F/∂y is what t carries. So every result of such a call
gets a hook that receives ∂F/∂y in the backward pass, and t is read off the call (:mod:`.affine_calls`). Of a layer
``linear(x, W, b)`` that is b; of ``x + (a − b)``, where a and b are parameters, it is their difference: what meets the
input's values counts, not what it was made of.

It is a function mode, above autograd, because hooks belong to tensors of the graph. A value must never count as a
constant because a part of its history was not seen: where that may be, autograd is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from captum_xg._core.autograd_graph import reaches
from captum_xg._core.provenance import current_site
from captum_xg.homogeneity.ledger.affine_calls import (
    CHANGES_ITS_FIRST_ARGUMENT,
    CONSTANT_OF,
    LEAVES_TORCH,
    ONLY_LIKE_ITS_FIRST_ARGUMENT,
    Function,
    Rule,
)

_T = TypeVar("_T")


@dataclass
class Added:
    """One constant, over all calls that add it.

    Attributes:
        module: Path of the module whose forward adds it.
        type: Its class.
        constant: Name of the parameter or buffer, ``"shift"``, or ``"constant …"``.
        location: ``"file:line"`` of the first call.
        total: Σ t·∂F/∂y per example, shape ``(N,)``; None as long as F was not seen to depend on it.
        size: Σ |t·∂F/∂y| per example, where positions that share a number are added first.
    """

    module: str
    type: str
    constant: str
    location: str
    total: Tensor | None = None
    size: Tensor | None = None

    def receive(self, constant: Tensor, gradient: Tensor, n: int) -> None:
        """Add what one call carries: t·∂F/∂y, summed over all positions of each of the ``n`` examples."""
        wide = torch.promote_types(gradient.dtype, torch.float32)
        t = constant.reshape((1,) * (gradient.dim() - constant.dim()) + tuple(constant.shape)).to(wide)
        # Gradients are summed first where positions share a number, so that nothing as large as the output is made.
        shared = [d for d in range(gradient.dim()) if t.shape[d] == 1 and (d > 0 or n == 1)]
        g = gradient.sum(shared, keepdim=True, dtype=wide) if shared else gradient.to(wide)
        terms = t * g
        if not bool(torch.isfinite(terms.sum())):
            terms = torch.where(g == 0, torch.zeros_like(terms), terms)  # −inf in a mask carries nothing
        terms = terms.reshape(n, -1)
        total, size = terms.sum(1), terms.abs().sum(1)
        self.total = total if self.total is None else self.total + total
        self.size = size if self.size is None else self.size + size


@dataclass
class Found:
    """What the forward pass was seen to do.

    Attributes:
        added: The constants, in the order in which they are first added.
        dtypes: Floating dtypes of what depends on the input.
        unassigned: A constant enters a tensor whose dimension 0 does not count the examples.
        left: Calls that take values of the input out of PyTorch, where they would come back as constants.
        unfollowed: Why calls could not be followed, ``""`` if they were.
    """

    added: dict[tuple[str, str], Added] = field(default_factory=dict)
    dtypes: set[torch.dtype] = field(default_factory=set)
    unassigned: bool = False
    left: dict[str, None] = field(default_factory=dict)
    unfollowed: str = ""


class ConstantWatch(TorchFunctionMode):
    """Sees every call of PyTorch from Python, and taps the result of those that add a constant to the input's values.

    A call y = A·h + t, where h depends on the input and t does not, gets a hook on y that receives ∂F/∂y in the
    backward pass: the gradient by the value that y had when the hook came, also if an activation overwrites y later.
    Whether a value depends on the input is followed from call to call, through detached values too, and where a part of
    the forward pass is not seen (scripted modules, custom autograd functions), autograd is asked.

    Args:
        inputs: The tensors x.
        names: Module id → (path, module).
        outermost: Code of the function that calls the model.
    """

    entry = Added
    """What is kept of a constant."""

    def __init__(
        self, inputs: Iterable[Tensor], names: Mapping[int, tuple[str, nn.Module]], outermost: CodeType
    ) -> None:
        super().__init__()
        self.found = Found()
        self._names = names
        self._outermost = outermost
        self._dependent = WeakTensorKeyDictionary()
        self._starts: list[Node] = []
        self._handles: list[RemovableHandle] = []
        self._constant_names = _constant_names(names)
        self._n = 0
        for x in inputs:
            self._dependent[x] = True
            self._starts.append(get_gradient_edge(x).node)
            self._n = len(x)

    def __torch_function__(
        self, func: Function, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, object] | None = None
    ) -> object:
        kwargs = kwargs or {}
        sources = args[1:] if func in ONLY_LIKE_ITS_FIRST_ARGUMENT else args
        if not any(map(self._depends, tree_leaves((sources, kwargs)))):
            return func(*args, **kwargs)
        rule = CONSTANT_OF.get(func)
        result = func(*args, **kwargs) if rule is None else self._tapped(func, rule, args, kwargs)
        for y in (result,) if isinstance(result, Tensor) else tree_leaves(result):
            if isinstance(y, Tensor):
                self._mark(y)
        if func in LEAVES_TORCH:
            self.found.left.setdefault(f"Tensor.{func.__name__}")
        elif func is Tensor.__setitem__:
            self._mark(args[0])
        return result

    def release(self) -> None:
        """Take all hooks off, in case the model keeps an activation."""
        for handle in self._handles:
            handle.remove()

    def _tapped(self, func: Function, rule: Rule, args: tuple[Any, ...], kwargs: Mapping[str, object]) -> object:
        sources: list[object] = []

        def known(value: _T) -> _T | None:
            """Return a value if it does not depend on the input, else None."""
            if value is None or self._depends(value):
                return None
            sources.append(value)
            return value

        with torch.no_grad():
            constant = rule(known, *args, **kwargs)
            if isinstance(constant, Tensor):
                # A copy: what is added here may be overwritten before the backward pass.
                constant = constant.detach().clone()
        if constant is None or not bool((constant != 0).any() if isinstance(constant, Tensor) else constant):
            return func(*args, **kwargs)
        in_place = CHANGES_ITS_FIRST_ARGUMENT.get(func)
        y = (in_place or func)(*args, **kwargs)
        if isinstance(y, Tensor) and y.requires_grad and y.is_floating_point():
            if self._n > 1 and (y.dim() == 0 or len(y) != self._n):
                self.found.unassigned = True
            else:
                if y._is_view():
                    y = y.clone()  # writing into a view goes to its base, past the hook
                # In y's dtype: what was really added, if the computation is in a coarser one than the constant.
                self._tap(y, torch.as_tensor(constant, dtype=y.dtype, device=y.device), self._entry(func, sources))
        return y if in_place is None else args[0].copy_(y)

    def _tap(self, y: Tensor, constant: Tensor, added: Added) -> None:
        n = self._n
        hook = y.register_hook(lambda gradient: added.receive(constant, gradient, n))  # type: ignore[no-untyped-call]
        self._handles.append(hook)

    def _entry(self, func: Function, sources: list[object]) -> Added:
        site = current_site(func.__name__, self._names, self._outermost)
        name = "shift" if func in (nn.functional.batch_norm, nn.functional.instance_norm) else self._name(sources)
        prefix = f"{site.module}."
        name = name.removeprefix(prefix) if site.module else name
        return self.found.added.setdefault((site.module, name), self.entry(site.module, site.type, name, site.location))

    def _name(self, sources: list[object]) -> str:
        if len(sources) != 1:
            return "constants"
        value = sources[0]
        if not isinstance(value, Tensor):
            return f"constant {value:g}" if isinstance(value, (int, float)) else "constant"
        base = value if value._base is None else value._base
        return self._constant_names.get(id(value)) or self._constant_names.get(id(base)) or "constant"

    def _depends(self, value: object) -> bool:
        if not isinstance(value, Tensor):
            return False
        return value in self._dependent or (value.grad_fn is not None and reaches(value, self._starts))

    def _mark(self, value: Tensor) -> None:
        self._dependent[value] = True
        if value.is_floating_point():
            self.found.dtypes.add(value.dtype)


def _constant_names(names: Mapping[int, tuple[str, nn.Module]]) -> dict[int, str]:
    """Return id → path of every parameter and buffer, shared ones under their first path."""
    found: dict[int, str] = {}
    for path, module in names.values():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), f"{path}.{name}" if path else name)
    return found
