"""Follows one forward pass, operation by operation, and infers how every number in it scales with the input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from captum_xg.homogeneity.autograd_graph import reaches
from captum_xg.homogeneity.call import argument_names, arguments_by_name, tensors_in
from captum_xg.homogeneity.degree import CONSTANT, Reason, Scaling, mismatch
from captum_xg.homogeneity.facts import Facts
from captum_xg.homogeneity.lifting import Lift
from captum_xg.homogeneity.registry import find_rule, rule_vouches_for
from captum_xg.homogeneity.shadows import Shadows, Value, has_storage
from captum_xg.homogeneity.sites import Site, current_site, custom_function_running

_PURE = ("aten", "prims", "torchvision")
"""Whose operations without a rule still give constants for constants: they are functions of their arguments."""

_LAYOUT = frozenset(
    f"aten::{name}"
    for name in ("is_pinned", "is_same_size", "size", "stride", "numel", "dim", "storage_offset", "is_contiguous")
)
"""Which give Python something that does not depend on values. All others that return no tensor hand over values."""

_WRITTEN_UNSAID = {
    "aten::native_batch_norm": ("running_mean", "running_var"),
    "aten::cudnn_batch_norm": ("running_mean", "running_var"),
    "aten::miopen_batch_norm": ("running_mean", "running_var"),
}
"""What operations write to in training mode without saying so in their schema."""

_STATISTICS = Reason("is overwritten by statistics of the batch", "Call model.eval()", kind="unknown")

_DECIDES = Reason(
    "hands a value that depends on the input to Python (a branch, .item(), float()), where it can decide what runs",
    "Use torch.where, or masks, so that the same operations run for every input",
    kind="unknown",
)
_BITS = Reason("reads the bits of numbers as other numbers", "Convert the dtype instead", kind="unknown")
_SHAPE = Reason(
    "returns a tensor whose shape depends on values of the input, which Python can read",
    "Use a mask and torch.where, so that shapes are the same for every input",
    kind="unknown",
)
_BEYOND = Reason(
    "reads memory beyond the tensor it is a view of (as_strided), where its gradient does not reach",
    "Take the view of the whole tensor",
    kind="unknown",
)
_COUNTERPART = {
    torch.float16: torch.complex32,
    torch.float32: torch.complex64,
    torch.float64: torch.complex128,
    torch.complex32: torch.float16,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}
_OUTSIDE = Reason(
    "was computed where operations are not seen: in another thread or process, or before the forward pass",
    "Compute it in the forward pass, in one thread",
    kind="unknown",
)
_RANDOM = Reason("draws random numbers, so F(x) is no fixed function of x", "Call model.eval(), or leave it out")
_CUT = Reason(
    "is cut off from autograd (detach, .data or no_grad), so the gradient is not the gradient of F",
    "Let the gradient pass, or compute it from constants",
    kind="gradient",
)
_OVERWRITTEN = Reason(
    "overwrites values behind autograd's back (through detach, .data or no_grad), so the gradient is not that of F",
    "Write to a copy, or let autograd see it",
    kind="gradient",
)


@dataclass(frozen=True)
class Located(Reason):
    """A reason and where it arose.

    Attributes:
        site: The module and source line.
        order: How many operations had run.
    """

    site: Site = Site("", "", "", "")  # noqa: RUF009  frozen
    order: int = 0


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation below autograd, runs it, and notes how its results scale.

    Args:
        names: Module id → (path, module), to say where something happened.
        outermost: Code of the function that calls the model.
    """

    def __init__(self, names: Mapping[int, tuple[str, nn.Module]], outermost: CodeType) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shadows = Shadows()
        self.facts = Facts()
        self.n_ops = 0
        self.escapes: list[Reason] = []
        """What makes every verdict unknown: values that went where operations are not seen."""
        self._names = names
        self._outermost = outermost
        self._op = ""
        self._lift = Lift(self.shadows.palette, self.facts, self.located)
        self._starts: list[Node | None] = []
        # Where tensors were cut off from autograd; weakly, so that the trace keeps no activations alive.
        self._cuts = WeakIdKeyDictionary()
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
        arguments = arguments_by_name(func, args, kwargs)
        tensors = list(tensors_in(arguments.values()))
        for tensor in tensors:
            if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
                what = f"works on {type(tensor).__name__}, a kind of tensor with operations of its own"
                self.escapes.append(self.located(Reason(what, "Use plain tensors", kind="unknown")))
            if tensor.requires_grad and has_storage(tensor):
                self._in_graph[tensor.untyped_storage()] = True
        values = {id(t): self.value(t) for t in tensors}
        self._notice_shapes(func, arguments, values)
        results = self._results(func, arguments, values, n_results(func, arguments))
        out = func(*args, **kwargs)
        self._record(func, arguments, out, results, tensors)
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
                return Scaling(None, reasons=frozenset({self.located(_OUTSIDE)}))
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
        site = current_site(op or self._op, self._names, self._outermost)
        return Located(reason.what, reason.remedy, reason.kind, site, self.n_ops)

    def _results(
        self, func: Any, arguments: dict[str, Any], values: Mapping[int, Value], n_results: int
    ) -> list[Value]:
        name = func._schema.name
        entry = find_rule(name)
        dependent = any(not isinstance(v, Scaling) or v.depends_on_input or v.reasons for v in values.values())
        results: list[Value]
        if entry is None and _returns_values(func) and not name.removesuffix("_").startswith("aten::sym_"):
            self._hand_over(func, arguments, dependent)
            return [CONSTANT] * n_results
        if entry is not None:
            results = self._lift(entry, func, arguments, values, n_results)
        elif not dependent and func.namespace in _PURE:
            results = [CONSTANT] * n_results
        else:
            missing = Reason(
                f"runs {name}, for which there is no rule",
                "Write one (captum_xg.homogeneity.degree_rule), or use operations that have one",
                kind="unknown",
            )
            reasons = frozenset().union(*(self.shadows.palette.together(v).reasons for v in values.values()))
            results = [Scaling(None, reasons=reasons | {self.located(missing)})] * n_results
        if _draws(func, arguments) and not any(map(_tells_of_chance, results)):
            results = [self._with(result, _RANDOM) for result in results]
        return results

    def _hand_over(self, func: Any, arguments: dict[str, Any], dependent: bool) -> None:
        if dependent:
            self.escapes.append(self.located(_DECIDES))
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
                self.escapes.append(self.located(_SHAPE))
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
            value = self._with(CONSTANT, _STATISTICS) if result is None else result
            self._write(tensor, value, recorded)
            written.append(tensor)
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
        if all(isinstance(result, Scaling) and not result.depends_on_input for result in results):
            self.facts.derived([*fresh, *written], tensors)

    def _write(self, tensor: Tensor, value: Value, recorded: bool) -> None:
        before = self.shadows.read(tensor)
        if not (recorded and tensor.requires_grad) and _differentiable(tensor):
            together = self.shadows.palette.together(before)
            if together.depends_on_input and not together.stepwise and not _gradient_doubted(together):
                value = self._with(value, _OVERWRITTEN)
            elif has_storage(tensor) and tensor.untyped_storage() in self._in_graph:
                # What was done behind autograd's back is not undone by doing it again.
                doubts = [reason for reason in together.reasons if reason.kind == "gradient"]
                value = self.shadows.palette.mapped(value, lambda scaling: scaling.because(*doubts))
        self.shadows.write(tensor, value, self._clash)

    def _clash(self, before: Scaling, value: Scaling) -> Reason | None:
        terms = [scaling for scaling in (before, value) if not scaling.zero]
        if len({term.degree for term in terms if term.degree is not None}) < 2:
            return None
        return self.located(mismatch(*terms, verb="writes into one tensor", preposition="and"))

    def _note_view(self, func: Any, view: Tensor, tensors: list[Tensor], recorded: bool) -> None:
        """Remember where a view lost its gradient, and notice bits that are read as other numbers."""
        value = self.shadows.palette.together(self.shadows.read(view))
        if not value.depends_on_input:
            return
        viewed = [t for t in tensors if shares_memory(view, [t])]
        if any(t.dtype not in (view.dtype, _COUNTERPART.get(view.dtype)) for t in viewed):
            self.escapes.append(self.located(_BITS))
        if func._schema.name == "aten::as_strided" and viewed and not _within(view, viewed[0]):
            self.escapes.append(self.located(_BEYOND))
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
        return self.located(_CUT if function is None else custom_function(function))

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


