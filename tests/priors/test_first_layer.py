"""Whatever a model does with its input first: attributions and gradients are those of the formulas; what they cost."""

import attribution_references as reference
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import flop_registry

from captum_xg.priors import AttributionPriorLoss, LpNorm

X = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0])


class Counter(TorchDispatchMode):
    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def head(channels, side):
    return [nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(channels * side * side, 3, bias=False)]


class UsedTwice(nn.Module):
    """Uses its input in its first layer, twice, and beside it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.last = nn.Sequential(*head(3, 8))

    def forward(self, x):
        return self.last(self.first(x) + self.first(x).abs() + x)


class BesideItsInput(nn.Module):
    """Adds what a linear layer with a bias makes of a sequence to the sequence itself."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.last = nn.Sequential(*head(3, 8))

    def forward(self, x):
        return self.last(x + self.first(x).tanh_())


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, bias=False)
        self.last = nn.Sequential(*head(4, 6))

    def forward(self, x):
        return self.last(checkpoint(lambda z: torch.relu(self.first(z)), x, use_reentrant=False))


class OverwritesItsInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, bias=False)
        self.last = nn.Sequential(*head(4, 6))

    def forward(self, x):
        x.mul_(2)
        return self.last(self.first(x))


class DifferentiatesByItsInput(nn.Module):
    """Returns a force, the gradient of an energy, times a gate."""

    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Softplus())
        self.gate = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, x):
        x = x if x.requires_grad else x.requires_grad_()
        energy = self.energy(x).sum() + x.square().sum()
        (force,) = torch.autograd.grad(energy, x, create_graph=True)
        return (self.gate(x) * force).flatten(1)[:, :3]


def hooked():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), *head(4, 6))
    net[0].register_forward_pre_hook(lambda m, a: (2 * a[0],))
    return net


def circular():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular", bias=False), *head(4, 8))


NETS = {
    "convolution": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), *head(4, 4)),
    "grouped, dilated": lambda: nn.Sequential(nn.Conv2d(3, 6, 2, dilation=2, groups=3, bias=False), *head(6, 6)),
    "linear": lambda: nn.Sequential(
        nn.Linear(8, 5, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(120, 3, bias=False)
    ),
    "used twice": UsedTwice,
    "checkpointed": Checkpointed,
    "overwrites its input": OverwritesItsInput,
    "differentiates by its input": DifferentiatesByItsInput,
    "with a hook": hooked,
    "circular padding": circular,
    "padding='same'": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding="same", bias=False), *head(4, 8)),
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3, bias=False)), *head(4, 6)),
    "linear with a bias, for sequences": lambda: nn.Sequential(
        nn.Linear(8, 5), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(120, 3)
    ),
    "beside its input": BesideItsInput,
    "frozen": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False).requires_grad_(False), *head(4, 6)),
}
CLASS = reference.class_score(Y)
ATTRIBUTIONS = {
    "gradient": lambda f: reference.gradient(f, (X,), CLASS),
    "input_x_gradient": lambda f: reference.input_times_gradient(f, (X,), CLASS),
    "rrr": lambda f: reference.gradient(f, (X,), reference.log_probability_score),
    "integrated_gradients": lambda f: reference.integrated_gradients(f, (X,), (torch.zeros_like(X),), CLASS, 3),
}
OPTIONS = {"integrated_gradients": {"n_steps": 3}}


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
@pytest.mark.parametrize("name", NETS)
def test_attributions_and_parameter_gradients_are_those_of_the_formulas(name, attribution):
    torch.manual_seed(0)
    net = NETS[name]().double()
    result = AttributionPriorLoss(net, LpNorm(2), attribution=attribution, **OPTIONS.get(attribution, {}))(X, Y)
    trained = [p for p in net.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(result.total, trained)
    (expected,) = ATTRIBUTIONS[attribution](lambda x: net(x.clone()))
    torch.testing.assert_close(result.attributions, expected, rtol=1e-12, atol=1e-14)
    total = reference.cross_entropy(net(X.clone()), Y) + expected.flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(gradients, torch.autograd.grad(total, trained), rtol=1e-11, atol=1e-14)
    assert not any(m._forward_hooks for m in net.modules() if name != "with a hook")


@pytest.mark.parametrize("first", [nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Linear(8, 6, bias=False)])
def test_a_step_takes_six_passes_without_what_the_last_layer_need_not(first):
    width = first(X.float()).flatten(1).shape[1]
    net = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(width, 3, bias=False)).double()
    with Counter() as forward:
        net(X)
    with Counter() as of_first:
        net[0](X)
    with Counter() as plain:
        nn.functional.cross_entropy(net(X), Y).backward()
    loss = AttributionPriorLoss(net, LpNorm(2))
    loss(X, Y)
    with Counter() as prior:
        loss(X, Y).total.backward()
    of_last = forward.total - of_first.total
    # Twice forward, gradient by weights, gradient by activations; the attribution starts from a constant after the last
    # layer. In a plain step nothing is handed on before the first one.
    assert plain.total == 3 * forward.total - of_first.total
    assert prior.total == 6 * forward.total - of_last


def test_inputs_that_require_a_gradient_get_it():
    torch.manual_seed(0)
    net = NETS["convolution"]().double()
    x = X.clone().requires_grad_()
    AttributionPriorLoss(net, LpNorm(2), attribution="input_x_gradient")(2 * x, Y).total.backward()
    own = X.clone().requires_grad_()
    (attributions,) = reference.input_times_gradient(net, (2 * own,), CLASS)
    total = reference.cross_entropy(net(2 * own), Y) + attributions.flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(x.grad, torch.autograd.grad(total, own)[0], rtol=1e-11, atol=1e-14)
