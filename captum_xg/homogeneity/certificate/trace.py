"""The state that the observers of one forward pass share: shadow memory, assumptions, findings, current operation."""

from __future__ import annotations

from collections.abc import Sequence
from types import CodeType

import torch
from torch import Tensor

from captum_xg._core.operations import tensors_in
from captum_xg._core.provenance import current_site, custom_function_running
from captum_xg._core.recorder import Names, Observer, OpEvent
from captum_xg.homogeneity.certificate.assumptions import Assumptions
from captum_xg.homogeneity.certificate.shadow_memory import ShadowMemory, Value
from captum_xg.homogeneity.degree import WITHOUT_THE_CONSTANT, Reason, Scaling, mismatch
from captum_xg.homogeneity.rules.op_call import PLACES, WITHOUT_BIAS, WITHOUT_IT
from captum_xg.homogeneity.rules.reasons import RAISES, Located, of_argument


class Trace(Observer):
    """Gives reasons the place that is running now, and collects those that make every verdict unknown.

    Args:
        names: Module id → (path, module), to say where something happened.
        outermost: Code of the function that calls the model.
        additional: Tensors among the additional forward arguments, which are constants that their user can do without.

    Attributes:
        shadows: How what is in memory scales.
        assumptions: What was asked about constants.
        leaks: What makes every verdict unknown, wherever it happened: effects that were not seen.
        opaque: Why nothing but its results is seen of the running operation; None if it is followed.
        dependent: Whether the results of the running operation may depend on the input.
        dtypes: The floating dtypes of all results, also where casts hide them from inputs and outputs.
    """

    def __init__(self, names: Names, outermost: CodeType, additional: Sequence[Tensor] = ()) -> None:
        self.shadows = ShadowMemory()
        self.assumptions = Assumptions()
        self.leaks: list[Reason] = []
        self.opaque: Reason | None = None
        self.dependent = False
        self._names = names
        self._outermost = outermost
        self._additional = list(additional)
        self.dtypes: set[torch.dtype] = set()
        self._event: OpEvent | None = None
        self._number = 0

    def before(self, event: OpEvent) -> None:
        """Take an operation for what runs now."""
        self.finish()
        self._event, self._number, self.opaque, self.dependent = event, event.number, None, False

    def after(self, event: OpEvent) -> None:
        """Let go of it, and of its tensors."""
        for result in event.results:
            if (dtype := result.dtype) not in self.dtypes and dtype.is_floating_point:
                self.dtypes.add(dtype)
        self._event = None

    def finish(self) -> None:
        """Notice an operation that began and did not end: the forward function has caught its error."""
        if self._event is not None and self.dependent:
            self.note(RAISES)
        self._event = None

    def note(self, reason: Reason, op: str | None = None) -> None:
        """Add to what makes every verdict unknown."""
        self.leaks.append(self.located(reason, op))

    def located(self, reason: Reason, op: str | None = None) -> Reason:
        """Return a reason with the place that is running now, and the name of the operation, or another."""
        if isinstance(reason, Located):
            return reason
        if reason.remedy in (WITHOUT_IT, WITHOUT_THE_CONSTANT, WITHOUT_BIAS) and self._adds_argument(reason.remedy):
            reason = of_argument(reason)
        if op is None:
            op = "output" if self._event is None else str(self._event.op)
        site = current_site(op, self._names, self._outermost)
        return Located(reason.what, reason.remedy, reason.kind, site, self._number)

    def doubted(self, value: Value, reason: Reason) -> Value:
        """Return how a tensor scales with another reason against all of it."""
        located = self.located(reason)
        return self.shadows.interned.map(value, lambda scaling: scaling.because(located))

    def mismatch(self, *scalings: Scaling, verb: str, preposition: str) -> Reason | None:
        """Return the reason that scalings do not go together in one tensor or output; None if they do."""
        terms = [scaling for scaling in scalings if not scaling.zero]
        if len({term.degree for term in terms if term.degree is not None}) < 2:
            return None
        return self.located(mismatch(*terms, verb=verb, preposition=preposition))

    def custom_function(self) -> str | None:
        """Return the name of the custom autograd function whose forward runs now, if one does."""
        return custom_function_running(self._outermost)

    def _adds_argument(self, remedy: str) -> bool:
        """Return whether the constant that an operation adds is an additional forward argument."""
        if self._event is None or not self._additional:
            return False
        arguments = self._event.arguments
        added: list[object] = [value for name, value in arguments.items() if name not in PLACES]
        if remedy == WITHOUT_BIAS:
            added = [arguments.get("bias" if "bias" in arguments else "self")]
        return any(
            not self.shadows.depends(tensor) and self.assumptions.derived_from(tensor, self._additional)
            for tensor in tensors_in(added)
        )


def may_depend(value: Value) -> bool:
    """Return whether a value may depend on the input."""
    return not isinstance(value, Scaling) or value.depends_on_input
