"""Conversions of all of torchvision's classification models, with random parameters of which none is zero.

The convolutional ones become X-DNNs; those with attention are refused, and extended instead.
"""

import copy
import functools
import gc

import pytest
import torch
import torchvision
from captum.attr import IntegratedGradients
from effort import thorough
from references import input_x_gradient, integrated_gradients
from tolerance import per_example
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.convnext import CNBlock, CNBlockConfig, ConvNeXt
from torchvision.models.efficientnet import FusedMBConv, MBConv
from torchvision.ops import SqueezeExcitation

from captum_xg import HomogeneousExtension, XGradient, certify, to_xdnn
from captum_xg.errors import ConversionError

ALL = torchvision.models.list_models(module=torchvision.models)
ATTENTION = [name for name in ALL if name.startswith(("vit", "swin", "maxvit"))]
CONVOLUTIONAL = [(name, {}) for name in ALL if name not in ATTENTION] + [
    (name, {"transform_input": True}) for name in ALL if name in ("googlenet", "inception_v3")
]
SMALL = [
    ("resnet18", {}),
    ("mobilenet_v3_small", {}),
    *thorough((name, {}) for name in ("squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf")),
    *thorough([("googlenet", {"transform_input": True})]),
]
TWICE = ["resnet18", "mobilenet_v3_small"]
"""Their conversions are read by several tests."""
EXACTLY, IN_SINGLE, IN_DOUBLE = 1e-5, 1e-4, 1e-8


def named(case):
    return case[0] + "".join(f"-{option}" for option in case[1])


def build(name, seed=0, **options):
    """A model with random parameters and statistics, of sizes that keep signals within range, none of them zero."""
    torch.manual_seed(seed)
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, **options}
    if name.startswith("vit"):
        options = {"image_size": 56 if name == "vit_h_14" else 64, **options}
    model = torchvision.models.get_model(name, weights=None, **options)
    return trained(model, images(name, seed + 100, 4))


