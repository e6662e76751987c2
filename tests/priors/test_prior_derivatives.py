"""First and second derivatives of every prior, and what it gives where it is not defined."""

import math

import pytest
import torch
from prior_cases import CASES, SHAPE

from captum_xg.priors import (
    EnergyInRegion,
    GiniSparsity,
    GraphSmoothness,
    GroupSparsity,
    HighFrequency,
    LpNorm,
    RightForRightReasons,
    TotalVariation,
)

EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def _attributions(seed=0):
    # No zero and no two equal, nor their batch means, so that every prior is smooth there.
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def _derivatives(case, A):
    """Value, gradient, and the gradient of a linear form of the gradient."""
    leaf = A.clone().requires_grad_()
    value = case.make()(leaf, **case.arguments)
    (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
    direction = torch.randn(A.shape, generator=torch.Generator().manual_seed(1)).to(A)
    second = torch.zeros_like(A)
    if gradient.requires_grad:
        second = torch.autograd.grad((gradient * direction).sum(), leaf)[0]
    return value.detach(), gradient.detach(), second


@EACH
def test_first_and_second_derivatives_are_those_of_finite_differences(case):
    prior = case.make()
    leaf = _attributions().requires_grad_()
    assert torch.autograd.gradcheck(lambda A: prior(A, **case.arguments), leaf, eps=1e-7)
    assert torch.autograd.gradgradcheck(lambda A: prior(A, **case.arguments), leaf, eps=1e-7)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attributions_that_are_all_zero_give_zero_with_zero_gradient(case, dtype):
    value, gradient, second = _derivatives(case, torch.zeros(SHAPE, dtype=dtype))
    assert torch.equal(value, torch.zeros_like(value))
    assert torch.equal(gradient, torch.zeros_like(gradient))
    assert bool(torch.isfinite(second).all())


@EACH
def test_an_example_without_attributions_or_zeros_among_others_leave_all_derivatives_finite(case):
    A = _attributions()
    A[1] = 0
    A[:, :, 1] = 0
    A[0, 0] = 0
    for result in _derivatives(case, A):
        assert bool(torch.isfinite(result).all())
    assert _derivatives(case, A)[0] != 0


@EACH
@pytest.mark.parametrize("exponent", [-60, 40])
def test_a_power_of_two_scales_prior_and_gradient_by_the_degree_in_float32(case, exponent):
    A, scale = _attributions().float(), 2.0**exponent
    value, gradient, _ = _derivatives(case, A)
    scaled_value, scaled_gradient, _ = _derivatives(case, A * scale)
    torch.testing.assert_close(scaled_value / scale**case.degree, value, rtol=1e-6, atol=0)
    torch.testing.assert_close(scaled_gradient / scale ** (case.degree - 1), gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("case", "scale"),
    # What is squared leaves float32 from 1e19 on; its gradient does not.
    [
        pytest.param(case, scale, id=f"{name}-{scale}")
        for name, case in CASES.items()
        for scale in (1e-45, 1e-38, 1e-30, 1e30, 1e38)
        if scale**case.degree < 1e70
    ],
)
def test_the_smallest_and_largest_numbers_of_float32_give_no_nan(case, scale):
    signs = _attributions().sign().float()
    signs[0] = 0
    signs[1, 0, 0] = 0
    value, gradient, _ = _derivatives(case, signs * scale)
    assert not bool(value.isnan())
    assert not bool(gradient.isnan().any())
    if case.degree == 0:
        torch.testing.assert_close(value, _derivatives(case, signs)[0])
    if case.degree == 1:
        torch.testing.assert_close(gradient, _derivatives(case, signs)[1])


@EACH
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_attributions_that_are_not_finite_are_never_given_a_finite_number(case, bad):
    A = torch.full(SHAPE, bad)
    assert not bool(torch.isfinite(case.make()(A, **case.arguments)))


@pytest.mark.parametrize(
    ("prior", "expected", "slope"),
    [
        (GiniSparsity(), 0, 0),
        (GiniSparsity("example"), 0, 0),
        (TotalVariation(power=2, wrap=True), 0, 0),
        (GraphSmoothness(torch.ones(1, 1)), 0, 0),
        (GraphSmoothness(torch.zeros(2, 0, dtype=torch.int64)), 0, 0),
        (RightForRightReasons(torch.ones(1, 1)), 0.49, -1.4),
        (EnergyInRegion(torch.zeros(1, 1)), 1, 0),
        (EnergyInRegion(torch.zeros(1, 1), positive=True), 0, 0),
        (HighFrequency(), 0, 0),
        (HighFrequency(0), 1, 0),
        (HighFrequency(0, normalise=False), 0.49, -1.4),
        (LpNorm(2), 0.7, -1),
        (LpNorm(math.inf), 0.7, -1),
        (GroupSparsity([[0]]), 0.7, -1),
        (GroupSparsity("channels"), 0.7, -1),
    ],
    ids=repr,
)
def test_one_example_with_one_feature_has_the_value_and_slope_of_the_formula(prior, expected, slope):
    A = torch.full((1, 1, 1, 1), -0.7, dtype=torch.float64, requires_grad=True)
    value = prior(A)
    (gradient,) = torch.autograd.grad(value, A)
    torch.testing.assert_close(value.item(), float(expected))
    torch.testing.assert_close(gradient.item(), float(slope))


@EACH
@pytest.mark.parametrize("seed", [0, 1])
def test_eulers_identity_holds_for_the_degree(case, seed):
    A = _attributions(seed)
    value, gradient, _ = _derivatives(case, A)
    torch.testing.assert_close((A * gradient).sum(), case.degree * value)
