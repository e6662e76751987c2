"""The report as one page of HTML that needs nothing beside it: pictures are inside, there are no scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from captum_xg._core.reading import require_file
from captum_xg.repro.markdown import MARKS
from captum_xg.repro.report.style import STYLE
from captum_xg.repro.report.summary import MEANINGS, PAPER, TITLE, Report
from captum_xg.repro.section import Finding, Panel, Section


def report_html(report: Report, pictures: Path) -> str:
    """Return the page.

    Args:
        report: The report.
        pictures: The folder of its pictures.

    Raises:
        FileError: If a picture is missing.
    """
    entries = [("statements", "Statements of the paper")]
    entries += [("beyond", "Beyond the paper")] if report.beyond else []
    entries += [(each.name, each.name) for each in report.sections] + [("made", "How this was made")]
    links = "".join(f'<a href="#{name}">{escape(text)}</a>' for name, text in entries)
    meanings = "".join(
        f'<li><span class="verdict {_css(verdict)}">{MARKS[verdict]} {verdict}</span>: {escape(meaning)}</li>'
        for verdict, meaning in MEANINGS.items()
    )
    body = [
        f"<h1>{escape(TITLE)}</h1>",
        f"<p>{escape(PAPER)}</p>",
        f'<p class="lead">{escape(report.summary)}</p>',
        _table(report.counts),
        f"<ul>{meanings}</ul>",
        f'<nav aria-label="Sections">{links}</nav>',
        '<h2 id="statements">Statements of the paper</h2>',
        _findings(report.of_the_paper),
    ]
    if report.beyond:
        body += ['<h2 id="beyond">Beyond the paper</h2>', _findings(report.beyond)]
    body += [_section(each, pictures) for each in report.sections]
    environment = [("", ""), *report.environment.items()]
    body += ['<h2 id="made">How this was made</h2>', _table(report.effort, texts=True), _table(environment, texts=True)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(TITLE)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section, pictures: Path) -> str:
    parts = [f'<h2 id="{escape(section.name)}">{escape(section.title)}</h2>']
    parts.append(f'<p class="setting">{escape(section.setting)}</p>')
    parts += [_panel(panel, pictures) for panel in section.panels]
    if section.notes:
        parts.append(f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in section.notes)}</ul>")
    if section.command:
        parts.append(f'<p class="soft"><code>{escape(section.command)}</code></p>')
    return f"<section>{''.join(parts)}</section>"


def _panel(panel: Panel, pictures: Path) -> str:
    if not panel.picture:
        return f"<h3>{escape(panel.title)}</h3>{_table(panel.rows)}"
    content = base64.b64encode(require_file(pictures / panel.picture).read_bytes()).decode()
    image = f'<img src="data:image/png;base64,{content}" alt="{escape(panel.description or panel.title)}">'
    return f"<figure>{image}<figcaption>{escape(panel.title)}</figcaption></figure>"


def _findings(findings: Sequence[Finding]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("verdict", "statement", "printed", "here", "why"))
    rows = []
    for each in findings:
        verdict = f'<span class="verdict {_css(each.verdict)}">{MARKS[each.verdict]} {each.verdict}</span>'
        says = f'{escape(each.claim.says)} <span class="soft">({escape(each.claim.source)})</span>'
        cells = [verdict, says, escape(each.claim.printed or "–"), escape(each.ours), escape(each.why)]
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    body = "".join(rows)
    return f'<div class="scroll"><table class="texts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _table(rows: Sequence[Sequence[str]], *, texts: bool = False) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    kind = ' class="texts"' if texts else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _css(verdict: str) -> str:
    return verdict.replace(" ", "-")
