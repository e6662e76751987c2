"""The conversion itself: exact changes, then rounds of certifying and mending what the certificate names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from captum_xg.errors import CaptumXGError, ConversionError
from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.homogeneity.certificate.certify import Output
from captum_xg.xdnn.agreement import Agreement, compare, largest_difference
from captum_xg.xdnn.dataflow import Flow
from captum_xg.xdnn.examples import WHERE, Examples
from captum_xg.xdnn.flaws import numbers_lost, wrong_degree
from captum_xg.xdnn.folding import fold_batch_norms, uses_of
from captum_xg.xdnn.functional_calls import FunctionCall
from captum_xg.xdnn.fx_recording import Recordings
from captum_xg.xdnn.own_constants import drop_constants
from captum_xg.xdnn.registry import STAGES, Conversion, Entry, Place, Refusal, Stage, find_conversion
from captum_xg.xdnn.replacement import has_hooks, replace_module
from captum_xg.xdnn.report import Change, ConversionReport, Unconverted
from captum_xg.xdnn.so_far import SoFar

_T = TypeVar("_T")
_ROUNDS = 36
_EXACT = "exact changes"
_SAME = 1e-6
"""What a recorded forward may differ by, relative: it runs the same operations."""
_ALIKE = 0.9
"""Below this share of the same predictions, or correlation, a result is said to be a starting point only."""
_ROUNDING = 1e-3
"""What folding may change by rounding, relative; half precision and ill-conditioned norms are the worst."""


@dataclass(frozen=True)
class _Planned:
    path: str
    module: nn.Module
    entry: Entry
    whole: bool = True


class Converter:
    """Works on a copy of one model."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...], additional: object, output: Output) -> None:
        try:
            self.model = copy.deepcopy(model)
        except Exception as error:
            raise ConversionError(
                f"{WHERE}: {type(model).__name__} cannot be copied (copy.deepcopy): {type(error).__name__}: {error}. "
                "Tensors with a gradient history that are stored in the model are one cause, also those of old "
                "weight_norm and spectral_norm: remove these, or use torch.nn.utils.parametrizations. "
                "HomogeneousExtension(model) needs no copy."
            ) from error
        self._original = model
        self.name = type(model).__name__
        self._examples = Examples(inputs, additional, output)
        self._changes: list[Change] = []
        self._agreement: list[Agreement] = []
        self._classes: dict[str, int | None] = {}
        self._exact_difference = 0.0
        self._constants_share: float | None = None
        self._notes: list[str] = []
        self._flow = Flow()
        self._recordings = Recordings()
        self._done: set[str] = set()
        self._without: set[str] = set()  # modules that lost what they added themselves, not what is inside of them
        self._added: dict[str, list[str]] | None = None
        self._refused: dict[str, Refusal] = {}
        self._left: tuple[Unconverted, ...] = ()
        self._reference = self._outputs("on the example inputs")
        self._certificate = self._certified()

    def convert(self) -> None:
        """Do what can be done."""
        if self._certificate.homogeneous:
            return
        self._convert_exactly()
        for _ in range(_ROUNDS):
            planned = self._plan()
            if not planned:
                break
            # What one stage mends may make another needless: 1 - g is of degree 0 once the gate g is.
            stage = next(stage for stage in STAGES if any(each.entry.stage == stage for each in planned))
            self._apply(stage, [each for each in planned if each.entry.stage == stage])
            self._certificate = self._certified()
            self._lift()  # mending one thing may show another
        self._left = self._unconverted()
        changes, notes = self._recordings.tidy(self._done, self._replace)
        self._changes += changes
        self._notes += notes
        if not all(bool(y.isfinite().all()) for y in self._reference.values()):
            self._notes.append("The original is not finite on the examples, so that nothing could be compared.")
        if not self._run("with gradients", self._examples.has_finite_gradient):
            self._notes.append("Its gradient is not finite on the examples, so that X-Gradient will refuse them.")
        self._left += tuple(
            Unconverted("", self.name, what, remedy)
            for what, remedy in self._examples.faults(self.model, self._original)
        )
        self._left += numbers_lost(self.model, self.name)
        last = [each for each in self._agreement if each.stage == self._agreement[-1].stage]
        if any(_below(each.top1) or _below(each.correlation) for each in last):
            self._notes.append(
                "Its predictions are no longer those of the original: fine-tune it before you use it (fine_tune), or "
                "extend the original instead (HomogeneousExtension(model, radius=typical norm of the inputs))."
            )

    def report(self) -> ConversionReport:
        """Return what was done."""
        certificate = self._examples.certificate(self.model)
        return ConversionReport(
            model=self.name,
            changes=tuple(sorted(self._changes, key=lambda change: not change.exact)),
            unconverted=(*self._left, *wrong_degree(certificate, self.name, converted=bool(self._done))),
            certificate=certificate,
            exact_difference=self._exact_difference,
            agreement=tuple(self._agreement),
            constants_share=self._constants_share if certificate.homogeneous and certificate.degree == 1 else None,
            notes=tuple(self._notes),
        )

    def _compare(self, stage: str, changes: int, outputs: dict[str, Tensor]) -> None:
        before, after = ({n: tuple(y.shape) for n, y in given.items()} for given in (self._reference, outputs))
        if before != after:
            raise ConversionError(
                f"{WHERE}: {self.name} returns tensors of other names or shapes after the changes than before: {after} "
                f"instead of {before}. Choose one of them with output=…, or pass several examples."
            )
        self._agreement += [
            compare(
                stage,
                changes,
                reference,
                outputs[name],
                examples=len(self._examples),
                output=name,
                classes=self._classes[name],
            )
            for name, reference in self._reference.items()
        ]

    def _convert_exactly(self) -> None:
        self._classes = self._run("when it is observed", self._examples.classes)
        self._lift()
        self._fold()
        if self._changes or len(self._recordings):
            outputs = self._outputs("after the exact changes")
            self._exact_difference = largest_difference(self._reference, outputs)
            count = len(self._changes) + len(self._recordings)
            self._compare(_EXACT, count, outputs)
        self._flow = self._examples.observed(self.model)
        self._note_what_did_not_run()
        self._certificate = self._certified()

    def _fold(self) -> None:
        folded = fold_batch_norms(self.model, self._examples.observed(self.model))
        if not folded:
            return
        change = largest_difference(self._reference, self._outputs("after batch norms were folded"))
        if not change <= _ROUNDING:
            for each in reversed(folded):
                each.undo()
            self._notes.append(
                f"Batch norms were not folded: that would have changed the outputs by {change:.1g} (relative)."
            )
            return
        modules = dict(self.model.named_modules())
        for each in folded:
            side = "before" if each.before else "after"
            what = f"folded into {each.layer} ({type(modules[each.layer]).__name__}) {side} it"
            self._changes.append(Change(each.norm, "BatchNorm", "Identity", what, True, "batch norms"))

    def _note_what_did_not_run(self) -> None:
        idle: list[str] = []
        for path, module in self.model.named_modules():
            under = any(path.startswith(f"{other}.") for other in idle)
            if path and path not in self._flow.ran and not under and next(module.parameters(), None) is not None:
                within = any(ran.startswith(f"{path}.") for ran in self._flow.ran)
                idle += [] if within else [path]
        if idle:
            listed = ", ".join(idle[:6]) + f" and {len(idle) - 6} more" * (len(idle) > 6)
            self._notes.append(f"Did not run on the examples, and so were left as they are: {listed}.")

    def _lift(self) -> None:
        """Turn functional calls into modules wherever a forward of the user's own breaks homogeneity."""
        while True:
            modules = dict(self.model.named_modules())
            paths = [
                path
                for path in dict.fromkeys(violation.module for violation in self._findings())
                if path in modules and self._owner(path, modules) is None
                if not (self._recordings.tried(path) or self._finished(path))
            ]
            if not paths:
                return
            before = self._outputs("before forwards are recorded")
            passed = self._examples.observed(self.model).passed
            recorded = [self._lift_one(path, modules[path], passed.get(path, ()), before) for path in paths]
            if not any(recorded):
                return
            self._certificate = self._certified()
            flow = self._examples.observed(self.model)
            flow.rms.update(self._flow.rms)  # the sizes of the original, where there are any
            self._flow = flow

    def _lift_one(self, path: str, module: nn.Module, passed: Collection[str], before: dict[str, Tensor]) -> bool:
        graph = self._recordings.record(path, module, passed)
        if graph is None:
            return False
        self._replace(module, graph)
        try:
            change = largest_difference(before, self._examples.outputs(self.model))
        except Exception:  # whatever the recording does where the forward did something else
            change = math.inf
        if change <= _SAME:
            return True
        self._replace(
            graph, self._recordings.forget(path, "a recording of its forward by torch.fx does something else")
        )
        return False

    def _plan(self) -> list[_Planned]:
        modules = dict(self.model.named_modules())
        planned: dict[str, _Planned] = {}
        for violation in self._findings():
            owner = self._owner(violation.module, modules) or self._adding(violation.module, modules)
            if owner is None or owner.path in self._refused or self._finished(owner.path):
                continue
            planned.setdefault(owner.path, owner)
        return list(planned.values())

    def _adding(self, path: str, modules: dict[str, nn.Module]) -> _Planned | None:
        """Return a plan to drop the parameters that a module adds in a forward that could not be recorded."""
        if path not in self._recordings.obstacles or path in self._without or path not in modules:
            return None
        if self._added is None:
            self._added = self._run("when what it adds is looked for", self._examples.added_constants)
        names = self._added.get(path)
        if not names:
            return None

        def rule(module: nn.Module, place: Place) -> Conversion | Refusal:
            return drop_constants(module, names, uses_of(self.model))

        return _Planned(path, modules[path], Entry(type(modules[path]), "constants", rule), whole=False)

    def _owner(self, path: str, modules: dict[str, nn.Module]) -> _Planned | None:
        """Return the outermost module, from the model down to one of its modules, that there is a conversion for."""
        parts = path.split(".") if path else []
        for depth in range(len(parts) + 1):
            above = ".".join(parts[:depth])
            module = modules.get(above)
            if module is None:
                continue
            kind = module.function if isinstance(module, FunctionCall) else type(module)
            entry = find_conversion(kind)
            if entry is not None:
                return _Planned(above, module, entry)
        return None

    def _finished(self, path: str) -> bool:
        """Return whether a module, or one that it is part of, has been converted already."""
        return any(path == done or path.startswith(f"{done}.") for done in self._done)

    def _apply(self, stage: Stage, planned: list[_Planned]) -> None:
        if stage == "constants" and self._constants_share is None:
            self._constants_share = self._examples.share_of_constants(self.model)
        count = 0
        for each in planned:
            kind = each.module.name if isinstance(each.module, FunctionCall) else type(each.module).__name__
            result = self._asked(each)
            if isinstance(result, Refusal):
                self._refused[each.path] = result
                continue
            if result.replacement is not each.module:
                result.replacement.train(each.module.training)
                self._replace(each.module, result.replacement)
            after = result.after or type(result.replacement).__name__
            self._changes.append(Change(each.path, result.before or kind, after, result.why, result.exact, stage))
            (self._done if each.whole else self._without).add(each.path)
            count += 1
        if count:
            self._compare(stage, count, self._outputs(f"after the stage '{stage}'"))

    def _asked(self, each: _Planned) -> Conversion | Refusal:
        prefix = f"{each.path}." if each.path else ""
        inner = {p.removeprefix(prefix): rms for p, rms in self._flow.rms.items() if p.startswith(prefix)}
        flow = self._flow
        rms = flow.rms.get(each.path, 1.0)
        place = Place(
            each.path,
            rms if rms > 0 else 1.0,
            inner,
            flow.multiplies(each.path),
            flow.returned(each.path),
            flow.overwritten(each.path),
            flow.divides(each.path),
            frozenset(flow.dims.get(each.path, ())),
        )
        rule = each.entry.rule
        named = f"{WHERE}: the conversion {rule.__module__}.{rule.__qualname__}"
        try:
            result = rule(each.module, place)
        except Exception as error:
            raise ConversionError(f"{named} fails for {each.path}: {type(error).__name__}: {error}.") from error
        if not isinstance(result, (Conversion, Refusal)):
            raise ConversionError(
                f"{named} returned {type(result).__name__} for {each.path}. Return a Conversion or a Refusal."
            )
        if isinstance(result, Refusal):
            return result
        if not isinstance(result.replacement, nn.Module):
            raise ConversionError(
                f"{named} replaces {each.path} by {result.replacement!r}, which is no module. Wrap it in a "
                "torch.nn.Module."
            )
        if result.replacement is not each.module and has_hooks(each.module):
            return Refusal(
                "has hooks, which a replacement would lose", "Remove them, or put what they do into a module"
            )
        return result

    def _replace(self, old: nn.Module, new: nn.Module) -> None:
        if self.model is old:
            self.model = new
        replace_module(self.model, old, new)
        self._recordings.replaced(old, new)

    def _findings(self) -> list[Violation]:
        return [*self._certificate.violations, *self._certificate.unsupported]

    def _certified(self) -> Certificate:
        return self._run("when it is certified", self._examples.certificate_when_trained)

    def _outputs(self, when: str) -> dict[str, Tensor]:
        return self._run(when, self._examples.outputs)

    def _run(self, when: str, run: Callable[[nn.Module], _T]) -> _T:
        """Return what the model gives, or say which changes came before it failed."""
        try:
            return run(self.model)
        except CaptumXGError:
            raise
        except Exception as error:  # whatever the user's code raises on what was changed
            last = "".join(f"\n    {c.module}: {c.before} → {c.after}" for c in self._changes[-5:])
            changed = f" The last changes were:{last}" if self._changes else ""
            raise ConversionError(
                f"{WHERE}: {self.name} fails {when}: {type(error).__name__}: {error}.{changed}"
            ) from error

    def _unconverted(self) -> tuple[Unconverted, ...]:
        """Return what still breaks homogeneity, what was refused as a whole once."""
        modules = dict(self.model.named_modules())
        found: dict[str, Unconverted] = {}
        consequences: dict[str, Unconverted] = {}  # what was converted breaks nothing but for what comes in
        findings = self._findings()
        if not findings:
            return ()
        so_far = SoFar(self._run("as it is", self._examples.certificate), self.model)
        for violation in findings:
            owner = self._owner(violation.module, modules)
            path = violation.module if owner is None else owner.path
            if path in self._refused and path in modules:
                refusal = self._refused[path]
                named = Unconverted(path, type(modules[path]).__name__, refusal.reason, refusal.remedy)
                found.setdefault(f"{path} as a whole", named)
                continue
            what, remedy = so_far.of(violation)
            reason = "; ".join(filter(None, (what, self._recordings.obstacles.get(violation.module))))
            list_ = consequences if self._finished(violation.module) else found
            key = f"{violation.module} {len(list_)}"
            location = violation.location
            list_[key] = Unconverted(violation.module, violation.type, reason, _without_circle(remedy), location)
        return tuple(found.values()) or tuple(consequences.values())


def _without_circle(remedy: str) -> str:
    """Return a remedy without the advice to do what has just been tried."""
    rest = remedy.removeprefix("Use to_xdnn(model), or ")
    return rest[:1].upper() + rest[1:]


def _below(share: float | None) -> bool:
    return share is not None and share < _ALIKE
