"""Random networks in float64 that are piecewise linear, of all kinds of layers."""

import torch
from torch import nn
from torch.nn import functional as F

ACTIVATIONS = {
    "ReLU": nn.ReLU,
    "ReLU in place": lambda: nn.ReLU(inplace=True),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "PReLU": lambda: nn.PReLU(init=0.3),
    "Hardtanh": nn.Hardtanh,
    "ReLU6": nn.ReLU6,
    "Softshrink": nn.Softshrink,
    "hard sigmoid": lambda: Function(lambda x: F.relu6(x + 3) / 6),
    "abs": lambda: Function(torch.abs),
    "sort": lambda: Function(lambda x: x.sort(1)[0]),
    "maxout": lambda: Function(lambda x: torch.maximum(x, x.roll(1, 1))),
    "clamp": lambda: Function(lambda x: x.clamp(min=-0.1)),
    "gate": lambda: Function(lambda x: torch.where(x > 0, x, 0.1 * x)),
    "mask": lambda: Function(lambda x: x * (x > 0)),
    "cummax": lambda: Function(lambda x: x.cummax(1).values),
    "topk": lambda: Function(
        lambda x: torch.cat([x, x.topk(2, 1).values.sum(1, keepdim=True) + 0 * x], 1)[:, -x.shape[1] :]
    ),
}


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Residual(nn.Module):
    def __init__(self, inside, *, concatenate=False):
        super().__init__()
        self.inside, self.concatenate = inside, concatenate

    def forward(self, x):
        y = self.inside(x)
        return torch.cat([x, y], 1) if self.concatenate else x + y


def initialised(model, seed):
    """Return a model in float64 and evaluation mode, with random parameters and statistics."""
    g = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan = module.weight[0].numel()
                module.weight.copy_(torch.randn(module.weight.shape, generator=g) * (1.5 / fan) ** 0.5)
                if module.bias is not None:
                    module.bias.copy_(0.3 * torch.randn(module.bias.shape, generator=g))
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.copy_(0.3 * torch.randn(module.running_mean.shape, generator=g))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=g))
                module.weight.copy_(torch.randn(module.weight.shape, generator=g))
                module.bias.copy_(0.3 * torch.randn(module.bias.shape, generator=g))
    return model


def mlp(names, seed, *, features=6, width=8):
    """Return an MLP with the named activations, one per hidden layer, in turn plain, residual and concatenated."""
    layers, n = [nn.Linear(features, width)], width
    for i, name in enumerate(names):
        kind, activation = (seed + i) % 3, ACTIVATIONS[name]()
        if kind == 0:
            layers += [activation, nn.BatchNorm1d(n), nn.Linear(n, width)]
        elif kind == 1:
            layers += [Residual(nn.Sequential(activation, nn.Linear(n, n)))]
        else:
            layers += [Residual(nn.Sequential(activation), concatenate=True), nn.Linear(2 * n, width)]
        n = n if kind == 1 else width
    return initialised(nn.Sequential(*layers, nn.ReLU(), nn.Linear(n, 3)), seed)


def cnn(names, seed, *, pool="max"):
    """Return a CNN for ``(N, 2, 6, 6)`` with the two named activations."""
    pools = {
        "max": lambda: nn.MaxPool2d(2),
        "overlapping": lambda: nn.MaxPool2d(3, 2, 1),
        "adaptive": lambda: nn.AdaptiveMaxPool2d(4),
        "average": lambda: nn.AvgPool2d(2),
        "upsampled": lambda: Function(lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2, mode="bilinear")),
    }
    first, second = (ACTIVATIONS[name]() for name in names)
    return initialised(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            first,
            pools[pool](),
            Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), second)),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        ),
        seed,
    )


POOLS = ("max", "overlapping", "adaptive", "average", "upsampled")


def ends(seed, n, *shape):
    """Return inputs and baselines."""
    g = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(n, *shape, generator=g).double(), torch.randn(n, *shape, generator=g).double()
