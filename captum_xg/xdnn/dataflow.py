"""What flows from which module to which, and how large it is: observed in one forward pass on the example inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captum_xg._core.storage import has_storage
from captum_xg.xdnn.layers import HardGate


class Flow:
    """One forward pass, as the modules see it.

    Attributes:
        rms: For each module that ran, by its path, the root mean square of its first input per example, averaged over
            examples and calls.
        ran: The paths of the modules that ran.
        dims: For each of these, the numbers of dimensions that its first input had.
        shapes: The shape of that input, in the first call.
        passed: The names of the arguments that they were ever called with.
        exposed: Modules whose parameters or buffers something else than the module itself reads.
    """

    def __init__(self) -> None:
        self.rms: dict[str, float] = {}
        self.ran: set[str] = set()
        self.dims: dict[str, set[int]] = {}
        self.shapes: dict[str, torch.Size] = {}
        self.passed: dict[str, set[str]] = {}
        self.exposed: set[str] = set()
        self._sources: dict[str, set[str | None]] = {}
        self._followers: dict[str, set[str]] = {}
        self._operations: dict[str, set[str]] = {}
        self._returned: set[str] = set()

    def only_source(self, path: str) -> str | None:
        """Return the one module whose result, and nothing else, goes into a module as it is; None if there is none."""
        return _single(self._sources.get(path, set()))

    def only_follower(self, path: str) -> str | None:
        """Return the one module that does all that is done with a module's result; None if there is none."""
        return None if path in self._returned else _single(self._followers.get(path, set()))

    def multiplies(self, path: str) -> bool:
        """Return whether all that is done with a module's result is to multiply with it what depends on the input."""
        operations = self._operations.get(path, set())
        return "multiplies" in operations and "serves otherwise" not in operations

    def divides(self, path: str) -> bool:
        """Return whether something is divided by the result of a module, or by its root."""
        return "divides" in self._operations.get(path, ())

    def overwritten(self, path: str) -> bool:
        """Return whether something else writes into the result of a module."""
        return any(name.endswith("_") for name in self._operations.get(path, ()))

    def returned(self, path: str) -> bool:
        """Return whether the model returns the result of a module, as it is or after operations on single numbers."""
        return path in self._returned


def observe(model: nn.Module, inputs: Sequence[Tensor], run: Callable[[], Any]) -> Flow:
    """Return what flows in one forward pass.

    Args:
        model: The model.
        inputs: What ``run`` passes to it.
        run: Runs it.
    """
    flow = Flow()
    watch = _Watch(flow, inputs)
    with torch.no_grad(), watch.hooked(model), watch:
        output = run()
    for tensor in _tensors_in(output):
        flow._returned |= watch.origins(tensor)
    for path, sizes in watch.sizes.items():
        flow.rms[path] = sum(sizes) / len(sizes)
    return flow


_PRODUCTS = ("mul", "addcmul", "bmm", "mm", "matmul", "baddbmm", "addmm")
_QUOTIENTS = ("div", "true_divide")
_ROOTS = ("sqrt", "pow", "clone", "_to_copy")
_ON_NUMBERS = (
    *("add", "sub", "rsub", "mul", "div", "neg", "clamp", "clamp_min", "clamp_max", "log", "exp", "pow", "sqrt"),
    *("cat", "stack", "clone", "_to_copy", "logit"),
)
"""Operations that bring the output from what a layer returned to what the model does, number by number."""

