"""Derivatives of the blocks: right where tokens are not zero, finite and zero where they are, to the second order."""

import pytest
import torch
from block_cases import DIFFERENTIABLE_TWICE, case_of
from hypothesis import given
from hypothesis import strategies as st

from captum_xg import XGradient
from captum_xg.errors import GradientError

seeds = st.integers(0, 2**16)


@given(
    kind=st.sampled_from(DIFFERENTIABLE_TWICE),
    seed=seeds,
    padded=st.booleans(),
    mask=st.sampled_from(["none", "boolean", "minus infinity"]),
    size=st.sampled_from([0.0, 1e-12, 1.0]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_first_and_second_derivatives_are_finite_at_zero_tokens_and_examples(kind, seed, padded, mask, size, dtype):
    case = case_of(kind, seed, n=3, padded=padded, mask=mask, zeros=True, dtype=dtype)
    case.x[1] *= size
    x = case.x.requires_grad_()
    parameters = list(case.block.parameters())
    y = case.f(x, case.padding)
    (first,) = torch.autograd.grad(y.square().sum() + y.sum(), x, create_graph=True)
    second = torch.autograd.grad(first.square().sum() + first.sum(), [x, *parameters], allow_unused=True)
    assert y.isfinite().all()
    assert first.isfinite().all()
    assert all(g.isfinite().all() for g in second if g is not None)


@pytest.mark.parametrize("kind", ["norm", "gate", "attention"])
def test_a_zero_example_passes_on_no_gradient_of_what_is_normalised(kind):
    case = case_of(kind, 0)
    case.x[0] = 0
    x = case.x.requires_grad_()
    (gradient,) = torch.autograd.grad(case.f(x).sum(), x)
    if kind == "attention":  # uniform weights: the mean of values is linear there
        uniform = case.block.out_proj(case.block.in_proj(x)[..., 16:].mean(1, keepdim=True).expand(-1, 5, -1))
        torch.testing.assert_close(gradient[0], torch.autograd.grad(uniform.sum(), x)[0][0])
    else:
        assert torch.all(gradient[0] == 0)


@pytest.mark.parametrize("kind", DIFFERENTIABLE_TWICE)
def test_derivatives_are_those_of_differences(kind):
    case = case_of(kind, 5, n=1, length=2, mask="causal")
    x = case.x.requires_grad_()
    assert torch.autograd.gradcheck(case.f, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(case.f, (x,), fast_mode=True)


@pytest.mark.parametrize("kind", DIFFERENTIABLE_TWICE)
def test_attributions_reach_every_parameter(kind):
    case = case_of(kind, 2)
    if not list(case.block.parameters()):
        return
    attributions = XGradient(case.f).attribute(case.x, target=(1, 3), create_graph=True)
    gradients = torch.autograd.grad(attributions.square().sum(), list(case.block.parameters()), allow_unused=True)
    reached = [g is not None and bool(g.isfinite().all()) and bool(g.abs().sum() > 0) for g in gradients]
    assert all(reached), [name for (name, _), r in zip(case.block.named_parameters(), reached, strict=True) if not r]


def test_the_fused_kernel_has_no_second_derivative_and_says_so():
    case = case_of("attention, fused", 0)
    assert XGradient(case.f).attribute(case.x, target=(0, 0)).isfinite().all()
    attributions = XGradient(case.f).attribute(case.x, target=(0, 0), create_graph=True)
    with pytest.raises((RuntimeError, GradientError)):
        attributions.sum().backward()
