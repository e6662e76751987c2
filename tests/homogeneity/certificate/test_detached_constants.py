"""certify(…, detached="constants"): conservation, Σ x·∂F = kF, of explanations that detach what they hold constant."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg.errors import OptionError
from captum_xg.homogeneity.certificate.certify import certify

W = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
V = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
B = torch.randn(6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def drawn(seed: int) -> Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def epsilon_rule(z: Tensor, eps: float = 0.25) -> Tensor:
    """z as a function whose gradient times input is LRP-ε's relevance, shared among what z is made of."""
    return z * (z / (z + eps * z.sign())).detach()


def gamma_rule(x: Tensor, weight: Tensor, gamma: float = 0.25) -> Tensor:
    z = x @ weight
    favoured = x @ (weight + gamma * weight.clamp(min=0))
    return favoured * (z / favoured).detach()


def bcos(x: Tensor) -> Tensor:
    out = x @ W
    cosine = out / (x.norm(dim=1, keepdim=True) * W.norm(dim=0) + 1e-6)
    return out * cosine.abs().detach() ** 1.5


class LayerNormOfLrp(nn.Module):
    """A layer norm whose deviation is held constant, as LRP for transformers does."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (x.var(-1, keepdim=True) + 1e-5).sqrt().detach()


def gates_frozen(x: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(x @ W + B)
    return (x @ W) * gate


def attention_frozen(x: Tensor) -> Tensor:
    return (x @ x.T).softmax(-1).detach() @ x


CONSERVING = {
    "epsilon": (1, lambda x: epsilon_rule(x @ W).relu() @ V),
    "gamma": (1, lambda x: gamma_rule(gamma_rule(x, W).relu(), V)),
    "B-cos": (1, bcos),
    "B-cos, twice": (1, lambda x: bcos(bcos(x) @ V.new_ones(6, 4))),
    "layer norm": (1, LayerNormOfLrp()),
    "gates without grad": (1, gates_frozen),
    "attention": (1, attention_frozen),
    "GELU as x times a constant": (1, lambda x: x * (F.gelu(x) / x).detach()),
    "squares": (2, lambda x: (x @ W) ** 2 * torch.exp(x.detach().mean())),
    "nothing detached": (1, lambda x: (x @ W).relu()),
    "straight through": (0, lambda x: (x * 3).round().detach()),
}

NOT_CONSERVING = {
    "bias": lambda x: epsilon_rule(x @ W + B).relu(),
    "bias behind": lambda x: bcos(x) + B,
    "detached term": lambda x: x @ W + (x @ W).tanh().detach(),
    "detached term that is zero now": lambda x: x + F.relu(x.detach() - 100),
    "curved": lambda x: F.gelu(x) * x.detach(),
    "gate that lets gradients pass": lambda x: x * torch.sigmoid(x),
    "two degrees": lambda x: x * x.detach() + x * x,
}


def conserves(f, degree: float, x: Tensor) -> bool:
    leaf = x.clone().requires_grad_()
    y = f(leaf.clone())
    if not y.requires_grad:
        return degree == 0
    weights = torch.linspace(1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    (gradient,) = torch.autograd.grad((weights * y).sum(), leaf)
    return torch.allclose((x * gradient).sum(), degree * (weights * y).sum(), rtol=1e-9)


@pytest.mark.parametrize("name", CONSERVING)
def test_what_conserves_is_proven_to(name: str) -> None:
    degree, f = CONSERVING[name]
    certificate = certify(f, drawn(0), detached="constants")
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == degree
    assert all(conserves(f, degree, size * drawn(seed)) for seed in range(3) for size in (0.1, 1.0, 30.0))


@pytest.mark.parametrize("name", CONSERVING)
def test_it_is_no_proof_for_x_gradient(name: str) -> None:
    degree, f = CONSERVING[name]
    certificate = certify(f, drawn(0), detached="constants")
    assert not certificate.covers(degree)
    assert "constants" in str(certificate)
    assert "X-Gradient does not apply" in str(certificate)
    assert certificate.to_dict()["detached"] == "constants"
    if name not in ("nothing detached",):
        assert not certify(f, drawn(0)).homogeneous


@pytest.mark.parametrize("name", NOT_CONSERVING)
def test_what_does_not_conserve_is_not_proven_to(name: str) -> None:
    f = NOT_CONSERVING[name]
    assert not certify(f, drawn(0), detached="constants").homogeneous
    assert not any(all(conserves(f, k, size * drawn(1)) for size in (1.0, 300.0)) for k in (0, 1, 2))


def test_custom_functions_are_not_taken_for_constants() -> None:
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            return gradient

    assert certify(Halved.apply, drawn(0), detached="constants").verdict == "unknown"


def test_other_words_are_refused() -> None:
    with pytest.raises(OptionError, match="detached"):
        certify(lambda x: x, drawn(0), detached="ignored")  # type: ignore[arg-type]
