"""Random networks whose integrands differ in kind: steps, smooth curves, and everything close to the baseline."""

import torch
from torch import nn

FEATURES = 12


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def network(activation, *, depth=3, width=32, seed=0, bias=0.3, layer_norm=None):
    """Return an MLP in float64 with random weights; ``layer_norm`` is an eps, ``bias`` the size of biases or None."""
    g = seeded(seed)

    def linear(n, m):
        layer = nn.Linear(n, m, bias=bias is not None, dtype=torch.float64)
        layer.weight.data = torch.randn(m, n, generator=g, dtype=torch.float64) * (2 / n) ** 0.5
        if bias is not None:
            layer.bias.data = torch.randn(m, generator=g, dtype=torch.float64) * bias
        return layer

    layers, n = [], FEATURES
    for _ in range(depth):
        layers.append(linear(n, width))
        if layer_norm is not None:
            layers.append(nn.LayerNorm(width, eps=layer_norm, dtype=torch.float64))
        layers.append(activation())
        n = width
    return nn.Sequential(*layers, linear(n, 3)).eval()


class TinyTransformer(nn.Module):
    """Two layers of attention over four tokens of three features, one row of twelve."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)
            self.embedding = nn.Linear(3, 8)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(8, 3)
        self.double().eval()

    def forward(self, x):
        return self.head(self.encoder(self.embedding(x.reshape(len(x), 4, 3))).mean(1))


KINDS = {
    "ReLU": lambda seed: network(nn.ReLU, seed=seed, depth=3 + seed % 4),
    "GELU": lambda seed: network(nn.GELU, seed=seed, depth=2 + seed % 3),
    "tanh": lambda seed: network(nn.Tanh, seed=seed, depth=2 + seed % 2),
    "LayerNorm": lambda seed: network(nn.GELU, seed=seed, layer_norm=1e-5, bias=0.3),
    "LayerNorm at zero": lambda seed: network(nn.GELU, seed=seed, layer_norm=1e-12, bias=None, depth=2),
    "LayerNorm and ReLU": lambda seed: network(nn.ReLU, seed=seed, layer_norm=1e-5, bias=0.1),
    "transformer": TinyTransformer,
}


def points(seed, n, *, zero):
    """Return inputs, and baselines that are zero or not."""
    x = torch.randn(n, FEATURES, generator=seeded(1000 + seed), dtype=torch.float64)
    b = torch.zeros_like(x) if zero else 0.5 * torch.randn(n, FEATURES, generator=seeded(2000 + seed)).double()
    return x, b
