"""The report: what is in it, that it reads back, that a failure costs one section, that a page needs nothing else."""

import argparse
import importlib
import sys
import types
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from captum_xg._core.files import write_figure
from captum_xg.errors import FileError, OptionError
from captum_xg.repro.markdown import as_markdown
from captum_xg.repro.report import collection, command
from captum_xg.repro.report.html import report_html
from captum_xg.repro.report.markdown import report_markdown
from captum_xg.repro.report.summary import Report
from captum_xg.repro.section import BEYOND, Claim, Finding, Panel, Section, table

PAPERS = Claim("fake/one", "Table 9", "apples & <pears> | fall", printed="9.8", quotes=("apples fall at 9.8",))
OURS = Claim("fake/two", BEYOND, "pears fall as well")


def section_in(folder, verdict="confirmed"):
    """A section with one table and one picture, which is drawn into the folder."""
    figure = Figure()
    figure.subplots().plot([1, 2])
    folder.mkdir(parents=True, exist_ok=True)
    write_figure(folder / "curve.png", figure, dpi=40)
    return Section(
        "fake",
        "Apples & <pears>",
        "On 3 apples.",
        (Finding(PAPERS, "9.7 [9.6, 9.8]", verdict, "so it is"), Finding(OURS, "1", "not confirmed", "it is not")),
        (table("Falls", [("fruit", "m/s²"), ("apple | <b>", "9.7")]), Panel("A curve", picture="curve.png")),
        ("One note.",),
        seconds=3.0,
        commits=("abc",),
        numbers={"g": 9.7},
    )


@pytest.fixture
def experiments(monkeypatch):
    """Experiments in the place of the real ones: one that works, one that is refused, one that fails."""
    calls = []

    def module(name, section):
        found = types.ModuleType(f"captum_xg.repro.{name}")
        found.add_arguments = lambda parser: command.add_subject_arguments(parser, name, {"quick": "", "full": ""})
        found.section = section
        claims = types.ModuleType(f"captum_xg.repro.{name}.claims")
        claims.CLAIMS = (PAPERS,)
        monkeypatch.setitem(sys.modules, found.__name__, found)
        monkeypatch.setitem(sys.modules, claims.__name__, claims)

    def works(options):
        calls.append(options)
        return section_in(options.output)

    def refuses(options):
        raise OptionError("there are no plums. Buy some.")

    def fails(options):
        raise RuntimeError("out of plums")

    for name, section in (("works", works), ("refuses", refuses), ("fails", fails)):
        module(name, section)
    entries = tuple(
        collection.Entry(name, name, name.title(), collection._of_images) for name in ("refuses", "works", "fails")
    )
    monkeypatch.setattr(collection, "ENTRIES", entries)
    monkeypatch.setattr(command, "ENTRIES", entries)
    return calls


def options(folder, *given):
    parser = argparse.ArgumentParser()
    parser.set_defaults(parser=parser)
    command.add_arguments(parser)
    return parser.parse_args(["--output", str(folder), "--workers", "1", *given])


