"""What is said of the distance of a model from an X-DNN is what slow references give."""

import pytest
import torch
from captum.attr import IntegratedGradients
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg.errors import CaptumXGError
from captum_xg.xdnn import Distance, distance


def mlp(seed, activation=nn.ReLU, bias=True):
    torch.manual_seed(seed)
    layers = nn.Linear(5, 12, bias=bias), activation(), nn.Linear(12, 8, bias=bias), activation()
    return nn.Sequential(*layers, nn.Linear(8, 3, bias=bias)).double()


def inputs(seed, n=3):
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed)).double()


def dense(model, x, target, n=4000):
    """Integrated Gradients by so many midpoints."""
    total = torch.zeros_like(x)
    for part in ((torch.arange(n, dtype=torch.float64) + 0.5) / n).split(1000):
        at = (part.view(-1, 1, 1) * x).flatten(0, 1).requires_grad_()
        total += torch.autograd.grad(model(at)[:, target].sum(), at)[0].view(len(part), *x.shape).sum(0)
    return x * total / n


@given(st.integers(0, 10_000))
def test_it_is_what_dense_sums_give(seed):
    model, x = mlp(seed), inputs(seed)
    found = distance(model, x, 1)
    integral = dense(model, x, 1)
    torch.testing.assert_close(found.integral, integral, rtol=1e-2, atol=1e-3 * float(integral.abs().max()))
    leaf = x.clone().requires_grad_()
    products = x * torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)[0]
    apart = (products - integral).abs().sum(1) / integral.abs().sum(1)
    torch.testing.assert_close(found.apart, apart, rtol=2e-2, atol=2e-3)
    assert found.reference_error == 0
    assert found.jointly.homogeneous
    assert not found.certificate.homogeneous
    assert 0 < float(found.ledger.share.min()) <= 1


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05]))
def test_captums_method_has_the_error_that_is_said(seed, rtol):
    model, x = mlp(seed), inputs(seed)
    found = distance(model, x, 1)
    place = found.steps.tolist().index(20)
    captum = IntegratedGradients(model).attribute(x, target=1, n_steps=20)
    error = (captum - found.integral).norm(dim=1) / found.integral.norm(dim=1)
    torch.testing.assert_close(found.errors[:, place], error.detach(), rtol=1e-5, atol=1e-7)
    for steps, errors in zip(found.steps_for(rtol).tolist(), found.errors, strict=True):
        within = errors[found.steps >= steps] if steps != float("inf") else errors[-1:]
        assert bool((within <= rtol).all()) == (steps != float("inf"))


def test_an_x_dnn_is_at_no_distance():
    found = distance(mlp(0, bias=False), inputs(0), 1)
    assert float(found.apart.max()) < 1e-12
    assert float(found.ledger.share.max()) == 0
    assert found.steps_for(0.01).tolist() == [2, 2, 2]
    assert "one gradient" in str(found)


def test_curved_networks_are_integrated_to_a_tolerance_that_is_said():
    model, x = mlp(0, nn.GELU), inputs(0)
    found = distance(model, x, 1, name="a small one")
    integral = dense(model, x, 1)
    assert float(((found.integral - integral).norm(dim=1) / integral.norm(dim=1)).max()) < 3e-3
    assert 0 < found.reference_error < 3e-3
    assert "1 (GELU)" in found.how
    assert not found.jointly.homogeneous
    assert str(found).startswith("a small one, 3 examples")


def test_more_regions_than_are_wanted_are_integrated_too():
    found = distance(mlp(0), inputs(0), 1, max_regions=2)
    assert "more than 2 linear regions" in found.how
    assert float((found.integral - dense(mlp(0), inputs(0), 1)).norm() / found.integral.norm()) < 3e-3


def test_functions_and_models_that_cannot_be_converted_are_measured_all_the_same():
    model = mlp(0)
    found = distance(lambda x: model(x).tanh(), inputs(0), 1)
    assert found.conversion is None
    assert found.refused
    assert isinstance(found, Distance)
    assert "cannot run" in str(found)


def test_the_picture_has_bars_and_a_curve():
    left, right = distance(mlp(0), inputs(0), 1).plot().axes[:2]
    assert left.patches
    assert right.lines


@pytest.mark.parametrize("wrong", [torch.full((2, 5), torch.nan), "x", torch.rand(0, 5)])
def test_unsuitable_inputs_are_errors(wrong):
    with pytest.raises(CaptumXGError):
        distance(mlp(0), wrong, 1)


def test_other_degrees_are_named():
    model = mlp(0, bias=False)
    assert "XGradient(model, degree=2) is exact" in str(distance(lambda x: model(x)[:, 0] ** 2, inputs(0)))


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 0.0), (1.0, float("inf"))])
def test_products_beside_an_integral_of_zero(weight, expected):
    zero = torch.zeros(2, 3, dtype=torch.float64)
    found = distance(mlp(0, bias=False), inputs(0)[:2], 1)
    object.__setattr__(found, "integral", zero)
    object.__setattr__(found, "input_x_gradient", zero + weight)
    assert found.apart.tolist() == [expected, expected]
