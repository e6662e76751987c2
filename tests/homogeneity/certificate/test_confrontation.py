"""A proof is confronted with numbers: what was not seen is found by them, and no right proof is doubted."""

from __future__ import annotations

import ctypes
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from effort import tries
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from captum_xg import certify
from captum_xg.homogeneity.scaling.confrontation import confront
from captum_xg.homogeneity.scaling.counterexample import find_counterexample
from captum_xg.homogeneity.scaling.footprints import footprint_of, left_range
from captum_xg.homogeneity.scaling.subject import Subject, gradient_of

DTYPES = [torch.float64, torch.float32]
W = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


torch.manual_seed(0)
LAYERS = {dtype: [nn.Linear(4, 4, bias=False).to(dtype) for _ in range(3)] for dtype in DTYPES}


def batch(dtype=torch.float64, seed=0):
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def weighted(x):
    return x @ W.to(x.dtype)


# --- what no observer sees --------------------------------------------------------------------------------------------


HELD = {dtype: torch.zeros(3, 4, dtype=dtype) for dtype in DTYPES}
ADDRESSES = {
    dtype: ((ctypes.c_double if dtype == torch.float64 else ctypes.c_float) * 12).from_address(HELD[dtype].data_ptr())
    for dtype in DTYPES
}


def memory_read_at_its_address(x):
    HELD[x.dtype].copy_(x.detach())
    return weighted(x if max(map(abs, ADDRESSES[x.dtype])) < 30 else 2 * x)


def an_exception_that_carries_values(x):
    try:
        torch.linalg.cholesky(1e4 * torch.eye(3, dtype=x.dtype) - x.detach() @ x.detach().T)
    except torch.linalg.LinAlgError:
        return 2 * weighted(x)
    return weighted(x)


def another_exception(x):
    try:
        torch.multinomial(x.detach().abs() - 1e-3, 1)
    except RuntimeError:
        return 2 * weighted(x)
    return weighted(x)


def another_layer_is_recomputed(x):
    for layer in LAYERS[x.dtype]:
        x = checkpoint(lambda z: layer(z).relu(), x, use_reentrant=False)  # noqa: B023  that is the mistake
    return x


def a_thread_without_gradient(x):
    found = []

    def run():
        with torch.no_grad():
            found.append((x / x.norm()).abs().sum())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return x * found[0]


def a_thread_that_branches(x):
    found = []
    thread = threading.Thread(target=lambda: found.append(float(x.detach().abs().max() > 30)))
    thread.start()
    thread.join()
    return weighted(x) * (1 + found[0])


