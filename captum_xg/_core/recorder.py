"""One recorder of a forward pass, and the protocol of its observers.

A :class:`Recorder` is a dispatch mode: it runs every operation below autograd, and calls its observers before and after
each one. It knows nothing about what they look for. Degrees, gradients that are cut off, memory that is
shared, values that leave for Python, which module feeds which: each is an observer of its own, and several may watch
one pass. An observer overrides what it needs of :class:`Observer`::

    class IntermediateDtypes(Observer):
        def __init__(self) -> None:
            self.seen: set[torch.dtype] = set()

        def after(self, event: OpEvent) -> None:
            self.seen.update(tensor.dtype for tensor in event.results if tensor.dtype.is_floating_point)

    dtypes = IntermediateDtypes()
    with Recorder(dtypes):
        model(x)

The rules that keep this right:

* *Nothing is kept alive.* An event is valid while observers are called with it. What they remember of a tensor is a
  number, a name, or a weak reference: a recorded pass needs the memory of an ordinary one.
* *Observing is no part of the forward pass.* What observers compute is not recorded, and no function mode sees it.
* *Order.* ``before`` and ``enter`` are called in the order in which observers are given, ``after`` and ``leave`` in
  reverse, as nested contexts are. ``before`` sees arguments as they are read; an operation in place overwrites them.
* *The operation runs once*, unchanged. An observer that raises ends the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from captum_xg._core.operations import Schema, arguments_by_name, schema_of, tensors_in
from captum_xg._core.own_thread import in_this_thread
from captum_xg._core.provenance import Site, current_site
from captum_xg._core.storage import shares_memory

Names: TypeAlias = Mapping[int, tuple[str, nn.Module]]
"""Module id → (path, module)."""


class OpEvent:
    """One operation, while it is running.

    Attributes:
        op: The operation; in spite of its type a ``HigherOrderOperator``, without schema, if it ``takes_functions``.
        takes_functions: Whether it is an operator that runs functions as a whole (``torch.cond``), and has no schema.
        name: Namespace and name without overload: ``"aten::add_"``.
        args: Its arguments as they were passed.
        kwargs: Its keyword arguments.
        number: How many operations have run, with this one.
        module: Path of the innermost module that runs, of those whose calls are followed; ``""`` outside of them.
        records_gradients: Whether autograd was on where the operation was called.
        output: What it returned; None before it ran.
    """

    def __init__(
        self,
        op: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, object],
        number: int,
        recorder: Recorder,
    ) -> None:
        self.op = op
        self.takes_functions = isinstance(op, HigherOrderOperator)
        self._schema = None if self.takes_functions else schema_of(op)
        self.name = str(op) if self._schema is None else self._schema.name
        self.args = args
        self.kwargs = kwargs
        self.number = number
        self.module = recorder.module
        self.records_gradients = torch.is_grad_enabled()
        self.output: Any = None
        self._recorder = recorder
        # Found when they are asked for. Not by cached_property, which takes a lock in Python 3.11 and before.
        self._arguments: dict[str, object] | None = None
        self._tensors: list[Tensor] | None = None
        self._results: list[Tensor] | None = None
        self._fresh: list[tuple[int, Tensor]] | None = None
        self._views: list[Tensor] = []

    @property
    def schema(self) -> Schema:
        """The schema of the operation, which must have one."""
        assert self._schema is not None
        return self._schema

    @property
    def arguments(self) -> dict[str, object]:
        """Every argument by its name in the schema, defaults included; empty for operators that take functions."""
        if self._arguments is None:
            self._arguments = {} if self.takes_functions else arguments_by_name(self.op, self.args, self.kwargs)
        return self._arguments

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments, also those in lists."""
        if self._tensors is None:
            whole = tree_leaves((self.args, self.kwargs)) if self.takes_functions else self.arguments.values()
            self._tensors = list(tensors_in(whole))
        return self._tensors

    @property
    def results(self) -> list[Tensor]:
        """The tensors among the results, after the operation ran."""
        if self._results is None:
            output = self.output
            leaves = [output] if isinstance(output, Tensor) else tree_leaves(output)
            self._results = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        return self._results

    @property
    def fresh(self) -> list[tuple[int, Tensor]]:
        """The results in memory of their own, each after its place among the results."""
        return self._fresh if self._fresh is not None else self._placed()

    @property
    def views(self) -> list[Tensor]:
        """The results that lie in memory of an argument, but for those that the operation wrote to."""
        if self._fresh is None:
            self._placed()
        return self._views

    def _placed(self) -> list[tuple[int, Tensor]]:
        """Tell the results apart by the memory they lie in."""
        fresh = self._fresh = []
        rewrites, arguments = self.schema.rewrites, self.tensors
        for i, (rewritten, output) in enumerate(zip(rewrites, self.output if len(rewrites) > 1 else [self.output])):  # noqa: B905
            for tensor in tensors_in((output,)):
                if not shares_memory(tensor, arguments):
                    fresh.append((i, tensor))
                elif not rewritten:
                    self._views.append(tensor)
        return fresh

    def site(self, op: str | None = None) -> Site:
        """Return the module and the line of source that called the operation, under its own name or another.

        It walks through the stack, which costs more than most operations do: ask only if something is to be said.
        """
        recorder = self._recorder
        return current_site(str(self.op) if op is None else op, recorder.names, recorder.outermost)


