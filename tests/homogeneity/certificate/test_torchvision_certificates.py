"""Certificates of all of torchvision's classification models against brute truth in float64.

Three variants of each: as it comes with random parameters; with every bias and shift of normalisation removed by hand;
and that with every activation replaced by ReLU.
"""

import gc

import pytest
import torch
import torchvision
from effort import thorough
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg.homogeneity.certificate.certify import certify

ALL = torchvision.models.list_models(module=torchvision.models)
SMALL = ["resnet18", "squeezenet1_1", "mobilenet_v3_small"]
MORE = ["shufflenet_v2_x0_5", "mnasnet0_5", "googlenet"]
CURVED = (nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.Sigmoid, nn.GELU)
VARIANTS = ["as it comes", "without shifts", "ReLU only"]
SCALES = [2.0**-10, 2.0**-3, 0.7, 1.9, 2.0**3, 2.0**10]


def build(name, variant, seed):
    """A model in float64 with random parameters and statistics, and an input for it."""
    torch.manual_seed(seed)
    model = torchvision.models.get_model(name, weights=None).eval().double()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            fan_in = max(parameter[0].numel(), 1) if parameter.dim() > 1 else 1
            nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5 if parameter.dim() > 1 else 0.1)
        if isinstance(module, (_BatchNorm, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    if variant != "as it comes":
        remove_shifts(model)
    if variant == "ReLU only":
        replace_activations(model)
    size = model.image_size if hasattr(model, "image_size") else 224 if name.startswith(("swin", "maxvit")) else 96
    return model, torch.randn(1, 3, size, size, dtype=torch.float64)


def remove_shifts(model):
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if "bias" in name:
                nn.init.zeros_(parameter)
        if isinstance(module, _BatchNorm):
            module.running_mean.zero_()


def replace_activations(model):
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, CURVED):
                setattr(parent, name, nn.ReLU())


def truth(model, x):
    """Whether F(αx) = αᵏF(x) for some k, and that k; None and None where numbers leave the range of float64."""
    with torch.no_grad():
        reference = model(x)
        ratios = {}
        for scale in SCALES:
            y = model(scale * x)
            if not y.isfinite().all() or not y.any():
                continue
            shown = (reference != 0) & (y != 0)  # the last layer may be a ReLU
            k = float(((y / reference).abs().log() / torch.tensor(scale).log())[shown].median())
            k = round(k, 6)
            ratios[scale] = (k, float((y - scale**k * reference).abs().max() / (scale**k * reference).abs().max()))
    if not ratios or not reference.isfinite().all():
        return None, None
    degrees = {k for k, _ in ratios.values()}
    holds = len(degrees) == 1 and all(deviation < 1e-8 for _, deviation in ratios.values())
    return holds, (degrees.pop() if holds else None)


def offenders(model, x):
    """Modules that ran and break it by themselves on an input that scales: curved, with a bias, or with a shift."""
    named, ran = [], set()
    hooks = [m.register_forward_hook(lambda module, *_: ran.add(module)) for m in model.modules()]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    for path, module in model.named_modules():
        if module not in ran:
            continue
        bias = getattr(module, "bias", None)
        shifts = isinstance(bias, torch.Tensor) and bool(bias.any())
        shifts |= isinstance(module, _BatchNorm) and bool(module.running_mean.any())
        if isinstance(module, CURVED) or shifts:
            named.append(path)
    return named


def check(name, variant, seed):
    model, x = build(name, variant, seed)
    certificate = certify(model, x)
    assert not certificate.unsupported, str(certificate)
    holds, degree = truth(model, x)
    if holds is None:  # gates that are ReLUs square the degree at each block
        assert variant == "ReLU only"
        assert certificate.verdict in ("unknown", "homogeneous"), str(certificate)
        return certificate
    assert certificate.homogeneous == holds, f"{name}, {variant}: truth is {holds}\n{certificate}"
    assert certificate.verdict == ("homogeneous" if holds else "disproved"), str(certificate)
    if holds:
        assert certificate.degree == degree
    named = [violation.module for violation in certificate.violations]
    assert len(named) == len(set(named)), "each once"
    normalised = any(isinstance(m, nn.LayerNorm) for m in model.modules())
    if normalised:
        # Behind a normalisation nothing scales any more, so that biases are free to be there.
        assert "a constant eps = " in str(certificate)
    elif variant != "ReLU only":
        assert set(offenders(model, x)) <= set(named), sorted(set(offenders(model, x)) - set(named))
        own = {violation.module for violation in certificate.violations if violation.op.startswith("aten.add")}
        assert set(named) - set(offenders(model, x)) <= own
    del model
    gc.collect()
    return certificate


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", [*SMALL, *thorough(MORE)])
def test_verdicts_on_small_models_agree_with_brute_truth_and_name_every_offender_once(name, variant):
    check(name, variant, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ALL)
def test_verdicts_on_all_models_agree_with_brute_truth_and_name_every_offender_once(name, variant):
    for seed in (0, 1) if name in SMALL + MORE else (0,):
        check(name, variant, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models.segmentation))
def test_no_operation_of_segmentation_models_is_unsupported(name):
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    assert not certify(model, torch.randn(1, 3, 64, 64), output="out").unsupported
    remove_shifts(model)
    certificate = certify(model, torch.randn(1, 3, 64, 64), output="out")
    assert not certificate.unsupported
    curved = any(isinstance(module, CURVED) for module in model.modules())
    assert curved == ("mobilenet" in name)
    assert certificate.homogeneous == (not curved), str(certificate)


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models.video))
def test_no_operation_of_video_models_is_unsupported(name):
    model = torchvision.models.get_model(name, weights=None).eval()
    size, frames = (224, 16) if name.startswith(("mvit", "swin")) else (64, 8)
    if name == "s3d":
        size, frames = 224, 16
    assert not certify(model, torch.randn(1, 3, frames, size, size)).unsupported


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models.detection))
def test_no_operation_of_detection_backbones_is_unsupported(name):
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    size = 300 if name == "ssd300_vgg16" else 128  # its last layers need that much
    assert not certify(model.backbone, torch.randn(1, 3, size, size)).unsupported
