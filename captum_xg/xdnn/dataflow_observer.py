"""The observer that reads the dataflow between modules off one forward pass, operation by operation.

Memory is known by its storage. So views, which share the storage of what they show, need no rule, and ``x + y`` is new
memory. For each storage one record says whose result lies there, and what went into it; that is all that is kept, and
it goes when the storage does.

What must never happen: that a record outlives its storage and is taken for that of another one which got the same
address. So records hang on the storage object, weakly, and never on ``data_ptr()``.

Three questions are asked of a record. *Whose result is it, as it is?* (folding). *Whose result is it, but for
operations on single numbers?* (what a model returns or divides by: ``(s(x) * 255)`` is still the sigmoid's). *Of which
one call?* (gates: in ``x * (1 - g)`` the factor is the gate g, in ``x * (g + h)`` it is no single one).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from captum_xg._core.recorder import ModuleEvent, Observer, OpEvent, Recorder
from captum_xg._core.storage import has_storage
from captum_xg.xdnn.dataflow import Dataflow, Role
from captum_xg.xdnn.layers import HardGate

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
_RESAMPLED = (
    *("mean", "sum", "amax", "repeat", "index", "index_select", "gather", "roll", "flip", "constant_pad_nd"),
    *("avg_pool2d", "_adaptive_avg_pool2d", "max_pool2d_with_indices", "reflection_pad2d", "replication_pad2d"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d"),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d", "pixel_shuffle"),
)
"""Operations that bring gates to the places of what they multiply, or the other way round."""
_CARRYING = (*_ON_NUMBERS, *_RESAMPLED)
_GATES = (nn.Sigmoid, nn.Hardsigmoid, HardGate)


def observe(model: nn.Module, inputs: Sequence[Tensor], run: Callable[[], object]) -> Dataflow:
    """Return what flows in one forward pass.

    Args:
        model: The model.
        inputs: What ``run`` passes to it.
        run: Runs it.
    """
    observer = _DataflowObserver(model, inputs)
    with torch.no_grad(), Recorder(observer, followed=dict(model.named_modules())):
        output = run()
    observer.note_returned(output)
    return observer.flow


class _Call(NamedTuple):
    """One call of a module."""

    path: str
    number: int


@dataclass
class _Memory:
    """What is known of the numbers in one storage.

    Attributes:
        depends: Whether they depend on the input.
        result: The call whose result they are, as they are.
        origins: The modules whose result they are up to operations on single numbers, of several results together too.
        single: The one call whose result they are up to operations with constants: ``1 - g`` is the gate g here.
        gates: The calls of gates that have gone into them, by whatever operation.
        product: Whether they are a product of two things that depend on the input, up to operations with constants.
        root_of: The module of whose result they are a root, or a copy.
        written_in: The module in which an operation last wrote into them.
        owners: The modules whose parameter or buffer this is.
    """

    depends: bool = False
    result: _Call | None = None
    origins: frozenset[str] = frozenset()
    single: _Call | None = None
    gates: frozenset[_Call] = frozenset()
    product: bool = False
    root_of: str | None = None
    written_in: str | None = None
    owners: set[str] = field(default_factory=set)

    @property
    def source(self) -> str | None:
        return None if self.result is None else self.result.path

    @property
    def all_origins(self) -> frozenset[str]:
        return self.origins if self.source is None else self.origins | {self.source}

    @property
    def single_call(self) -> _Call | None:
        # What came first counts: 1 - g may have been lifted to a module of its own, whose result this then is as well.
        return self.single or self.result


class _DataflowObserver(Observer):
    """Follows each storage from operation to operation, and notes what modules are called with."""

    def __init__(self, model: nn.Module, inputs: Sequence[Tensor]) -> None:
        self.flow = Dataflow()
        self._calls = 0
        self._made = _Memory()
        self._memory: WeakKeyDictionary[torch.UntypedStorage, _Memory] = WeakKeyDictionary()
        for x in filter(has_storage, inputs):
            self._at(x).depends = True
        for path, module in model.named_modules():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and has_storage(tensor):
                    self._at(tensor).owners.add(path)

    def _at(self, tensor: Tensor) -> _Memory:
        """Return what is known of a tensor's storage, to be added to."""
        storage = tensor.untyped_storage()
        known = self._memory.get(storage)
        if known is None:
            known = self._memory[storage] = _Memory()
        return known

    def note_returned(self, output: object) -> None:
        """Note whose results a model returns, as they are or after operations on single numbers."""
        for tensor in filter(has_storage, _tensors_in(output)):
            for path in self._at(tensor).all_origins:
                self.flow[path].roles |= Role.RETURNED

    def before(self, event: OpEvent) -> None:
        """Note how results are used, and what is to be said of the operation's own."""
        tensors = [t for t in event.tensors if has_storage(t)]
        memories = [self._at(t) for t in tensors]
        name = event.name.removeprefix("aten::").rstrip("_")
        # Now, as an operation in place is about to overwrite what it reads.
        self._note_readers(memories, event)
        self._note_roles(name, tensors, event.module)
        self._note_denominator(name, event)
        dependent = [m for m in memories if m.depends]
        carried = name in _ON_NUMBERS and all(m.all_origins for m in dependent)
        self._made = _Memory(
            depends=bool(dependent),
            origins=frozenset[str]().union(*(m.all_origins for m in memories)) if carried else frozenset(),
            single=dependent[0].single_call if name in _CARRYING and len(dependent) == 1 else None,
            gates=frozenset[_Call]().union(*(m.gates for m in dependent)),
            product=_is_product(name, dependent),
            root_of=memories[0].source if name in _ROOTS and memories else None,
        )

    def after(self, event: OpEvent) -> None:
        """Note of the results' memory, which may be that of an argument, what the operation made there."""
        made = self._made
        for known in (self._at(t) for t in event.results if has_storage(t)):
            # Added to what is known, for the memory may be that of an argument: of a view, or written into in place.
            known.depends |= made.depends
            known.gates |= made.gates
            known.product = made.product
            known.single = made.single or known.single
            known.root_of = made.root_of or known.root_of
            if known.result is None:
                known.origins = made.origins or known.origins

    def _note_readers(self, memories: list[_Memory], event: OpEvent) -> None:
        in_place = event.name.endswith("_")
        for memory in memories:
            if memory.owners != {event.module}:
                self.flow.exposed |= memory.owners
            if memory.source is not None:
                self.flow[memory.source].followers.add(event.module)
                self.flow[memory.source].roles |= Role.OVERWRITTEN if in_place else Role.NONE
        if in_place and memories:
            memories[0].written_in = event.module

    def _note_roles(self, name: str, tensors: list[Tensor], module: str) -> None:
        dependent = [t for t in tensors if self._at(t).depends]
        if name in ("pow", "square") and dependent:
            self.flow[module].multiplies_inputs = True
        if name in _PRODUCTS and len(dependent) > 1:
            self.flow[module].multiplies_inputs |= name == "mul"
            for tensor in dependent:
                if (call := self._at(tensor).single_call) is not None:
                    # What is multiplied by something that it has gone into itself is no gate of it.
                    by_own = any(call in self._at(other).gates for other in dependent if other is not tensor)
                    self.flow[call.path].roles |= Role.OTHER_USE if by_own else Role.FACTOR
        # Unknown operations count as another use. A gate that is missed by that is no silent error: as an activation it
        # gives degree 2, which the report says.
        elif name not in (*_CARRYING, *_VIEWS):
            for source in (self._at(t).source for t in tensors):
                if source is not None:
                    self.flow[source].roles |= Role.OTHER_USE

    def _note_denominator(self, name: str, event: OpEvent) -> None:
        negative = name == "pow" and isinstance(event.args[1], (int, float)) and event.args[1] < 0
        inverse = negative or name in ("reciprocal", "rsqrt")
        below = event.args[1] if name in _QUOTIENTS else event.args[0] if inverse else None
        if isinstance(below, Tensor) and has_storage(below):
            memory = self._at(below)
            self.flow[event.module].divides_by_input |= memory.depends
            for path in memory.all_origins | ({memory.root_of} if memory.root_of is not None else set()):
                self.flow[path].roles |= Role.DENOMINATOR

    def enter(self, event: ModuleEvent) -> None:
        """Note what a module is called with, and how large it is."""
        use = self.flow[event.path]
        use.passed |= _names_of_arguments(event)
        first = next((t for t in (*event.args, *event.kwargs.values()) if isinstance(t, Tensor)), None)
        known = self._at(first) if first is not None and has_storage(first) else _Memory()
        # Parts of a result lie in its storage, too; what took the part is a follower of its own then.
        use.sources.add(known.source)
        use.takes_product |= known.product
        if first is not None:
            use.shapes.append(first.shape)
            if first.dtype.is_floating_point and first.dim() > 1 and first.numel():
                # Double, as squares of half precision overflow at 256.
                wide = first.detach().flatten(1).double()
                use.sizes.append(float(wide.square().mean(1).sqrt().mean()))

    def leave(self, event: ModuleEvent) -> None:
        """Note whose result a module returns: its own, or what a module in it or before it returned."""
        output, module = event.output, event.module
        if not isinstance(output, Tensor) or not has_storage(output):
            return
        known, storage = self._at(output), output.untyped_storage()
        # A container's result is that of the last module in it, which is the more telling name.
        container = next(module.children(), None) is not None
        # What a layer hands on as it came in, as dropout does here, is still the result of the one before.
        handed_on = known.written_in != event.path and any(
            isinstance(t, Tensor) and has_storage(t) and t.untyped_storage() is storage for t in event.args
        )
        self._calls += 1
        call = _Call(event.path, self._calls)
        if not ((container or handed_on) and known.result):
            known.result = call
        if isinstance(module, _GATES):
            known.gates |= {call}


def _is_product(name: str, dependent: Sequence[_Memory]) -> bool:
    """Return whether an operation gives a product of what depends on the input, from what it reads of that."""
    if name in _PRODUCTS and len(dependent) > 1:
        return True
    return name in (*_ON_NUMBERS, *_VIEWS, "masked_fill", "where") and any(memory.product for memory in dependent)


def _names_of_arguments(call: ModuleEvent) -> set[str]:
    """Return the names of the arguments that a module is called with, but for those that are as by default."""
    try:
        signature = inspect.signature(call.module.forward)
        passed = signature.bind(*call.args, **call.kwargs).arguments
        defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
        return {n for n, value in passed.items() if isinstance(value, Tensor) or value is not defaults[n]}
    except (TypeError, ValueError):  # no signature, as of compiled code
        return set(call.kwargs)


def _tensors_in(value: object, depth: int = 4) -> Iterator[Tensor]:
    """Yield the tensors in what a model returns, also those in dataclasses and other objects."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth and hasattr(leaf, "__dict__") and not isinstance(leaf, (type, nn.Module)):
            yield from _tensors_in(dict(vars(leaf)), depth - 1)
