"""Networks with constants, and what each carries, from gradients by parameters. Nothing here imports captum_xg."""

import copy

import torch
import torchvision
from cases import Residual, seeds, with_shift
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def double(*shape: int) -> Tensor:
    """Return the same normally distributed numbers every time."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


# --- a slow reference: every bias is a leaf of its own, one example and one output at a time -------------------------


class _SpelledOut(nn.Module):
    """A batch norm in evaluation mode from its formula, which autograd also differentiates by the running mean."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            setattr(self, name, nn.Parameter(getattr(norm, name).detach().clone()))
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        mean, var, weight, bias = (
            t.reshape(shape) for t in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return (x - mean) / (var + self.eps) ** 0.5 * weight + bias


def _spelled_out(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _SpelledOut(child) if isinstance(child, _BatchNorm) else _spelled_out(child))
    return module


def reference(model: nn.Module, inputs: Tensor, target: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return F(x), Σ x·∂F/∂x and per module b·∂F/∂b (+ running_mean·∂F/∂running_mean), from gradients by parameters."""
    model = _spelled_out(copy.deepcopy(model))
    owners = [(path, m) for path, m in model.named_modules() if getattr(m, "bias", None) is not None]
    values, input_parts, parts = [], [], {path: [] for path, _ in owners}
    for example in inputs:
        x = example[None].clone().requires_grad_()
        value = model(x.clone())[0, target]
        values.append(value.detach())
        input_parts.append((x * torch.autograd.grad(value, x, retain_graph=True)[0]).sum().detach())
        for path, module in owners:
            leaves = [module.bias] + ([module.running_mean] if isinstance(module, _SpelledOut) else [])
            gradients = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
            carried = sum((t * g).sum() for t, g in zip(leaves, gradients, strict=True) if g is not None)
            parts[path].append(torch.as_tensor(carried, dtype=inputs.dtype).detach())
    return torch.stack(values), torch.stack(input_parts), {path: torch.stack(p) for path, p in parts.items()}


# --- networks with constants -----------------------------------------------------------------------------------------


class Tied(nn.Module):
    """One layer, applied several times."""

    def __init__(self, layer: nn.Module, times: int) -> None:
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = torch.relu(self.layer(x))
        return x


BLOCKS = {
    "convolution": lambda: nn.Conv2d(3, 3, 3, padding=1),
    "grouped strided convolution": lambda: nn.Sequential(
        nn.Conv2d(3, 3, 2, stride=2, padding=1, groups=3), nn.Upsample(size=6)
    ),
    "transposed convolution": lambda: nn.ConvTranspose2d(3, 3, 3, padding=1),
    "batch norm": lambda: with_shift(nn.BatchNorm2d(3)),
    "relu": nn.ReLU,
    "relu in place": lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)),
    "relu in place after a norm": lambda: nn.Sequential(with_shift(nn.BatchNorm2d(3)), nn.LeakyReLU(0.3, inplace=True)),
    "residual": lambda: Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True))),
    "tied": lambda: Tied(nn.Conv2d(3, 3, 3, padding=1), 3),
    "max pool": lambda: nn.MaxPool2d(3, stride=1, padding=1),
    "average pool": lambda: nn.AvgPool2d(3, stride=1, padding=1),
}


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, Tensor, int]:
    """Draw a network with constants, inputs for it and a target."""
    blocks = draw(st.lists(st.sampled_from(sorted(BLOCKS)), max_size=5))
    seed, examples = draw(seeds), draw(st.integers(1, 4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 3, 1), *(BLOCKS[name]() for name in blocks), nn.Flatten(), nn.Linear(108, 4), nn.ReLU(),
            with_shift(nn.BatchNorm1d(4)), nn.Linear(4, 3),
        )  # fmt: skip
        inputs = draw(st.sampled_from((1.0, 1e-3, 1e3))) * torch.randn(examples, 2, 6, 6, dtype=torch.float64)
    return model.double().eval(), inputs, draw(st.integers(0, 2))


def architecture(name: str) -> nn.Module:
    """Return torchvision's network with random weights that keep the signal alive, and shifts in every batch norm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None)
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.uniform_(module.bias, -0.1, 0.1)
            elif isinstance(module, _BatchNorm):
                nn.init.uniform_(module.bias, -0.1, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.running_mean.uniform_(-0.1, 0.1)
    return model.eval()


def assert_balanced(ledger, rtol: float = 1e-10) -> None:
    """Assert that the remainder is rounding, by a bound that the ledger has no part in, and that the parts add up."""
    size = ledger.input_part.abs() + sum(row.contributions.abs() for row in ledger.rows) + ledger.values.abs()
    assert bool((ledger.remainder.abs() <= rtol * size).all()), ledger
    assert ledger.exact, ledger
    total = ledger.input_part + sum(row.contributions for row in ledger.rows) + ledger.remainder
    assert bool(((total - ledger.values).abs() <= 1e-14 * size).all()), ledger
