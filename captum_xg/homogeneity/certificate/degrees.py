"""Degree inference: the abstract interpretation of a forward pass over the domain of scalings.

Before an operation runs, the transfer function of its degree rule says how the results will scale, from how the
arguments do; after it ran, that is written to the shadow memory of what it returned and wrote to. The real numbers take
part only where a rule asks about constants (is this bias zero?), which makes an assumption.

What must never happen: an operation without a rule counts as harmless. Its results are unknown, unless it is one of
PyTorch's and sees nothing but constants.

Example: ``torch.ops.mylib.rotate(x, angle)`` without a rule makes x unknown; ``torch.special.zeta(table, table)`` of
constants is a constant, as functions of aten depend on nothing but their arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from captum_xg._core.recorder import Observer, OpEvent
from captum_xg.homogeneity.certificate.aliasing import Aliasing
from captum_xg.homogeneity.certificate.apply_rule import TransferFunction
from captum_xg.homogeneity.certificate.case_analysis import CaseAnalysis
from captum_xg.homogeneity.certificate.cases import Cases
from captum_xg.homogeneity.certificate.factors import ConstantFactors
from captum_xg.homogeneity.certificate.gradient_cuts import GradientCuts
from captum_xg.homogeneity.certificate.leaks import Leaks
from captum_xg.homogeneity.certificate.refuted import Refuted
from captum_xg.homogeneity.certificate.shadow_memory import Value
from captum_xg.homogeneity.certificate.shifts import Shifts
from captum_xg.homogeneity.certificate.trace import Trace, may_depend
from captum_xg.homogeneity.certificate.value_facts import nonnegative, note_facts
from captum_xg.homogeneity.certificate.value_graph import Reading, ValueGraph, without_tensors
from captum_xg.homogeneity.degree import CONSTANT, Reason, Scaling
from captum_xg.homogeneity.rules.reasons import SPOILT, STATISTICS, custom_function, is_generated, no_rule
from captum_xg.homogeneity.rules.registry import Entry, find_rule
from captum_xg.homogeneity.rules.schema import RANDOM, draws, n_results, returns_values, written_values

_PURE = ("aten", "prims", "torchvision")
"""Whose operations without a rule still give constants for constants: they are functions of their arguments."""


class Degrees(Observer):
    """Infers how the results of each operation scale.

    Args:
        trace: What is known so far.
        gradients: Knows what is cut off from autograd.
        aliasing: Is told of writes.
        leaks: Is told of what Python reads.
        finite: Tensors that were looked through for NaN and infinity, and have none.
    """

    def __init__(
        self, trace: Trace, gradients: GradientCuts, aliasing: Aliasing, leaks: Leaks, finite: Iterable[Tensor]
    ) -> None:
        self._trace = trace
        self._gradients = gradients
        self._aliasing = aliasing
        self._leaks = leaks
        finite = list(finite)
        self.graph = ValueGraph(trace.shadows, finite)
        self._analysis = CaseAnalysis(trace)
        self._refuted = Refuted()
        self._shifts = Shifts(trace, gradients)
        self._factors = ConstantFactors(finite)
        self._results: list[Value] = []
        self._readings: dict[int, Reading | None] = {}
        self._idle = False
        self._cases: Cases | None = None

    def before(self, event: OpEvent) -> None:
        """Infer how the results will scale."""
        self._cases = None
        if self._trace.opaque is not None:
            return
        # Before the operation runs: one in place overwrites what is read here.
        values = {id(t): self._gradients.value(t) for t in event.tensors}
        self._readings = {id(t): self.graph.read(t) for t in event.tensors}
        self._leaks.note_shape(event, values)
        self._idle = self._writes_nothing(event)
        self._results = self._inferred(event, values)
        self._trace.dependent = any(map(may_depend, self._results))
        dependent = {key for key, value in values.items() if may_depend(value)}
        if self._trace.dependent and self._factors.spoil(event.op, event.arguments, dependent):
            self._trace.note(SPOILT)

    def after(self, event: OpEvent) -> None:
        """Write that to the shadows of what the operation wrote to and returned."""
        shadows = self._trace.shadows
        if self._trace.opaque is not None:
            for tensor in event.results:
                shadows.create(tensor, Scaling(None, reasons=frozenset({self._trace.opaque})))
            self._trace.assumptions.note_computed(event.results, [])
            return
        if self._idle:
            return
        # Not before: a rule knows values, and whether autograd records is another question.
        results = [self._gradients.of_result(result) for result in self._results]
        written = []
        for tensor, result in written_values(event.op, event.arguments, results):
            # One after the other: what one write does to memory, the next one finds there.
            self._write(tensor, self._trace.doubted(CONSTANT, STATISTICS) if result is None else result, event)
            written.append(tensor)
        for i, tensor in event.fresh:
            shadows.create(tensor, results[i])
        # Also where the input takes part: constants beside it may be read out of the same memory later on.
        if made := [*(t for _, t in event.fresh), *written]:
            self._trace.assumptions.note_computed(made, event.tensors)
        self._note_values(event, written)
        self._shifts.after(event)

    def _writes_nothing(self, event: OpEvent) -> bool:
        """Return whether an operation in place leaves all numbers as they are: what is never negative, clamped at 0."""
        if event.name != "aten::clamp_min_":
            return False
        bound, reading = event.arguments["min"], self._readings[id(event.tensors[0])]
        if isinstance(bound, Tensor):
            limit = self._trace.shadows.scaling(bound)
            zero = limit.zero or (limit.constant and self._trace.assumptions.is_zero(bound))
        else:
            zero = bound == 0
        return zero and nonnegative(reading)

    def _note_values(self, event: OpEvent, written: Iterable[Tensor]) -> None:
        """Note in the value graph what the operation returned and wrote."""
        entry = find_rule(event.name)
        name = event.name if entry is None else entry.name
        arguments = {key: without_tensors(value, self._readings) for key, value in event.arguments.items()}
        for i, tensor in [*event.fresh, *((i, tensor) for i, tensor in enumerate(written))]:
            operation = name.removeprefix("aten::")
            node = self.graph.note_result(tensor, f"{operation}:{i}" if i else operation, arguments)
            if node is None or i:
                continue
            note_facts(node)
            # Of comparisons and indices nothing is divided.
            if self._cases is not None and node.dtype.is_floating_point:
                self._analysis.remember(node, self._cases)
                node.nonzero = node.nonzero or self._cases.nonzero

    def _write(self, tensor: Tensor, value: Value, event: OpEvent) -> None:
        shadows = self._trace.shadows
        # Both look at memory as it is before the write that they judge.
        before = shadows.read(tensor)
        self._aliasing.note_write(tensor, shadows.interned.join(value), event.tensors)
        value = self._gradients.of_written(tensor, before, value)
        held = shadows.write(tensor, value)
        if held is not None:
            assert isinstance(value, Scaling)
            shadows.blame(tensor, self._trace.mismatch(held, value, verb="writes into one tensor", preposition="and"))

    def _inferred(self, event: OpEvent, values: Mapping[int, Value]) -> list[Value]:
        op, arguments = event.op, event.arguments
        n = n_results(op, arguments)
        entry = find_rule(event.name)
        # Sizes are no values: with symbolic shapes they are asked for by operations, too.
        ruled = entry is not None and op.namespace in _PURE
        if returns_values(op) and not ruled and not event.name.startswith("aten::sym_"):
            self._leaks.note_reading(event.tensors, values)
            return [CONSTANT] * n
        dependent = any(not isinstance(v, Scaling) or v.depends_on_input or v.reasons for v in values.values())
        if entry is not None:
            results = self._by_rule(entry, event, values, n)
        elif not dependent and op.namespace in _PURE:
            results = [CONSTANT] * n
        else:
            missing = self._trace.located(self._missing(event.name))
            if dependent and op.namespace not in _PURE:
                self._trace.note(missing)  # it may do other things than to return something
            reasons = frozenset().union(*(self._trace.shadows.interned.join(v).reasons for v in values.values()))
            results = [Scaling(None, reasons=reasons | {missing})] * n
        # A rule for an operation that draws may forget to say so.
        if draws(op, arguments) and not self._refuted.seeded(event) and not any(map(_is_random, results)):
            results = [self._trace.doubted(result, RANDOM) for result in results]
        return results

    def _by_rule(self, entry: Entry, event: OpEvent, values: Mapping[int, Value], n: int) -> list[Value]:
        transfer = TransferFunction(entry, event.op, event.arguments, n, self._trace)
        results = transfer(values)
        uniform = [result for result in results if isinstance(result, Scaling)]
        if len(uniform) == len(results):
            results = [*self._refuted.corrected(event, uniform, self._readings)]
        if isinstance(results[0], Scaling):
            results[0] = self._shifts.before(event, results[0], values, self._readings)
        whole = results[0]
        # What scales as a whole needs no cases, unless it is made of masks: another mask may meet it.
        if n == 1 and not (isinstance(whole, Scaling) and whole.proven and not whole.stepwise):
            self._cases = self._analysis.of_result(transfer, values, self._readings)
            if self._cases is not None:
                together, apart = self._trace.shadows.interned.join(whole), self._cases.joined()
                if apart.reasons < together.reasons:
                    return [apart]
        return results

    def _missing(self, name: str) -> Reason:
        """Return what is missing for an operation that is unknown."""
        # A rule is of no use where the gradient is that of a Python function around the operation.
        function = self._trace.custom_function()
        return no_rule(name) if function is None or is_generated(function, name) else custom_function(function)


def _is_random(value: Value) -> bool:
    return isinstance(value, Scaling) and any(reason.what == RANDOM.what for reason in value.reasons)
