"""One planted violation in a certified network is caught and alone named; harmless changes keep the certificate."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
import torchvision
from cases import Residual, mlp, without_shift
from effort import thorough, tries
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.certify import certify

# ------------------------------------------------------------------------------------------------------------- networks


class Fire(nn.Module):
    """Squeeze, and two expansions side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.one = nn.Conv2d(squeezed, expanded, 1, bias=False)
        self.three = nn.Conv2d(squeezed, expanded, 3, padding=1, bias=False)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.squeeze(x))
        return torch.cat([self.activation(self.one(x)), self.activation(self.three(x))], 1)


class UNet(nn.Module):
    """Down, up, and the way beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.LeakyReLU(0.1))
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.ReLU())
        self.deepest = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(6, 6, 1, bias=False), nn.PReLU())
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.transposed = nn.ConvTranspose2d(12, 4, 2, stride=2, bias=False)
        self.out = nn.Conv2d(8, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first = self.inside(x)
        second = self.down(first)
        merged = torch.cat([second, self.up(self.deepest(second))], 1)
        return self.out(torch.cat([first, self.transposed(merged).relu()], 1))


def conv_block(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), without_shift(nn.BatchNorm2d(channels)), nn.ReLU()
    )


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3, bias=False)]


CHAINS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: mlp(6, 8, 7, 5, 3), (2, 6)),
    "conv net": (lambda: nn.Sequential(conv_block(3), nn.MaxPool2d(2), conv_block(3), *head(3)), (2, 3, 8, 8)),
}
SMALL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = CHAINS | {
    "residual": (
        lambda: nn.Sequential(Residual(conv_block(3)), nn.AvgPool2d(2), Residual(Residual(conv_block(3))), *head(3)),
        (2, 3, 8, 8),
    ),
    "squeeze": (lambda: nn.Sequential(Fire(3, 2, 4), nn.MaxPool2d(2), Fire(8, 3, 4), *head(8)), (2, 3, 8, 8)),
    "u-net": (UNet, (2, 2, 8, 8)),
}  # fmt: skip
LARGE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "alexnet": (lambda: torchvision.models.alexnet(num_classes=5), (2, 3, 64, 64)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), (2, 3, 32, 32)),
    "densenet121": (lambda: torchvision.models.densenet121(num_classes=5), (2, 3, 32, 32)),
}
NETWORKS = SMALL | LARGE
LARGE_NAMES = ["resnet18", *thorough(["alexnet", "densenet121"])]


def network(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network that is certified, and an input for it."""
    build, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build().eval()
    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
    return model, torch.randn(shape, generator=torch.Generator().manual_seed(1))


@lru_cache
def places(name: str) -> list[str]:
    """Return the paths of the layers that run."""
    model, x = network(name)
    found = []
    for path, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, path=path: found.append(path))
    model(x)
    return list(dict.fromkeys(found))


def after(model: nn.Module, path: str, planted: nn.Module) -> str:
    """Run a module after a layer, whatever the layer is called by; return its path."""
    parent, _, name = path.rpartition(".")
    layer = model.get_submodule(path)
    setattr(model.get_submodule(parent), name, nn.Sequential(layer, planted))
    return f"{path}.1"


# ------------------------------------------------------------------------------------------------------ what is planted