_GATES = (nn.Sigmoid, nn.Hardsigmoid, HardGate)
_VIEWS = (
    *("view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "permute", "transpose", "t", "alias", "detach"),
    *("slice", "select", "split", "split_with_sizes", "unbind", "as_strided", "_reshape_alias", "native_dropout"),
)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes for each memory which module's result it is, and which operations in which modules read it."""

    def __init__(self, flow: Flow, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: dict[str, list[float]] = {}
        self._flow = flow
        self._running: list[str] = []
        self._results: WeakKeyDictionary[torch.UntypedStorage, tuple[str, torch.Size, int]] = WeakKeyDictionary()
        self._calls = 0
        self._owners: WeakKeyDictionary[torch.UntypedStorage, set[str]] = WeakKeyDictionary()
        self._dependent: WeakSet[torch.UntypedStorage] = WeakSet(x.untyped_storage() for x in inputs if has_storage(x))
        # What came from the result of a module through operations on single numbers, and what is a root of it.
        self._origins: WeakKeyDictionary[torch.UntypedStorage, frozenset[str]] = WeakKeyDictionary()
        self._roots: WeakKeyDictionary[torch.UntypedStorage, str] = WeakKeyDictionary()
        self._chains: WeakKeyDictionary[torch.UntypedStorage, tuple[str, int]] = WeakKeyDictionary()
        self._descent: WeakKeyDictionary[torch.UntypedStorage, frozenset[tuple[str, int]]] = WeakKeyDictionary()
        self._written_by: WeakKeyDictionary[torch.UntypedStorage, str] = WeakKeyDictionary()
        self._measuring = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._measuring:
            return func(*args, **kwargs)
        inside = self._running[-1] if self._running else ""
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and has_storage(t)]
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        for tensor in tensors:
            owners = self._owners.get(tensor.untyped_storage(), set())
            self._flow.exposed |= owners if owners != {inside} else set()
            if (source := self.source(tensor)) is not None:
                self._flow._followers.setdefault(source, set()).add(inside)
                self._operation(source).add(func._schema.name)
        self._note_role(name, args, tensors)
        if func._schema.name.endswith("_") and tensors:
            self._written_by[tensors[0].untyped_storage()] = inside
        origins = frozenset().union(*map(self.origins, tensors)) if name in _ON_NUMBERS else frozenset()
        carried = all(self.origins(t) for t in tensors if self._depends(t))
        root = self.source(tensors[0]) if name in _ROOTS and tensors else None
        dependent = [t for t in tensors if self._depends(t)]
        chain = self._chained(dependent[0]) if name in _ON_NUMBERS and len(dependent) == 1 else None
        descent = frozenset().union(*map(self._descends, dependent))
        out = func(*args, **kwargs)
        for tensor in _tensors_in(out):
            if not has_storage(tensor):
                continue
            if dependent:
                self._dependent.add(tensor.untyped_storage())
            if descent:
                self._descent[tensor.untyped_storage()] = descent | self._descends(tensor)
            if chain is not None:
                self._chains[tensor.untyped_storage()] = chain
            if origins and carried and tensor.untyped_storage() not in self._results:
                self._origins[tensor.untyped_storage()] = origins
            if root is not None:
                self._roots[tensor.untyped_storage()] = root
        return out

    def _note_role(self, name: str, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
        """Note whose result is a factor beside something that depends on the input, or a denominator."""
        dependent = [t for t in tensors if self._depends(t)]
        multiplied = name in _PRODUCTS and len(dependent) > 1
        for tensor in [] if multiplied or name in _ON_NUMBERS or name in _VIEWS else tensors:
            if (source := self.source(tensor)) is not None:
                self._operation(source).add("serves otherwise")
        for tensor in dependent if multiplied else []:
            if (call := self._chained(tensor)) is not None:
                # What is multiplied by something that it has gone into itself is no gate of it.
                by_own = any(call in self._descends(other) for other in dependent if other is not tensor)
                self._operation(call[0]).add("serves otherwise" if by_own else "multiplies")
        below = args[1] if name in _QUOTIENTS else args[0] if name in ("reciprocal", "rsqrt") else None
        if isinstance(below, Tensor) and has_storage(below):
            root = self._roots.get(below.untyped_storage())
            for source in self.origins(below) | (frozenset() if root is None else {root}):
                self._operation(source).add("divides")

    def _operation(self, source: str) -> set[str]:
        return self._flow._operations.setdefault(source, set())

    def _depends(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage() in self._dependent

    def _descends(self, tensor: Tensor) -> frozenset[tuple[str, int]]:
        """Return the calls of gates whose result has gone into a tensor."""
        return self._descent.get(tensor.untyped_storage(), frozenset())

    def _chained(self, tensor: Tensor) -> tuple[str, int] | None:
        """Return the call of a module whose result a tensor is, but for operations with constants."""
        chain = self._chains.get(tensor.untyped_storage())  # before the source: a lifted 1 - g is a module as well
        known = self._known(tensor)
        return chain if chain is not None or known is None else (known[0], known[2])

    def origins(self, tensor: Tensor) -> frozenset[str]:
        """Return the modules whose result a tensor is, as it is or after operations on single numbers."""
        if not has_storage(tensor):
            return frozenset()
        source = self.source(tensor)
        known = self._origins.get(tensor.untyped_storage(), frozenset())
        return known if source is None else known | {source}

    def source(self, tensor: Any) -> str | None:
        """Return the module whose result lies in the memory of a tensor."""
        known = self._known(tensor)
        return None if known is None else known[0]

    def _known(self, tensor: Any) -> tuple[str, torch.Size, int] | None:
        if not isinstance(tensor, Tensor) or not has_storage(tensor):
            return None
        return self._results.get(tensor.untyped_storage())

    @contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """Listen to every module while the body runs."""
        handles = []
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and has_storage(tensor):
                    self._owners.setdefault(tensor.untyped_storage(), set()).add(path)
            handles.append(module.register_forward_pre_hook(self._entering(path), with_kwargs=True))
            handles.append(module.register_forward_hook(self._leaving(path)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._running.append(path)
            self._flow.ran.add(path)
            first = next((t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)), None)
            known = self._known(first)
            whole = known is not None and first is not None and first.shape == known[1]
            self._flow._sources.setdefault(path, set()).add(known[0] if known is not None and whole else None)
            if first is not None:
                self._flow.dims.setdefault(path, set()).add(first.dim())
                self._flow.shapes.setdefault(path, first.shape)
            self._flow.passed.setdefault(path, set()).update(_names(module, args, kwargs))
            if first is not None and first.dtype.is_floating_point and first.dim() > 1 and first.numel():
                self._measuring = True
                wide = first.detach().flatten(1).double()
                self.sizes.setdefault(path, []).append(float(wide.square().mean(1).sqrt().mean()))
                self._measuring = False

        return enter

    def _leaving(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self._running.pop()
            if not isinstance(output, Tensor) or not has_storage(output):
                return
            # A container's result is that of the last module in it, which is the more telling name.
            container = next(module.children(), None) is not None
            # What a layer hands on as it came in, as dropout does here, is still the result of the one before.
            handed_on = self._written_by.get(output.untyped_storage()) != path and any(
                isinstance(t, Tensor) and has_storage(t) and t.untyped_storage() is output.untyped_storage()
                for t in args
            )
            self._calls += 1
            if not ((container or handed_on) and self._known(output)):
                self._results[output.untyped_storage()] = (path, output.shape, self._calls)
            if isinstance(module, _GATES):
                self._descent[output.untyped_storage()] = self._descends(output) | {(path, self._calls)}

        return leave


def _single(values: set[Any]) -> str | None:
    value = next(iter(values), None)
    return value if len(values) == 1 and isinstance(value, str) else None


def _names(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[str]:
    """Return the names of the arguments that a module is called with, but for those that are as by default."""
    try:
        signature = inspect.signature(module.forward)
        passed = signature.bind(*args, **kwargs).arguments
        defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
        return {n for n, value in passed.items() if isinstance(value, Tensor) or value is not defaults[n]}
    except (TypeError, ValueError):  # no signature to be had, as of compiled code
        return set(kwargs)


def _tensors_in(value: Any, depth: int = 4) -> Iterator[Tensor]:
    """Yield the tensors in what a model returns, also those in dataclasses and other objects."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth and hasattr(leaf, "__dict__") and not isinstance(leaf, (type, nn.Module)):
            yield from _tensors_in(dict(vars(leaf)), depth - 1)
