"""Experiments on ImageNet's layout with checkpoints from a folder, end to end on 20 pictures."""

import argparse

import pytest
import torch
from imagenet_folder import make_imagenet
from torch import nn

from captum_xg import models
from captum_xg.repro.arguments import FAMILIES
from captum_xg.repro.report import command as report
from captum_xg.repro.table2 import command as table2
from captum_xg.repro.table2 import measure

NAMES = ("alexnet", "vgg16", "fixup_resnet50")


@pytest.mark.slow
def test_tables_and_figures_run_on_imagenet_with_checkpoints_of_a_folder(tmp_path, monkeypatch):
    make_imagenet(tmp_path / "imagenet", dict.fromkeys(range(0, 1000, 50), 1), noise=True)
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in (*NAMES, *(f"x{name}" for name in NAMES)):
        torch.manual_seed(0)
        model = getattr(models, name)()
        for parameter in model.parameters():  # Fixup begins with zeros, and would say the same of everything
            if parameter.dim() > 1 and not bool(parameter.any()):
                nn.init.kaiming_normal_(parameter)
        state = {key: value.half() for key, value in model.state_dict().items()}
        torch.save(
            {"state_dict": {f"module.{key}": value for key, value in state.items()}}, weights / f"{name}.pth.tar"
        )
    # The numbers of steps and images alone are smaller than those of a real run.
    monkeypatch.setattr(measure, "STEPS", 2)
    monkeypatch.setattr(table2, "EXPLAINED", {"quick": 1})
    monkeypatch.setattr(table2, "PRECISE", {"quick": 1})
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    given = ["--models", "paper", "--weights", str(weights), "--data", f"imagenet:{tmp_path / 'imagenet'}"]
    options = parser.parse_args([*given, "--only", "table2", "--workers", "1", "--output", str(tmp_path / "report")])
    assert report.run(options) == 0
    (section,) = report.read_report(tmp_path / "report").sections
    assert "20 of ImageNet's validation images" in section.setting
    verdicts = {each.claim.key: each.verdict for each in section.findings}
    assert verdicts["table2/equal"] == "confirmed"
    assert all(verdicts[f"table2/top5/{family.lower()}"] == "not comparable" for family in FAMILIES)
