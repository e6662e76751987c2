"""What flows from which module to which, and how large it is: observed in one forward pass on the example inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captum_xg.homogeneity.shadows import has_storage


class Flow:
    """One forward pass, as the modules see it.

    Attributes:
        rms: For each module that ran, by its path, the root mean square of its first input per example, averaged over
            examples and calls.
        ran: The paths of the modules that ran.
        dims: For each of these, the numbers of dimensions that its first input had.
        shapes: The shape of that input, in the first call.
        exposed: Modules whose parameters or buffers something else than the module itself reads.
    """

    def __init__(self) -> None:
        self.rms: dict[str, float] = {}
        self.ran: set[str] = set()
        self.dims: dict[str, set[int]] = {}
        self.shapes: dict[str, torch.Size] = {}
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
        """Return whether the result of a module is multiplied with something."""
        return any(name.rstrip("_") in ("aten::mul", "aten::addcmul") for name in self._operations.get(path, ()))

    def overwritten(self, path: str) -> bool:
        """Return whether something else writes into the result of a module."""
        return any(name.endswith("_") for name in self._operations.get(path, ()))

    def returned(self, path: str) -> bool:
        """Return whether the model returns the result of a module, or a view of it."""
        return path in self._returned


def observe(model: nn.Module, run: Callable[[], Any]) -> Flow:
    """Return what flows in one forward pass.

    Args:
        model: The model.
        run: Runs it.
    """
    flow = Flow()
    watch = _Watch(flow)
    with torch.no_grad(), watch.hooked(model), watch:
        output = run()
    for tensor in tree_leaves(output):
        source = watch.source(tensor)
        if source is not None:
            flow._returned.add(source)
    for path, sizes in watch.sizes.items():
        flow.rms[path] = sum(sizes) / len(sizes)
    return flow


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes for each memory which module's result it is, and which operations in which modules read it."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: dict[str, list[float]] = {}
        self._flow = flow
        self._running: list[str] = []
        self._results: WeakKeyDictionary[torch.UntypedStorage, tuple[str, torch.Size]] = WeakKeyDictionary()
        self._owners: WeakKeyDictionary[torch.UntypedStorage, set[str]] = WeakKeyDictionary()
        self._measuring = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self._measuring:
            inside = self._running[-1] if self._running else ""
            for tensor in tree_leaves((args, kwargs)):
                if isinstance(tensor, Tensor) and has_storage(tensor):
                    owners = self._owners.get(tensor.untyped_storage(), set())
                    self._flow.exposed |= owners if owners != {inside} else set()
                if (source := self.source(tensor)) is not None:
                    self._flow._followers.setdefault(source, set()).add(inside)
                    self._flow._operations.setdefault(source, set()).add(func._schema.name)
        return func(*args, **kwargs)

    def source(self, tensor: Any) -> str | None:
        """Return the module whose result lies in the memory of a tensor."""
        known = self._known(tensor)
        return None if known is None else known[0]

    def _known(self, tensor: Any) -> tuple[str, torch.Size] | None:
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
            if not (container and self._known(output)):
                self._results[output.untyped_storage()] = (path, output.shape)

        return leave


def _single(values: set[Any]) -> str | None:
    value = next(iter(values), None)
    return value if len(values) == 1 and isinstance(value, str) else None
