"""Dataflow between the modules of a model: what feeds what, as what it is used, and how large it is.

Everything is read off one forward pass, operation by operation, online: memory is known by its storage, and no
activation is kept. Views share the storage of what they show, so they need no rule; ``x + y`` is new memory.

Example: in ``x * sigmoid(conv(x))`` the result of the sigmoid has the role FACTOR and no other, so it is a gate. In
``relu(norm(conv(x)))`` the norm's only source is the convolution, and the norm is the convolution's only follower, so
the one can be folded into the other.

What must never happen: that a use of a result is missed. Folding into a layer whose result is read elsewhere, or making
a gate of an activation, would change the function without a word. So every operation that is not known to be harmless
counts as another use (OTHER_USE), and a result that is returned has no only follower.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captum_xg._core.storage import has_storage
from captum_xg.xdnn.layers import HardGate


class Role(Flag):
    """How the result of a module is used."""

    NONE = 0
    FACTOR = auto()  # beside something else that depends on the input
    DENOMINATOR = auto()  # it, or its root
    OTHER_USE = auto()  # by an operation that mixes numbers, or bends them
    OVERWRITTEN = auto()
    RETURNED = auto()  # as it is, or after operations on single numbers


@dataclass
class ModuleUse:
    """What one module is called with, and what becomes of its results, in all calls of one forward pass.

    Attributes:
        sizes: For each call, the root mean square of its first input per example, averaged over examples.
        shapes: For each call, the shape of that input.
        passed: The names of the arguments that it was ever called with.
        sources: The modules whose result that input is, as it is; None for anything else.
        followers: The modules in which an operation reads a result of this one.
        roles: How its results are used.
    """

    sizes: list[float] = field(default_factory=list)
    shapes: list[torch.Size] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    sources: set[str | None] = field(default_factory=set)
    followers: set[str] = field(default_factory=set)
    roles: Role = Role.NONE

    @property
    def dims(self) -> frozenset[int]:
        """The numbers of dimensions that its first input had."""
        return frozenset(map(len, self.shapes))

    @property
    def rms(self) -> float | None:
        """The size of its first input, averaged over calls; None if it had none to measure."""
        return sum(self.sizes) / len(self.sizes) if self.sizes else None

    @property
    def is_gate(self) -> bool:
        """Whether all that is done with its results is to multiply with them what depends on the input."""
        return Role.FACTOR in self.roles and Role.OTHER_USE not in self.roles


class Dataflow:
    """One forward pass, as the modules see it.

    Attributes:
        ran: The paths of the modules that ran.
        exposed: Modules whose parameters or buffers something else than the module itself reads.
    """

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.exposed: set[str] = set()
        self._uses: dict[str, ModuleUse] = {}

    def __getitem__(self, path: str) -> ModuleUse:
        """Return how a module was used, by its path."""
        return self._uses.setdefault(path, ModuleUse())

    def keep_sizes_of(self, earlier: Dataflow) -> None:
        """Take over the sizes that an earlier forward pass measured, for the modules that ran in it."""
        for path, use in earlier._uses.items():
            self[path].sizes = use.sizes or self[path].sizes

    def sizes_inside(self, path: str) -> dict[str, float]:
        """Return the sizes of the inputs of the modules inside of one, by their path in it."""
        prefix = f"{path}." if path else ""
        inner = ((p.removeprefix(prefix), use.rms) for p, use in self._uses.items() if p.startswith(prefix))
        return {p: rms for p, rms in inner if rms is not None}

    def only_source(self, path: str) -> str | None:
        """Return the one module whose result, and nothing else, goes into a module as it is; None if there is none."""
        sources = self[path].sources
        return next(iter(sources)) if len(sources) == 1 else None

    def only_follower(self, path: str) -> str | None:
        """Return the one module that does all that is done with a module's result; None if there is none."""
        use = self[path]
        return next(iter(use.followers)) if len(use.followers) == 1 and Role.RETURNED not in use.roles else None


def observe(model: nn.Module, inputs: Sequence[Tensor], run: Callable[[], object]) -> Dataflow:
    """Return what flows in one forward pass.

    Args:
        model: The model.
        inputs: What ``run`` passes to it.
        run: Runs it.
    """
    observer = _DataflowObserver(inputs)
    with torch.no_grad(), observer.hooked(model), observer:
        output = run()
    for tensor in _tensors_in(output):
        for path in observer.origins(tensor):
            observer.flow[path].roles |= Role.RETURNED
    return observer.flow


