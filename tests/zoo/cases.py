"""The shared zoo: networks and functions with known verdicts, each named, and strategies that draw from them.

``X_DNNS`` are homogeneous of degree 1, ``POWERS`` of the degree that they carry (1, 1.5, 2 or 3), ``VIOLATIONS`` of
none. Everything is float64 and in evaluation mode, takes ``(N, *shape)`` and gives ``(N, outputs)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Case:
    """A kind of network with a known verdict.

    Attributes:
        name: What it is.
        build: Makes one, with random weights from torch's generator.
        shape: Of one example.
        outputs: Numbers per example.
        degree: Of homogeneity; None if it has none.
        culprit: The class of the layer that breaks homogeneity, "" if it stands outside of layers.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (6,)
    outputs: int = 3
    degree: float | None = 1
    culprit: str = ""

    def __str__(self) -> str:
        return self.name

    def model(self, seed: int = 0) -> nn.Module:
        """Return the network, in float64 and evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build().double().eval()

    def inputs(self, seed: int = 0, examples: int = 3, size: float = 1.0) -> Tensor:
        """Return normally distributed inputs of the given size."""
        generator = torch.Generator().manual_seed(seed + 1)
        return size * torch.randn(examples, *self.shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Problem:
    """One network, one batch and one target, all of which follow from the few numbers that hypothesis shows."""

    case: Case
    seed: int
    examples: int
    target: int
    size: float

    @cached_property
    def model(self) -> nn.Module:
        return self.case.model(self.seed)

    @cached_property
    def inputs(self) -> Tensor:
        return self.case.inputs(self.seed, self.examples, self.size)

    @cached_property
    def values(self) -> Tensor:
        """F(x) of the target."""
        with torch.no_grad():
            return self.model(self.inputs.clone())[:, self.target]


# --- building blocks -------------------------------------------------------------------------------------------------


class Elementwise(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    """x + block(x)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Branches(nn.Module):
    """The outputs of several networks, put together by a function."""

    def __init__(self, combine: Callable[..., Tensor], *networks: nn.Module) -> None:
        super().__init__()
        self.combine = combine
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return self.combine(*(network(x) for network in self.networks))


class Maxout(nn.Module):
    """The largest of several linear maps, unit by unit."""

    def __init__(self, features: int, units: int, pieces: int = 3) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(features, units * pieces, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).reshape(-1, self.units, self.pieces).amax(dim=2)


class Power(nn.Module):
    """sign(g)·|g|ᵏ of the outputs g of a network, or |g|ᵏ."""

    def __init__(self, network: nn.Module, degree: float, *, signed: bool) -> None:
        super().__init__()
        self.network, self.degree, self.signed = network, degree, signed

    def forward(self, x: Tensor) -> Tensor:
        g = self.network(x)
        power = g.abs().pow(self.degree)
        return torch.sign(g) * power if self.signed else power


class TimesNorm(nn.Module):
    """g(x)·‖x‖ᵖ: one degree of g, p of the norm."""

    def __init__(self, network: nn.Module, power: float) -> None:
        super().__init__()
        self.network, self.power = network, power

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * x.flatten(1).square().sum(1, keepdim=True).pow(self.power / 2)


