"""While a proof stands, an example is now and then looked at on its path to zero, alone and without gradient."""

import types
import warnings
from queue import SimpleQueue

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg import XGradient
from captum_xg.errors import HomogeneityError, HomogeneityWarning

X = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).abs() + 0.2
W = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).abs() + 0.5
PROVEN = ("auto", "certificate")


def settings():
    module = types.ModuleType("settings")
    exec("T = 0.0\ndef threshold(): return T", module.__dict__)
    return module


def hidden_threshold(module):
    def forward(x):
        h = x @ W
        return torch.where(h > module.threshold(), h, 0 * h) @ W[:4]

    return forward


@pytest.mark.parametrize("validate", PROVEN)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0.3, 2))
def test_a_threshold_that_comes_to_life_is_refused_at_the_second_call(validate, seed, threshold):
    module = settings()
    method = XGradient(hidden_threshold(module), validate=validate)
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).abs() + 0.2
    method.attribute(x, target=1)
    module.T = threshold
    with pytest.raises(HomogeneityError, match="has changed since"):
        attribute_often(method, x)


def attribute_often(method, x):
    """Call until the example and the scale that are drawn show it: at the second call, most often."""
    for _ in range(40):
        method.attribute(x, target=1)


def test_a_warning_says_the_same():
    module = settings()
    method = XGradient(hidden_threshold(module), on_violation="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.attribute(X, target=1)
    module.T = 0.5
    with pytest.warns(HomogeneityWarning, match="has changed since"):
        method.attribute(X, target=1)


class Normed(nn.Module):
    """Gives for one row what it does not give for it in a batch: its rows have constants of their own."""

    def forward(self, x):
        return x @ W * torch.arange(1.0, len(x) + 1, dtype=x.dtype)[:, None]


BATCHED = {
    "a constant for each row": Normed(),
    "a fixed size": lambda x: x.reshape(5, 6) @ W,
    "a constant of the batch": lambda x: x @ W * len(x),
}


@pytest.mark.parametrize("validate", PROVEN)
@pytest.mark.parametrize("name", BATCHED)
def test_what_needs_its_whole_batch_is_not_refused_and_not_asked_again(name, validate):
    method, first = XGradient(BATCHED[name], validate=validate), None
    for _ in range(30):
        found = method.attribute(X, target=1)
        first = found if first is None else first
        torch.testing.assert_close(found, first)
    assert method._proofs.n_proofs == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_right_models_are_proven_once_and_random_state_is_the_users(dtype, k):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 4, bias=False)).to(dtype).eval()
    method = XGradient(lambda x: model(x) ** k, degree=k)
    state = torch.get_rng_state()
    for _ in range(100):
        method.attribute(X.to(dtype), target=1)
    assert method._proofs.n_proofs == 1
    assert torch.equal(torch.get_rng_state(), state)


class Counts(nn.Module):
    """Counts its passes in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.passes.add_(1)
        return x @ W


def test_buffers_do_not_see_the_passes_at_other_scales():
    model = Counts().eval()
    method = XGradient(model)
    method.attribute(X, target=1)
    before = int(model.passes)
    for _ in range(10):
        method.attribute(X, target=1)
    assert int(model.passes) == before + 10


@pytest.mark.parametrize(("n", "least", "most"), [(1, 1, 12), (2, 1, 18), (4, 4, 28), (16, 4, 28), (64, 4, 28)])
def test_the_second_call_looks_at_an_example_and_then_one_in_64_nths_at_most_one_in_16(n, least, most):
    model, shapes = nn.Linear(6, 4, bias=False).double().eval(), SimpleQueue()
    model.register_forward_hook(lambda module, args, output: shapes.put(len(args[0])))
    method = XGradient(model)
    x = X[:1].expand(n, 6).clone()
    rows = []
    for _ in range(201):
        method.attribute(x, target=1)
        rows.append([shapes.get() for _ in range(shapes.qsize())])
    assert rows[1] == [n, 1]
    assert all(each in ([n], [n, 1]) for each in rows[1:])
    assert least <= sum(len(each) == 2 for each in rows[1:]) <= most
