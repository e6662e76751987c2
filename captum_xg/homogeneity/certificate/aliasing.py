"""Memory that several tensors share in ways that autograd, or PyTorch itself, does not know about.

Views are harmless: shadow memory follows them, and so does autograd. Noticed here is what looks like one tensor to
shadow memory and like several to autograd, or the other way round: storages in one place (DLPack, NumPy), a write
through ``x.detach()`` to what ``x`` reads, a write to memory that lies on top of itself, numbers whose bits are read as
other numbers, and views that reach beyond the tensor they were taken of.

Example: ``y = x.detach(); y.mul_(2); return x`` doubles F, and autograd's gradient is that of F before.

What must never happen: a write that reaches a tensor through memory is taken for one that its gradient knows.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from captum_xg._core.recorder import Observer, OpEvent
from captum_xg._core.storage import has_storage, lies_within, overlaps, reads_other_bits, shares_memory
from captum_xg._core.tensor_notes import TensorNotes
from captum_xg.homogeneity.certificate.exported_memory import ExportedMemory
from captum_xg.homogeneity.certificate.gradient_cuts import GradientCuts, differentiable
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.degree import Scaling
from captum_xg.homogeneity.rules.reasons import BEYOND, BITS, LAPS, OVERWRITTEN, READ_ELSEWHERE, REWRITTEN, SMUGGLED

_UNSEEN_WRITE = replace(OVERWRITTEN, kind="unknown")
_PIECES = ("aten::unsafe_split", "aten::unsafe_split_with_sizes")
"""Operations whose results autograd takes for copies though they are views."""


class Aliasing(Observer):
    """Notes memory that is shared without autograd's knowledge."""

    def __init__(self, trace: Trace, gradients: GradientCuts) -> None:
        self._trace = trace
        self._gradients = gradients
        self._unversioned: TensorNotes[bool] = TensorNotes()
        self._viewed: Tensor | None = None
        self.exported = ExportedMemory(trace.shadows)
        self._hidden: WeakSet[torch.UntypedStorage] = WeakSet()  # which tensors without memory of their own read
        # Memory that went into what depends on the input, and through which tensor memory was first written to.
        self._used: WeakSet[torch.UntypedStorage] = WeakSet()
        self._owners: WeakKeyDictionary[torch.UntypedStorage, weakref.ref[Tensor]] = WeakKeyDictionary()
        # Pieces, and what they are pieces of: that may be forgotten after they are written to, but not read.
        self._pieces: TensorNotes[weakref.ref[Tensor]] = TensorNotes()

    def note_unversioned(self, tensor: Tensor) -> None:
        """Take a tensor for one from .data: autograd does not notice writes through it, even to what it has saved."""
        self._unversioned[tensor] = True

    def before(self, event: OpEvent) -> None:
        """Notice tensors in memory of others, and remember what as_strided_ takes another view of."""
        if self._trace.opaque is not None:
            return
        for tensor in event.tensors:
            plain = type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__
            if plain and self._trace.shadows.lies_on_known_memory(tensor):
                self._trace.note(SMUGGLED)
        self._viewed = event.args[0].detach() if event.name == "aten::as_strided_" else None

    def after(self, event: OpEvent) -> None:
        """Notice what views read."""
        if self._trace.opaque is not None:
            return
        shadows = self._trace.shadows
        if self._viewed is not None:
            out = event.output
            if not lies_within(out, self._viewed) and shadows.around(out).depends_on_input:
                self._trace.note(BEYOND)
            self._viewed = None
        self._note_hidden(event)
        if self._trace.dependent:
            if self.exported.is_rewritten(event.tensors):
                self._trace.note(REWRITTEN)
            for tensor in (*event.tensors, *event.results):
                if has_storage(tensor):
                    self._used.add(tensor.untyped_storage())
        for view in event.views:
            if event.name in _PIECES:
                self._pieces[view] = weakref.ref(event.tensors[0])
            if not shadows.depends(view):
                continue
            viewed = [t for t in event.tensors if shares_memory(view, [t])]
            if any(reads_other_bits(view, t) for t in viewed):
                self._trace.note(BITS)
            if event.name == "aten::as_strided" and viewed and not lies_within(view, viewed[0]):
                self._trace.note(BEYOND)

    def finish(self) -> None:
        """Notice constants that are others after the pass than where they were used: autograd has saved them."""
        if self.exported.was_rewritten():
            self._trace.note(REWRITTEN)

    def note_write(self, tensor: Tensor, value: Scaling, tensors: list[Tensor]) -> None:
        """Notice a write that does not reach all readers of its memory, before shadow memory is written to.

        Args:
            tensor: What is written to.
            value: How what is written scales.
            tensors: All tensors among the arguments of the operation.
        """
        shadows = self._trace.shadows
        if overlaps(tensor, tensors) and shadows.depends(tensor):
            self._trace.note(LAPS)
        if (value.depends_on_input or value.reasons) and self.exported.is_read_elsewhere(tensor):
            self._trace.note(READ_ELSEWHERE)
        if not has_storage(tensor):
            return
        self.exported.note_write(tensor)
        if tensor.untyped_storage() in self._hidden:
            self._trace.note(SMUGGLED)
        storage, base = tensor.untyped_storage(), tensor if tensor._base is None else tensor._base
        if (piece := self._pieces.get(base)) is not None:
            whole = piece()
            if whole is not None:
                self._gradients.cut(whole, OVERWRITTEN)
            return
        if storage in self._used and (tensor in self._unversioned or base in self._unversioned):
            self._trace.note(_UNSEEN_WRITE)
            return
        if not differentiable(tensor) or not value.depends_on_input or value.stepwise:
            return
        # Two tensors that autograd takes for different ones (x and x.detach()) may share memory: what is written
        # through one has no gradient through the other.
        around = shadows.around(tensor)
        unowned = storage not in self._owners and not base.requires_grad
        owner = self._owners.setdefault(storage, weakref.ref(base))
        if owner() is not base or (unowned and around.depends_on_input and not around.stepwise):
            self._trace.note(_UNSEEN_WRITE)
            self._owners[storage] = weakref.ref(base)  # once said is enough

    def _note_hidden(self, event: OpEvent) -> None:
        """Remember the memory that a sparse or nested tensor, which has none itself, shares with others."""
        if any(not has_storage(t) for t in event.tensors):
            self._hidden.update(t.untyped_storage() for _, t in event.fresh if has_storage(t) and _is_alias(event))
        if any(not has_storage(t) for _, t in event.fresh):
            self._hidden.update(t.untyped_storage() for t in event.tensors if has_storage(t))


def _is_alias(event: OpEvent) -> bool:
    """Return whether an operation returns views by its schema."""
    return any(returned.alias_info is not None for returned in event.op._schema.returns)
