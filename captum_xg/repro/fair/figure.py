"""The picture: every statement under every choice, coloured by outcome, with its paired difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from captum_xg._core.figures import RIGHT, WRONG, new_figure, wrapped
from captum_xg._core.files import write_figure
from captum_xg.repro.fair.choices import Choice
from captum_xg.repro.fair.statements import Cell, Outcome, Statement

_COLOURS: dict[Outcome, str] = {"holds": RIGHT, "fails": WRONG, "undecided": "#8a8a8a"}


def draw(
    path: Path,
    statements: Sequence[Statement],
    chosen: Sequence[Choice],
    cells: Mapping[tuple[str, str], Cell],
    title: str,
) -> None:
    """Write a PNG: a panel for each statement, a row for each choice, with 95 % intervals.

    Args:
        path: The file to write.
        statements: Those that were run.
        chosen: The rows.
        cells: (key of the claim, name of the choice) → outcome.
        title: What the data are.
    """
    width = 1.9 + 1.3 * len(statements)
    figure = new_figure(width, 1.5 + 0.3 * len(chosen))
    axes = figure.subplots(1, len(statements), squeeze=False, sharey=True)[0]
    for each, statement in zip(axes, statements, strict=True):
        for row, choice in enumerate(chosen):
            cell = cells[statement.claim.key, choice.name]
            if cell.found is not None:
                reach = [[cell.found.value - cell.found.low], [cell.found.high - cell.found.value]]
                colour = _COLOURS[cell.outcome]
                each.errorbar(cell.found.value, row, xerr=reach, fmt="o", color=colour, ms=4, capsize=2, lw=1.4)
        each.axvline(0, color="black", lw=0.7)
        each.set_title(wrapped(statement.short, 1.0, 8), fontsize=8)
        each.tick_params(axis="x", labelsize=7, rotation=45)
        each.grid(axis="x", alpha=0.3)
        each.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(chosen)), [wrapped(choice.name, 2.6, 8) for choice in chosen], fontsize=8)
    axes[0].invert_yaxis()
    figure.suptitle(wrapped(title, width - 0.4, 9), fontsize=9)
    write_figure(path, figure, dpi=100)