class ReluRNN(nn.Module):
    """The last state of a recurrent network with ReLU and without biases."""

    def __init__(self, features: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(features, hidden, nonlinearity="relu", bias=False, batch_first=True)
        self.head = nn.Linear(hidden, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def mlp(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU, bias: bool = False) -> nn.Sequential:
    """Return Linear layers of these widths with an activation between each two."""
    layers: list[nn.Module] = []
    for i, (here, there) in enumerate(pairwise(widths)):
        layers += [nn.Linear(here, there, bias=bias)] + [activation()] * (i < len(widths) - 2)
    return nn.Sequential(*layers)


def conv_net(pool: nn.Module, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return two convolutions and a linear layer for 2×6×6 images; ``pool`` halves height and width."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), activation(), pool,
        nn.Conv2d(4, 3, 2, bias=False), activation(), nn.Flatten(), nn.Linear(12, 3, bias=False),
    )  # fmt: skip


def without_shift(norm: nn.Module) -> nn.Module:
    """Return a batch norm with slopes of its own and no shift."""
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.uniform_(norm.weight, -2, 2)
    return norm


def with_shift(norm: nn.Module) -> nn.Module:
    """Return a batch norm as training leaves it."""
    nn.init.normal_(norm.running_mean)
    return without_shift(norm)


def filled(layer: nn.Module, bias: float) -> nn.Module:
    """Return the layer with this bias in every unit."""
    nn.init.constant_(layer.bias, bias)
    return layer


# --- the zoo ---------------------------------------------------------------------------------------------------------

IMAGE = (2, 6, 6)

X_DNNS = (
    Case("linear", lambda: mlp(6, 3)),
    Case("relu_mlp", lambda: mlp(6, 8, 5, 3)),
    Case("leaky_relu_mlp", lambda: mlp(6, 8, 5, 3, activation=lambda: nn.LeakyReLU(0.2))),
    Case("prelu_mlp", lambda: mlp(6, 8, 5, 3, activation=nn.PReLU)),
    Case("inplace_relu_mlp", lambda: mlp(6, 8, 5, 3, activation=lambda: nn.ReLU(inplace=True))),
    Case("inplace_relu_first", lambda: nn.Sequential(nn.ReLU(inplace=True), mlp(6, 5, 3))),
    Case("dropout_in_eval_mode", lambda: nn.Sequential(mlp(6, 8), nn.ReLU(), nn.Dropout(0.5), mlp(8, 3))),
    Case("absolute_value_mlp", lambda: mlp(6, 8, 3, activation=lambda: Elementwise(torch.abs))),
    Case("maxout", lambda: nn.Sequential(Maxout(6, 5), Maxout(5, 4), nn.Linear(4, 3, bias=False))),
    Case("residual_mlp", lambda: nn.Sequential(
        mlp(6, 5), Residual(mlp(5, 7, 5)), nn.ReLU(), Residual(mlp(5, 4, 5)), mlp(5, 3))),
    Case("max_of_branches", lambda: Branches(torch.maximum, mlp(6, 5, 3), mlp(6, 4, 3))),
    Case("min_of_branches", lambda: Branches(torch.minimum, mlp(6, 5, 3), mlp(6, 4, 3))),
    Case("concatenated_branches", lambda: nn.Sequential(
        Branches(lambda *b: torch.cat(b, 1), mlp(6, 4), mlp(6, 5, 4)), nn.ReLU(), mlp(8, 3))),
    Case("sorted_units", lambda: nn.Sequential(mlp(6, 7), Elementwise(lambda h: h.sort(dim=1).values), mlp(7, 3))),
    Case("batch_norm_without_shift", lambda: nn.Sequential(
        mlp(6, 5), without_shift(nn.BatchNorm1d(5)), nn.ReLU(), mlp(5, 3))),
    Case("relu_rnn", lambda: ReluRNN(3, 5, 3), (4, 3)),
    Case("max_pool_conv_net", lambda: conv_net(nn.MaxPool2d(2)), IMAGE),
    Case("average_pool_conv_net", lambda: conv_net(nn.AvgPool2d(2)), IMAGE),
    Case("min_pool_conv_net", lambda: conv_net(Elementwise(lambda h: -F.max_pool2d(-h, 2)), nn.LeakyReLU), IMAGE),
    Case("norm_pool_conv_net", lambda: conv_net(nn.LPPool2d(2, 2), nn.LeakyReLU), IMAGE),
    Case("strided_conv_net", lambda: conv_net(nn.Conv2d(4, 4, 2, stride=2, groups=2, bias=False), nn.PReLU), IMAGE),
    Case("global_average_pool_conv_net", lambda: nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), mlp(5, 3)), IMAGE),
    Case("residual_conv_net", lambda: nn.Sequential(
        Residual(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.ReLU())),
        nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()), IMAGE),
    Case("upsampling_conv_net", lambda: nn.Sequential(
        nn.Conv2d(2, 2, 3, stride=2, bias=False), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(2, 2, 2, bias=False), nn.ReLU(), nn.Flatten(), mlp(50, 3)), IMAGE),
)  # fmt: skip

