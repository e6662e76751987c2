"""Gradient cuts: tensors that depend on the input although autograd does not connect them with it.

x·∇F is wrong there even if the values scale, so that each cut is a reason against the scaling of what is computed from
it. A tensor is *cut* if autograd has no node for it though it depends on the input: by ``detach``, ``.data``,
``no_grad``, or in the forward of a custom autograd function. A leaf that requires a gradient is cut as well: it was cut
off and marked again, as the inputs of the pass are no leaves.

Example: ``x * x.detach()`` has degree 2, and autograd's gradient is half of the right one. The view ``x.detach()``
is noted as cut when it is made; the product finds it among its arguments and carries the reason on.

What must never happen: a cut tensor is read without its reason. Steps (comparisons, signs) are exempt: their gradient
is zero, whatever happened to that of what they compare.
"""

from __future__ import annotations

from weakref import WeakSet

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from captum_xg._core.autograd_graph import reaches
from captum_xg._core.recorder import Observer, OpEvent
from captum_xg._core.storage import has_storage, shares_memory
from captum_xg._core.tensor_notes import TensorNotes
from captum_xg.homogeneity.certificate.shadow_memory import Value
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.degree import Reason, Scaling
from captum_xg.homogeneity.rules.reasons import CUT, OUTSIDE, OVERWRITTEN, custom_function
from captum_xg.homogeneity.rules.registry import rule_vouches_for
from captum_xg.homogeneity.rules.schema import RANDOM