def trained(model, x):
    """The model with such parameters, and with statistics of norms near those on these images."""
    model.eval()
    for module in model.modules():
        for path, parameter in module.named_parameters(recurse=False):
            spread = (2 / max(parameter[0].numel(), 1)) ** 0.5 if parameter.dim() > 1 else 0.1
            if path == "layer_scale":
                spread = 0.3
            nn.init.normal_(parameter, std=spread)
        if isinstance(module, (_BatchNorm, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    # Otherwise deep networks with gates are chaotic: rounding alone changes their outputs.
    blocks = sum(isinstance(module, (MBConv, FusedMBConv)) for module in model.modules())
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            for layer in (module.fc1, module.fc2):
                nn.init.normal_(layer.weight, std=0.3 * layer.in_channels**-0.5)
        if isinstance(module, (MBConv, FusedMBConv)):
            for parameter in (module.block[-1][1].weight, *([module.block[-1][1].bias] if blocks >= 50 else [])):
                parameter.data /= 20 if blocks < 50 else 1000
    run_in(model, x)
    return model


@functools.lru_cache
def checked(name):
    """A model, images, its conversion that was found to be as it should be, and what was measured: for reading."""
    model, x = build(name), images(name)
    xdnn, _, measured = check_conversion(model, x, steps=8)
    return model, x, xdnn, measured


def run_in(model, x):
    """Give each batch norm statistics near those of what it sees, as training does.

    With any others, deep networks with gates are chaotic: rounding alone changes their outputs altogether.
    """

    def adapt(norm, args):
        variance, mean = torch.var_mean(args[0], dim=[0, *range(2, args[0].dim())])
        variance = variance + variance.mean() / 10
        norm.running_mean.copy_(mean + 0.1 * variance.sqrt() * torch.randn(len(mean)))
        norm.running_var.copy_(variance * torch.empty(len(mean)).uniform_(0.5, 1.5))

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    hooks = [norm.register_forward_pre_hook(adapt) for norm in norms]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()


def images(name, seed=1, count=2):
    size = 96 if name == "inception_v3" else 56 if name == "vit_h_14" else 224 if name.startswith("maxvit") else 64
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def appearance(model):
    """What a model is made of: the classes of its modules, and a copy of its state."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    return [(path, type(module)) for path, module in model.named_modules()], state


def deviations(one, other):
    """The largest difference, relative to the largest attribution of that example, for each example."""
    one, other = per_example(one), per_example(other)
    return (one - other).abs().amax(1) / other.abs().amax(1)


def check_conversion(model, x, steps=32):
    """Assert that a model is converted as it should be; return the X-DNN, the report and what was measured."""
    modules, state = appearance(model)
    with torch.no_grad():
        before = model(x)
    assert bool(before.isfinite().all())
    assert not certify(model, x[:1]).homogeneous
    xdnn, report = to_xdnn(model, x)

    assert [(path, type(module)) for path, module in model.named_modules()] == modules
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(x), before)
    own = {value.untyped_storage().data_ptr() for value in xdnn.state_dict().values() if value.numel()}
    assert not own & {value.untyped_storage().data_ptr() for value in model.state_dict().values() if value.numel()}

    assert report.homogeneous
    assert not report.unconverted
    assert report.certificate.degree == 1
    assert certify(xdnn, x[:1]).degree == 1
    own = rounding(model, x)
    assert own <= 1e-3, "the model itself is chaotic, so that nothing could be seen"
    assert report.exact_difference <= max(EXACTLY, 4 * own), f"{report.exact_difference:.2g}, own rounding {own:.2g}"
    if any(change.exact for change in report.changes):
        assert report.agreement[0].stage.startswith("exact")
        assert report.agreement[0].difference == report.exact_difference
    return xdnn, report, check_attributions(xdnn, x, steps)


def rounding(model, x):
    """How far outputs in single precision are from those in double precision, as a report measures differences."""
    with torch.no_grad():
        single, double = model(x).double(), copy.deepcopy(model).double()(x.double())
    return float((single - double).abs().sum() / double.abs().sum())


def check_attributions(xdnn, x, steps=32):
    """Assert that X-Gradient is Integrated Gradients, in single precision where that has converged, and in double.

    At a scale that is no power of two, rounding may tip a value that is almost zero to the other side of a ReLU, which
    moves the gradient there by far more than rounding. Integrated Gradients passes through such scales. So single
    precision is compared where it gives the gradients of double precision, on the path and at its end.
    """
    with torch.no_grad():
        target = xdnn(x).argmax(1)
    ours = XGradient(xdnn).attribute(x, target=target)
    assert bool((per_example(ours).abs().amax(1) > 0).all())
    options = {"n_steps": steps, "method": "gausslegendre", "internal_batch_size": len(x)}
    theirs = IntegratedGradients(xdnn).attribute(x, target=target, **options)

    wide = copy.deepcopy(xdnn).double()
    precise = XGradient(wide, validate="certificate").attribute(x.double(), target=target)
    (reference,) = integrated_gradients(wide, (x,), target, nodes=4)
    double = deviations(precise, reference)
    assert bool((double <= IN_DOUBLE).all()), f"{double}"
    single, noise = deviations(ours, theirs), deviations(theirs, reference)
    at_x = deviations(input_x_gradient(xdnn, (x,), target)[0], input_x_gradient(wide, (x.double(),), target)[0])
    converged = (noise <= IN_SINGLE / 2) & (at_x <= IN_SINGLE / 2)
    assert bool((single[converged] <= IN_SINGLE).all()), f"{single}"
    return {
        "IG32 - XG32": float(single.max()),
        "IG32 - IG64": float(noise.max()),
        "XG32 - XG64": float(deviations(ours, precise).max()),
        "XG64 - IG64": float(double.max()),
        "converged": int(converged.sum()),
    }


def check_refusal(model, x):
    """Assert that a model with attention is refused with reasons, and that its extension is homogeneous."""
    modules, state = appearance(model)
    with torch.no_grad():
        before = model(x)
    assert bool(before.any())
    with pytest.raises(ConversionError, match="HomogeneousExtension") as caught:
        to_xdnn(model, x)
    assert [(path, type(module)) for path, module in model.named_modules()] == modules
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())

    report = caught.value.report
    assert not report.homogeneous
    assert report.unconverted
    assert all(obstacle.reason and obstacle.remedy for obstacle in report.unconverted), str(report)
    shown = str(caught.value)
    assert all(obstacle.module in shown for obstacle in report.unconverted[:10])

    radius = float(x.flatten(1).norm(dim=1).mean())
    extension = HomogeneousExtension(model, radius=radius)
    certificate = certify(extension, x)
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == 1
    with torch.no_grad():
        assert bool((deviations(extension(x), before) <= IN_SINGLE).all()), "on the sphere the extension is the model"
    return report


@pytest.mark.parametrize("case", SMALL, ids=named)
def test_small_convolutional_models_become_xdnns_whose_integrated_gradients_are_x_gradient(case):
    name, options = case
    if name in TWICE:
        *_, measured = checked(name)
    else:
        *_, measured = check_conversion(build(name, **options), images(name), steps=8)
    assert measured["converged"] or name == "googlenet", "or nothing is compared in single precision"


@pytest.mark.slow
@pytest.mark.parametrize("case", CONVOLUTIONAL, ids=named)
def test_all_convolutional_models_become_xdnns_whose_integrated_gradients_are_x_gradient(case):
    name, options = case
    check_conversion(build(name, **options), images(name))
    gc.collect()


def test_a_small_transformer_is_refused_with_reasons_and_its_extension_is_homogeneous():
    sizes = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": [4, 4], "num_classes": 10}
    torch.manual_seed(0)
    model = torchvision.models.SwinTransformer(patch_size=[4, 4], **sizes)
    check_refusal(trained(model, images("swin_t", 100)), images("swin_t", count=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTENTION)
def test_all_models_with_attention_are_refused_with_reasons_and_their_extensions_are_homogeneous(name):
    check_refusal(build(name), images(name, count=1))
    gc.collect()


@pytest.mark.parametrize("name", TWICE)
def test_converting_an_xdnn_again_changes_nothing(name):
    _, x, xdnn, _ = checked(name)
    again, report = to_xdnn(xdnn, x)
    assert report.changes == ()
    with torch.no_grad():
        assert torch.equal(again(x), xdnn(x))


@pytest.mark.thorough
@pytest.mark.parametrize("name", TWICE)
def test_what_a_conversion_does_depends_on_the_examples_only_through_typical_sizes(name):
    model, x, one, _ = checked(name)
    other, _ = to_xdnn(model, x.flip(0))
    assert one.state_dict().keys() == other.state_dict().keys()
    for value, same in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(value, same, rtol=1e-6, atol=0)


def test_every_layer_scale_is_kept():
    torch.manual_seed(0)
    blocks = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)]
    model, x = trained(ConvNeXt(blocks, num_classes=10), images("", 100)), images("")
    xdnn, _ = to_xdnn(model, x)
    before = [module.layer_scale for module in model.modules() if isinstance(module, CNBlock)]
    after = [value for key, value in xdnn.named_parameters() if key.endswith("layer_scale")]
    assert len(before) == len(after) == 3
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