_PRODUCTS = ("mul", "addcmul", "bmm", "mm", "matmul", "baddbmm", "addmm")
_QUOTIENTS = ("div", "true_divide")
_ROOTS = ("sqrt", "pow", "clone", "_to_copy")
_ON_NUMBERS = (
    *("add", "sub", "rsub", "mul", "div", "neg", "clamp", "clamp_min", "clamp_max", "log", "exp", "pow", "sqrt"),
    *("cat", "stack", "clone", "_to_copy", "logit"),
)
"""Operations that bring the output from what a layer returned to what the model does, number by number."""
_VIEWS = (
    *("view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "permute", "transpose", "t", "alias", "detach"),
    *("slice", "select", "split", "split_with_sizes", "unbind", "as_strided", "_reshape_alias", "native_dropout"),
)
_GATES = (nn.Sigmoid, nn.Hardsigmoid, HardGate)


class _Call(NamedTuple):
    """One call of a module."""

    path: str
    number: int


@dataclass
class _Memory:
    """What is known of the numbers in one storage.

    Attributes:
        depends: Whether they depend on the input.
        result: The call whose result they are, as they are, and its shape.
        origins: The modules whose result they are up to operations on single numbers, of several results together too.
        single: The one call whose result they are up to operations with constants: ``1 - g`` is the gate g here.
        gates: The calls of gates that have gone into them, by whatever operation.
        root_of: The module of whose result they are a root, or a copy.
        written_in: The module in which an operation last wrote into them.
        owners: The modules whose parameter or buffer this is.
    """

    depends: bool = False
    result: tuple[_Call, torch.Size] | None = None
    origins: frozenset[str] = frozenset()
    single: _Call | None = None
    gates: frozenset[_Call] = frozenset()
    root_of: str | None = None
    written_in: str | None = None
    owners: set[str] = field(default_factory=set)

    @property
    def source(self) -> str | None:
        return None if self.result is None else self.result[0].path

    @property
    def all_origins(self) -> frozenset[str]:
        return self.origins if self.source is None else self.origins | {self.source}

    @property
    def single_call(self) -> _Call | None:
        # What came first counts: 1 - g may have been lifted to a module of its own, whose result this then is as well.
        return self.single or (None if self.result is None else self.result[0])


class _DataflowObserver(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows each storage from operation to operation, and notes what modules are called with."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flow = Dataflow()
        self._running: list[str] = []
        self._calls = 0
        self._memory: WeakKeyDictionary[torch.UntypedStorage, _Memory] = WeakKeyDictionary()
        self._measuring = False
        for x in inputs:
            if has_storage(x):
                self._at(x).depends = True

    def _at(self, tensor: Tensor) -> _Memory:
        storage = tensor.untyped_storage()
        known = self._memory.get(storage)
        if known is None:
            known = self._memory[storage] = _Memory()
        return known

    def origins(self, tensor: Tensor) -> frozenset[str]:
        """Return the modules whose result a tensor is, as it is or after operations on single numbers."""
        return self._at(tensor).all_origins if has_storage(tensor) else frozenset()

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._measuring:
            return func(*args, **kwargs)
        written = func._schema.name.removeprefix("aten::")
        name = written.rstrip("_")
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and has_storage(t)]
        operands = [self._at(t) for t in tensors]
        self._note_readers(operands, in_place=written.endswith("_"))
        self._note_roles(name, args, tensors)
        dependent = [m for m in operands if m.depends]
        carried = name in _ON_NUMBERS and all(m.all_origins for m in dependent)
        made = _Memory(
            depends=bool(dependent),
            origins=frozenset[str]().union(*(m.all_origins for m in operands)) if carried else frozenset(),
            single=dependent[0].single_call if name in _ON_NUMBERS and len(dependent) == 1 else None,
            gates=frozenset[_Call]().union(*(m.gates for m in dependent)),
            root_of=operands[0].source if name in _ROOTS and operands else None,
        )
        out = func(*args, **kwargs)
        for tensor in _tensors_in(out):
            if has_storage(tensor):
                self._add(self._at(tensor), made)
        return out

    @staticmethod
    def _add(known: _Memory, made: _Memory) -> None:
        """Note of memory, which may have been there before and been written into, what an operation made there."""
        known.depends |= made.depends
        known.gates |= made.gates
        known.single = made.single or known.single
        known.root_of = made.root_of or known.root_of
        if known.result is None:
            known.origins = made.origins or known.origins

    def _note_readers(self, operands: list[_Memory], *, in_place: bool) -> None:
        inside = self._running[-1] if self._running else ""
        for memory in operands:
            if memory.owners != {inside}:
                self.flow.exposed |= memory.owners
            if memory.source is not None:
                self.flow[memory.source].followers.add(inside)
                self.flow[memory.source].roles |= Role.OVERWRITTEN if in_place else Role.NONE
        if in_place and operands:
            operands[0].written_in = inside

    def _note_roles(self, name: str, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
        dependent = [t for t in tensors if self._at(t).depends]
        if name in _PRODUCTS and len(dependent) > 1:
            for tensor in dependent:
                if (call := self._at(tensor).single_call) is not None:
                    # What is multiplied by something that it has gone into itself is no gate of it.
                    by_own = any(call in self._at(other).gates for other in dependent if other is not tensor)
                    self.flow[call.path].roles |= Role.OTHER_USE if by_own else Role.FACTOR
        elif name not in _ON_NUMBERS and name not in _VIEWS:
            for source in (self._at(t).source for t in tensors):
                if source is not None:
                    self.flow[source].roles |= Role.OTHER_USE
        below = args[1] if name in _QUOTIENTS else args[0] if name in ("reciprocal", "rsqrt") else None
        if isinstance(below, Tensor) and has_storage(below):
            memory = self._at(below)
            for path in memory.all_origins | ({memory.root_of} if memory.root_of is not None else set()):
                self.flow[path].roles |= Role.DENOMINATOR

    @contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """Listen to every module while the body runs."""
        handles = []
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and has_storage(tensor):
                    self._at(tensor).owners.add(path)
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
            self.flow.ran.add(path)
            use = self.flow[path]
            use.passed |= _names_of_arguments(module, args, kwargs)
            first = next((t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)), None)
            known = self._at(first) if first is not None and has_storage(first) else _Memory()
            whole = first is not None and known.result is not None and known.result[1] == first.shape
            use.sources.add(known.source if whole else None)
            if first is not None:
                use.shapes.append(first.shape)
            if first is not None and first.dtype.is_floating_point and first.dim() > 1 and first.numel():
                self._measuring = True
                wide = first.detach().flatten(1).double()
                use.sizes.append(float(wide.square().mean(1).sqrt().mean()))
                self._measuring = False

        return enter

    def _leaving(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], object], None]:
        def leave(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            self._running.pop()
            if not isinstance(output, Tensor) or not has_storage(output):
                return
            known, storage = self._at(output), output.untyped_storage()
            # A container's result is that of the last module in it, which is the more telling name.
            container = next(module.children(), None) is not None
            # What a layer hands on as it came in, as dropout does here, is still the result of the one before.
            handed_on = known.written_in != path and any(
                isinstance(t, Tensor) and has_storage(t) and t.untyped_storage() is storage for t in args
            )
            self._calls += 1
            call = _Call(path, self._calls)
            if not ((container or handed_on) and known.result):
                known.result = call, output.shape
            if isinstance(module, _GATES):
                known.gates |= {call}

        return leave


def _names_of_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[str]:
    """Return the names of the arguments that a module is called with, but for those that are as by default."""
    try:
        signature = inspect.signature(module.forward)
        passed = signature.bind(*args, **kwargs).arguments
        defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
        return {n for n, value in passed.items() if isinstance(value, Tensor) or value is not defaults[n]}
    except (TypeError, ValueError):  # no signature, as of compiled code
        return set(kwargs)


def _tensors_in(value: object, depth: int = 4) -> Iterator[Tensor]:
    """Yield the tensors in what a model returns, also those in dataclasses and other objects."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth and hasattr(leaf, "__dict__") and not isinstance(leaf, (type, nn.Module)):
            yield from _tensors_in(dict(vars(leaf)), depth - 1)