class Does(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Adds(nn.Module):
    """x + b."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def slice_of_copy(x: Tensor, edit: Callable[[Tensor], object]) -> Tensor:
    y = x.clone()
    edit(y[:, :1])
    return y


def edits_a_view_of_a_view(x: Tensor) -> Tensor:
    y = x.clone()
    y.view(-1)[::2].unsqueeze(0)[..., :1].add_(1.0)
    return y


def overwrites_behind_autograd(x: Tensor) -> Tensor:
    y = x.clone()
    y.data.mul_(2)
    return y


def scaled_without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        factor = (x.abs().mean() / (x.norm())).sqrt()
    return x * factor


def filled_in_parts(x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:, :1] = x[:, :1]
    y[:, 1:] = x[:, 1:].abs()
    return y


def windows(x: Tensor, value: float) -> Tensor:
    return F.pad(x, (1, 1), value=value).unfold(-1, 3, 1).mean(-1)


VIOLATIONS: dict[str, Callable[[], nn.Module]] = {
    "bias of 1e-6": lambda: Adds(1e-6),
    "eps beside a norm": lambda: Does(lambda x: x * (x.norm() / (x.norm() + 1e-6))),
    "normalisation with eps, times a norm": lambda: Does(lambda x: F.layer_norm(x, x.shape[1:]) * x.norm()),
    "ReLU6": nn.ReLU6,
    "clamp": lambda: Does(lambda x: x.clamp(-3, 3)),
    "clamp(max)": lambda: Does(lambda x: x.clamp(max=50.0)),
    "pad of 1e-3": lambda: Does(lambda x: windows(x, 1e-3)),
    "detached branch": lambda: Does(lambda x: x + x.detach()),
    "detached factor of degree 0": lambda: Does(scaled_without_gradient),
    "edit behind autograd's back": lambda: Does(overwrites_behind_autograd),
    "add_(1) on a slice": lambda: Does(lambda x: slice_of_copy(x, lambda part: part.add_(1))),
    "add_(1) on a view of a view": lambda: Does(edits_a_view_of_a_view),
    "GELU": nn.GELU,
    "Dropout in training": lambda: nn.Dropout(0.5).train(),
    "constant in a cat": lambda: Does(
        lambda x: torch.cat([x, torch.full_like(x, 0.1)], 1).unflatten(1, (2, -1)).sum(1)
    ),
    "softplus": nn.Softplus,
    "threshold": lambda: Does(lambda x: torch.where(x > 0.1, x, 0.0)),
}
CUTS = {"detached branch", "detached factor of degree 0", "edit behind autograd's back"}
"""Behind one of them the gradient is wrong anyway, so that only the first is named."""
EDITS = {"add_(1) on a slice", "add_(1) on a view of a view"}
"""What joins a constant to what one of them left is not named as well."""
TO_ANOTHER_DEGREE: dict[str, Callable[[], nn.Module]] = {
    "x / (norm + eps)": lambda: Does(lambda x: x / (x.norm() + 1e-6)),
    "LayerNorm": lambda: Does(lambda x: F.layer_norm(x, x.shape[1:])),
    "normalize": lambda: Does(lambda x: F.normalize(x, dim=1)),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": lambda: nn.Softmax(1),
    "rounding": lambda: Does(lambda x: (x * 256).round() / 256),
    "square beside": lambda: Does(lambda x: x + 1e-3 * x.square()),
}  # Mended they are of degree 0 (or 2): beside what is of degree 1, that is another violation, elsewhere.
IN_PART: dict[str, Callable[[], nn.Module]] = {
    "fill_(0.1) on a slice": lambda: Does(lambda x: slice_of_copy(x, lambda part: part.fill_(0.1))),
    "constant channel": lambda: Does(lambda x: torch.cat([x, torch.full_like(x[:, :1], 0.1)], 1)[:, 1:]),
    "mask of a slice": lambda: Does(lambda x: slice_of_copy(x, lambda part: part.masked_fill_(part <= 0, 0.1))),
    "index of a slice": lambda: Does(lambda x: x.index_fill(1, torch.tensor([0]), 0.1)),
}  # What they return is homogeneous in each of its parts; the parts break it where they are brought together.
HARMLESS: dict[str, Callable[[], nn.Module]] = {
    "bias of zero": lambda: Adds(0.0),
    "clamp(min=0)": lambda: Does(lambda x: x.clamp(min=0)),
    "clamp to infinities": lambda: Does(lambda x: x.clamp(-float("inf"), float("inf"))),
    "pad of 0": lambda: Does(lambda x: windows(x, 0.0)),
    "detached only to compare": lambda: Does(lambda x: torch.where(x.detach() > x.detach().mean(), x, 0.5 * x)),
    "mask without gradient": lambda: Does(lambda x: x * (x.data > 0)),
    "mul_(2) on a slice": lambda: Does(lambda x: slice_of_copy(x, lambda part: part.mul_(2))),
    "zero_() on a slice": lambda: Does(lambda x: slice_of_copy(x, lambda part: part.zero_())),
    "relu_() on a slice": lambda: Does(lambda x: slice_of_copy(x, lambda part: part.relu_())),
    "views": lambda: Does(lambda x: x.transpose(0, 1).contiguous().flatten().view(x.shape[1], -1).T.reshape(x.shape)),
    "zeros in a cat": lambda: Does(lambda x: torch.cat([x, torch.zeros_like(x[:, :1])], 1)[:, 1:]),
    "constant in a cat, cut off again": lambda: Does(lambda x: torch.cat([x, torch.ones_like(x)], 1)[:, : x.shape[1]]),
    "Dropout in evaluation": lambda: nn.Dropout(0.5).eval(),
    "to float64 and back": lambda: Does(lambda x: x.double().to(x.dtype)),
    "gate of degree 0": lambda: Does(lambda x: x * torch.sigmoid(x / x.abs().amax())),
    "buffer filled in parts": lambda: Does(filled_in_parts),
    "constants that are computed": lambda: Does(lambda x: x * torch.arange(1, x.shape[-1] + 1).softmax(0, torch.float)),
    "division by a norm": lambda: Does(lambda x: x * x.abs() / x.norm()),
}

SEEDS = st.integers(0, 10**6)


def certified(model: nn.Module, x: Tensor) -> Certificate:
    return certify(model, x)


def named(certificate: Certificate) -> list[str]:
    return [violation.module for violation in certificate.violations]


def plant_and_certify(name: str, seed: int, build: Callable[[], nn.Module]) -> tuple[Certificate, str]:
    model, x = network(name)
    path = after(model, random.Random(seed).choice(places(name)), build())
    return certified(model, x), path


def hold_caught(certificate: Certificate, path: str) -> None:
    assert not certificate.homogeneous
    assert certificate.degree is None
    assert named(certificate) == [path], certificate
    # A second look at the same place: what was edited may have been kept for the backward pass.
    assert all(v.module in {w.module for w in certificate.violations} for v in certificate.unsupported), certificate


# ----------------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_are_certified_as_they_are(name: str) -> None:
    certificate = certified(*network(name))
    assert certificate.homogeneous, certificate
    assert certificate.degree == 1


@pytest.mark.parametrize("violation", VIOLATIONS)
@pytest.mark.parametrize("name", SMALL)
def test_a_planted_violation_is_caught_and_alone_named(name: str, violation: str) -> None:
    for seed in range(tries(1, 3)):
        hold_caught(*plant_and_certify(name, seed, VIOLATIONS[violation]))


@settings(max_examples=tries(20, 50))
@given(st.sampled_from(sorted(SMALL)), st.sampled_from(sorted(VIOLATIONS)), SEEDS)
def test_a_planted_violation_is_caught_wherever_it_stands(name: str, violation: str, seed: int) -> None:
    hold_caught(*plant_and_certify(name, seed, VIOLATIONS[violation]))


@pytest.mark.parametrize("violation", TO_ANOTHER_DEGREE)
@pytest.mark.parametrize("name", CHAINS)
def test_a_planted_normalisation_or_gate_is_caught_and_alone_named(name: str, violation: str) -> None:
    for seed in range(tries(1, 3)):
        hold_caught(*plant_and_certify(name, seed, TO_ANOTHER_DEGREE[violation]))


@pytest.mark.parametrize("violation", TO_ANOTHER_DEGREE)
@pytest.mark.parametrize("name", SMALL)
def test_what_is_planted_is_named_first_where_it_breaks_more_behind_it(name: str, violation: str) -> None:
    for seed in range(tries(1, 3)):
        certificate, path = plant_and_certify(name, seed, TO_ANOTHER_DEGREE[violation])
        assert not certificate.homogeneous
        assert named(certificate)[0] == path, certificate
        assert len(named(certificate)) == len(set(named(certificate)))


@pytest.mark.parametrize("violation", IN_PART)
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_constant_in_a_part_of_a_tensor_is_caught_and_one_place_named(name: str, violation: str) -> None:
    for seed in range(tries(1, 3)):
        certificate, _ = plant_and_certify(name, seed, IN_PART[violation])
        assert not certificate.homogeneous
        assert len(named(certificate)) == 1, certificate


@pytest.mark.parametrize("violation", IN_PART)
@pytest.mark.parametrize("name", sorted(set(SMALL) - {"residual"}))
def test_a_constant_in_a_part_of_a_tensor_is_caught_and_its_writer_alone_named(name: str, violation: str) -> None:
    for seed in range(tries(1, 3)):
        hold_caught(*plant_and_certify(name, seed, IN_PART[violation]))


@pytest.mark.parametrize("violation", IN_PART)
def test_before_a_sum_too_the_writer_alone_is_named(violation: str) -> None:
    for seed in range(tries(1, 3)):
        hold_caught(*plant_and_certify("residual", seed, IN_PART[violation]))


@settings(max_examples=tries(3, 6))
@given(st.sampled_from(sorted(IN_PART)), SEEDS)
@pytest.mark.parametrize("name", LARGE_NAMES)
def test_a_constant_in_a_part_of_a_tensor_is_caught_in_models_of_torchvision(
    name: str, violation: str, seed: int
) -> None:
    certificate, _ = plant_and_certify(name, seed, IN_PART[violation])
    assert not certificate.homogeneous


@settings(max_examples=tries(3, 6))
@given(st.sampled_from(sorted(VIOLATIONS)), SEEDS)
@pytest.mark.parametrize("name", LARGE_NAMES)
def test_a_violation_in_a_model_of_torchvision_is_caught_and_alone_named(name: str, violation: str, seed: int) -> None:
    hold_caught(*plant_and_certify(name, seed, VIOLATIONS[violation]))


@settings(max_examples=tries(10, 20))
@given(st.sampled_from(sorted(NETWORKS)), SEEDS, st.sampled_from([1e-6, -3.0, 1e-30]))
def test_the_layer_whose_own_bias_is_not_zero_is_caught_and_alone_named(name: str, seed: int, size: float) -> None:
    model, x = network(name)
    layers = [
        path for path in places(name)
        if isinstance(model.get_submodule(path), (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d))
    ]  # fmt: skip
    path = random.Random(seed).choice(layers)
    layer = model.get_submodule(path)
    layer.bias = nn.Parameter(torch.zeros(getattr(layer, "out_channels", len(layer.weight))))
    if isinstance(layer, nn.Linear):
        layer.bias = nn.Parameter(torch.zeros(layer.out_features))
    assert certified(model, x).homogeneous
    with torch.no_grad():
        layer.bias[-1] = size
    hold_caught(certified(model, x), path)


def adds_to_a_slice(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return slice_of_copy(output, lambda part: part.add_(1))


def adds_before(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0] + 1e-3,)


@settings(max_examples=tries(10, 20))
@given(st.sampled_from(sorted(NETWORKS)), SEEDS, st.booleans())
def test_a_hook_that_adds_is_caught_at_the_layer_that_has_it(name: str, seed: int, before: bool) -> None:
    model, x = network(name)
    path = random.Random(seed).choice(places(name))
    layer = model.get_submodule(path)
    if before:
        layer.register_forward_pre_hook(adds_before)
    else:
        layer.register_forward_hook(adds_to_a_slice)
    hold_caught(certified(model, x), path)


@settings(max_examples=tries(10, 20))
@given(
    st.sampled_from(sorted(SMALL)),
    st.lists(st.sampled_from(sorted(set(VIOLATIONS) - CUTS - EDITS)), min_size=2, max_size=4),
    SEEDS,
)
def test_of_several_planted_violations_each_is_named_once(name: str, violations: list[str], seed: int) -> None:
    model, x = network(name)
    chosen = random.Random(seed).sample(places(name), min(len(violations), len(places(name))))
    paths = {after(model, path, VIOLATIONS[v]()) for path, v in zip(chosen, violations, strict=False)}
    certificate = certified(model, x)
    assert not certificate.homogeneous
    assert sorted(named(certificate)) == sorted(paths), certificate


@pytest.mark.parametrize("change", HARMLESS)
@pytest.mark.parametrize("name", SMALL)
def test_a_harmless_change_keeps_the_certificate(name: str, change: str) -> None:
    for seed in range(tries(1, 2)):
        certificate, _ = plant_and_certify(name, seed, HARMLESS[change])
        assert certificate.homogeneous, certificate
        assert certificate.degree == 1


@settings(max_examples=tries(2, 4))
@given(st.sampled_from(sorted(HARMLESS)), SEEDS)
@pytest.mark.parametrize("name", LARGE_NAMES)
def test_a_harmless_change_keeps_the_certificate_of_a_model_of_torchvision(name: str, change: str, seed: int) -> None:
    certificate, _ = plant_and_certify(name, seed, HARMLESS[change])
    assert certificate.homogeneous, certificate


@pytest.mark.slow
@pytest.mark.parametrize("violation", VIOLATIONS)
@pytest.mark.parametrize("name", LARGE_NAMES)
def test_every_violation_is_caught_at_many_places_of_a_model_of_torchvision(name: str, violation: str) -> None:
    for seed in range(10):
        hold_caught(*plant_and_certify(name, seed, VIOLATIONS[violation]))
