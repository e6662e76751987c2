"""The X-DNNs of the family are in the class: by proof, bit for bit, and against Captum's Integrated Gradients."""

import pytest
import torch
from captum.attr import IntegratedGradients
from hypothesis import given
from hypothesis import settings as h
from hypothesis import strategies as st
from members import ALL, LARGE, SMALL
from torch import nn

from captum_xg import XGradient, certify

FAST = (LARGE[0], LARGE[5], LARGE[7], LARGE[1], *SMALL)
"""One of each family and kind of block; the others differ in their number of layers only."""


def random_network(member, *, x, dtype=torch.float32, **options):
    """A member in evaluation mode whose weights, biases and scales are all random (He's scale, so none dies)."""
    torch.manual_seed(0)
    with torch.device("meta"):  # no time for initial values, which are overwritten
        model = member.build(x=x, **options).eval().to(dtype)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        std = (2 / parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
        nn.init.normal_(parameter, std=std)
    return model


def images(member, n=1, dtype=torch.float32):
    channels = 1 if member in SMALL else 3
    return torch.randn(n, channels, member.side, member.side, dtype=dtype)


@pytest.mark.parametrize("member", FAST, ids=lambda member: member.name)
def test_an_x_dnn_is_proven_of_degree_one_and_its_twin_is_not(member):
    certificate = certify(random_network(member, x=True), images(member))
    assert certificate.homogeneous
    assert certificate.degree == 1
    assert not certify(random_network(member, x=False), images(member)).homogeneous


@pytest.mark.slow
@pytest.mark.parametrize("member", ALL, ids=lambda member: member.name)
def test_every_x_dnn_is_proven_of_degree_one(member):
    certificate = certify(random_network(member, x=True), images(member))
    assert certificate.homogeneous
    assert certificate.degree == 1


def test_an_untrained_x_fixup_resnet_is_zero_and_has_a_certificate():
    model = LARGE[5].build(x=True).eval()
    assert torch.all(model(images(LARGE[5])) == 0)
    assert certify(model, images(LARGE[5])).degree == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("member", SMALL, ids=lambda member: member.name)
@h(max_examples=15)
@given(m=st.integers(-20, 20), seed=st.integers(0, 2**16))
def test_powers_of_two_come_out_bit_for_bit(member, dtype, m, seed):
    model = random_network(member, x=True, dtype=dtype)
    torch.manual_seed(seed)
    x = images(member, 2, dtype)
    with torch.no_grad():
        assert torch.equal(model(2.0**m * x), 2.0**m * model(x))


@pytest.mark.parametrize("member", FAST[:3], ids=lambda member: member.name)
def test_powers_of_two_come_out_bit_for_bit_of_the_large_ones(member):
    model = random_network(member, x=True, num_classes=20)
    x = images(member)
    with torch.no_grad():
        expected = model(x)
        assert expected.abs().max() > 0
        for m in (-8, -1, 1, 8):
            assert torch.equal(model(2.0**m * x), 2.0**m * expected)


@pytest.mark.parametrize("member", SMALL, ids=lambda member: member.name)
@h(max_examples=5)
@given(alpha=st.floats(0.01, 100), seed=st.integers(0, 2**16))
def test_any_scale_comes_out(member, alpha, seed):
    model = random_network(member, x=True, dtype=torch.float64)
    torch.manual_seed(seed)
    x = images(member, 2, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(alpha * x), alpha * model(x), rtol=1e-9, atol=1e-9 * alpha)


@pytest.mark.parametrize("member", SMALL, ids=lambda member: member.name)
def test_x_gradient_is_integrated_gradients(member):
    model = random_network(member, x=True, dtype=torch.float64)
    x = images(member, 3, torch.float64)
    target = torch.tensor([0, 4, 9])
    expected = IntegratedGradients(model).attribute(x, target=target, n_steps=50, method="gausslegendre")
    actual = XGradient(model, validate="certificate").attribute(x, target=target)
    # Captum's step weights are float32, so its own error is some 1e-9 of the largest attribution.
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-7 * expected.abs().max().item())


@pytest.mark.parametrize("member", SMALL, ids=lambda member: member.name)
def test_x_gradient_can_be_trained_through(member):
    model = random_network(member, x=True)
    attributions = XGradient(model).attribute(images(member, 2), target=3, create_graph=True)
    gradients = torch.autograd.grad(attributions.abs().sum(), list(model.parameters()))
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)
