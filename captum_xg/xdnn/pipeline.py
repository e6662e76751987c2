"""The pipeline of a conversion: its steps, their order, and the report of what they did.

First what is exact: fused norms are taken apart, once, functional calls become modules (:class:`LiftCalls`), as often
as that shows more of them, and batch norms are folded, once. Then the inexact steps run to a fixed point. The rule is:
*the first step in this order that finds something to do does it; then the model is certified again, and the search
starts again at the first step.* Starting again matters, since what one step changes may make a later one needless:
``1 - g`` has degree 0 once the gate g has, so the constant 1 may stay. Products come last, as only then it is seen
which of their factors scale. It ends when no step finds anything to do.

Bound: each time round settles at least one module or forward (converted, refused, recorded or not recordable) and none
is settled twice, so there are at most as many rounds as the model has modules and functional calls; in practice one or
two for each stage.

What must never happen: that the result is called homogeneous because of what was done to it. Only the certificate of
the finished model, taken last, says what the result is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from captum_xg.errors import ConversionError
from captum_xg.xdnn.agreement import Agreement, compare, dimension_of_classes, largest_difference
from captum_xg.xdnn.dataflow import Role
from captum_xg.xdnn.evidence import WHERE, Evidence, Examples, StepResult
from captum_xg.xdnn.fused_norms import SplitFusedNorms
from captum_xg.xdnn.lifting import put_back
from captum_xg.xdnn.products import ScaleProducts
from captum_xg.xdnn.registry import STAGES
from captum_xg.xdnn.report import ConversionReport, Unconverted
from captum_xg.xdnn.stages import Convert, FoldBatchNorms, LiftCalls, Step
from captum_xg.xdnn.unconverted import damage, has_finite_gradient, unconverted, wrong_degree

SPLIT = SplitFusedNorms()
LIFT = LiftCalls()
FOLD = FoldBatchNorms()
INEXACT: tuple[Step, ...] = (LIFT, *map(Convert, STAGES), ScaleProducts())

_ALIKE = 0.9
"""Below this share of the same predictions, or correlation, a result is said to be a starting point only."""


def convert(model: nn.Module, original: nn.Module, examples: Examples) -> tuple[nn.Module, ConversionReport]:
    """Convert a model, in place, as far as that can be done.

    Args:
        model: A copy, to be changed.
        original: What it is a copy of.
        examples: Example inputs.

    Returns:
        The converted model, and the report.
    """
    evidence = Evidence(model, examples)
    reference = evidence.outputs  # first of all, so that a model which does not run is refused as that
    # What is proven stays as it is: no folding, no recording, not a bit changed.
    if evidence.certificate.homogeneous:
        return model, _report(evidence)
    comparison = _Comparison(evidence, reference)
    split = SPLIT(evidence.model, evidence)  # first, as it shows what is inside of them
    evidence = evidence if split is None else evidence.after(split)
    evidence = _to_fixed_point(evidence, (LIFT,))
    folded = FOLD(evidence.model, evidence)
    evidence = evidence if folded is None else evidence.after(folded)
    comparison.of_exact_changes(evidence)
    # Only now, on the dataflow that the inexact steps go by: recordings have no modules that the forward does not call.
    evidence = evidence.after(StepResult(notes=_idle_modules(evidence), model=evidence.model))
    evidence = _to_fixed_point(evidence, INEXACT, comparison.of_stage)
    left = unconverted(evidence)  # before recordings are put back, by whose modules findings are named
    evidence = evidence.after(put_back(evidence.model, evidence.progress))
    evidence = evidence.after(StepResult(notes=_remarks(evidence, comparison), model=evidence.model))
    return evidence.model, _report(evidence, comparison, (*left, *damage(evidence, original)))


# A step may settle something without changing the model, by noting an obstacle or a refusal. The evidence then stays,
# and the search still starts again, at no cost.
def _to_fixed_point(
    evidence: Evidence, steps: Sequence[Step], then: Callable[[Evidence, StepResult], None] = lambda *_: None
) -> Evidence:
    """Do what the first step that finds something to do does, until none does; return the evidence at the end."""
    while result := next(filter(None, (step(evidence.model, evidence) for step in steps)), None):
        evidence = evidence.after(result)
        then(evidence, result)
    return evidence


class _Comparison:
    """The outputs after each stage beside those of the original.

    Args:
        evidence: That of the original.
        reference: What the original returns.
    """

    def __init__(self, evidence: Evidence, reference: dict[str, Tensor]) -> None:
        self.reference = reference
        self.agreement: list[Agreement] = []
        self.exact_difference = 0.0
        modules = dict(evidence.model.named_modules())
        returned = [m for path, m in modules.items() if Role.RETURNED in evidence.dataflow[path].roles]
        shapes = [x.shape for x in evidence.examples.inputs]
        convolutional = any(isinstance(module, _ConvNd) for module in modules.values())
        self._classes = {
            name: dimension_of_classes(y.shape, shapes, returned, convolutional=convolutional)
            for name, y in self.reference.items()
        }

    def of_exact_changes(self, evidence: Evidence) -> None:
        """Compare after the exact changes, if there were any."""
        count = len(evidence.progress.changes) + len(evidence.progress.recorded())
        if count:
            self.exact_difference = largest_difference(self.reference, evidence.outputs)
            self._compare("exact changes", count, evidence)

    def of_stage(self, evidence: Evidence, result: StepResult) -> None:
        """Compare after an inexact step, if it changed anything."""
        if result.changes:
            self._compare(result.changes[0].stage, len(result.changes), evidence)

    def tells_of_other_predictions(self) -> bool:
        """Return whether, after the last stage, few predictions are those of the original."""
        last = [each for each in self.agreement if each.stage == self.agreement[-1].stage]
        return any(share is not None and share < _ALIKE for each in last for share in (each.top1, each.correlation))

    def _compare(self, stage: str, changes: int, evidence: Evidence) -> None:
        before, after = ({n: tuple(y.shape) for n, y in ys.items()} for ys in (self.reference, evidence.outputs))
        if before != after:
            raise ConversionError(
                f"{WHERE}: {evidence.name} returns tensors of other names or shapes after the changes than before: "
                f"{after} instead of {before}. Choose one of them with output=…, or pass several examples."
            )
        n = len(evidence.examples)
        for name, y in self.reference.items():
            classes = self._classes[name]
            self.agreement.append(
                compare(stage, changes, y, evidence.outputs[name], examples=n, output=name, classes=classes)
            )


def _idle_modules(evidence: Evidence) -> tuple[str, ...]:
    """Return a note on the modules with parameters that did not run, and in which nothing ran; none if all did."""
    ran, idle = [path for path, use in evidence.dataflow.items() if use.sources], list[str]()
    for path, module in evidence.model.named_modules():
        inside = any(path == other or path.startswith(f"{other}.") for other in idle)
        runs = any(each == path or each.startswith(f"{path}.") for each in ran)
        if path and not inside and not runs and next(module.parameters(), None) is not None:
            idle.append(path)
    listed = ", ".join(idle[:6]) + f" and {len(idle) - 6} more" * (len(idle) > 6)
    return (f"Did not run on the examples, and so were left as they are: {listed}.",) if idle else ()


def _remarks(evidence: Evidence, comparison: _Comparison) -> tuple[str, ...]:
    """Return notes on the finished model."""
    notes = []
    if not all(bool(y.isfinite().all()) for y in comparison.reference.values()):
        notes.append("The original is not finite on the examples, so that nothing could be compared.")
    if not evidence.attempt("with gradients", partial(has_finite_gradient, evidence.examples)):
        notes.append("Its gradient is not finite on the examples, so that X-Gradient will refuse them.")
    if any(map(_any, comparison.reference.values())) and not any(map(_any, evidence.outputs.values())):
        notes.append("It is zero on the examples: what was changed carried all of the original's predictions.")
    if comparison.tells_of_other_predictions():
        notes.append(
            "Its predictions are no longer those of the original: fine-tune it before you use it (fine_tune), or "
            "extend the original instead (HomogeneousExtension(model, radius=typical norm of the inputs))."
        )
    return tuple(notes)


def _any(y: Tensor) -> bool:
    return bool(y.any())


def _report(
    evidence: Evidence, comparison: _Comparison | None = None, left: tuple[Unconverted, ...] = ()
) -> ConversionReport:
    certificate, progress = evidence.examples.certificate(evidence.model), evidence.progress
    # The share was computed by Euler's identity for degree 1, and means nothing for other degrees.
    usable = certificate.homogeneous and certificate.degree == 1
    return ConversionReport(
        model=evidence.name,
        changes=tuple(sorted(progress.changes, key=lambda change: not change.exact)),
        unconverted=(*left, *wrong_degree(certificate, evidence.name, converted=bool(progress.converted()))),
        certificate=certificate,
        exact_difference=comparison.exact_difference if comparison else 0.0,
        agreement=tuple(comparison.agreement) if comparison else (),
        constants_share=progress.constants_share if usable else None,
        notes=progress.notes,
    )