class GradientCuts(Observer):
    """Knows which tensors are cut off from autograd, weakly, so that it keeps no activation alive.

    Attributes:
        recorded: Whether the gradient of the running operation is taken care of: by autograd, or by the author of a
            rule for the library operation that it is part of.

    Args:
        trace: Says what runs now.
        frozen: Take what is cut off for constants, as autograd does, and not for a violation.
    """

    def __init__(self, trace: Trace, *, frozen: bool = False) -> None:
        self.recorded = True
        self._trace = trace
        self._frozen = frozen
        self._starts: list[Node | None] = []
        self._cuts: TensorNotes[Reason] = TensorNotes()
        # Of what was detached: where its gradient would have come from.
        self._edges: TensorNotes[tuple[int, str, int]] = TensorNotes()
        self._in_graph: WeakSet[torch.UntypedStorage] = WeakSet()
        # Written out or expanded on the way to an operation, below autograd, which knows about it.
        self._written_out: TensorNotes[bool] = TensorNotes()

    def add_input(self, tensor: Tensor) -> None:
        """Take a tensor for an input, from which gradients are right."""
        self._starts.append(tensor.grad_fn)

    def before(self, event: OpEvent) -> None:
        """Note which memory autograd has recorded something about."""
        if self._trace.opaque is not None:
            return
        for tensor in event.tensors:
            if tensor.requires_grad and has_storage(tensor):
                self._in_graph.add(tensor.untyped_storage())
        # Custom functions run their forward without gradients, and so do operations of torch.library that wrap one.
        self.recorded = event.records_gradients
        if not self.recorded and (function := self._trace.custom_function()) is not None:
            self.recorded = rule_vouches_for(function)

    def after(self, event: OpEvent) -> None:
        """Note where results lost their gradient."""
        if self._trace.opaque is not None:
            return
        linked = self.recorded and any(t.requires_grad for t in event.tensors)
        for _, tensor in event.fresh:
            if linked and differentiable(tensor) and has_storage(tensor):
                self._in_graph.add(tensor.untyped_storage())
            # Such a clone is made below autograd, so that it has no node though nothing was cut.
            if event.name == "aten::clone" and (event.tensors[0].is_conj() or event.tensors[0].is_neg()):
                self._written_out[tensor] = not self._is_cut(event.tensors[0])
        for view in event.views:
            if event.name == "aten::detach" and (edge := self._edge(event.tensors[0])) is not None:
                self._edges[view] = edge
            # Below autograd, operations on zero tensors expand what they return a copy of, which has the node.
            if event.name == "aten::expand" and linked:
                self._written_out[view] = not self._is_cut(event.tensors[0])
            scaling = self._trace.shadows.scaling(view)
            if not scaling.depends_on_input or scaling.stepwise:
                continue
            # A view of a tensor that was cut off and marked again has a node; the reason goes along all the same.
            cut = next((t for t in event.tensors if shares_memory(view, [t]) and self._is_cut(t)), None)
            if cut is not None:
                self._cuts[view] = self._why_cut(cut)
            elif not self.recorded or event.name in ("aten::detach", "aten::detach_"):
                self._cuts[view] = self._cut_here()

    def cut(self, tensor: Tensor, reason: Reason) -> None:
        """Take a tensor for cut off from now on."""
        self._cuts[tensor] = self._trace.located(reason)

    def value(self, tensor: Tensor) -> Value:
        """Return how a tensor scales, with a reason against it if autograd does not know where it comes from."""
        shadows = self._trace.shadows
        value = shadows.read(tensor)
        if isinstance(value, Scaling) and not value.depends_on_input:
            # Nothing was seen to write it, but autograd knows a way to it from the inputs.
            if tensor.grad_fn is not None and not shadows.knows(tensor) and reaches(tensor, self._starts):
                return Scaling(None, reasons=frozenset({self._trace.located(OUTSIDE)}))
            return value
        if not differentiable(tensor) or not self._is_cut(tensor):
            return value
        if self._freezes() and not isinstance(tensor.grad_fn, BackwardCFunction):
            return shadows.interned.map(value, _frozen)
        return shadows.interned.map(value, lambda s: s.because(self._why_cut(tensor)) if _matters(s) else s)

    def of_result(self, value: Value) -> Value:
        """Return how a result of the running operation scales, with a reason against it if no gradient is recorded."""
        if self.recorded:
            return value
        if self._freezes():
            return self._trace.shadows.interned.map(value, _frozen)
        return self._trace.shadows.interned.map(value, lambda s: s.because(self._cut_here()) if _matters(s) else s)

    def _freezes(self) -> bool:
        """Return whether what is cut off counts as a constant; not in custom functions, which have gradients."""
        return self._frozen and self._trace.custom_function() is None

    def of_written(self, tensor: Tensor, before: Value, value: Value) -> Value:
        """Return how a tensor scales that is written to, with a reason against it if autograd does not see the write.

        Args:
            tensor: The tensor.
            before: How it scaled.
            value: How what is written to it scales.
        """
        if (self.recorded and tensor.requires_grad) or not differentiable(tensor):
            return value
        # What was there and depended on the input: autograd still hands its gradient on, as if it had stayed.
        held = self._trace.shadows.interned.join(before)
        doubts = [reason for reason in held.reasons if reason.kind == "gradient"]
        if held.depends_on_input and not held.stepwise and not doubts:
            return self._trace.doubted(value, OVERWRITTEN)
        if has_storage(tensor) and tensor.untyped_storage() in self._in_graph:
            # A second write that covers the first does not make the gradient right again.
            return self._trace.shadows.interned.map(value, lambda scaling: scaling.because(*doubts))
        return value

    def is_cut(self, tensor: Tensor) -> bool:
        """Return whether autograd does not know where a tensor's numbers come from."""
        return differentiable(tensor) and self._is_cut(tensor)

    def _edge(self, tensor: Tensor) -> tuple[int, str, int] | None:
        """Return the place in autograd's graph that a tensor comes from, or that it came from when it was detached."""
        if tensor.grad_fn is None:
            return self._edges.get(tensor)
        # By number: the node itself would keep alive what it has saved.
        return tensor.grad_fn._sequence_nr(), tensor.grad_fn.name(), tensor.output_nr

    def _is_cut(self, tensor: Tensor) -> bool:
        connected = tensor.grad_fn is not None
        detached_at = self._edges.get(tensor) if connected else None
        if detached_at is not None and detached_at == self._edge(tensor):
            return False  # autograd detaches what it saves, and puts it back in its place for a second derivative
        if tensor in self._cuts:
            return True
        return not (connected and tensor.requires_grad) and not self._written_out.get(tensor)

    def _why_cut(self, tensor: Tensor) -> Reason:
        if isinstance(tensor.grad_fn, BackwardCFunction):  # it was returned by one as it came in
            return self._trace.located(custom_function(type(tensor.grad_fn).__name__.removesuffix("Backward")))
        return self._cuts.get(tensor) or self._cut_here()

    def _cut_here(self) -> Reason:
        """Return the reason that what runs now has no gradient of autograd's making."""
        function = self._trace.custom_function()
        return self._trace.located(CUT if function is None else custom_function(function))


def differentiable(tensor: Tensor) -> bool:
    """Return whether a tensor's numbers have derivatives."""
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _matters(scaling: Scaling) -> bool:
    """Return whether a missing gradient is wrong, and nothing has said so yet."""
    doubted = any(reason.kind != "value" for reason in scaling.reasons)
    return scaling.depends_on_input and not scaling.stepwise and not doubted


def _frozen(scaling: Scaling) -> Scaling:
    """Return how what is cut off scales where it counts as a constant: one whose numbers no rule may look at."""
    if not scaling.depends_on_input:
        return scaling
    return Scaling(0.0, stepwise=True, reasons=frozenset(r for r in scaling.reasons if r.what == RANDOM.what))
