"""The report of a conversion: its changes, their cost, what could not be converted, and what is proven."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

from captum_xg._core.finding import Finding, listed
from captum_xg._core.text import Table, displayed
from captum_xg.errors.base import CaptumXGError
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.xdnn.agreement import Agreement


@displayed
@dataclass(frozen=True)
class Change:
    """One module that was changed.

    Attributes:
        module: Its path in the model, ``""`` for the model itself.
        before: What it was.
        after: What it is.
        why: What that means.
        exact: The outputs stay the same, but for rounding.
        stage: When it was done.
    """

    module: str
    before: str
    after: str
    why: str
    exact: bool
    stage: str


@displayed
@dataclass(frozen=True)
class Unconverted(Finding):
    """A module that still breaks homogeneity, or is not known to keep it.

    Attributes:
        module: Its path in the model, ``""`` for the model's own forward.
        type: Its class.
        reason: What it does.
        remedy: What to do about it.
        location: ``"file:line"`` that does it, ``""`` if that is not known.
    """

    module: str
    type: str
    reason: str
    remedy: str
    location: str = ""
    # No fields, as they are the same for all.
    op, further = "", ()


@displayed
@dataclass(frozen=True)
class ConversionReport:
    """What :func:`~captum_xg.to_xdnn` did.

    ``str()`` of it is a table.

    Attributes:
        model: The class of the model.
        changes: Every change, exact ones first.
        unconverted: What still stands in the way; empty if the result is certified.
        certificate: What is proven of the result.
        exact_difference: Σ|F − F₀| / Σ|F₀| after the exact changes, on the example inputs: rounding.
        agreement: The outputs compared with those of the original after each stage, on the example inputs; one entry
            for each tensor that the model returns.
        constants_share: Share of the predictions that the constants carried that were dropped: with
            F(x) = Σ x·∂F/∂x + Σ b·∂F/∂b for the predicted outputs just before they were dropped, Σ|second part|
            relative to Σ|first part| + Σ|second part|, sums over examples. None if no constants were dropped, or if
            what they carried cannot be told apart.
        notes: Further findings, one sentence each.
    """

    model: str
    changes: tuple[Change, ...]
    unconverted: tuple[Unconverted, ...]
    certificate: Certificate
    exact_difference: float
    agreement: tuple[Agreement, ...]
    constants_share: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def homogeneous(self) -> bool:
        """Whether the result is proven homogeneous, of a degree that X-Gradient can use, and training keeps it so.

        (A bias that is zero so far is not left in.)
        """
        degree = self.certificate.degree
        usable = self.certificate.identically_zero or (degree is not None and degree >= 1)
        return self.certificate.homogeneous and usable and not self.unconverted

    @property
    def exact(self) -> bool:
        """Whether nothing was changed but for rounding."""
        return all(change.exact for change in self.changes)

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain lists, dicts, numbers and strings; None for numbers that are not finite."""
        content = {
            "model": self.model,
            "homogeneous": self.homogeneous,
            "changes": [asdict(change) for change in self.changes],
            "unconverted": [asdict(module) for module in self.unconverted],
            "certificate": self.certificate.to_dict(),
            "exact_difference": self.exact_difference,
            "agreement": [asdict(stage) for stage in self.agreement],
            "constants_share": self.constants_share,
            "notes": list(self.notes),
        }
        return {key: _finite(value) for key, value in content.items()}

    def to_json(self, indent: int | None = 2) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def _parts(self) -> list[str | Table]:
        notes = [f"  {note}" for note in self.notes]
        return [self._verdict(), *self.change_lines(), *self._agreement_lines(), *notes, *self.unconverted_lines()]

    def _verdict(self) -> str:
        if not self.homogeneous:
            return f"{self.model}: NOT converted to an X-DNN"
        if not self.changes:
            return f"{self.model}: is an X-DNN as it is; {self._proven()}"
        inexact = sum(not change.exact for change in self.changes)
        counts = f"{len(self.changes) - inexact} exact and {inexact} inexact changes"
        return f"{self.model}: converted to an X-DNN by {counts}; {self._proven()}"

    def _proven(self) -> str:
        if self.certificate.identically_zero:
            return "F is zero for every input (proven), so of every degree"
        k = f"{self.certificate.degree:g}"
        return f"F(αx) = α{'' if k == '1' else f'^{k} '}F(x) for all α > 0 (proven, degree {k})"

    def change_lines(self, most: int = 6) -> list[str]:
        """Return the changes as a table, alike ones together, at most ``most`` of each kind."""
        alike: dict[tuple[bool, str, str, str], list[Change]] = {}
        for change in self.changes:
            alike.setdefault((change.exact, change.stage, change.before, change.after), []).append(change)
        lines = []
        for (exact, stage, before, after), changes in alike.items():
            times = f"{len(changes)} × " if len(changes) > 1 else ""
            lines.append(f"  {'exact  ' if exact else 'inexact'}  {stage}: {times}{before} → {after}")
            shown = changes[:most] if len(changes) > most + 1 else changes
            more = f"… and {len(changes) - len(shown)} more" if len(shown) < len(changes) else ""
            paths = [change.module or "(the model itself)" for change in shown]
            if len(changes) > 1 and len({change.why for change in changes}) == 1:
                lines += [f"      {changes[0].why}", f"      {', '.join([*paths, *filter(None, [more])])}"]
            else:
                lines += [f"      {path}: {change.why}" for path, change in zip(paths, shown, strict=True)]
                lines += [f"      {more} (all in report.changes)"] if more else []
        return lines

    def _agreement_lines(self) -> list[str | Table]:
        if not self.agreement:
            return []
        n = self.agreement[0].examples
        header = ("after", "changes", "same top-1", "correlation", "difference")
        rows = [
            (
                f"{stage.stage}: {stage.output}" if stage.output else stage.stage,
                str(stage.changes),
                "–" if stage.top1 is None else f"{stage.top1:.1%}",
                "–" if stage.correlation is None else f"{stage.correlation:.4f}",
                f"{stage.difference:.2g}",
            )
            for stage in self.agreement
        ]
        lines: list[str | Table] = [f"  Outputs compared with the original's on {n} example{'s' * (n != 1)}:"]
        lines.append(Table([header, *rows], indent=4))
        seen = {each.output: each for each in self.agreement if each.classes is not None and each.predictions != n}
        for each in seen.values():
            lines.append(
                f"  Same top-1{f' of {each.output}' if each.output else ''}: {each.predictions} predictions, the "
                f"largest output along dimension {each.classes} of each."
            )
        if self.constants_share is not None:
            lines.append(f"  The constants that were dropped carried {self.constants_share:.1%} of the predictions.")
        return lines

    def unconverted_lines(self, most: int = 10) -> list[str]:
        """Return what stands in the way, as lines."""
        return listed(self.unconverted, "What could not be converted:", most, "report.unconverted")


class ConversionError(CaptumXGError, RuntimeError):
    """A model could not be converted to an X-DNN, or not be proven to be one.

    Attributes:
        report: The :class:`ConversionReport` with what was done and what could not be; None if nothing was begun.
    """

    def __init__(self, message: str, report: ConversionReport | None = None) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[ConversionError], tuple[str, ConversionReport | None]]:
        return type(self), (str(self), self.report)


def _finite(value: object) -> object:
    """Return plain values with None for infinities and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