UNSEEN = [
    memory_read_at_its_address,
    an_exception_that_carries_values,
    another_exception,
    another_layer_is_recomputed,
    a_thread_without_gradient,
    a_thread_that_branches,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", UNSEEN, ids=lambda function: function.__name__)
def test_what_no_observer_sees_is_found_by_numbers_and_makes_the_verdict_unknown(function, dtype):
    certificate = certify(function, batch(dtype))
    assert certificate.verdict == "unknown", str(certificate)
    assert certificate.degree is None
    assert "Something was not seen" in str(certificate)
    assert not certificate.confrontation.holds
    assert certificate.to_dict()["confrontation"]["contradiction"] in str(certificate)


def test_where_values_part_the_scale_the_numbers_and_the_first_operation_are_named():
    text = certify(memory_read_at_its_address, batch()).unsupported[0].reason
    assert "at α = 2^32" in text
    assert "is claimed; the first operation that differs is aten." in text
    assert "test_confrontation.py:" in text


# --- claims that are wrong, without any certificate -------------------------------------------------------------------


def subject(function, x, degree, gradient_by=None):
    leaf = x.detach().clone().requires_grad_()
    outputs = [(gradient_by or function)(leaf.clone())]
    gradient = gradient_of(outputs, [leaf])
    return Subject(lambda xs: [function(*xs)], (x,), [function(x).detach()], degree, gradient)


HOMOGENEOUS = {
    "ReLU": (lambda x: weighted(x).relu(), 1),
    "a norm": (lambda x: weighted(x).norm(dim=1), 1),
    "a direction": (lambda x: x / x.norm(), 0),
    "a product": (lambda x: weighted(x) * x, 2),
    "a reciprocal": (lambda x: 1 / weighted(x), -1),
    "a root": (lambda x: weighted(x).abs().sqrt(), 0.5),
    "the largest": (lambda x: weighted(x).amax(1), 1),
    "sorted": (lambda x: weighted(x).sort(1).values.cumsum(1), 1),
    "a normalised sum of fourth powers": (lambda x: (weighted(x) ** 4).sum(1) ** 0.25, 1),
    "terms that nearly cancel": (lambda x: weighted(x).relu() - weighted(x).relu() * (1 - 1e-3), 1),
}


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", HOMOGENEOUS)
@given(seed=st.integers(0, 10**6), exponent=st.integers(-6, 6))
def test_a_right_claim_is_never_doubted(name, dtype, seed, exponent):
    function, degree = HOMOGENEOUS[name]
    found = confront(subject(function, 2.0**exponent * batch(dtype, seed), degree))
    assert found.holds, found.contradiction
    assert len(found.scales) == len(found.elsewhere) == 2
    assert not found.unused


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", HOMOGENEOUS)
@pytest.mark.parametrize("error", [-1, -0.5, 0.5, 1])
def test_a_wrong_degree_is_contradicted(name, dtype, error):
    function, degree = HOMOGENEOUS[name]
    assert not confront(subject(function, batch(dtype), degree + error)).holds


GRADIENTS_OF_OTHERS = {
    "twice": lambda x: 2 * x - x.detach(),
    "none in a half": lambda x: torch.cat([x[:, :2].detach(), x[:, 2:]], 1),
    "the other sign": lambda x: 2 * x.detach() - x,
    "a direction that is cut": lambda x: x * (x.detach().abs().sum() / x.detach().norm()),
    "another order": lambda x: x.detach() + (x.flip(1) - x.flip(1).detach()),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GRADIENTS_OF_OTHERS)
def test_a_gradient_that_is_not_that_of_the_values_is_contradicted(name, dtype):
    found = confront(subject(lambda x: weighted(GRADIENTS_OF_OTHERS[name](x)), batch(dtype), 1))
    assert not found.holds
    assert "gradient says" in found.contradiction or "Euler" in found.contradiction


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["twice", "none in a half", "the other sign"])
def test_where_slopes_are_not_resolved_eulers_identity_alone_contradicts(name, dtype):
    found = confront(subject(lambda x: weighted(GRADIENTS_OF_OTHERS[name](x)), batch(dtype), 1))
    assert "Euler" in found.contradiction


def test_gradients_that_underflow_contradict_nothing():
    first, last = (0.01 * W).half(), torch.full((4, 1), 1e-4, dtype=torch.float16)
    function = lambda x: ((x.half() @ first).relu() @ last).float() * 1e-3
    x = batch(torch.float32)
    assert not float(abs(torch.autograd.functional.jacobian(lambda x: function(x).sum(), x)).max()) > 1e-6
    found = confront(replace(subject(function, x, 1), inner=frozenset([torch.float16])))
    assert found.holds, found.contradiction


def test_kinks_and_ties_at_the_example_contradict_nothing():
    for function in (torch.relu, lambda x: F.max_pool1d(x, 2), lambda x: x.abs(), lambda x: x.sort(1).values):
        for x in (torch.ones(3, 4), torch.zeros(3, 4), torch.eye(4)):
            certificate = certify(function, x)
            assert certificate.homogeneous, str(certificate)


def test_a_branch_that_makes_no_difference_at_the_example_is_seen_by_the_operations_that_run():
    def function(x):
        return (x.mul(1) if float(abs(x.detach().numpy()).max()) > 30 else x) @ W

    found = confront(subject(function, batch(), 1))
    assert "is aten.mul.Tensor at α = 2^32 and aten.mm.default at α = 2^-32" in found.contradiction


