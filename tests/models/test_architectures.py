"""Names, shapes, initial values: the twins against each other and against the released architectures."""

import pytest
import torch
from members import ALL, LARGE, RELEASED_SHAPES, SMALL, is_constant
from torch import nn
from torch.nn import functional as F

from captum_xg import models
from captum_xg.models.fixup_block import FixupBlock


def shapes(member, *, x):
    with torch.device("meta"):
        return {name: tuple(p.shape) for name, p in member.build(x=x).named_parameters()}


each = pytest.mark.parametrize("member", ALL, ids=lambda member: member.name)


@each
def test_an_x_dnn_is_its_twin_minus_biases_and_scales(member):
    regular = shapes(member, x=False)
    assert shapes(member, x=True) == {name: shape for name, shape in regular.items() if not is_constant(name)}
    assert sum(map(is_constant, regular)) == member.biases
    assert len(regular) == member.biases + member.weights


@each
def test_number_of_parameters(member):
    with torch.device("meta"):
        model = member.build(x=False)
    assert sum(p.numel() for p in model.parameters()) == member.parameters


@pytest.mark.parametrize("name", RELEASED_SHAPES)
def test_names_and_shapes_of_the_released_checkpoints(name):
    member = next(member for member in LARGE if member.name == name)
    own = shapes(member, x=False)
    assert RELEASED_SHAPES[name].items() <= own.items()
    assert all(own[key] == shape for key, shape in RELEASED_SHAPES[name].items())


@each
def test_no_buffers_that_a_released_checkpoint_would_not_have(member):
    with torch.device("meta"):
        assert not list(member.build(x=False).named_buffers())


@pytest.mark.parametrize("member", [LARGE[5], *SMALL], ids=lambda member: member.name)
def test_twins_of_one_seed_start_from_the_same_weights(member):
    torch.manual_seed(3)
    regular = member.build(x=False).state_dict()
    torch.manual_seed(3)
    for name, value in member.build(x=True).state_dict().items():
        assert torch.equal(value, regular[name]), name


@each
def test_channels_and_classes_are_free(member):
    with torch.device("meta"):
        for x, channels in ((False, 1), (True, 4)):
            model = member.build(x=x, in_channels=channels, num_classes=7)
            assert model(torch.empty(2, channels, 64, 64)).shape == (2, 7)
            assert any(is_constant(name) for name, _ in model.named_parameters()) == (not x)


@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize("member", SMALL, ids=lambda member: member.name)
def test_small_ones_take_both_sizes_of_small_images(member, side):
    assert member.build(x=True)(torch.rand(2, 1, side, side)).shape == (2, 10)


@pytest.mark.parametrize("name", ["fixup_resnet18", "xfixup_resnet18", "small_fixup_resnet", "xsmall_fixup_resnet"])
def test_at_initialisation_every_fixup_block_passes_on_its_shortcut(name):
    torch.manual_seed(0)
    model = getattr(models, name)()
    blocks = [module for module in model.modules() if isinstance(module, FixupBlock)]
    for block in blocks:
        x = torch.rand(2, block.conv1.in_channels, 8, 8)
        assert torch.all(block.branch(x) == 0)
        assert torch.equal(block(x), x if block.downsample is None else torch.relu(block.shortcut(x)))
    assert torch.all(model.fc.weight == 0)


@pytest.mark.parametrize(("name", "m", "branches"), [("fixup_resnet34", 2, 16), ("fixup_resnet50", 3, 16)])
def test_fixup_scales_the_other_convolutions_of_a_branch(name, m, branches):
    torch.manual_seed(0)
    model = getattr(models, name)()
    for module in model.modules():
        if isinstance(module, FixupBlock):
            convs = [module.conv1, module.conv2][: m - 1]
            for conv in convs:
                he = (2 / (conv.out_channels * conv.kernel_size[0] ** 2)) ** 0.5
                expected = he * branches ** (-1 / (2 * m - 2))
                assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)
            if module.downsample is not None:
                he = (2 / module.downsample.out_channels) ** 0.5
                assert module.downsample.weight.std().item() == pytest.approx(he, rel=0.05)


def reference_block(x, p, stride):
    """A bottleneck with biases from its formula, parameter by parameter."""
    conv = F.conv2d
    out = torch.relu(conv(x + p["bias1a"], p["conv1.weight"]) + p["bias1b"])
    out = torch.relu(conv(out + p["bias2a"], p["conv2.weight"], stride=stride, padding=1) + p["bias2b"])
    out = conv(out + p["bias3a"], p["conv3.weight"]) * p["scale"] + p["bias3b"]
    shortcut = conv(x + p["bias1a"], p["downsample.weight"], stride=stride) if "downsample.weight" in p else x
    return torch.relu(out + shortcut)


def test_fixup_resnet50_computes_its_formula():
    torch.manual_seed(0)
    model = models.fixup_resnet50(num_classes=5).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05)
    p = model.state_dict()
    x = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    y = torch.relu(F.conv2d(x, p["conv1.weight"], stride=2, padding=3) + p["bias1"])
    y = F.max_pool2d(y, 3, stride=2, padding=1)
    for stage, count in enumerate((3, 4, 6, 3), start=1):
        for block in range(count):
            prefix = f"layer{stage}.{block}."
            own = {name.removeprefix(prefix): value for name, value in p.items() if name.startswith(prefix)}
            y = reference_block(y, own, 2 if stage > 1 and block == 0 else 1)
    y = F.linear(y.mean((2, 3)) + p["bias2"], p["fc.weight"], p["fc.bias"])
    torch.testing.assert_close(model(x), y)