def n_results(func: Any, arguments: Mapping[str, Any]) -> int:
    """Return how many scalings a rule gives: one for each result, or for each tensor written to if none is returned."""
    if func._schema.returns:
        return len(func._schema.returns)
    written = (arguments[name] for name, is_written, _ in argument_names(func) if is_written)
    return max(len(list(tensors_in(written))), 1)


def written_values(
    func: Any, arguments: Mapping[str, Any], results: list[Value]
) -> Iterator[tuple[Tensor, Value | None]]:
    """Yield every tensor that an operation has written to, and how it scales now; None if no result tells."""
    schema = func._schema
    rest = iter(results)
    for argument in schema.arguments:
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        names = set(argument.alias_info.before_set)
        told = [
            result
            for returned, result in zip(schema.returns, results, strict=False)
            if returned.alias_info is not None and names & set(returned.alias_info.before_set)
        ]
        for tensor in tensors_in([arguments[argument.name]]):
            yield tensor, told[0] if told else None if schema.returns else next(rest, results[-1])
    if arguments.get("training", arguments.get("train")):
        for name in _WRITTEN_UNSAID.get(schema.name, ()):
            yield from ((tensor, None) for tensor in tensors_in([arguments[name]]))


def shape_deciding(func: Any, arguments: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors whose values decide the shape of the result of an operation of which some do."""
    deciding = {"aten::masked_select": "mask", "aten::repeat_interleave": "repeats", "aten::index": "indices"}
    name = deciding.get(func._schema.name, "")
    tensors = list(tensors_in(arguments.values() if name not in arguments else [arguments[name]]))
    masks = (torch.bool, torch.uint8)
    return [t for t in tensors if t.dtype in masks] if name == "indices" else tensors


def custom_function(name: str) -> Reason:
    """Return the reason that a custom autograd function is on the path."""
    return Reason(
        f"goes through the custom autograd function {name}, whose backward pass is not analysed",
        "Write it with PyTorch's own operations",
        kind="unknown",
    )


def shares_memory(tensor: Tensor, others: list[Tensor]) -> bool:
    """Return whether a tensor is a view of one of others."""
    if not has_storage(tensor):
        return any(tensor is other for other in others)
    storage = tensor.untyped_storage()
    return any(has_storage(other) and other.untyped_storage() is storage for other in others)


def _gradient_doubted(scaling: Scaling) -> bool:
    return any(reason.kind != "value" for reason in scaling.reasons)


def _returns_values(func: Any) -> bool:
    """Return whether an operation hands numbers or truth values to Python that depend on what tensors hold."""
    types = {str(returned.type) for returned in func._schema.returns}
    return bool(types & {"bool", "int", "float", "number", "Scalar", "complex"}) and func._schema.name not in _LAYOUT


def _differentiable(tensor: Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _draws(func: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether an operation draws random numbers with these arguments: dropout need not."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    off = any(arguments.get(name, True) is False for name in ("train", "training"))
    return not off and arguments.get("dropout_p", 1.0) != 0


def _tells_of_chance(value: Value) -> bool:
    return isinstance(value, Scaling) and any("random" in reason.what for reason in value.reasons)


def _within(view: Tensor, viewed: Tensor) -> bool:
    """Return whether a view reads only elements of the tensor that it was taken of."""
    covered = torch.zeros(viewed.untyped_storage().nbytes() // viewed.element_size(), dtype=torch.bool)
    covered.as_strided(viewed.size(), viewed.stride(), viewed.storage_offset()).fill_(True)
    return bool(covered.as_strided(view.size(), view.stride(), view.storage_offset()).all())
