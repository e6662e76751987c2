"""Real architectures without shifts are accepted in every precision, and refused as they come."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg import check_homogeneity

FAST = ["alexnet", "resnet18", "squeezenet1_1"]
SLOW = ["vgg11", "resnet50", "densenet121", "googlenet", "shufflenet_v2_x1_0", "wide_resnet50_2", "mnasnet0_5"]
ARCHITECTURES = FAST + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]
ROUNDING = {torch.float64: 0.0, torch.float32: 0.0, torch.bfloat16: 0.0, torch.float16: 1e-3}
SMALL = "squeezenet1_1"
PRECISIONS = [
    pytest.param(
        name, dtype, marks=[] if name == SMALL or (name in FAST and dtype == torch.float32) else pytest.mark.slow
    )
    for name in FAST + SLOW
    for dtype in ROUNDING
]
"""Every precision is tried on the smallest, the others run in that of most models."""


def architecture(name: str) -> nn.Module:
    """Return torchvision's network with random weights that keep the signal alive, and shifts in every batch norm."""
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, **options)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.uniform_(module.bias, 0.01, 0.1)
        elif isinstance(module, _BatchNorm):
            nn.init.uniform_(module.bias, 0.01, 0.1)
            # In the range of what each layer really receives, so that nothing vanishes on the way.
            module.running_var.uniform_(0.5, 2)
            module.running_mean.uniform_(0.01, 0.1)
    return model.eval()


def without_shifts(model: nn.Module) -> nn.Module:
    """Remove every bias and zero the shift of every batch norm."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.zero_()
            module.bias.data.zero_()
        elif getattr(module, "bias", None) is not None:
            module.bias = None
    return model


@pytest.mark.parametrize(("name", "dtype"), PRECISIONS, ids=str)
def test_an_architecture_without_shifts_is_homogeneous_to_the_last_bit(name, dtype):
    model = without_shifts(architecture(name)).to(dtype)
    report = check_homogeneity(model, torch.rand(2, 3, 64, 64).to(dtype), target=5, degree=1)
    assert report.homogeneous, report
    assert report.max_deviation <= ROUNDING[dtype]
    # Sums in another order differ, but far less than what is taken for a violation.
    assert report.euler.max_deviation < report.euler.tolerance / 10


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_as_it_comes_is_refused_and_just_its_layers_with_shifts_are_named(name):
    model = architecture(name)
    report = check_homogeneity(model, torch.rand(1, 3, 64, 64), target=5)
    shifting = {
        path
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm) or getattr(module, "bias", None) is not None
    }
    assert not report.homogeneous
    assert {culprit.module for culprit in report.culprits} == shifting
    assert len(report.culprits) == len(shifting)