@pytest.mark.parametrize("period", [2, 3, 5, 7])
def test_what_runs_at_some_calls_is_no_branch_on_values(period):
    calls, log = [0], []

    def function(x):
        calls[0] += 1
        if calls[0] % period == 0:
            log.append(x.detach().norm())
        return weighted(x).relu()

    for seed in range(period):
        assert certify(function, batch(seed=seed)).homogeneous


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_terms_that_cancel_inside_are_rounded_and_not_contradicted(size):
    def function(x):
        return weighted(x) - weighted(x) * 1.0001

    for seed in range(8):
        certificate = certify(function, size * batch(torch.float32, seed))
        assert certificate.homogeneous, str(certificate)


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_squares_that_leave_half_precision_contradict_nothing(size):
    def function(x):
        return x * x.square().mean(1, keepdim=True).rsqrt()

    for seed in range(8):
        certificate = certify(function, (size * batch(seed=seed)).half())
        assert certificate.homogeneous, str(certificate)


def test_an_intermediate_value_that_underflows_is_no_counterexample():
    x = 0.1 * batch(torch.float32)

    def function(xs):
        return [(xs[0][xs[0] > 0] ** 4).sum() ** 0.25]

    assert function((2.0**-48 * x,))[0] == 0  # where 2^-48·F(x) is meant
    assert find_counterexample(function, (x,), function((x,))) is None
    assert find_counterexample(lambda xs: [xs[0].exp()], (x,), [x.exp()]) is not None


def test_a_certificate_says_what_it_was_confronted_with():
    text = str(certify(nn.Linear(4, 2, bias=False), batch(torch.float32)))
    assert "F(αx) at α = 2^-16, 2^16, F(αz) on another ray at α = " in text
    assert "to 3e-04; ∇F by Euler's identity, to 2e-05, and by slopes along random directions" in text
    half = nn.Linear(4, 2, bias=False).bfloat16()
    inside = lambda x: half(x.bfloat16()).float()
    assert "by Euler's identity, to 4e-02 (slopes are not resolved" in str(certify(inside, batch(torch.float32)))
    aside = lambda x: weighted(x) + 0 * weighted(x).bfloat16().to(x.dtype)
    assert "by Euler's identity, to 4e-02, and by slopes" in str(certify(aside, batch(torch.float32)))
    assert "no gradient to confront" in str(certify(lambda x: torch.ones(3), batch()))


class ReadsItself(nn.Module):
    """A buffer that is read at its address as well; a copy of the module shares no memory with that."""

    def __init__(self):
        super().__init__()
        self.linear, self.held = nn.Linear(4, 3, bias=False), torch.zeros(3, 4)
        self.view = (ctypes.c_float * 12).from_address(self.held.data_ptr())

    def forward(self, x):
        self.held.copy_(x.detach())
        return self.linear(x) * (1.0 if max(map(abs, self.view)) < 30 else 2.0)


def test_a_copy_in_float64_acquits_nothing_that_the_model_itself_does():
    assert certify(ReadsItself(), batch(torch.float32)).verdict == "unknown"


class Recomputes(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            x = checkpoint(lambda z: layer(z).relu(), x, use_reentrant=False)  # noqa: B023  that is the mistake
        return x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_a_wrong_gradient_is_found_in_half_precision_too(dtype):
    torch.manual_seed(0)
    assert certify(Recomputes().to(dtype), batch(dtype)).verdict == "unknown"


@pytest.mark.parametrize("depth", [5, tries(15, 40)])
@given(seed=st.integers(0, 10**6))
def test_deep_networks_in_functions_are_not_doubted(depth, seed):
    torch.manual_seed(seed)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(16, 16, bias=False), nn.ReLU())]
    model, x = nn.Sequential(*layers), torch.randn(2, 16)
    for function in (model, lambda x: model(x), lambda x: F.linear(x, model[0].weight) - model[0](x * (1 + 1e-3))):
        certificate = certify(function, x)
        assert certificate.homogeneous, str(certificate)


# --- what numbers are chosen ------------------------------------------------------------------------------------------


def unseen(decide):
    """A function whose factor is decided by NumPy, in memory that no observer follows."""

    def function(x):
        held = torch.zeros(x.shape, dtype=x.dtype)
        view = held.numpy()
        held.copy_(x.detach())
        return weighted(x).relu() * decide(view)

    return function


