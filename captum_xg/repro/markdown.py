"""Sections of a report in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.repro.section import Finding, Panel, Section

MARKS = {"confirmed": "✓", "not confirmed": "✗", "not comparable": "≠", "not run": "–"}


def as_markdown(section: Section, *, level: int = 1, folder: str = "", findings: bool = True) -> str:
    """Return a section, with its pictures as links.

    Args:
        section: The section.
        level: Of its heading.
        folder: Where its pictures lie, from the file that this goes into.
        findings: Whether the table of claims and verdicts is part of it.
    """
    parts = [f"{'#' * level} {section.title}", section.setting]
    if section.findings and findings:
        parts.append(findings_table(section.findings))
    parts += [_panel(panel, folder) for panel in section.panels]
    parts += ["\n".join(f"* {note}" for note in section.notes)] if section.notes else []
    if section.command:
        parts.append(f"`{section.command}`" + (f" ({_duration(section.seconds)})" if section.seconds else ""))
    return "\n\n".join(parts) + "\n"


def findings_table(findings: Sequence[Finding]) -> str:
    """Return the table of claims and verdicts."""
    rows = [("", "statement", "printed", "here", "verdict, why")]
    for each in findings:
        where = "" if not each.claim.source else f" ({each.claim.source})"
        verdict = f"**{each.verdict}**: {each.why}"
        rows.append((MARKS[each.verdict], f"{each.claim.says}{where}", each.claim.printed or "–", each.ours, verdict))
    return markdown_table(rows, left=5)


def markdown_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a table, the header first, with columns from ``left`` on flush right."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rule = "|" + "|".join(":--" if i < left else "--:" for i in range(len(rows[0]))) + "|"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def _panel(panel: Panel, folder: str) -> str:
    if panel.picture:
        path = f"{folder}/{panel.picture}" if folder else panel.picture
        return f"![{panel.description}]({path})\n\n*{panel.title}*"
    return f"**{panel.title}**\n\n{markdown_table(panel.rows)}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
