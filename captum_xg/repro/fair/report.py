"""The section of the report: which statements survive which choices, and where the difference to EG(1) comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.fair.choices import Choice
from captum_xg.repro.fair.statements import STATEMENTS, Cell, Statement, all_judged, parts_of_the_difference
from captum_xg.repro.fair.trainings import Protocol, Trainings
from captum_xg.repro.fair.variants import Variant
from captum_xg.repro.section import Finding, Panel, Verdict, table

Cells = Mapping[tuple[str, str], Cell]
"""(Key of the claim, name of the choice) → outcome."""


def all_cells(trainings: Trainings, chosen: Sequence[Choice]) -> Cells:
    """Return every statement under every choice."""
    return {
        (statement.claim.key, choice.name): cell
        for statement in STATEMENTS
        for choice, cell in zip(chosen, all_judged(statement, trainings, chosen), strict=True)
    }


def those_run(cells: Cells) -> list[Statement]:
    """Return the statements that were run under any choice."""
    ran = {key for (key, _), cell in cells.items() if cell.found is not None}
    return [statement for statement in STATEMENTS if statement.claim.key in ran]


def findings(cells: Cells, chosen: Sequence[Choice]) -> tuple[Finding, ...]:
    """Return one finding for each statement: whether it holds whatever the choices."""
    return tuple(_finding(statement, cells, chosen) for statement in STATEMENTS)


def _finding(statement: Statement, cells: Cells, chosen: Sequence[Choice]) -> Finding:
    row = {choice.name: cells[statement.claim.key, choice.name] for choice in chosen}
    ran = {name: cell for name, cell in row.items() if cell.found is not None and not cell.same}
    if not ran:
        return Finding(statement.claim, "–", "not run", f"it needs {statement.needs}: give more --references")
    counts = Counter(cell.outcome for cell in ran.values())
    first, cell = next(iter(ran.items()))
    ours = f"{statement.short}, {first}: {cell.found.formatted('+.4f') if cell.found else ''}"
    named = [
        f"{outcome} under {'; '.join(name for name, each in ran.items() if each.outcome == outcome)}"
        for outcome in ("fails", "undecided")
        if counts[outcome]
    ]
    verdict: Verdict = "confirmed" if counts["holds"] == len(ran) else "not confirmed"
    why = f"it holds under {counts['holds']} of {len(ran)} choices" + (
        " that matter to it" if len(ran) < len(row) else ""
    )
    return Finding(statement.claim, ours, verdict, "; ".join([why, *named]))


def choice_table(cells: Cells, chosen: Sequence[Choice]) -> Panel:
    """Return the table of choices and statements."""
    statements = those_run(cells)
    rows = [["choice", *(each.short for each in statements)]]
    rows += [[c.name, *(str(cells[s.claim.key, c.name]) for s in statements)] for c in chosen]
    title = "Each statement under each choice: outcome, paired difference of test ROC-AUC and its 95 % interval"
    return table(title, rows)


def variant_table(trainings: Trainings, how: Protocol) -> Panel:
    """Return the table of all variants at their best λ."""
    baseline = trainings.test(Variant("none", False), how)
    rows = [["trained", "λ", "test ROC-AUC ± standard error", "minus Unreg without biases", "best λ by test"]]
    for variant in trainings.scores:
        test, prior = trainings.test(variant, how), variant.attribution != "none"
        found, (oracle, most) = estimate(test), trainings.best_possible(variant, how)
        gain = "" if test is baseline else difference(test, baseline).signed()
        strength = f"{trainings.strength(variant, how):g}" if prior else ""
        best = f"{most:.4f} at {oracle:g}" if prior else ""
        rows.append([variant.name, strength, f"{found.mean:.4f} ± {found.standard_error:.4f}", gain, best])
    title = (
        f"All that was trained, {how.epochs} epochs, each with the λ of the whole grid that is best on validation data "
        "(last column: what the λ that is best on test data would give, which nobody can choose)"
    )
    return table(title, rows)


def parts_table(trainings: Trainings, choice: Choice) -> Panel:
    """Return the table of what makes the difference between X-Gradient and EG(1)."""
    rows = [["one thing changed", "difference of test ROC-AUC"]]
    rows += [[name, found.signed()] for name, found in parts_of_the_difference(trainings, choice)]
    return table("Where the difference between X-Gradient and EG(1) comes from, Gini per " + choice.over, rows)


def notes(trainings: Trainings, repetitions: int) -> tuple[str, ...]:
    """Return what has to be read with the tables."""
    return (
        f"Intervals are of paired differences over {repetitions} splits of the same people, by Student's t: they say "
        "how sure a mean over such splits is, not how it would be for other people.",
        "All variants of a repetition begin with the same weights and have the same split; of λ, all have the same "
        f"grid. Expected Gradients were trained with {', '.join(map(str, trainings.references))} references.",
    )
