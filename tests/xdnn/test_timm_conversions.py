"""Conversions of the families of timm, shortened to two blocks in a row of one kind, with parameters that are not 0.

The convolutional ones and those of multilayer perceptrons become X-DNNs that are alive; attention is refused.
"""

import copy
import gc

import pytest
import torch
from effort import thorough
from references import integrated_gradients
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg import HomogeneousExtension, XGradient, certify, to_xdnn
from captum_xg.errors import ConversionError

timm = pytest.importorskip("timm", reason="the models are those of timm, which is optional")

SMALL = [
    "test_efficientnet",  # norms with activations in one module, gates
    "resmlp_12_224",  # sums in one operation
    *thorough(["test_byobnet", "test_resnet", "test_convnext2", "test_nfnet", "starnet_s050", "gmlp_ti16_224"]),
    *thorough(["mixer_s32_224", "resnest14d", "skresnet18", "gcresnext26ts", "convnextv2_atto", "ghostnetv2_100"]),
]
FAMILIES = (
    *("convmixer_768_32", "convnext_atto", "convnext_atto_rms", "cs3sedarknet_l", "cspnext_tiny", "cspresnet50"),
    *("densenetblur121d", "dla34", "dm_nfnet_f0", "dpn48b", "ecaresnet26t", "efficientnet_b0", "efficientnet_b0_gn"),
    *("efficientnet_lite0", "ese_vovnet19b_slim_dw", "fasternet_t0", "fastvit_t8", "fbnetv3_b", "focalnet_tiny_srf"),
    *("gernet_s", "ghostnet_050", "gmixer_12_224", "hardcorenas_a", "hgnet_tiny", "hrnet_w18_small"),
    *("inception_next_atto", "lcnet_035", "lcnetv2_small", "legacy_seresnet18", "legacy_xception", "mambaout_femto"),
    *("mixnet_s", "mnasnet_small", "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_035"),
    *("mobileone_s0", "nf_regnet_b0", "poolformer_s12", "poolformerv2_s12", "rdnet_tiny", "regnetx_002"),
    *("regnety_002", "regnetz_005", "repghostnet_050", "repvgg_a0", "repvit_m0_9", "res2net50_48w_2s", "resnet10t"),
    *("resnetv2_18", "resnetv2_50d_evos", "resnetv2_50d_frn", "resnetv2_50x1_bit", "rexnet_100", "selecsls42"),
    *("seresnet18", "tf_efficientnetv2_b0", "tresnet_m", "vgg11_bn", "xception41", "xception41p"),
)
ATTENTION = (
    "vit_tiny_patch16_224",
    "botnet26t_256",
    "coatnet_nano_rw_224",
    "mobilevit_xxs",
    "swin_tiny_patch4_window7_224",
)


def images(size, count=2, seed=1):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def build(name):
    """A shortened model in evaluation mode with parameters and statistics of which none is zero, and images for it."""
    torch.manual_seed(0)
    size = 64
    try:
        model = timm.create_model(name, num_classes=10, img_size=size).eval()
    except TypeError:
        model = timm.create_model(name, num_classes=10).eval()
        size = model.default_cfg["input_size"][-1] if model.default_cfg.get("fixed_input_size") else size
    shorten(model, images(size, 1))
    with torch.no_grad():
        for module in model.modules():
            for path, parameter in module.named_parameters(recurse=False):
                if parameter.dim() > 1 and bool(parameter.any()) and parameter.numel() > parameter.shape[1]:
                    continue
                if parameter.dim() == 1 and path != "bias" and "running_var" in dict(module.named_buffers()):
                    parameter.uniform_(0.5, 1.5)
                elif path == "gamma" and float(parameter.abs().max()) < 0.1:
                    parameter.normal_(std=0.3)
                else:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    run_in(model, images(size, 4, seed=2))
    return model, images(size)


def shorten(model, x):
    """Leave at most two blocks in a row of one kind, wherever the model still runs."""
    for module in list(model.modules()):
        blocks = dict(module._modules) if isinstance(module, (nn.Sequential, nn.ModuleList)) else {}
        kept = {}
        for name, block in blocks.items():
            last = [type(each) for each in list(kept.values())[-2:]]
            if last != 2 * [type(block)] or next(block.children(), None) is None:
                kept[name] = block
        if len(kept) == len(blocks):
            continue
        try:
            module._modules = kept
            with torch.no_grad():
                model(x)
        except Exception:
            module._modules = blocks


def run_in(model, x):
    """Give each batch norm statistics near those of what it sees, as training does."""

    def adapt(norm, args):
        variance, mean = torch.var_mean(args[0], dim=[0, *range(2, args[0].dim())])
        variance = variance + variance.mean() / 10
        norm.running_mean.copy_(mean + 0.1 * variance.sqrt() * torch.randn(len(mean)))
        norm.running_var.copy_(variance * torch.empty(len(mean)).uniform_(0.5, 1.5))

    hooks = [m.register_forward_pre_hook(adapt) for m in model.modules() if isinstance(m, _BatchNorm)]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()


def check_conversion(name):
    """Assert that a model becomes an X-DNN that is alive, and whose Integrated Gradients are X-Gradient."""
    model, x = build(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        before = model(x)
        rounding = (copy.deepcopy(model).double()(x.double()) - before).abs().sum() / before.abs().sum()
    xdnn, report = to_xdnn(model, x)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert report.exact_difference <= max(1e-5, 8 * float(rounding))
    assert certify(xdnn, x[:1]).degree == 1
    with torch.no_grad():
        y = xdnn(x)
    assert (y != 0).float().mean() > 0.5
    assert (y[0] - y[1]).abs().max() > 1e-4 * y.abs().max()

    wide, target = copy.deepcopy(xdnn).double(), y.argmax(1)
    ours = XGradient(wide).attribute(x.double(), target=target)
    (theirs,) = integrated_gradients(wide, (x,), target, nodes=4)
    assert bool((ours.flatten(1).abs().amax(1) > 0).all())
    # Some of these norms compute in single precision in every dtype.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", SMALL)
def test_small_models_become_xdnns_that_are_alive_and_whose_integrated_gradients_are_x_gradient(name):
    check_conversion(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_convolutional_families_become_xdnns_that_are_alive_and_whose_integrated_gradients_are_x_gradient(name):
    check_conversion(name)
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTENTION)
def test_models_with_attention_are_refused_with_the_extension_named(name):
    model, x = build(name)
    with pytest.raises(ConversionError, match="HomogeneousExtension") as caught:
        to_xdnn(model, x)
    assert all(obstacle.reason and obstacle.remedy for obstacle in caught.value.report.unconverted)
    assert certify(HomogeneousExtension(model, radius=float(x.flatten(1).norm(dim=1).mean())), x).degree == 1
