"""An error of an operation that the forward function catches carries values, and no proof sees which."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.nn import functional as F

from captum_xg import certify

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TABLE = torch.ones(16, 1, dtype=torch.float64)


def mantissa(x):
    return (x.detach().abs().max().frexp()[0] * 20).long()


CHECKS = {
    "gather": lambda x: TABLE.gather(0, mantissa(x).reshape(1, 1)),
    "embedding": lambda x: F.embedding(mantissa(x), TABLE),
    "index_select": lambda x: TABLE.index_select(0, mantissa(x).reshape(1)),
    "loss": lambda x: F.nll_loss(TABLE.T, mantissa(x).reshape(1)),
    "probabilities": lambda x: F.binary_cross_entropy(x.detach().abs() / 10, torch.ones_like(x)),
    "standard deviation": lambda x: torch.normal(0.0, x.detach() + 5),
    "cholesky": lambda x: torch.linalg.cholesky(torch.eye(3, dtype=x.dtype) * 30 - x.detach() @ x.detach().T),
    "singular": lambda x: torch.linalg.inv(x.detach()[:, :3] - 0.1 * torch.eye(3, dtype=x.dtype)),
}


def gated(check, twice_if_raised):
    def function(x):
        factor = 1.0
        try:
            check(x)
        except (RuntimeError, IndexError):
            factor = 2.0
        return factor * x if twice_if_raised else x

    return function


@pytest.mark.parametrize("scale", [1.0, 40.0], ids=["as it is", "large"])
@pytest.mark.parametrize("name", CHECKS)
def test_what_raises_makes_the_verdict_unknown(name, scale):
    raised = False
    try:
        CHECKS[name](scale * X)
    except (RuntimeError, IndexError):
        raised = True
    certificate = certify(gated(CHECKS[name], twice_if_raised=True), scale * X)
    if raised:
        assert not certificate.homogeneous, str(certificate)
        assert "raises an error that the forward function catches" in str(certificate)


def test_most_of_these_checks_raise_somewhere():
    count = 0
    for check in CHECKS.values():
        try:
            check(40 * X)
        except (RuntimeError, IndexError):
            count += 1
    assert count >= 3


def test_an_error_on_constants_is_no_matter():
    def function(x):
        with contextlib.suppress(RuntimeError):
            torch.linalg.cholesky(-torch.eye(2))
        return 2 * x

    assert certify(function, X).homogeneous
