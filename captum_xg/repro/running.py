"""An experiment run by itself: its section of the report printed, and written beside its numbers and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.files import make_folder, require_writable, write_json, write_text

if TYPE_CHECKING:
    from captum_xg.repro.section import Section

SECTION = "section.json"
"""The file in the folder of an experiment that has its section."""


def running(section: Callable[[argparse.Namespace], Section]) -> Callable[[argparse.Namespace], int]:
    """Return the ``run`` of an experiment: it prints and writes what ``section`` returns, and returns 0."""

    def run(options: argparse.Namespace) -> int:
        from captum_xg.repro.markdown import as_markdown
        from captum_xg.repro.processes import shared_among_processes

        with shared_among_processes() as first:
            folder = make_folder(options.output)
            for name in (SECTION, "report.md"):
                require_writable(folder / name)
            found = section(options)
            if first:
                write_section(found, folder)
                write_text(folder / "report.md", as_markdown(found))
                print(f"{found}\n\nWritten to {folder.resolve()}")
        return 0

    return run


def write_section(found: Section, folder: Path) -> None:
    """Write a section to the folder of its experiment."""
    write_json(folder / SECTION, found.to_dict())