DECISIONS = {
    "a band": lambda a: 2.0 if 12 < abs(a).max() < 600 else 1.0,
    "a mantissa": lambda a: 2.0 if np.frexp(abs(a).max())[0] > 0.8 else 1.0,
    "a step of the mantissa": lambda a: 1 + round(4 * float(np.frexp(abs(a).max())[0])) / 40,
    "an orthant": lambda a: 2.0 if a.min() < -1 else 1.0,
    "a little gain": lambda a: 1.05 if abs(a).max() > 30 else 1.0,
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", DECISIONS)
def test_what_depends_on_magnitudes_mantissas_and_signs_shows_at_most_examples(name, dtype):
    function = unseen(DECISIONS[name])
    examples = [batch(dtype, seed).abs() + 0.1 for seed in range(12)]
    contradicted = [not confront(subject(function, x, 1)).holds for x in examples]
    assert sum(contradicted) >= 6, contradicted


def test_a_part_in_half_precision_hides_neither_a_little_gain_nor_a_wrong_gradient():
    aside = lambda x: 0 * weighted(x).bfloat16().to(x.dtype)
    gain = unseen(DECISIONS["a little gain"])
    wrong = lambda x: weighted(GRADIENTS_OF_OTHERS["another order"](x))
    for function in (gain, wrong):
        claim = subject(lambda x, f=function: f(x) + aside(x), batch(torch.float32), 1)
        assert not confront(replace(claim, inner=frozenset([torch.bfloat16]))).holds


@given(seed=st.integers(0, 10**6))
def test_the_same_example_is_confronted_with_the_same_numbers_and_no_random_state_is_used(seed):
    torch.manual_seed(seed)
    state = torch.get_rng_state()
    first, again = (confront(subject(weighted, batch(seed=seed), 1)) for _ in range(2))
    assert first == again
    assert not any(math.log2(scale).is_integer() for scale in first.elsewhere)
    assert torch.equal(torch.get_rng_state(), state)


def test_scales_that_do_not_run_give_way_to_nearer_ones_and_are_named():
    def function(x):
        if float(abs(x.detach().numpy()).max()) > 1e4:
            raise ValueError("not normalised")
        return weighted(x)

    found = confront(subject(function, batch(torch.float32), 1))
    assert found.unused == (2.0**16,)
    assert found.scales == (2.0**-16, 2.0**8)
    assert "(not at 2^16: F does not run there" in str(found)
    doubled = unseen(lambda a: 1.0 if abs(a).max() < 30 else 2.0)
    assert not confront(subject(lambda x: doubled(function(x)), batch(torch.float32), 1)).holds


def test_what_the_output_is_not_made_of_excuses_nothing():
    def kept(x, uses):
        inliers = (x.detach().abs() > 1e-3).to(x.dtype)  # vanishes at small scales, as what underflows does
        y = weighted(x) * (2.0 if float(abs(x.detach().numpy()).max()) < 1e-3 else 1.0)
        return y + 0 * inliers if uses else y

    x = batch(torch.float32)
    for uses in (False, True):
        here, there = (footprint_of(lambda xs, u=uses: [kept(xs[0], u)], (x * a,)) for a in (1.0, 2.0**-16))
        assert left_range(here, there, 2.0**-16) == uses
    assert not confront(subject(lambda x: kept(x, False), x, 1)).holds


def test_excused_scales_are_not_listed():
    function = lambda x: (weighted(x) ** 16).sum(1) ** (1 / 16)
    found = confront(subject(function, 2.0**-6 * batch(torch.float32), 1))
    assert found.holds, found.contradiction
    assert found.unused
    assert not set(found.unused) & set(found.scales)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16], ids=str)
def test_conservation_is_confronted_as_homogeneity_is(dtype):
    right = lambda x: x * weighted(x.detach()).relu()
    certificate = certify(right, batch(dtype), detached="constants")
    assert certificate.homogeneous, str(certificate)
    assert "near the example: ∇F by Euler's identity" in str(certificate)
    hooked = lambda x: twice_backward(right(x))
    assert not certify(hooked, batch(dtype), detached="constants").homogeneous


def twice_backward(y):
    held = [y]
    thread = threading.Thread(target=lambda: held[0].register_hook(lambda gradient: 2 * gradient))
    thread.start()
    thread.join()
    return y
