"""Programs of public API that are homogeneous for reasons beyond one operation, and what only looks like them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from truth import truth_of

from captum_xg.homogeneity.certificate.certify import certify

pytestmark = pytest.mark.filterwarnings("ignore")

W = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*(shape or (4, 4)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def recurrent(**options) -> nn.RNN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.RNN(4, 3, nonlinearity="relu", batch_first=True, **options).double().eval()


RNN, WITH_BIAS = recurrent(bias=False), recurrent()


def packed(x: Tensor, lengths: tuple[int, ...] = (3, 2), module: nn.RNN = RNN) -> Tensor:
    pack = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    return nn.utils.rnn.pad_packed_sequence(module(pack)[0], batch_first=True)[0]


def unpooled(x: Tensor, **options) -> Tensor:
    y, places = F.max_pool2d(x, 2, return_indices=True, **options)
    return F.max_unpool2d(y.relu(), places, 2, **options, output_size=x.shape[-2:])


def seeded(x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(4, 4, generator=generator, dtype=x.dtype)
    return (x @ mixing)[:, torch.randperm(4, generator=generator)]


def derivative(of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.autograd.grad(of(x).sum(), x, create_graph=True)[0]


def direction(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True)


HOMOGENEOUS = {
    "one-hot of the largest": (1, lambda x: x * F.one_hot(x.argmax(1), 4), (4, 4)),
    "ReLU network over time": (1, lambda x: RNN(x)[0], (2, 3, 4)),
    "packed": (1, packed, (2, 3, 4)),
    "packed in another order": (1, lambda x: packed(x, (2, 3)), (2, 3, 4)),
    "eigenvalues of a sum": (1, lambda x: torch.linalg.eigvalsh(x + x.T), (4, 4)),
    "eigenvalues of a Gram matrix": (2, lambda x: torch.linalg.eigh(x @ x.T)[0], (4, 4)),
    "eigenvalues of a covariance": (2, lambda x: torch.linalg.eigvalsh(x.T @ x / 4), (6, 4)),
    "eigenvalues of each": (2, lambda x: torch.linalg.eigvalsh(torch.bmm(x, x.mT)), (2, 3, 4)),
    "root of a Gram matrix": (1, lambda x: torch.linalg.cholesky(x.T @ x), (6, 4)),
    "unpooled": (1, unpooled, (2, 3, 4, 4)),
    "seeded": (1, seeded, (4, 4)),
    "derivative of a norm": (0, derivative(lambda x: x.norm(dim=1)), (4, 4)),
    "derivative of a network": (0, derivative(lambda x: (x @ W).relu()), (4, 4)),
    "derivative of a square": (1, derivative(lambda x: (x @ W).relu() ** 2), (4, 4)),
    "derivative of a root": (-0.5, derivative(lambda x: x.abs().sqrt()), (4, 4)),
    "derivative of an exponential": (-1, derivative(lambda x: direction(x).exp()), (4, 4)),
    "derivative of a softmax": (-1, derivative(lambda x: direction(x).softmax(1) ** 2), (4, 4)),
    "derivative of a log-softmax": (-1, derivative(lambda x: direction(x).log_softmax(1) ** 2), (4, 4)),
    "derivative of a sigmoid": (-1, derivative(lambda x: direction(x).sigmoid()), (4, 4)),
    "derivative times x": (1, lambda x: x * derivative(lambda x: F.leaky_relu(x @ W))(x), (4, 4)),
    "derivative of a pooled square": (1, derivative(lambda x: F.max_pool2d(x, 2) ** 2), (2, 3, 4, 4)),
    "counts of the detached": (1, lambda x: x * torch.histogram(x.detach(), 6)[0].sum(), (4, 4)),
}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_what_is_homogeneous_is_proven_and_right(name: str) -> None:
    degree, f, shape = HOMOGENEOUS[name]
    certificate = certify(f, drawn(1, *shape))
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == degree

    def connected(x: Tensor) -> Tensor:
        return f(x.clone().requires_grad_() if not x.requires_grad else x)

    truth = truth_of(connected, [(drawn(2, *shape),), (drawn(3, *shape),)])
    assert truth.values == "yes", truth
    assert truth.gradient == "yes", truth
    assert truth.fits(degree)


OLD = torch.Generator().manual_seed(0)


def unseeded(x: Tensor) -> Tensor:
    return x @ torch.randn(4, 4, generator=OLD, dtype=x.dtype)


NOT_PROVEN = {
    "a generator that goes on": (unseeded, (4, 4)),
    "eigenvalues of one triangle": (torch.linalg.eigvalsh, (4, 4)),
    "eigenvalues of another product": (lambda x: torch.linalg.eigvalsh(x @ x), (4, 4)),
    "eigenvalues of nearly a Gram matrix": (lambda x: torch.linalg.eigvalsh(x @ (x.T * W)), (4, 4)),
    "eigenvalues of an edited sum": (
        lambda x: torch.linalg.eigvalsh((x + x.T).index_fill(1, torch.tensor(1), 0)), (4, 4)),
    "unpooled from windows that overlap": (lambda x: unpooled(x, stride=1), (2, 3, 4, 4)),
    "packed, with a bias": (lambda x: packed(x, module=WITH_BIAS), (2, 3, 4)),
    "first derivative, cut off": (lambda x: x * torch.autograd.grad((x**2).sum(), x)[0], (4, 4)),
    "second derivative of what was detached": (
        lambda x: derivative(lambda x: x.detach() * x**2)(x), (4, 4)),
    "derivative of a sigmoid of what scales": (derivative(torch.sigmoid), (4, 4)),
    "derivative of a softmax of what scales": (derivative(lambda x: x.softmax(1) ** 2), (4, 4)),
    "derivative with a threshold": (derivative(lambda x: F.threshold(x, 1.0, 0.0) ** 2), (4, 4)),
    "detached, and a product of it": (lambda x: x.relu().detach() * x, (4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_PROVEN)
def test_what_only_looks_like_it_is_not_proven(name: str) -> None:
    f, shape = NOT_PROVEN[name]
    assert not certify(f, drawn(1, *shape)).homogeneous


@pytest.mark.parametrize("exponent", [3.0, 2.7, 2.93741, 5.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_generalised_means_have_degree_one(exponent: float, dtype: torch.dtype) -> None:
    p = nn.Parameter(torch.tensor([exponent], dtype=dtype))
    x = drawn(1, 2, 3, 4, 4).to(dtype)
    for pool in (
        lambda x: F.avg_pool2d(x.clamp(min=0).pow(p), 4).pow(1 / p),
        lambda x: x.abs().pow(p).mean((2, 3)).pow(p.reciprocal()),
        lambda x: x.abs().pow(p.item()).mean((2, 3)).pow(1 / p.item()),
        lambda x: x.abs().pow(p).mean((2, 3)).pow(1 / p.item()),
    ):
        certificate = certify(pool, x)
        assert certificate.degree == 1, certificate
        assert certificate.covers(1)


def test_exponents_that_are_no_rounding_are_kept() -> None:
    for exponent in (1.001, 1.00001, 2.9999):
        certificate = certify(lambda x, k=exponent: x.abs() ** k, drawn(1).float())
        assert certificate.degree == pytest.approx(exponent, abs=1e-9)
