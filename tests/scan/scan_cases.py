"""Small networks and data for tests of runs over data sets."""

import torch
from torch import nn
from torch.utils.data import Dataset

from captum_xg import explain_dataset


def network(*, bias=False, classes=4, seed=0):
    """A small ReLU network from (N, 6) to logits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(6, 9, bias=bias), nn.ReLU(), nn.Linear(9, classes, bias=bias)]
        return nn.Sequential(*layers).eval()


def examples(n, seed=1, classes=4):
    """Inputs and labels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=generator), torch.randint(classes, (n,), generator=generator)


def explained(method, loader, to, **options):
    return explain_dataset(method, loader, to, dtype="float32", progress=False, **options)


def whole(attributions):
    return torch.cat([batch["attributions"] for batch in attributions.batches(100)])


class Odd(nn.Module):
    """Homogeneous but for examples whose first number is above 3, which no proof can see through."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        out = self.inner(x)
        return out + (x[:, :1] > 3).float() * out.abs().sqrt()


class Asked(Dataset):
    """Counts which examples it was asked for."""

    def __init__(self, x, y):
        self.x, self.y, self.asked = x, y, []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.asked.append(i)
        return self.x[i], self.y[i]
