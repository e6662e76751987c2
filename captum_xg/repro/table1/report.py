"""The section of the report: Table 1 with what came out, the counterexamples, and the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from captum_xg.repro.section import Finding, Panel, table
from captum_xg.repro.table1.claims import STATEMENTS, Statement

Cell: TypeAlias = Mapping[str, Any]
"""One method against one axiom, as ``AxiomReport.to_dict`` has it."""
Cells: TypeAlias = Mapping[tuple[str, str], Cell]
"""(Method, key of the axiom) → cell."""
_MARKS = {"holds": "✓", "holds in the limit": "✓∞", "fails": "✗", "not tried": "–"}


def findings(cells: Cells) -> tuple[Finding, ...]:
    """Return the verdicts on all claims."""
    return tuple(_finding(statement, cells) for statement in STATEMENTS)


def _finding(statement: Statement, cells: Cells) -> Finding:
    own = [cells[statement.method, axiom] for axiom in statement.axioms]
    counts = "; ".join(f"{cell['title']} {shown(cell)}" for cell in own)
    if any(cell["holds"] is None for cell in own):
        return Finding(statement.claim, counts, "not run", "an axiom could not be tried")
    if statement.satisfied:
        wrong = [cell["title"] for cell in own if not cell["holds"]]
        if wrong:
            return Finding(statement.claim, counts, "not confirmed", f"there are counterexamples: {', '.join(wrong)}")
        cases = min(cell["cases"] for cell in own)
        why = f"no counterexample in {cases} cases or more of each axiom, which is evidence and no proof"
        return Finding(statement.claim, counts, "confirmed", why)
    unbroken = [cell["title"] for cell in own if cell["holds"]]
    if unbroken:
        return Finding(statement.claim, counts, "not confirmed", f"no counterexample was found: {', '.join(unbroken)}")
    return Finding(statement.claim, counts, "confirmed", f"smallest counterexample: {counterexample(own[0])}")


def shown(cell: Cell) -> str:
    """Return the sign of a cell, and in how many cases."""
    if cell["holds"] is None:
        return "–"
    count = f"{cell['violations']}/{cell['cases']}" if cell["verdict"] == "fails" else str(cell["cases"])
    return f"{_MARKS[cell['verdict']]} {count}"


def counterexample(cell: Cell) -> str:
    """Return the smallest counterexample of a cell in a line."""
    found = cell["counterexample"]
    points = [f"x = {_vector(found['x'])}"]
    points += ["x' = " + " or ".join(map(_vector, found["baselines"]))] if found["baselines"] else []
    said = f"{found['quantity']}: expected {found['expected']}, observed {found['observed']}"
    return "; ".join([*found["functions"], ", ".join(points), said])


def panels(methods: Mapping[str, str], cells: Cells) -> tuple[Panel, ...]:
    """Return the table of signs, and that of counterexamples.

    Args:
        methods: Name → the class of functions that it was tried on.
        cells: All of them.
    """
    axioms = list(dict.fromkeys(axiom for _, axiom in cells))
    titles = {axiom: cells[next(iter(methods)), axiom]["title"] for axiom in axioms}
    signs = [["axiom", *(f"{name} ({models})" for name, models in methods.items())]]
    signs += [[titles[axiom], *(shown(cells[name, axiom]) for name in methods)] for axiom in axioms]
    broken = [
        [name, cell["title"], counterexample(cell)] for (name, _), cell in cells.items() if cell["counterexample"]
    ]
    return (
        table(
            "✓ n: no counterexample in n cases; ✓∞ n: in the limit of many steps or references; ✗ m/n: fails in m of "
            "n cases. In brackets the functions it was tried on",
            signs,
        ),
        table("The smallest counterexample found for each cross", [["method", "axiom", "counterexample"], *broken]),
    )


def _vector(values: list[float]) -> str:
    return f"({', '.join(f'{value + 0.0:g}' for value in values)})"