class Page(HTMLParser):
    """What a page has: its text, what it loads, and whether its elements are closed."""

    VOID = ("meta", "img")

    def __init__(self, page):
        super().__init__()
        self.text, self.open, self.loaded, self.alt, self.ids, self.links = "", [], [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.loaded += [values[name] for name in ("src", "srcset", "action") if name in values]
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        if tag == "img":
            self.alt.append(values["alt"])
        assert tag not in ("script", "link", "iframe")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_what_fails_costs_its_own_section_and_nothing_else(experiments, tmp_path, capsys):
    assert command.run(options(tmp_path, "--images", "7")) == 0
    report = command.read_report(tmp_path)
    refused, worked, failed = report.sections
    assert [each.verdict for each in refused.findings + failed.findings] == ["not run", "not run"]
    assert "there are no plums. Buy some." in refused.setting
    assert "RuntimeError" in failed.setting
    assert "out of plums" in failed.setting
    assert worked.findings[0].verdict == "confirmed"
    assert worked.name == "works"
    assert experiments[0].images == 7
    assert experiments[0].output == tmp_path / "parts" / "works"
    assert worked.command == refused.command.replace("refuses", "works")
    assert report.summary == "Of 1 statements of the paper that were tested here, 1 are confirmed. 2 were not run."
    assert report.summary in capsys.readouterr().out


def test_the_files_are_renderings_of_the_numbers(experiments, tmp_path):
    command.run(options(tmp_path))
    report = command.read_report(tmp_path)
    assert Report.from_dict(report.to_dict()) == report
    assert (tmp_path / "report.md").read_text() == report_markdown(report)
    assert (tmp_path / "report.html").read_text() == report_html(report, tmp_path / "pictures")
    assert (tmp_path / "pictures" / "works-curve.png").exists()


def test_the_page_needs_nothing_beside_it_and_leads_everywhere(experiments, tmp_path):
    command.run(options(tmp_path))
    page = Page((tmp_path / "report.html").read_text())
    assert all(source.startswith("data:image/png;base64,") for source in page.loaded)
    assert page.loaded
    assert all(page.alt)
    assert {link.removeprefix("#") for link in page.links} == set(page.ids)
    for words in ("apples & <pears> | fall", "9.7 [9.6, 9.8]", "apple | <b>", "One note.", "not confirmed"):
        assert words in page.text


def test_the_command_has_what_numbers_depend_on(experiments, tmp_path):
    command.run(options(tmp_path, "--images", "7", "--only", "works"))
    assert command.read_report(tmp_path).command.endswith("--data shipped --device cpu --images 7")


def test_a_report_of_other_options_is_not_overwritten(experiments, tmp_path):
    command.run(options(tmp_path, "--images", "7"))
    before = (tmp_path / "report.md").read_text()
    with pytest.raises(FileError, match=r"--images 7`\. Give another --output"):
        command.run(options(tmp_path, "--images", "8"))
    assert (tmp_path / "report.md").read_text() == before


def test_experiments_that_are_not_asked_for_keep_their_sections(experiments, tmp_path):
    command.run(options(tmp_path, "--only", "works"))
    command.run(options(tmp_path, "--only", "works", "fails"))
    assert [each.name for each in command.read_report(tmp_path).sections] == ["works", "fails"]
    command.run(options(tmp_path, "--only", "works"))
    assert [each.name for each in command.read_report(tmp_path).sections] == ["works", "fails"]


def test_a_report_in_which_nothing_could_be_run_is_no_success(experiments, tmp_path):
    with pytest.raises(OptionError, match="nothing could be run"):
        command.run(options(tmp_path, "--only", "refuses", "fails"))


@pytest.mark.parametrize("name", [entry.name for entry in collection.ENTRIES])
def test_every_experiment_knows_the_options_that_the_report_gives_it(name):
    given = options("unused", "--images", "7", "--people", "somewhere")
    entry = next(entry for entry in collection.ENTRIES if entry.name == name)
    parser = collection._Parser()
    importlib.import_module(f"captum_xg.repro.{entry.module}").add_arguments(parser)
    parser.parse_args(entry.arguments(given))


def test_the_full_report_has_both_panels_of_figure_1():
    entry = next(entry for entry in collection.ENTRIES if entry.name == "figure1")
    both = ["--panel", "both"]
    assert entry.arguments(options("unused", "--preset", "full"))[-2:] == both
    assert both[0] not in entry.arguments(options("unused"))


def test_a_report_can_be_about_some_experiments(experiments, tmp_path):
    command.run(options(tmp_path, "--only", "works", "fails", "--skip", "fails"))
    assert [each.name for each in command.read_report(tmp_path).sections] == ["works"]


def test_a_run_that_was_cut_short_has_a_report_of_what_it_did(experiments, tmp_path, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    sys.modules["captum_xg.repro.fails"].section = interrupted
    with pytest.raises(KeyboardInterrupt):
        command.run(options(tmp_path))
    report = command.read_report(tmp_path)
    assert [each.findings[0].verdict for each in report.sections] == ["not run", "confirmed", "not run"]
    assert "not yet" in report.sections[2].setting


@pytest.mark.slow
def test_several_experiments_at_a_time_give_what_one_gives(tmp_path, capfd):
    reports = []
    for workers in ("1", "2"):
        given = options(tmp_path / workers, "--only", "figure2", "figure4", "--images", "4", "--workers", workers)
        assert command.run(given) == 0
        reports.append(command.read_report(tmp_path / workers))
    one, two = reports
    assert [each.findings for each in one.sections] == [each.findings for each in two.sections]
    assert all(each.verdict != "not run" for section in two.sections for each in section.findings)
    assert (tmp_path / "2" / "parts" / "figure2" / "log.txt").exists()


def test_markdown_has_one_line_for_each_row_and_no_stray_bar(tmp_path):
    text = as_markdown(section_in(tmp_path))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2 + 2 + 1
    assert all(row.replace("\\|", "").count("|") == rows[0].count("|") for row in rows[:4])
    assert "apples & <pears> \\| fall (Table 9)" in text


@pytest.mark.parametrize("verdict", ["confirmed", "not confirmed", "not comparable", "not run"])
def test_a_section_reads_back_and_shows_its_verdicts(verdict, tmp_path):
    section = section_in(tmp_path, verdict)
    assert Section.from_dict(section.to_dict()) == section
    assert verdict.upper() in str(section)
    with pytest.raises(ValueError, match="no verdict"):
        section_in(tmp_path, "true") and Section.from_dict(section_in(tmp_path, "true").to_dict())


def test_what_is_no_section_is_refused():
    for wrong in ({}, {"findings": []}, {"findings": 3, "panels": [], "notes": [], "commits": []}):
        with pytest.raises(ValueError, match="no section"):
            Section.from_dict(wrong)
