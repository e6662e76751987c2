"""Follows one forward pass, operation by operation, and infers how every number in it scales with the input."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import CodeType
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from captum_xg._core.autograd_graph import reaches, saved_tensors_are_changed
from captum_xg._core.operations import arguments_by_name, tensors_in
from captum_xg._core.provenance import current_site, custom_function_running
from captum_xg._core.storage import has_storage, lies_within, overlaps, reads_other_bits, shares_memory
from captum_xg.homogeneity.certificate.apply_rule import Lift
from captum_xg.homogeneity.certificate.assumptions import Facts
from captum_xg.homogeneity.certificate.factors import Constants
from captum_xg.homogeneity.certificate.masked_branches import Guards
from captum_xg.homogeneity.certificate.shadow_memory import Shadows, Value
from captum_xg.homogeneity.degree import CONSTANT, WITHOUT_THE_CONSTANT, Reason, Scaling, mismatch
from captum_xg.homogeneity.rules.op_call import PLACES, WITHOUT_BIAS, WITHOUT_IT
from captum_xg.homogeneity.rules.reasons import (
    BEYOND,
    BITS,
    CUT,
    DECIDES,
    LAPS,
    NO_VALUES,
    OUTSIDE,
    OVERWRITTEN,
    PAST_PYTHON,
    SAVED,
    SHAPE,
    SMUGGLED,
    SPOILT,
    STATISTICS,
    Located,
    custom_function,
    is_generated,
    no_rule,
    not_followed,
    of_argument,
)
from captum_xg.homogeneity.rules.registry import find_rule, rule_vouches_for
from captum_xg.homogeneity.rules.schema import RANDOM, draws, n_results, returns_values, shape_deciding, written_values

Names: TypeAlias = Mapping[int, tuple[str, nn.Module]]

_PURE = ("aten", "prims", "torchvision")
"""Whose operations without a rule still give constants for constants: they are functions of their arguments."""


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation below autograd, runs it, and notes how its results scale.

    Args:
        names: Module id → (path, module), to say where something happened.
        outermost: Code of the function that calls the model.
        additional: Tensors among the additional forward arguments, which are constants that their user can do without.
        finite: Tensors that were looked through for NaN and infinity, and have none.
    """

    supports_higher_order_operators = True

    def __init__(
        self, names: Names, outermost: CodeType, additional: Sequence[Tensor] = (), finite: Iterable[Tensor] = ()
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shadows = Shadows()
        self.facts = Facts()
        self.n_ops = 0
        self.function_modes = sys.maxsize
        """How many modes for functions are in force around the forward pass; fewer while one of them handles a call."""
        self.escapes: list[Reason] = []
        """What makes every verdict unknown: values that went where operations are not seen."""
        self._names = names
        self._outermost = outermost
        self._additional = list(additional)
        self._constants = Constants(finite)
        self._op = ""
        self._running: Mapping[str, Any] = {}
        self._guards = Guards(self.shadows)
        self._lift = Lift(self.shadows.palette, self.facts, self.located)
        self._starts: list[Node | None] = []
        # Where tensors were cut off from autograd; weakly, so that the trace keeps no activations alive.
        self._cuts = WeakIdKeyDictionary()
        self.unversioned = WeakIdKeyDictionary()
        """Tensors from .data: autograd does not notice writes through them, even to values that it has kept."""
        # Memory that went into what depends on the input, and through which tensor memory was first written to.
        self._used: WeakSet[torch.UntypedStorage] = WeakSet()
        self._owners: WeakKeyDictionary[torch.UntypedStorage, weakref.ref[Tensor]] = WeakKeyDictionary()
        # Pieces that autograd takes for copies though they are views, and what they are pieces of: it may be forgotten
        # after they are written to, but not read.
        self._chunks = WeakIdKeyDictionary()
        # Memory that autograd has recorded something about.
        self._in_graph: WeakKeyDictionary[torch.UntypedStorage, bool] = WeakKeyDictionary()
        # Conjugates and negatives written out on the way to an operation, below autograd, which knows about them.
        self._written_out = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.n_ops += 1
        self._op = str(func)
        if isinstance(func, HigherOrderOperator):
            return self._run_whole(func, args, kwargs, not_followed(func.name()))  # type: ignore[no-untyped-call]
        if torch._C._len_torch_function_stack() >= self.function_modes:
            # Whatever Python calls passes the mode that looks for escapes, and only then comes here.
            return self._run_whole(func, args, kwargs, PAST_PYTHON)
        arguments = arguments_by_name(func, args, kwargs)
        tensors = list(tensors_in(arguments.values()))
        for tensor in tensors:
            if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
                what = f"works on {type(tensor).__name__}, a kind of tensor with operations of its own"
                self.escapes.append(self.located(Reason(what, "Use plain tensors", kind="unknown")))
            elif self.shadows.smuggled(tensor):
                self.escapes.append(self.located(SMUGGLED))
            if tensor.requires_grad and has_storage(tensor):
                self._in_graph[tensor.untyped_storage()] = True
            if tensor.is_meta:
                self.escapes.append(self.located(NO_VALUES))
        if saved_tensors_are_changed() and not any(reason.what == SAVED.what for reason in self.escapes):
            self.escapes.append(self.located(SAVED))
        values = {id(t): self.value(t) for t in tensors}
        self._running = arguments if self._additional else {}
        self._notice_shapes(func, arguments, values)
        results, guard = self._results(func, arguments, values, n_results(func, arguments))
        dependent = {key for key, value in values.items() if _may_depend(value)}
        if any(map(_may_depend, results)) and self._constants.spoil(func, arguments, dependent):
            self.escapes.append(self.located(SPOILT))
        # What it was a view of, before it becomes another one.
        before = args[0].detach() if func._schema.name == "aten::as_strided_" else None
        out = func(*args, **kwargs)
        if before is not None and not lies_within(out, before) and self._depends(out):
            self.escapes.append(self.located(BEYOND))
        self._record(func, arguments, out, results, tensors)
        if guard is not None:
            guard(out)
        return out

    def _run_whole(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], why: Reason) -> Any:
        """Run something of which not all is seen: an operator that takes functions, or a part of a script."""
        with torch._C.DisableTorchFunction():
            reason = self.located(why, "" if why is PAST_PYTHON else None)  # one finding for all of a script
            self.escapes.append(reason)  # it may also write to tensors that are not among its arguments
            out = func(*args, **kwargs)
            for tensor in tree_leaves(out):
                if isinstance(tensor, Tensor):
                    self.shadows.create(tensor, Scaling(None, reasons=frozenset({reason})))
        return out

    def add_input(self, tensor: Tensor) -> None:
        """Declare a tensor an input: it has degree 1."""
        self.shadows.create(tensor, Scaling(1.0))
        self._starts.append(tensor.grad_fn)

    def value(self, tensor: Tensor) -> Value:
        """Return how a tensor scales, with a reason against it if autograd does not know where it comes from."""
        value = self.shadows.read(tensor)
        if isinstance(value, Scaling) and not value.depends_on_input:
            if tensor.grad_fn is not None and not self.shadows.known(tensor) and reaches(tensor, self._starts):
                return Scaling(None, reasons=frozenset({self.located(OUTSIDE)}))
            return value
        if not _differentiable(tensor) or not self._is_cut(tensor):
            return value
        return self.shadows.palette.mapped(value, lambda scaling: self._cut_off(scaling, tensor))

    def scaling(self, tensor: Tensor) -> Scaling:
        """Return how a tensor scales, as a whole."""
        self._op = "output"
        return self.shadows.palette.together(self.value(tensor))

    def located(self, reason: Reason, op: str | None = None) -> Reason:
        """Return a reason with the place that is running now."""
        if isinstance(reason, Located):
            return reason
        if reason.remedy in (WITHOUT_IT, WITHOUT_THE_CONSTANT, WITHOUT_BIAS) and self._meets_argument(reason.remedy):
            reason = of_argument(reason)
        site = current_site(self._op if op is None else op, self._names, self._outermost)
        return Located(reason.what, reason.remedy, reason.kind, site, self.n_ops)

    def _meets_argument(self, remedy: str) -> bool:
        """Return whether the constant that an operation adds is an additional forward argument."""
        added: Any = [value for name, value in self._running.items() if name not in PLACES]
        if remedy == WITHOUT_BIAS:
            added = [self._running.get("bias" if "bias" in self._running else "self")]
        return any(
            not self.shadows.palette.together(self.shadows.read(tensor)).depends_on_input
            and self.facts.rests_on(tensor, self._additional)
            for tensor in tensors_in(added)
        )

    def _results(
        self, func: Any, arguments: dict[str, Any], values: Mapping[int, Value], n_results: int
    ) -> tuple[list[Value], Callable[[Tensor], None] | None]:
        """Return how results scale, and what notes how the halves of a choice do."""
        name = func._schema.name
        entry = find_rule(name)
        dependent = any(not isinstance(v, Scaling) or v.depends_on_input or v.reasons for v in values.values())
        results: list[Value]
        if entry is None and returns_values(func) and not name.removesuffix("_").startswith("aten::sym_"):
            self._hand_over(func, arguments, dependent)
            return [CONSTANT] * n_results, None
        guard = None
        if entry is not None:
            results = self._lift(entry, func, arguments, self._guards.resolved(entry, arguments, values), n_results)
            if n_results == 1 and not (isinstance(results[0], Scaling) and results[0].proven):
                rule = partial(self._lift, entry, func, arguments, n_results=1)
                guard = self._guards.of_result(entry, func, arguments, values, rule)
        elif not dependent and func.namespace in _PURE:
            results = [CONSTANT] * n_results
        else:
            # A rule is of no use where the gradient is that of a Python function around the operation.
            function = custom_function_running(self._outermost)
            missing = no_rule(name) if function is None or is_generated(function, name) else custom_function(function)
            reasons = frozenset().union(*(self.shadows.palette.together(v).reasons for v in values.values()))
            results = [Scaling(None, reasons=reasons | {self.located(missing)})] * n_results
        if draws(func, arguments) and not any(map(_tells_of_chance, results)):
            results = [self._with(result, RANDOM) for result in results]
        return results, guard

    def _hand_over(self, func: Any, arguments: dict[str, Any], dependent: bool) -> None:
        if dependent:
            self.escapes.append(self.located(DECIDES))
            return
        for tensor in tensors_in(arguments.values()):
            self.facts.read(tensor)

    def _notice_shapes(self, func: Any, arguments: Mapping[str, Any], values: Mapping[int, Value]) -> None:
        """Notice shapes that depend on values: Python reads them without any operation."""
        # The shape of a least-squares residual is that of full rank for all matrices but a null set.
        if torch.Tag.dynamic_output_shape not in func.tags or func._schema.name == "aten::linalg_lstsq":
            return
        for tensor in shape_deciding(func, arguments):
            value = self.shadows.palette.together(values[id(tensor)])
            if value.depends_on_input or value.reasons:
                self.escapes.append(self.located(SHAPE))
                return
            self.facts.read(tensor)

    def _record(
        self,
        func: Any,
        arguments: Mapping[str, Any],
        out: Any,
        results: list[Value],
        tensors: list[Tensor],
    ) -> None:
        """Note how what an operation wrote and returned scales."""
        recorded = torch.is_grad_enabled()
        if not recorded and (name := custom_function_running(self._outermost)) and rule_vouches_for(name):
            recorded = True
        if not recorded:
            results = [self.shadows.palette.mapped(result, self._unrecorded) for result in results]
        written = []
        for tensor, result in written_values(func, arguments, results):
            if overlaps(tensor, tensors) and self.shadows.palette.together(self.shadows.read(tensor)).depends_on_input:
                self.escapes.append(self.located(LAPS))
            value = self._with(CONSTANT, STATISTICS) if result is None else result
            self._write(tensor, value, recorded)
            written.append(tensor)
        if any(map(_may_depend, results)):
            self._used.update(t.untyped_storage() for t in [*tensors, *tensors_in([out])] if has_storage(t))
        returns = func._schema.returns
        fresh = []
        linked = recorded and any(t.requires_grad for t in tensors)
        for returned, each, result in zip(returns, out if len(returns) > 1 else [out], results, strict=False):
            for tensor in tensors_in([each]):
                if not shares_memory(tensor, tensors):
                    self.shadows.create(tensor, result)
                    fresh.append(tensor)
                    if linked and _differentiable(tensor) and has_storage(tensor):
                        self._in_graph[tensor.untyped_storage()] = True
                    if func._schema.name == "aten::clone" and (tensors[0].is_conj() or tensors[0].is_neg()):
                        self._written_out[tensor] = not self._is_cut(tensors[0])
                elif returned.alias_info is None or not returned.alias_info.is_write:
                    self._note_view(func, tensor, tensors, recorded)
        if not any(map(_may_depend, results)):
            self.facts.derived([*fresh, *written], tensors)

    def _write(self, tensor: Tensor, value: Value, recorded: bool) -> None:
        before = self.shadows.read(tensor)
        if has_storage(tensor):
            self._notice_detours(tensor, self.shadows.palette.together(value))
        if not (recorded and tensor.requires_grad) and _differentiable(tensor):
            together = self.shadows.palette.together(before)
            wrong_already = any(reason.kind == "gradient" for reason in together.reasons)  # which stays, below
            if together.depends_on_input and not together.stepwise and not wrong_already:
                value = self._with(value, OVERWRITTEN)
            elif has_storage(tensor) and tensor.untyped_storage() in self._in_graph:
                # What was done behind autograd's back is not undone by doing it again.
                doubts = [reason for reason in together.reasons if reason.kind == "gradient"]
                value = self.shadows.palette.mapped(value, lambda scaling: scaling.because(*doubts))
        self.shadows.write(tensor, value, self._clash)

    def _notice_detours(self, tensor: Tensor, value: Scaling) -> None:
        """Notice writes to memory by ways that autograd does not connect with the tensors that read it."""
        storage, base = tensor.untyped_storage(), tensor if tensor._base is None else tensor._base
        if base in self._chunks:
            whole_before = self._chunks[base]()
            if whole_before is not None:
                self._cuts[whole_before] = self.located(OVERWRITTEN)
            return
        if storage in self._used and (tensor in self.unversioned or base in self.unversioned):
            self.escapes.append(self.located(replace(OVERWRITTEN, kind="unknown")))
            return
        if not _differentiable(tensor) or not value.depends_on_input or value.stepwise:
            return
        # Two tensors that autograd takes for different ones (x and x.detach()) may share memory: what is written
        # through one has no gradient through the other.
        whole = self.shadows.anywhere(tensor)
        unowned = storage not in self._owners and not base.requires_grad
        owner = self._owners.setdefault(storage, weakref.ref(base))
        if owner() is not base or (unowned and whole.depends_on_input and not whole.stepwise):
            self.escapes.append(self.located(replace(OVERWRITTEN, kind="unknown")))
            self._owners[storage] = weakref.ref(base)  # once said is enough

    def _depends(self, tensor: Tensor) -> bool:
        return self.shadows.anywhere(tensor).depends_on_input

    def _clash(self, before: Scaling, value: Scaling) -> Reason | None:
        terms = [scaling for scaling in (before, value) if not scaling.zero]
        if len({term.degree for term in terms if term.degree is not None}) < 2:
            return None
        return self.located(mismatch(*terms, verb="writes into one tensor", preposition="and"))

    def _note_view(self, func: Any, view: Tensor, tensors: list[Tensor], recorded: bool) -> None:
        """Remember where a view lost its gradient, and notice bits that are read as other numbers."""
        if func._schema.name in ("aten::unsafe_split", "aten::unsafe_split_with_sizes"):
            self._chunks[view] = weakref.ref(tensors[0])
        value = self.shadows.palette.together(self.shadows.read(view))
        if not value.depends_on_input:
            return
        viewed = [t for t in tensors if shares_memory(view, [t])]
        if any(reads_other_bits(view, t) for t in viewed):
            self.escapes.append(self.located(BITS))
        if func._schema.name == "aten::as_strided" and viewed and not lies_within(view, viewed[0]):
            self.escapes.append(self.located(BEYOND))
        if value.stepwise:
            return
        cut = next((t for t in viewed if self._is_cut(t)), None)
        if cut is not None:
            self._cuts[view] = self._why_cut(cut)
        elif not recorded or func._schema.name in ("aten::detach", "aten::detach_"):
            self._cuts[view] = self._cut()

    def _is_cut(self, tensor: Tensor) -> bool:
        # A leaf that requires a gradient is a tensor that was cut off and marked anew: inputs are no leaves here.
        if tensor in self._cuts:
            return True
        written_out: bool = self._written_out.get(tensor, False)  # type: ignore[no-untyped-call]
        return not written_out and (not tensor.requires_grad or tensor.grad_fn is None)

    def _why_cut(self, tensor: Tensor) -> Reason:
        if isinstance(tensor.grad_fn, BackwardCFunction):  # it was returned by one as it came in
            return self.located(custom_function(type(tensor.grad_fn).__name__.removesuffix("Backward")))
        reason: Reason = self._cuts[tensor] if tensor in self._cuts else self._cut()
        return reason

    def _cut(self) -> Reason:
        """Return the reason that what runs now has no gradient of autograd's making."""
        function = custom_function_running(self._outermost)
        return self.located(CUT if function is None else custom_function(function))

    def _unrecorded(self, scaling: Scaling) -> Scaling:
        if not scaling.depends_on_input or scaling.stepwise or _gradient_doubted(scaling):
            return scaling
        return scaling.because(self._cut())

    def _cut_off(self, scaling: Scaling, tensor: Tensor) -> Scaling:
        if not scaling.depends_on_input or scaling.stepwise or _gradient_doubted(scaling):
            return scaling
        return scaling.because(self._why_cut(tensor))

    def _with(self, value: Value, reason: Reason) -> Value:
        located = self.located(reason)
        return self.shadows.palette.mapped(value, lambda scaling: scaling.because(located))


def _may_depend(value: Value) -> bool:
    return not isinstance(value, Scaling) or value.depends_on_input


def _gradient_doubted(scaling: Scaling) -> bool:
    return any(reason.kind != "value" for reason in scaling.reasons)


def _differentiable(tensor: Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _tells_of_chance(value: Value) -> bool:
    return isinstance(value, Scaling) and any(reason.what == RANDOM.what for reason in value.reasons)
