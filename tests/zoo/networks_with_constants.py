"""Networks that add constants in all ways, homogeneous of degree 1 in inputs and constants together; in float64.

``NETWORKS`` are by name: how it is built, the shape of one example, and the names of all constants that are added.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d


class Tokens(nn.Module):
    """A class token that a layer has changed, position embeddings, a buffer and a plain attribute."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.lift = nn.Linear(4, 4)
        self.positions = nn.Parameter(torch.randn(1, 4, 4))
        self.register_buffer("offset", torch.randn(4))
        self.plain = torch.randn(4, dtype=torch.float64)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        token = F.relu(self.lift(self.token)).expand(len(x), -1, -1)
        h = torch.cat([token, x], 1) + self.positions
        return self.head(F.relu(h - self.offset).mean(1) + self.plain.to(x.dtype))


class Residual(nn.Module):
    """Sums and concatenations of parts with biases, a maximum with a parameter, a threshold that scales."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.floor = nn.Parameter(torch.randn(8, 1, 1))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = F.leaky_relu(self.one(x), 0.1)
        h = torch.cat([h + F.relu(self.norm(self.two(h))), h.abs()], 1)
        h = torch.where(h > self.floor, h, self.floor - h)
        return self.head(F.max_pool2d(h, 2).flatten(2).amax(2))


class Instance(nn.Module):
    """An instance norm by running statistics."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))


class Tied(nn.Module):
    """One bias in two layers, and one layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.two.bias = self.one.bias

    def forward(self, x):
        return self.head(F.relu(self.two(F.relu(self.one(F.relu(self.one(x)))))))


class Frozen(nn.Module):
    """torchvision's frozen batch norm, written out, whose scale is a factor and part of the shift."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(2, 4, 3), FrozenBatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))


NETWORKS = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.PReLU(), nn.Linear(6, 3)),
        (5,),
        ["0.bias", "2.bias", "4.bias"],
    ),
    "conv": (
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(
                nn.Conv2d(4, 4, 3, bias=False),
                nn.BatchNorm2d(4, affine=False),
                nn.ReLU(),
                nn.Flatten(),
                nn.LazyLinear(3),
            ),
        ),
        (2, 8, 8),
        ["0.bias", "1.bias", "1.running_mean", "5.running_mean", "8.bias"],
    ),
    "tokens": (Tokens, (3, 4), ["head.bias", "lift.bias", "offset", "plain", "positions", "token"]),
    "residual": (Residual, (2, 6, 6), ["floor", "head.bias", "norm.bias", "norm.running_mean", "one.bias"]),
    "instance": (Instance, (2, 6, 6), ["conv.bias", "head.bias", "norm.bias", "norm.running_mean"]),
    "tied": (Tied, (5,), ["head.bias", "one.bias"]),
    "frozen": (Frozen, (2, 6, 6), ["conv.bias", "head.bias", "norm.bias", "norm.running_mean"]),
}


def network(name, seed=0):
    """Return a network of this name with random weights, constants and statistics, and the shape of its inputs."""
    build, shape, _ = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().double().eval()
        model(torch.randn(1, *shape, dtype=torch.float64))  # lazy layers
        with torch.no_grad():
            for key, tensor in (*model.named_parameters(), *model.named_buffers()):
                if key.endswith("running_var"):
                    tensor.uniform_(0.5, 2)
                elif tensor.dtype.is_floating_point and tensor.dim() == 1 and not key.endswith("weight"):
                    tensor.normal_()
    return model, shape


def inputs_of(shape, seed=0, n=3):
    """Return normally distributed inputs."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