@dataclass(frozen=True)
class ModuleEvent:
    """One call of a module.

    Attributes:
        path: Where the module is in the model.
        module: The module.
        args: What it is called with.
        kwargs: Its keyword arguments.
        output: What it returned; None before.
    """

    path: str
    module: nn.Module
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    output: object = None


class Observer(Protocol):
    """An observer of a forward pass; a subclass overrides what it needs."""

    def before(self, event: OpEvent) -> None:
        """See an operation that is about to run."""
        return

    def after(self, event: OpEvent) -> None:
        """See an operation that has run, with its output."""
        return

    def enter(self, event: ModuleEvent) -> None:
        """See a module that is about to run, if its calls are followed."""
        return

    def leave(self, event: ModuleEvent) -> None:
        """See a module that has run, with its output."""
        return


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operation below autograd and tells observers about it.

    Args:
        observers: What is called for each operation.
        names: The modules by which :meth:`OpEvent.site` names places.
        outermost: Code of the function that calls the model: frames outside of it are no places in the model.
        followed: The modules, by path, whose calls are reported as well. Hooks do that, so pass those that are needed:
            modules with hooks run slower, and some of PyTorch's choose other operations.
    """

    supports_higher_order_operators = True

    def __init__(
        self,
        *observers: Observer,
        names: Names | None = None,
        outermost: CodeType | None = None,
        followed: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: Names = names or {}
        self.outermost = outermost
        self.n_ops = 0
        self._observers = observers
        # Only of those who look: most observers see one side of an operation, and a call costs as much as some of them.
        self._before = [each.before for each in observers if type(each).before is not Observer.before]
        self._after = [each.after for each in reversed(observers) if type(each).after is not Observer.after]
        self._followed = followed or {}
        self._running: list[str] = []
        self._handles: list[RemovableHandle] = []
        self._looking = False

    @property
    def module(self) -> str:
        """Path of the innermost followed module that runs now, ``""`` outside of them."""
        return self._running[-1] if self._running else ""

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        kwargs = kwargs or {}
        # Operations of observers in before and after do not come here: the mode is out of force while it handles one.
        if self._looking:  # an observer computes something while a module is entered or left
            return func(*args, **kwargs)
        self.n_ops += 1
        event = OpEvent(func, args, kwargs, self.n_ops, self)
        # Function modes are above this one. Without this, they would see what observers compute as calls of the model.
        with torch._C.DisableTorchFunction():
            for look in self._before:
                look(event)
            event.output = func(*args, **kwargs)
            for look in self._after:
                look(event)
        return event.output

    def __enter__(self) -> Recorder:
        for path, module in self._followed.items():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks
            self._handles += [
                module.register_forward_pre_hook(in_this_thread(self._entering(path)), with_kwargs=True),
                module.register_forward_hook(in_this_thread(self._leaving(path)), with_kwargs=True),
            ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        # Also after an error: hooks of a pass that is over would be seen by the user, and by the next fingerprint.
        while self._handles:
            self._handles.pop().remove()
        self._running.clear()

    def _entering(self, path: str) -> Callable[[nn.Module, tuple[object, ...], dict[str, object]], None]:
        def enter(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            self._running.append(path)
            event = ModuleEvent(path, module, args, kwargs)
            with self._unrecorded():
                for observer in self._observers:
                    observer.enter(event)

        return enter

    def _leaving(self, path: str) -> Callable[[nn.Module, tuple[object, ...], dict[str, object], object], None]:
        def leave(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
            while self._running.pop() != path:  # modules inside that raised, and were not left
                pass
            event = ModuleEvent(path, module, args, kwargs, output)
            with self._unrecorded():
                for observer in reversed(self._observers):
                    observer.leave(event)

        return leave

    @contextmanager
    def _unrecorded(self) -> Iterator[None]:
        self._looking = True
        try:
            with torch._C.DisableTorchFunction():
                yield
        finally:
            self._looking = False
