"""Exponentials of differences from a detached maximum: proven where it cancels, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from truth import truth_of

from captum_xg.homogeneity.certificate import prove as proof_module
from captum_xg.homogeneity.certificate.certify import certify
from captum_xg.homogeneity.scaling.confrontation import Confrontation

W = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
INDEX = torch.tensor([0, 1, 0, 2, 1, 0])


def drawn(seed: int) -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scores(x: Tensor) -> Tensor:
    """Of degree 0."""
    return x @ W / x.norm()


def top(z: Tensor, dim: int = 1) -> Tensor:
    return z.amax(dim, keepdim=True).detach()


def softmax(z: Tensor, m: Tensor) -> Tensor:
    e = (z - m).exp()
    return e / e.sum(1, keepdim=True)


def without_grad(z: Tensor) -> Tensor:
    with torch.no_grad():
        m = z.max(1, keepdim=True).values
    return softmax(z, m)


def in_place(z: Tensor) -> Tensor:
    e = z.sub(top(z)).exp_()
    return e / e.sum(1, keepdim=True)


def log_softmax(z: Tensor) -> Tensor:
    shifted = z - top(z)
    return shifted - shifted.exp().sum(1, keepdim=True).log()


def by_group(z: Tensor, how: str = "index_select", eps: float = 0.0, other: Tensor | None = None) -> Tensor:
    """A softmax over rows of one group, as libraries for graphs compute it."""
    z = z[:, 0]
    m = torch.zeros(3, dtype=z.dtype).scatter_reduce(0, INDEX, z.detach(), "amax", include_self=False)
    places = INDEX if other is None else other
    e = (z - (m.index_select(0, places) if how == "index_select" else m[places])).exp()
    total = torch.zeros(3, dtype=z.dtype)
    total = total.scatter_add(0, INDEX, e) if how == "index_select" else total.index_add(0, INDEX, e)
    if eps:
        total = total + eps
    return e / (total.index_select(0, INDEX) if how == "index_select" else total[INDEX])


CANCELS = {
    "softmax": lambda z: softmax(z, top(z)),
    "of the detached": lambda z: softmax(z, z.detach().amax(1, keepdim=True)),
    "one maximum for all": lambda z: softmax(z, z.max().detach()),
    "any detached number": lambda z: softmax(z, z.detach().mean(1, keepdim=True)),
    "without grad": without_grad,
    "in place": in_place,
    "fused": lambda z: (z - top(z)).softmax(1),
    "log of sum": lambda z: top(z) + (z - top(z)).exp().sum(1, keepdim=True).log(),
    "log of sum, squeezed": lambda z: top(z)[:, 0] + (z - top(z)).exp().sum(1).log(),
    "logsumexp": lambda z: top(z) + (z - top(z)).logsumexp(1, keepdim=True),
    "log softmax": log_softmax,
    "weighted": lambda z: (lambda e: (e @ W.T) / e.sum(1, keepdim=True))((z - top(z)).exp()),
    "masked": lambda z: (lambda e: e / e.sum(1, keepdim=True))((z - top(z)).exp().masked_fill(W[0] > 0, 0.0)),
    "temperature": lambda z: (lambda e: e / e.sum(1, keepdim=True))((3 * (z - top(z))).exp()),
    "mean": lambda z: (lambda e: e / e.mean(1, keepdim=True))((z - top(z)).exp()),
    "reversed": lambda z: (lambda e: e / e.sum(1, keepdim=True))((-(top(z) - z)).exp()),
    "groups": by_group,
    "groups by index": lambda z: by_group(z, "index"),
}

REMAINS = {
    "not divided": lambda z: (z - top(z)).exp(),
    "sum of another dimension": lambda z: (lambda e: e / e.sum(0, keepdim=True))((z - top(z)).exp()),
    "each its own": lambda z: softmax(z, z.detach()),
    "another maximum below": lambda z: (z - top(z)).exp() / (z - top(z, 0)).exp().sum(1, keepdim=True),
    "subtracted twice": lambda z: (z - 2 * top(z)).exp() / (z - top(z)).exp().sum(1, keepdim=True),
    "half of it": lambda z: ((z - top(z)) / 2).exp() / (z - top(z)).exp().sum(1, keepdim=True),
    "squares below": lambda z: (lambda e: e / (e * e).sum(1, keepdim=True))((z - top(z)).exp()),
    "and used again": lambda z: softmax(z, top(z)) * top(z),
    "and added": lambda z: softmax(z, top(z)) + top(z),
    "attached on the way back": lambda z: z.amax(1, keepdim=True) + (z - top(z)).exp().sum(1, keepdim=True).log(),
    "numbers detached as well": lambda z: softmax(z.detach(), top(z)) * z,
    "constant in the sum": lambda z: (lambda e: e / (1 + e.sum(1, keepdim=True)))((z - top(z)).exp()),
    "log of sum, not added": lambda z: (z - top(z)).exp().sum(1, keepdim=True).log(),
    "added to another row": lambda z: top(z).flip(0) + (z - top(z)).exp().sum(1, keepdim=True).log(),
    "other groups": lambda z: by_group(z, other=INDEX.flip(0)),
    "sine": lambda z: (lambda e: e / e.sum(1, keepdim=True))((z - top(z)).sin()),
    "sine of the exponential": lambda z: (lambda e: e.sin() / e.sum(1, keepdim=True))((z - top(z)).exp()),
}


@pytest.mark.parametrize("name", CANCELS)
def test_a_shift_that_cancels_is_proven_and_right(name: str) -> None:
    def f(x: Tensor) -> Tensor:
        return CANCELS[name](scores(x)) * x.abs().sum()

    certificate = certify(f, drawn(1))
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == 1
    assert truth_of(f, [(drawn(1),), (drawn(2),)]).homogeneous


@pytest.mark.parametrize("name", REMAINS)
def test_a_shift_that_remains_is_not_proven(name: str) -> None:
    def f(x: Tensor) -> Tensor:
        return REMAINS[name](scores(x)) * x.abs().sum()

    assert not certify(f, drawn(1)).homogeneous
    assert truth_of(f, [(drawn(1),), (drawn(2),)]).gradient == "no"


def test_an_eps_in_the_sum_is_neither_proven_nor_disproved() -> None:
    def f(x: Tensor) -> Tensor:
        return by_group(scores(x), eps=1e-16) * x.abs().sum()

    assert certify(f, drawn(1)).verdict == "unknown"


def test_of_numbers_that_scale_it_is_not_proven() -> None:
    assert not certify(lambda x: softmax(x, top(x)), drawn(1)).homogeneous


def test_groups_that_the_input_decides_are_not_proven() -> None:
    def f(x: Tensor) -> Tensor:
        index, z = (x[:, 0] > 0).long(), scores(x)[:, 0]
        m = torch.zeros(2, dtype=x.dtype).scatter_reduce(0, index, z.detach(), "amax", include_self=False)
        e = (z - m[index]).exp()
        return e / torch.zeros(2, dtype=x.dtype).scatter_add(0, index, e)[index]

    assert not certify(f, drawn(1)).homogeneous


CUT_AGAIN = {
    "the sum": lambda e, s: e / s.detach(),
    "the exponentials": lambda e, s: e.detach() / s,
    "themselves": lambda e, s: e / e.detach(),
    "by .data": lambda e, s: e.data / s,
    "by no_grad": lambda e, s: _unrecorded(e) / s,
    "doubled": lambda e, s: e.detach() * 2 / s,
}


def _unrecorded(e: Tensor) -> Tensor:
    with torch.no_grad():
        return e * 1


@pytest.mark.parametrize("name", CUT_AGAIN)
def test_a_shift_ends_at_another_cut_for_the_proof_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_module, "confront", lambda subject: Confrontation((), 1.0))

    def f(x: Tensor) -> Tensor:
        z = scores(x)
        e = (z - top(z)).exp()
        return CUT_AGAIN[name](e, e.sum(1, keepdim=True)) * x.abs().sum()

    assert not certify(f, drawn(1)).homogeneous
    assert truth_of(f, [(drawn(1),), (drawn(2),)]).gradient == "no"
