"""The report in the documentation is what its numbers say, and its cheap rows come out again."""

import argparse
from pathlib import Path

import pytest

from captum_xg.repro import figure4
from captum_xg.repro.arguments import add_subject_arguments
from captum_xg.repro.report.collection import ENTRIES
from captum_xg.repro.report.command import read_report
from captum_xg.repro.report.html import report_html
from captum_xg.repro.report.markdown import report_markdown
from captum_xg.repro.subjects import subjects
from captum_xg.repro.table2.measure import accuracy_units, distance_units

FOLDER = Path(__file__).resolve().parents[3] / "tutorials" / "paper"


@pytest.fixture(scope="module")
def report():
    return read_report(FOLDER)


@pytest.fixture
def committed(report):
    return {section.name: section for section in report.sections}


@pytest.fixture
def shipped():
    parser = argparse.ArgumentParser()
    add_subject_arguments(parser, "test", {"quick": "", "full": ""})
    return subjects(parser.parse_args([]), 500)


def test_it_has_every_experiment_and_all_were_run(committed):
    assert list(committed) == [entry.name for entry in ENTRIES]
    assert not [name for name, section in committed.items() if section.setting.startswith("Not run")]
    assert all(
        section.seconds > 0 for name, section in committed.items() if name != "decoy"
    )  # which keeps no durations


def test_text_and_page_are_renderings_of_its_numbers(report):
    assert (FOLDER / "report.md").read_text() == report_markdown(report)
    assert (FOLDER / "report.html").read_text() == report_html(report, FOLDER / "pictures")


def test_its_pictures_are_all_there_and_no_others(report):
    named = {panel.picture for section in report.sections for panel in section.panels if panel.picture}
    assert named == {path.name for path in (FOLDER / "pictures").iterdir()}


def test_accuracies_come_out_again(committed, shipped):
    pair = shipped.pair("AlexNet")
    for name, network in pair.both.items():
        for unit, work in accuracy_units(shipped, name, network).items():
            again, before = work(), committed["table2"].numbers[unit]
            for top, hits in before.items():  # rounding may decide a tie otherwise elsewhere
                assert sum(a != b for a, b in zip(hits, again[top], strict=True)) <= 1


def test_distances_of_the_first_images_come_out_again(committed, shipped):
    unit, work = next(iter(distance_units(shipped, shipped.pair("AlexNet"), 4).items()))
    assert close(work(), committed["table2"].numbers[unit])


@pytest.mark.thorough
def test_figure_4_comes_out_again(committed, tmp_path):
    parser = argparse.ArgumentParser()
    figure4.add_arguments(parser)
    again = figure4.section(parser.parse_args(["--output", str(tmp_path)]))
    before = committed["figure4"]
    assert [(each.claim, each.verdict) for each in again.findings] == [(f.claim, f.verdict) for f in before.findings]
    assert close(dict(again.numbers), dict(before.numbers))


def close(one, other):
    """Whether two structures have the same form and nearly the same numbers."""
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in other)
    if isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(other, float):
        return one == pytest.approx(other, rel=1e-2, abs=1e-5)
    return one == other
