"""Buffers of every layout and kind: looked at, kept as they were, and told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xg import XGradient, bias_ledger, certify, check_homogeneity
from captum_xg._core.contents import all_zero, parts_of, same
from captum_xg._core.state import preserve_state

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.linspace(-1, 1, 12).reshape(4, 3)


class Wrapper(torch.Tensor):
    """Wraps another tensor and has no operation at all."""

    @staticmethod
    def __new__(cls, data):
        return torch.Tensor._make_wrapper_subclass(cls, data.shape, dtype=data.dtype)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs: Any = None):
        raise NotImplementedError(str(func))


class Closed(torch.Tensor):
    """Refuses every function."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs: Any = None):
        raise TypeError("closed")


COMPARABLE: dict[str, Callable[[], Tensor]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "not coalesced": lambda: torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (3,)),
    "csr": lambda: torch.eye(3).to_sparse_csr(),
    "csc": lambda: torch.eye(3).to_sparse_csc(),
    "bsr": lambda: torch.eye(4).to_sparse_bsr(2),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "mkldnn": lambda: torch.ones(3, 3).to_mkldnn(),
    "complex": lambda: torch.ones(3) * 1j,
    "conjugate": lambda: (torch.ones(3) * 1j).conj(),
    "half complex": lambda: (torch.ones(3) * 1j).to(torch.complex32),
    "8 bits": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "boolean": lambda: torch.tensor([True, False]),
    "unsigned": lambda: torch.tensor([1], dtype=torch.uint16),
    "scalar": lambda: torch.tensor(2.0),
    "empty": lambda: torch.empty(0),
    "NaN": lambda: torch.tensor([torch.nan, 1.0]),
}
OTHERS: dict[str, Callable[[], Tensor]] = {
    "quantised by channel": lambda: torch.quantize_per_channel(
        torch.ones(3, 2), torch.tensor([0.1, 0.2, 0.3]), torch.zeros(3), 0, torch.qint8
    ),
    "wrapper": lambda: Wrapper(torch.ones(3)),
    "closed": lambda: torch.ones(3).as_subclass(Closed),
}


def _net(buffer):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
    net.register_buffer("kept", buffer)
    return net


@pytest.mark.parametrize("name", [*COMPARABLE, *OTHERS])
def test_a_buffer_of_any_kind_changes_nothing(name):
    net, expected = _net({**COMPARABLE, **OTHERS}[name]()), XGradient(_net(torch.ones(1))).attribute(X)
    for validate in ("numeric", "certificate", "off"):
        torch.testing.assert_close(XGradient(net, validate=validate).attribute(X), expected)
    assert check_homogeneity(net, X).homogeneous
    assert bias_ledger(net, X).exact
    certificate = certify(net, X)
    assert certificate.homogeneous
    assert not certificate.is_stale(net)


@pytest.mark.parametrize("name", COMPARABLE)
def test_the_same_is_the_same(name):
    tensor = COMPARABLE[name]()
    assert parts_of(tensor) is not None
    assert same(tensor, tensor.clone())
    assert all_zero(tensor) == (name == "empty")
    others = (make() for other, make in COMPARABLE.items() if other != name)
    assert not any(same(tensor, other) for other in others)


@pytest.mark.parametrize("name", OTHERS)
def test_of_what_cannot_be_looked_at_nothing_is_claimed(name):
    if name != "quantised by channel":
        tensor = OTHERS[name]()
        with torch._C.DisableTorchFunctionSubclass():
            assert parts_of(tensor) is None or name == "closed"
            assert not all_zero(tensor)


@pytest.mark.parametrize("name", ["sparse", "csr", "bsr", "complex", "scalar"])
def test_what_the_model_writes_into_such_buffers_is_undone_and_noticed(name):
    net = _net(COMPARABLE[name]())
    certificate, before = certify(net, X), net.kept.clone()
    with preserve_state(net, X.device):
        net.kept.mul_(2)
        assert not same(net.kept, before)
        assert certificate.is_stale(net)
    assert same(net.kept, before)
    assert not certificate.is_stale(net)


class _Times(nn.Module):
    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, x):
        return (self.matrix @ x.T).T.sum(1)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_products_with_sparse_matrices_are_proven(layout: torch.layout):
    dense = torch.tensor([[1.0, 0, 2], [0, -3, 0]])
    model = _Times(dense.to_sparse(layout=layout))
    assert certify(model, X).degree == 1
    torch.testing.assert_close(XGradient(model, validate="certificate").attribute(X), X * dense.sum(0))


def test_a_proof_that_rests_on_zeros_in_a_sparse_buffer_ends_with_them():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", (torch.eye(3) * 0).to_sparse_csr() + torch.eye(3).to_sparse_csr() * 0)

        def forward(self, x):
            return (x + self.shift.to_dense().sum(0)).sum(1)

    model = Shifted()
    xg = XGradient(model, validate="certificate", on_violation="warn")
    xg.attribute(X)
    model.shift.values().fill_(1.0)
    with pytest.warns(UserWarning, match="adds a constant"):
        xg.attribute(X)


def test_parts_of_complex_numbers_that_scale_differently_are_not_told_apart_by_their_places_as_real_ones() -> None:
    def function(x: Tensor) -> Tensor:
        mixed = torch.ones(4, dtype=torch.complex128)
        mixed[1::2] = x[0, :2].to(torch.complex128)  # places 1 and 3, which as real numbers lie at 2 and 6
        return mixed[:2].real.sum().reshape(1)

    certificate = certify(function, torch.rand(1, 3, dtype=torch.float64))
    assert not certificate.homogeneous
    assert certificate.violations
