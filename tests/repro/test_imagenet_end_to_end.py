"""Experiments on ImageNet's layout with checkpoints from a folder, end to end on 20 pictures."""

import argparse

import pytest
import torch
from imagenet_folder import make_imagenet
from torch import nn

from captum_xg import models
from captum_xg.repro.figure2 import attributions
from captum_xg.repro.figure2 import command as figure2
from captum_xg.repro.report import command as report
from captum_xg.repro.table2 import command as table2
from captum_xg.repro.table2 import measure


def checkpoints(folder, names):
    """Write checkpoints of random networks as the released ones are: in a dict, by the names of DataParallel."""
    folder.mkdir()
    for name in (*names, *(f"x{name}" for name in names)):
        torch.manual_seed(0)
        model = getattr(models, name)()
        for parameter in model.parameters():  # Fixup begins with zeros, and would say the same of everything
            if parameter.dim() > 1 and not bool(parameter.any()):
                nn.init.kaiming_normal_(parameter)
        state = {f"module.{key}": value.half() for key, value in model.state_dict().items()}
        torch.save({"state_dict": state}, folder / f"{name}_model_best.pth.tar")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run an experiment of the report on 20 pictures of 20 classes; steps alone are fewer than in earnest."""
    make_imagenet(tmp_path / "imagenet", dict.fromkeys(range(0, 1000, 50), 1), noise=True)
    monkeypatch.setattr(attributions, "STEPS", 2)
    monkeypatch.setattr(figure2, "EXPLAINED", {"quick": 1})
    monkeypatch.setattr(measure, "STEPS", 2)
    monkeypatch.setattr(table2, "EXPLAINED", {"quick": 1})
    monkeypatch.setattr(table2, "PRECISE", {"quick": 1})

    def section(name, networks):
        weights = checkpoints(tmp_path / "weights", networks)
        parser = argparse.ArgumentParser()
        report.add_arguments(parser)
        given = ["--models", "paper", "--weights", str(weights), "--data", f"imagenet:{tmp_path / 'imagenet'}"]
        output = ["--only", name, "--workers", "1", "--output", str(tmp_path / "report")]
        assert report.run(parser.parse_args([*given, *output])) == 0
        (found,) = report.read_report(tmp_path / "report").sections
        assert "20 of ImageNet's validation images" in found.setting
        return {each.claim.key: each.verdict for each in found.findings}

    return section


@pytest.mark.slow
def test_figure_2_runs_on_imagenet_with_checkpoints_of_a_folder(run):
    verdicts = run("figure2", ("alexnet",))
    assert verdicts["figure2/unaffected"] == verdicts["figure2/every-image"] == "confirmed"


@pytest.mark.slow
def test_table_2_runs_on_imagenet_with_checkpoints_of_a_folder(run):
    verdicts = run("table2", ("alexnet", "vgg16", "fixup_resnet50"))
    assert verdicts["table2/top5/vgg"] == "not comparable"
