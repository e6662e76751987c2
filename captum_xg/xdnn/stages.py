"""Steps of a conversion: each takes a model and the evidence of it, and returns what it made of it.

A step returns None if it finds nothing to do. It works in place on the pipeline's own copy, and reports through its
:class:`~captum_xg.xdnn.evidence.StepResult` alone.

What must never happen: that a step does something again. What is converted or refused has an outcome, a forward that
was recorded, or could not be, has an entry among the recordings, and neither is looked at again. So every step settles
something each time that it finds something to do, which is why the pipeline comes to an end.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from captum_xg._core.text import in_one_line
from captum_xg.errors import ConversionError
from captum_xg.xdnn.added_parameters import drop_parameters
from captum_xg.xdnn.agreement import largest_difference
from captum_xg.xdnn.dataflow import Role
from captum_xg.xdnn.evidence import WHERE, Evidence, Outcome, StepResult
from captum_xg.xdnn.folding import fold_batch_norms, uses_of
from captum_xg.xdnn.functional_calls import FunctionCall
from captum_xg.xdnn.lifting import put, record_forwards
from captum_xg.xdnn.own_norms import OWN_NORM
from captum_xg.xdnn.registry import Conversion, Entry, ModuleContext, NotConvertible, Stage, find_conversion
from captum_xg.xdnn.replacement import has_hooks
from captum_xg.xdnn.report import Change

_ROUNDING = 1e-3
"""What folding may change by rounding, relative; half precision and ill-conditioned norms are the worst."""


class Step(Protocol):
    """One step of a conversion."""

    def __call__(self, model: nn.Module, evidence: Evidence) -> StepResult | None:
        """Return what it made of the model; None if it found nothing to do."""


class LiftCalls:
    """Turns functional calls into modules wherever a forward of the user's own breaks homogeneity.

    The forward becomes a recording by torch.fx, if that returns what the forward does. What cannot be recorded is left,
    with the obstacle.
    """

    def __call__(self, model: nn.Module, evidence: Evidence) -> StepResult | None:
        """Record each forward that is found to break homogeneity and belongs to no module with a conversion."""
        modules, progress = dict(model.named_modules()), evidence.progress
        paths = [
            path
            for path in dict.fromkeys(violation.module for violation in evidence.findings)
            if path in modules and owner_of(path, modules, evidence.own_norms) is None
            if not (path in progress.recordings or progress.finished(path))
        ]
        return record_forwards(model, evidence, paths) if paths else None


class FoldBatchNorms:
    """Folds batch norms into the linear layers beside them, which changes nothing but rounding."""

    def __call__(self, model: nn.Module, evidence: Evidence) -> StepResult | None:
        """Fold all that can be folded, or none where that would change the outputs by more than rounding."""
        before = evidence.outputs
        folded = fold_batch_norms(model, evidence.dataflow)
        if not folded:
            return None
        # Compared as a whole: each fold is right by itself, but rounding adds up in ill-conditioned norms.
        change = largest_difference(
            before, evidence.attempt("after batch norms were folded", evidence.examples.outputs)
        )
        if not change <= _ROUNDING:
            for each in reversed(folded):  # as one layer may have taken in two norms
                each.undo()
            note = f"Batch norms were not folded: that would have changed the outputs by {change:.1g} (relative)."
            return StepResult(notes=(note,), model=model)
        changes = []
        for each in folded:
            kind, side = type(model.get_submodule(each.layer)).__name__, "before" if each.before else "after"
            what = f"folded into {each.layer} ({kind}) {side} it"
            changes.append(Change(each.norm, "BatchNorm", "Identity", what, True, "batch norms"))
        return StepResult(changes=tuple(changes), model=model)


@dataclass(frozen=True)
class Planned:
    """A module that a rule is to be asked about, and whether the rule is for the whole of it."""

    path: str
    module: nn.Module
    entry: Entry
    whole: bool = True


@dataclass(frozen=True)
class Convert:
    """Converts, by the registered rules of one stage, what the certificate says breaks homogeneity.

    Attributes:
        stage: The stage. For ``"constants"``, parameters that a forward adds which could not be recorded are dropped,
            too, and what constants carry of the predictions is measured before they go.
    """

    stage: Stage

    def __call__(self, model: nn.Module, evidence: Evidence) -> StepResult | None:
        """Ask the rules, and put in what they return."""
        planned = [each for each in plan(model, evidence) if each.entry.stage == self.stage]
        if not planned:
            return None
        progress, share = evidence.progress, None
        if self.stage == "constants" and progress.constants_share is None:  # before the first of them goes
            share = evidence.examples.share_of_constants(model)
        changes, outcomes = list[Change](), dict[str, Outcome]()
        for each in planned:
            kind = each.module.name if isinstance(each.module, FunctionCall) else type(each.module).__name__
            result = ask(each, evidence)
            if isinstance(result, NotConvertible):
                outcomes[each.path] = result  # so that it is not asked again, and named as a whole in the report
                continue
            if result.replacement is not each.module:
                result.replacement.train(each.module.training)  # a module that was made just now is in training mode
                model = put(model, each.module, result.replacement, progress)
            after = result.after or type(result.replacement).__name__
            changes.append(Change(each.path, result.before or kind, after, result.why, result.exact, self.stage))
            outcomes[each.path] = "converted" if each.whole else "without what it adds"
        return StepResult(changes=tuple(changes), outcomes=outcomes, constants_share=share, model=model)


def plan(model: nn.Module, evidence: Evidence) -> list[Planned]:
    """Return the modules to be converted: owners of what breaks homogeneity that have no outcome yet."""
    modules, progress = dict(model.named_modules()), evidence.progress
    planned: dict[str, Planned] = {}
    for path in dict.fromkeys(violation.module for violation in evidence.findings):
        owner = owner_of(path, modules, evidence.own_norms) or _adding(path, modules, model, evidence)
        if owner is not None and owner.path not in progress.outcomes and not progress.finished(owner.path):
            planned.setdefault(owner.path, owner)
    return list(planned.values())


def owner_of(path: str, modules: dict[str, nn.Module], own_norms: Collection[str]) -> Planned | None:
    """Return the outermost module, from the model down to one of its modules, that there is a conversion for."""
    parts = path.split(".") if path else []
    for depth in range(len(parts) + 1):  # from above: a rule for a class takes over everything inside
        above = ".".join(parts[:depth])
        module = modules.get(above)
        if module is not None:
            kind = module.function if isinstance(module, FunctionCall) else type(module)
            entry = OWN_NORM if above in own_norms else find_conversion(kind)
            if entry is not None:
                return Planned(above, module, entry)
    return None


def _adding(path: str, modules: dict[str, nn.Module], model: nn.Module, evidence: Evidence) -> Planned | None:
    """Return a plan to drop the parameters that a module adds in a forward that could not be recorded."""
    progress = evidence.progress
    if progress.obstacle(path) is None or path in progress.outcomes or path not in modules:
        return None
    names = evidence.added_parameters.get(path)
    if not names:
        return None

    # As a rule, so that it is asked, counted and reported like all others.
    def rule(module: nn.Module, context: ModuleContext) -> Conversion | NotConvertible:
        return drop_parameters(module, names, uses_of(model))

    return Planned(path, modules[path], Entry(type(modules[path]), "constants", rule), whole=False)


def ask(planned: Planned, evidence: Evidence) -> Conversion | NotConvertible:
    """Return what a rule says of a module.

    Raises:
        ConversionError: If the rule fails, or returns what is neither.
    """
    path, entry = planned.path, planned.entry
    named = f"{WHERE}: the conversion {entry.name}"
    try:
        result: object = entry.rule(planned.module, context_of(path, evidence))
    except Exception as error:
        raise ConversionError(f"{named} fails for {path}: {in_one_line(error).removesuffix('.')}.") from error
    if isinstance(result, NotConvertible):
        return result
    if not isinstance(result, Conversion):
        raise ConversionError(
            f"{named} returned {type(result).__name__} for {path}. Return a Conversion or a NotConvertible."
        )
    if not isinstance(result.replacement, nn.Module):
        raise ConversionError(
            f"{named} replaces {path} by {result.replacement!r}, which is not a module. Wrap it in a torch.nn.Module."
        )
    # Found only now, as a rule that changes the module itself keeps its hooks.
    if result.replacement is not planned.module and has_hooks(planned.module):
        return NotConvertible(
            "has hooks, which a replacement would lose", "Remove them, or put what they do into a module"
        )
    return result


def context_of(path: str, evidence: Evidence) -> ModuleContext:
    """Return what rules are told of a module's surroundings."""
    use, prefix = evidence.dataflow[path], f"{path}." if path else ""
    inside = {p.removeprefix(prefix): each.rms for p, each in evidence.dataflow.items() if p.startswith(prefix)}
    return ModuleContext(
        path,
        rms=use.rms or 1.0,
        inner_rms={p: rms for p, rms in inside.items() if rms is not None},
        multiplies=use.is_gate,
        returned=Role.RETURNED in use.roles,
        overwritten=Role.OVERWRITTEN in use.roles,
        divides=Role.DENOMINATOR in use.roles,
        dims=use.dims,
        takes_product=use.takes_product,
    )
