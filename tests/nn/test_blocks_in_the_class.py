"""Every block is of degree 1: by proof, bit for bit, and against Captum's Integrated Gradients."""

import pytest
import torch
from block_cases import KINDS, MASKS, TAKE_MASKS, TAKE_PADDING, case_of, cases
from captum.attr import IntegratedGradients
from effort import thorough
from hypothesis import given
from hypothesis import strategies as st

from captum_xg import XGradient, certify

pytestmark = pytest.mark.filterwarnings("ignore")
HALF = thorough([torch.float16])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, *HALF])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_proven_of_degree_one(kind, dtype):
    for padded in [False, True] if kind in TAKE_PADDING else [False]:
        case = case_of(kind, 0, dtype=dtype, padded=padded)
        certificate = certify(case.f, case.x, additional_forward_args=case.arguments)
        assert certificate.homogeneous, str(certificate)
        assert certificate.degree == 1


@pytest.mark.parametrize("mask", MASKS[1:])
@pytest.mark.parametrize("kind", TAKE_MASKS)
def test_a_block_is_proven_with_masks(kind, mask):
    case = case_of(kind, 1, padded=True, mask=mask)
    assert certify(case.f, case.x, additional_forward_args=case.arguments).degree == 1


@given(case=cases)
def test_a_random_block_is_proven_on_random_inputs_with_zeros(case):
    certificate = certify(case.f, case.x, additional_forward_args=case.arguments)
    assert certificate.homogeneous, str(certificate)


@given(case=cases, m=st.integers(-20, 20), dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_powers_of_two_come_out_bit_for_bit(case, m, dtype):
    case.block.to(dtype)
    case.mask = case.mask.to(dtype) if case.mask is not None and case.mask.is_floating_point() else case.mask
    x = case.x.to(dtype)
    with torch.no_grad():
        assert torch.equal(case.f(2.0**m * x, case.padding), 2.0**m * case.f(x, case.padding))


@given(case=cases, data=st.data())
def test_x_gradient_is_integrated_gradients(case, data):
    with torch.no_grad():
        shape = case.f(case.x, case.padding).shape
    target = (data.draw(st.integers(0, shape[1] - 1)), data.draw(st.integers(0, shape[2] - 1)))
    options = {"target": target, "additional_forward_args": case.arguments}
    expected = IntegratedGradients(case.f).attribute(case.x, n_steps=64, method="gausslegendre", **options)
    actual = XGradient(case.f).attribute(case.x, **options)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 * max(expected.abs().max().item(), 1e-3))


def test_a_mask_made_from_the_input_is_not_proven():
    case = case_of("attention", 0)
    assert not certify(lambda x: case.block(x, None, (x @ x.transpose(1, 2)).mean(0)), case.x).homogeneous
