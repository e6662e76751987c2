"""The report in Markdown, with its pictures beside it."""

from __future__ import annotations

from captum_xg.repro.markdown import as_markdown, findings_table, markdown_table
from captum_xg.repro.report.summary import MEANINGS, PAPER, TITLE, Report

PICTURES = "pictures"
"""The folder of all pictures, beside the report."""


def report_markdown(report: Report) -> str:
    """Return the report: the verdicts first, then experiment by experiment, then what it was made with."""
    verdicts = "\n".join(f"* **{verdict}**: {meaning}" for verdict, meaning in MEANINGS.items())
    parts = [
        f"# {TITLE}",
        PAPER,
        f"**{report.summary}**",
        markdown_table(report.counts),
        verdicts,
        "## Statements of the paper",
        findings_table(report.of_the_paper),
    ]
    if report.beyond:
        parts += ["## Beyond the paper", findings_table(report.beyond)]
    parts += [as_markdown(each, level=2, folder=PICTURES, findings=False).strip() for each in report.sections]
    environment = [("", ""), *report.environment.items()]
    parts += ["## How this was made", markdown_table(report.effort, left=4), markdown_table(environment, left=2)]
    return "\n\n".join(parts) + "\n"