POWERS = (
    Case("relu_mlp_to_the_1_signed", lambda: Power(mlp(6, 5, 3), 1, signed=True), degree=1),
    Case("norm_of_branches", lambda: Branches(torch.hypot, mlp(6, 5, 3), mlp(6, 4, 3)), degree=1),
    Case("relu_mlp_to_the_1.5", lambda: Power(mlp(6, 5, 3), 1.5, signed=False), degree=1.5),
    Case("relu_mlp_to_the_1.5_signed", lambda: Power(mlp(6, 5, 3), 1.5, signed=True), degree=1.5),
    Case("relu_mlp_times_root_of_norm", lambda: TimesNorm(mlp(6, 5, 3), 0.5), degree=1.5),
    Case("relu_mlp_to_the_2", lambda: Power(mlp(6, 5, 3), 2, signed=False), degree=2),
    Case("relu_mlp_to_the_2_signed", lambda: Power(mlp(6, 5, 3), 2, signed=True), degree=2),
    Case("product_of_two", lambda: Branches(torch.mul, mlp(6, 5, 3), mlp(6, 4, 3)), degree=2),
    Case("relu_mlp_times_norm", lambda: TimesNorm(mlp(6, 5, 3), 1), degree=2),
    Case("squared_hidden_units", lambda: mlp(6, 7, 3, activation=lambda: Elementwise(torch.square)), degree=2),
    Case("conv_net_to_the_2", lambda: Power(conv_net(nn.MaxPool2d(2)), 2, signed=True), IMAGE, degree=2),
    Case("relu_mlp_to_the_3", lambda: Power(mlp(6, 5, 3), 3, signed=False), degree=3),
    Case("relu_mlp_to_the_3_signed", lambda: Power(mlp(6, 5, 3), 3, signed=True), degree=3),
    Case("product_of_three", lambda: Branches(
        lambda a, b, c: a * b * c, mlp(6, 5, 3), mlp(6, 4, 3), mlp(6, 3)), degree=3),
    Case("relu_mlp_times_squared_norm", lambda: TimesNorm(mlp(6, 5, 3), 2), degree=3),
)  # fmt: skip


