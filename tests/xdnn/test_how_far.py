"""The distance of a model from an X-DNN says what was measured, and names ways that work for the model."""

import pytest
import torch
from torch import nn

from captum_xg import AdaptiveIntegratedGradients, ExactIntegratedGradients, XGradient
from captum_xg.xdnn.how_far import distance


def network(activation, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6, bias=bias), activation, nn.Linear(6, 3, bias=bias)).double().eval()


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_piecewise_linear_network_is_measured_against_its_exact_integral():
    model = network(nn.ReLU())
    found = distance(model, X, 1)
    exact = ExactIntegratedGradients(model).attribute(X, target=1)
    products = XGradient(model, validate="off").attribute(X, target=1)
    torch.testing.assert_close(found.integral, exact)
    torch.testing.assert_close(found.apart, (products - exact).abs().sum(1) / exact.abs().sum(1))
    for rtol in (0.01, 0.05):
        for needed, errors in zip(found.steps_for(rtol).tolist(), found.errors, strict=True):
            assert bool((errors[found.steps >= needed] <= rtol).all())
    page = str(found)
    assert "ExactIntegratedGradients" in page
    assert "JointXGradient" in page
    assert found.plot().axes


def test_a_smooth_network_is_integrated_and_not_sent_to_what_refuses_it():
    model = network(nn.GELU())
    found = distance(model, X, 1)
    fine = AdaptiveIntegratedGradients(model, rtol=1e-4).attribute(X, target=1)
    assert float((found.integral - fine).norm() / fine.norm()) < 2e-3
    page = str(found)
    assert "GELU" in page
    assert "ExactIntegratedGradients" not in page
    assert "JointXGradient" not in page


def test_an_x_dnn_is_no_distance_away():
    found = distance(network(nn.ReLU(), bias=False), X, 1)
    assert float(found.apart.max()) < 1e-12
    assert "XGradient is exact for it" in str(found)


def test_other_degrees_are_named():
    model = network(nn.ReLU(), bias=False)
    assert "XGradient(model, degree=2) is exact" in str(distance(lambda x: model(x)[:, 0] ** 2, X))


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 0.0), (1.0, float("inf"))])
def test_products_beside_an_integral_of_zero(weight, expected):
    zero = torch.zeros(2, 3, dtype=torch.float64)
    found = distance(network(nn.ReLU(), bias=False), X[:2], 1)
    object.__setattr__(found, "integral", zero)
    object.__setattr__(found, "input_x_gradient", zero + weight)
    assert found.apart.tolist() == [expected, expected]
