"""captum-xg repro all: every table and figure, and one report: does the paper hold, here, today?

The report is written anew after each experiment, so that there is one at any time; what is done is kept in ``parts``
and not done again. Written are ``report.md``, ``report.html`` (one file that needs nothing else), ``report.json`` and
the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from captum_xg._core.files import make_folder, require_writable, whole_file, write_json, write_text
from captum_xg._core.reading import read_json, unreadable
from captum_xg.errors import FileError, OptionError
from captum_xg.repro.arguments import add_subject_arguments
from captum_xg.repro.environment import environment
from captum_xg.repro.report.collection import ENTRIES, command_of, not_run, sections, workers
from captum_xg.repro.report.html import report_html
from captum_xg.repro.report.markdown import PICTURES, report_markdown
from captum_xg.repro.report.summary import Report
from captum_xg.repro.section import Section

FILES = ("report.json", "report.md", "report.html")
PARTS = "parts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the report."""
    presets = {
        "quick": "every experiment in a small form, some ten minutes on two cores",
        "full": "the sizes of the paper, a night with a GPU",
    }
    add_subject_arguments(parser, "report", presets)
    names = [entry.name for entry in ENTRIES]
    add = parser.add_argument
    people = "the data of figure1 and fair, as their --help says (default: NHEFS from the package causaldata)"
    add("--people", type=Path, metavar="PATH", help=people)
    listed = ", ".join(names)
    add("--only", nargs="+", choices=names, metavar="NAME", help=f"only these experiments, of {listed}")
    at_a_time = "experiments at a time (default: one for each core of the processor, up to 4; 1 on a GPU)"
    add("--workers", type=int, metavar="N", help=at_a_time)
    add("--skip", nargs="+", choices=names, default=[], metavar="NAME", help="not these experiments")


def run(options: argparse.Namespace) -> int:
    """Run what is missing, write the report after each experiment, and return 0."""
    from captum_xg.repro.processes import shared_among_processes

    with shared_among_processes() as first:
        report = _report(options, write=first)
        if first:
            print(f"\n{report}\n\nWritten: {(options.output / 'report.html').resolve()}, report.md and report.json")
    findings = (*report.of_the_paper, *report.beyond)
    if findings and all(each.verdict == "not run" for each in findings):
        raise OptionError("nothing could be run. The report says why: see the sections.")
    return 0


def section(options: argparse.Namespace) -> Section:
    """Return the report's own summary as a section."""
    report = _report(options, write=True)
    return Section("all", "Report", report.summary, (*report.of_the_paper, *report.beyond))


def read_report(folder: Path) -> Report:
    """Return the report that lies in a folder.

    Raises:
        FileError: If there is none.
    """
    path = folder / FILES[0]
    try:
        return Report.from_dict(read_json(path, "Write it again."))
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise unreadable(path, str(error), "Write it again.") from error


def _report(options: argparse.Namespace, *, write: bool) -> Report:
    """Run what is missing; experiments that are not asked for keep what the folder's report says of them."""
    folder = make_folder(options.output)
    kept = _kept(folder, options)
    parts = make_folder(folder / PARTS)
    make_folder(folder / PICTURES)
    if options.workers is not None and options.workers < 1:
        raise OptionError(f"--workers {options.workers}: there must be at least 1.")
    for name in FILES:
        require_writable(folder / name)
    entries = [each for each in ENTRIES if each.name in (options.only or [e.name for e in ENTRIES])]
    names = [each.name for each in entries if each.name not in options.skip]
    not_yet = "not yet, as this run is not at its end"
    waiting = {
        each.name: kept.get(each.name) or not_run(each, not_yet, command_of(each, options))
        for each in ENTRIES
        if each.name in names or each.name in kept
    }
    report = _of(waiting.values(), options)
    logs = f", {workers(options)} at a time; what they say is in {parts}{os.sep}NAME{os.sep}log.txt"
    print(f"{len(names)} experiments{logs if workers(options) > 1 else ''}", flush=True)
    for found in sections(options, names, parts):
        shown = _with_pictures(found, parts / found.name, folder / PICTURES) if write else found
        # As it will be read again, so that a report from a file is the one that was written.
        waiting[found.name] = Section.from_dict(json.loads(json.dumps(shown.to_dict())))
        report = _of(waiting.values(), options)
        if write:
            print(f"{found.name}: {found.title}", flush=True)
            _write(report, folder)
    return report


def _of(found: Iterable[Section], options: argparse.Namespace) -> Report:
    return Report(tuple(found), environment(options.device), _command(options))


def _command(options: argparse.Namespace) -> str:
    """Return what the numbers of a report depend on; which experiments a call ran is not among it."""
    given: Sequence[str] = ["--preset", options.preset, "--models", options.models]
    data = ["--weights", options.weights, "--data", options.data, "--device", options.device]
    people = [] if options.people is None else ["--people", str(options.people)]
    images = [] if options.images is None else ["--images", str(options.images)]
    return shlex.join(["captum-xg", "repro", "all", *given, *data, *people, *images])


def _kept(folder: Path, options: argparse.Namespace) -> dict[str, Section]:
    """Return the sections of the report that the folder has.

    Raises:
        FileError: If it is about other options.
    """
    if not (folder / FILES[0]).exists():
        return {}
    before = read_report(folder)
    if before.command != _command(options):
        raise FileError(f"{folder} has the report of `{before.command}`. Give another --output, or delete it.")
    return {each.name: each for each in before.sections}


def _write(report: Report, folder: Path) -> None:
    write_text(folder / "report.md", report_markdown(report))
    write_text(folder / "report.html", report_html(report, folder / PICTURES))
    write_json(folder / "report.json", report.to_dict())


def _with_pictures(found: Section, part: Path, pictures: Path) -> Section:
    """Return the section with its pictures copied to the folder of all of them, under names of their own."""
    panels = list(found.panels)
    for i, panel in enumerate(panels):
        if panel.picture:
            name = f"{found.name}-{Path(panel.picture).name}".replace(f"{found.name}-{found.name}", found.name)
            with whole_file(pictures / name) as unfinished:
                shutil.copyfile(part / panel.picture, unfinished)
            panels[i] = replace(panel, picture=name)
    return replace(found, panels=tuple(panels))
