"""Figures 2 and 4 on few images: pictures and sections, and no work twice."""

import argparse

import pytest

from captum_xg.repro import figure2, figure4
from captum_xg.repro.figure2 import attributions, measure


@pytest.mark.thorough
@pytest.mark.parametrize(("experiment", "name", "findings"), [(figure2, "figure2", 9), (figure4, "figure4", 5)])
def test_a_run_draws_and_a_second_one_computes_nothing(experiment, name, findings, tmp_path, monkeypatch):
    monkeypatch.setattr(attributions, "STEPS", 8)  # enough to be equal on an X-DNN
    parser = argparse.ArgumentParser()
    experiment.add_arguments(parser)
    options = parser.parse_args(["--images", "3", "--output", str(tmp_path)])
    section = experiment.section(options)
    assert len(section.findings) == findings
    assert "3 of the shipped test images" in section.setting
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    held = {each.claim.key.partition("/")[2]: each.verdict for each in section.findings}
    assert held["equal"] == held["scaled"] == "confirmed"
    for work in ("predictions", "at_both", "maps_of"):
        monkeypatch.setattr(measure, work, lambda *_, **__: pytest.fail("a unit was done again"))
    assert experiment.section(options).to_dict() == section.to_dict()