def _between(layer: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of Linear, the layer on 8 units, Linear, where every unit is far from zero for some input."""
    return lambda: nn.Sequential(nn.Linear(6, 8, bias=False), layer(), nn.Linear(8, 3, bias=False))


VIOLATIONS = tuple(
    Case(name, build, shape, degree=None, culprit=culprit)
    for name, build, shape, culprit in (
        ("biased_mlp", lambda: mlp(6, 8, 5, 3, bias=True), (6,), "Linear"),
        ("bias_of_1e-8", lambda: nn.Sequential(filled(nn.Linear(6, 8), 1e-8), nn.ReLU(), mlp(8, 3)), (6,), "Linear"),
        ("bias_in_the_last_layer", lambda: nn.Sequential(mlp(6, 8), nn.ReLU(), nn.Linear(8, 3)), (6,), "Linear"),
        ("biased_convolution", lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), mlp(16, 3)), IMAGE, "Conv2d"),
        ("relu6", _between(nn.ReLU6), (6,), "ReLU6"),
        ("hardtanh", _between(lambda: nn.Hardtanh(-2, 2)), (6,), "Hardtanh"),
        ("hardswish", _between(nn.Hardswish), (6,), "Hardswish"),
        ("gelu", _between(nn.GELU), (6,), "GELU"),
        ("silu", _between(nn.SiLU), (6,), "SiLU"),
        ("elu", _between(nn.ELU), (6,), "ELU"),
        ("softplus", _between(nn.Softplus), (6,), "Softplus"),
        ("tanh", _between(nn.Tanh), (6,), "Tanh"),
        ("sigmoid", _between(nn.Sigmoid), (6,), "Sigmoid"),
        ("softmax_output", lambda: nn.Sequential(mlp(6, 8, 3), nn.Softmax(dim=1)), (6,), "Softmax"),
        ("log_softmax_output", lambda: nn.Sequential(mlp(6, 8, 3), nn.LogSoftmax(dim=1)), (6,), "LogSoftmax"),
        ("hardshrink", _between(lambda: nn.Hardshrink(0.1)), (6,), "Hardshrink"),
        ("softshrink", _between(lambda: nn.Softshrink(0.1)), (6,), "Softshrink"),
        ("threshold", _between(lambda: nn.Threshold(0.1, 0.0)), (6,), "Threshold"),
        ("batch_norm_with_shift", _between(lambda: with_shift(nn.BatchNorm1d(8))), (6,), "BatchNorm1d"),
        ("layer_norm", _between(lambda: nn.LayerNorm(8)), (6,), "LayerNorm"),
        ("group_norm", _between(lambda: nn.GroupNorm(2, 8)), (6,), "GroupNorm"),
        ("residual_layer_norm", _between(lambda: Residual(nn.LayerNorm(8))), (6,), "LayerNorm"),
        ("constant_padding", lambda: nn.Sequential(
            nn.ConstantPad2d(1, 0.5), nn.Conv2d(2, 1, 3, bias=False), nn.Flatten(), mlp(36, 3)),
            IMAGE, "ConstantPad2d"),
        ("constant_added_in_forward", _between(lambda: Elementwise(lambda h: h + 0.01)), (6,), "Elementwise"),
        ("sum_of_degrees_one_and_two", lambda: Branches(lambda g: g + g**2, mlp(6, 5, 3)), (6,), "Branches"),
    )
)  # fmt: skip

# What is drawn on top of the zoo: networks of any depth and width.
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "rrelu_in_eval_mode": nn.RReLU,
    "abs": lambda: Elementwise(torch.abs),
    "identity": nn.Identity,
}


# --- strategies ------------------------------------------------------------------------------------------------------

seeds = st.integers(0, 2**31 - 1)


@st.composite
def random_mlps(draw: st.DrawFn, *, bias: bool = False, deepest: int = 4) -> Case:
    """Draw an MLP of any depth, widths and activation."""
    widths = draw(st.lists(st.integers(1, 9), min_size=2, max_size=deepest + 1))
    name = draw(st.sampled_from(sorted(_ACTIVATIONS)))
    label = f"mlp[{'-'.join(map(str, widths))}, {name}{', bias' if bias else ''}]"
    activation = _ACTIVATIONS[name]
    build = lambda: mlp(*widths, activation=activation, bias=bias)
    return Case(label, build, (widths[0],), widths[-1], degree=None if bias else 1)


@st.composite
def problems(draw: st.DrawFn, cases: st.SearchStrategy[Case] | Sequence[Case]) -> Problem:
    """Draw a network of one of these kinds, a batch for it and a target."""
    case = draw(cases if isinstance(cases, st.SearchStrategy) else st.sampled_from(cases))
    return Problem(
        case,
        seed=draw(seeds),
        examples=draw(st.integers(1, 4)),
        target=draw(st.integers(0, case.outputs - 1)),
        size=draw(st.sampled_from((1.0, 1e-3, 1e3))),
    )


def x_dnns() -> st.SearchStrategy[Problem]:
    """Draw an X-DNN: one of the zoo, or an MLP of any shape."""
    return problems(st.one_of(st.sampled_from(X_DNNS), random_mlps()))


def homogeneous() -> st.SearchStrategy[Problem]:
    """Draw a homogeneous function of degree 1, 1.5, 2 or 3."""
    return problems(st.one_of(st.sampled_from(POWERS), st.sampled_from(X_DNNS)))
