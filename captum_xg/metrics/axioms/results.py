"""Results of an axiom report: its cells, counterexamples and table, as text, Markdown and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import Enum

from captum_xg._core.text import Table, displayed


class Verdict(str, Enum):
    """What came of trying an axiom on a method."""

    HOLDS = "holds"
    IN_THE_LIMIT = "holds in the limit"
    FAILS = "fails"
    NOT_TRIED = "not tried"

    @property
    def mark(self) -> str:
        """The sign in the table."""
        return {"holds": "✓", "holds in the limit": "✓∞", "fails": "✗", "not tried": "–"}[self.value]


@displayed
@dataclass(frozen=True)
class Counterexample:
    """The smallest case found that violates an axiom.

    Attributes:
        functions: F (and G), readable.
        x: The input, flat; empty if it is large.
        baselines: The baselines, flat; empty if they are large.
        shape: The shape of the input.
        quantity: What is compared.
        expected: What the axiom asks for.
        observed: What the method gave (one draw, where it is random).
        gap: The largest difference between the two; infinite where a number is zero that must not be.
        size: How complicated the functions are.
    """

    functions: tuple[str, ...]
    x: tuple[float, ...]
    baselines: tuple[tuple[float, ...], ...]
    shape: tuple[int, ...]
    quantity: str
    expected: str
    observed: str
    gap: float
    size: int

    def __str__(self) -> str:
        x = f"x = {_vector(self.x)}" if self.x else f"x of shape {self.shape}"
        many = "one of " if len(self.baselines) > 1 else ""
        baselines = f", x' = {many}{', '.join(map(_vector, self.baselines))}" if self.baselines else ""
        return "\n".join(
            (*self.functions, x + baselines, f"{self.quantity}: expected {self.expected}; observed {self.observed}")
        )


@displayed
@dataclass(frozen=True)
class AxiomResult:
    """One method against one axiom.

    Attributes:
        axiom: Key of the axiom.
        title: Its name in the paper.
        statement: What it says, with its quantifiers.
        method: Name of the method.
        models: The class of functions it was tried on.
        verdict: What came of it.
        cases: How many cases were tried.
        violations: How many of them violate the axiom.
        undefined: How many more cases the method refused.
        reason: Why it refused, or why nothing was tried; "" otherwise.
        largest_gap: The largest difference between expected and observed over all cases.
        effort: What the estimate was computed with, "" for methods that estimate nothing.
        counterexample: The smallest one found, None if none was.
    """

    axiom: str
    title: str
    statement: str
    method: str
    models: str
    verdict: Verdict
    cases: int
    violations: int
    undefined: int
    reason: str
    largest_gap: float
    effort: str
    counterexample: Counterexample | None

    @property
    def holds(self) -> bool | None:
        """Whether no counterexample was found, exactly or in the limit; None if nothing was tried."""
        return None if self.verdict is Verdict.NOT_TRIED else self.verdict is not Verdict.FAILS

    @property
    def cell(self) -> str:
        """The cell of the table: the sign, and in how many cases."""
        if self.verdict is Verdict.NOT_TRIED:
            return "–"
        count = f"{self.violations}/{self.cases}" if self.verdict is Verdict.FAILS else str(self.cases)
        return f"{self.verdict.mark} {count}"


@displayed
@dataclass(frozen=True)
class AxiomReport:
    """A table of methods and axioms, as Table 1 of the paper, computed by :func:`~captum_xg.metrics.axiom_report`.

    The axioms, for a method A, functions F and G, an input x and a baseline x'::

        Sensitivity (a)            x, x' differ in feature i only, F(x) ≠ F(x')   ⇒  Aᵢ(F, x, x') ≠ 0
        Sensitivity (b)            F does not depend on feature i                 ⇒  Aᵢ(F, x, x') = 0
        Implementation invariance  F = G as functions                             ⇒  A(F, x, x') = A(G, x, x')
        Completeness               Σᵢ Aᵢ(F, x, x') = F(x) − F(x')
        Linearity                  A(aF + bG, x, x') = a·A(F, x, x') + b·A(G, x, x')
        Symmetry-preserving        F symmetric in i, j; xᵢ = xⱼ; x'ᵢ = x'ⱼ        ⇒  Aᵢ(F, x, x') = Aⱼ(F, x, x')
        Nonnegative homogeneity    A(F, αx, αx') = α·A(F, x, x') for α ≥ 0

    each for all F of a class, x, x'. A report refutes by example; "holds" means that no counterexample was found in so
    many cases, which is evidence and no proof. Without ``model``, the cases are small functions in float64 at integer
    inputs, where F is differentiable at x and along the way from x', and counterexamples are made as small as possible.

    What a method compares with is found by trying it: zero only (no ``baselines``, or others refused), a baseline, or a
    set of them as ``GradientShap`` takes, over which F(x') is then the mean. Estimates are judged by their limit: where
    ``attribute`` has ``n_steps`` or ``n_samples`` and the factory leaves it open, a gap counts only if it is larger
    than the error of a quadrature with n nodes, 4·V/n with V the variation of (x − x')·∂F along the path, or of a mean
    of n draws, 3·R/√n with R its range between x and x', and stays so with 8 times as many. Where a method is random
    and its number of samples is fixed (``functools.partial(…, n_samples=1)``), each call is judged as it is, with draws
    of its own.

    Attributes:
        results: Every cell, method by method.
        seed: What the cases and every random draw derive from.
        notes: What to know when reading it, one sentence each.

    Source: Hesse et al. 2021, Section 2, Table 1, Definition 3.6 and Appendix A; Sundararajan et al. 2017.
    """

    results: tuple[AxiomResult, ...]
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order given."""
        return tuple(dict.fromkeys(result.method for result in self.results))

    @property
    def axioms(self) -> tuple[str, ...]:
        """The keys of the axioms, in the paper's order."""
        return tuple(dict.fromkeys(result.axiom for result in self.results))

    def result(self, axiom: str, method: str | None = None) -> AxiomResult:
        """Return one cell; the method may be left out where there is one.

        Raises:
            KeyError: If there is no such cell.
        """
        method = self.methods[0] if method is None and len(self.methods) == 1 else method
        for result in self.results:
            if (result.axiom, result.method) == (axiom, method):
                return result
        raise KeyError(f"no result for axiom {axiom!r} and method {method!r}; there are {self.axioms} × {self.methods}")

    @property
    def failures(self) -> tuple[AxiomResult, ...]:
        """The cells in which an axiom fails."""
        return tuple(result for result in self.results if result.verdict is Verdict.FAILS)

    def _parts(self) -> list[str | Table]:
        rows = self._rows()
        lines: list[str | Table] = [Table(rows, left=len(rows[0]), headers=2, rule=True)]
        for result in self.failures:
            title = f"{result.method}: {result.title} fails ({result.violations} of {result.cases} cases)"
            lines += ["", title, *(f"    {line}" for line in str(result.counterexample).splitlines())]
        return [*lines, "", *self._remarks()]

    def to_markdown(self) -> str:
        """Return the table and its counterexamples in Markdown."""
        header, models, *rows = self._rows()
        head = [f"{name} ({kind})" if kind else name for name, kind in zip(header, models, strict=True)]
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
        for result in self.failures:
            title = f"**{result.method}: {result.title} fails** ({result.violations} of {result.cases} cases)"
            lines += ["", title, "", *(f"    {line}" for line in str(result.counterexample).splitlines())]
        return "\n".join([*lines, "", *(f"* {remark}" for remark in self._remarks())])

    def to_dict(self) -> dict[str, object]:
        """Return everything as dicts, lists, strings and numbers; infinite gaps as None."""
        results = []
        for result in self.results:
            values = asdict(result) | {"verdict": result.verdict.value, "holds": result.holds}
            for gaps, name in ((values, "largest_gap"), (values["counterexample"] or {}, "gap")):
                if name in gaps and not math.isfinite(gaps[name]):
                    gaps[name] = None
            results.append(values)
        found: dict[str, object] = json.loads(
            json.dumps({"seed": self.seed, "notes": self.notes, "results": results}, allow_nan=False)
        )
        return found

    def to_json(self, indent: int | None = 2) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def _rows(self) -> list[list[str]]:
        firsts = [next(r for r in self.results if r.method == method) for method in self.methods]
        rows = [["Axiom", *self.methods], ["", *(first.models for first in firsts)]]
        for axiom in self.axioms:
            cells = [self.result(axiom, method) for method in self.methods]
            rows.append([cells[0].title, *(cell.cell for cell in cells)])
        return rows

    def _remarks(self) -> list[str]:
        remarks = ["✓ n: no counterexample in n cases, which is evidence and no proof. ✗ m/n: fails in m of n cases."]
        if efforts := sorted({r.effort for r in self.results if r.verdict is Verdict.IN_THE_LIMIT}):
            remarks.append(
                f"✓∞ n: what is left at {', '.join(efforts)} lies within the error of a quadrature (Koksma) or a "
                "sample mean (Hoeffding), which goes to zero with more; the axiom holds of the limit (of samples: in "
                "expectation)."
            )
        for method in self.methods:
            refused = [r for r in self.results if r.method == method and r.undefined]
            if refused:
                counts = ", ".join(f"{cell.title} {cell.undefined}" for cell in refused)
                reasons = list(dict.fromkeys(cell.reason for cell in refused))
                more = f" (and {len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
                remarks.append(f"{method} refused further cases, which do not count ({counts}): {reasons[0]}{more}.")
        untried = [r for r in self.results if r.verdict is Verdict.NOT_TRIED and not r.undefined]
        return [*remarks, *(f"{r.method}, {r.title}: not tried: {r.reason}." for r in untried), *self.notes]


def _vector(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value + 0.0:g}' for value in values)})".replace("-", "−")
