"""What the blocks compute: their formulas, in loops; examples apart from each other; padding that changes nothing."""

import block_references
import pytest
import torch
from block_cases import KINDS, MASKS, TAKE_PADDING, case_of, cases
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.nn import GatedReLU, ScalePreservingNorm

ATTENTIONS = [kind for kind in KINDS if kind.startswith("attention")]
seeds = st.integers(0, 2**16)


@given(kind=st.sampled_from(ATTENTIONS), seed=seeds, padded=st.booleans(), mask=st.sampled_from(MASKS))
def test_attention_computes_its_formula(kind, seed, padded, mask):
    case = case_of(kind, seed, length=4, padded=padded, mask=mask, zeros=True)
    expected = block_references.attention_reference(case.block, case.x, case.padding, case.mask, case.causal)
    torch.testing.assert_close(case.f(case.x, case.padding).detach(), expected)


@given(seed=seeds, per_head=st.booleans())
def test_masks_may_differ_by_example_and_head(seed, per_head):
    case = case_of("attention", seed, n=3, length=4)
    forbidden = torch.rand(3 * 2, 4, 4) < 0.5
    mask = forbidden if per_head else torch.randn(6, 4, 4, dtype=torch.float64)
    expected = block_references.attention_reference(case.block, case.x, None, mask, False)
    torch.testing.assert_close(case.block(case.x, attn_mask=mask).detach(), expected)


@given(seed=seeds, padded=st.booleans(), zeros=st.booleans(), mask=st.sampled_from(["none", "causal"]))
def test_the_norm_computes_its_formula(seed, padded, zeros, mask):
    case = case_of("norm", seed, n=3, padded=padded, zeros=zeros, mask=mask)
    expected = block_references.norm_reference(case.x, case.block.weight.detach(), case.padding, case.causal)
    torch.testing.assert_close(case.f(case.x, case.padding).detach(), expected)


@given(seed=seeds, dim=st.integers(0, 2))
def test_the_gate_computes_its_formula(seed, dim):
    torch.manual_seed(seed)
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    x[0, 0] = 0
    actual = GatedReLU(dim)(x).transpose(dim, -1)
    torch.testing.assert_close(actual, block_references.gate_reference(x.transpose(dim, -1)))


def test_positions_are_factors():
    case = case_of("positions", 0)
    torch.testing.assert_close(case.f(case.x), case.x * case.block.weight[:5])


@given(seed=seeds)
def test_the_norm_keeps_the_scale_of_an_example(seed):
    torch.manual_seed(seed)
    x = torch.randn(3, 5, 8, dtype=torch.float64) * 10 ** torch.randn(3, 5, 1, dtype=torch.float64)
    y = ScalePreservingNorm(8).double()(x)
    torch.testing.assert_close(y.square().mean((1, 2)), x.square().mean((1, 2)))
    sizes = y.square().mean(-1)
    torch.testing.assert_close(sizes, sizes[:, :1].expand_as(sizes))


@given(case=cases)
def test_examples_do_not_mix(case):
    together = case.f(case.x, case.padding)
    for i in range(len(case.x)):
        own = None if case.padding is None else case.padding[i : i + 1]
        torch.testing.assert_close(case.f(case.x[i : i + 1], own)[0], together[i])


@given(kind=st.sampled_from(TAKE_PADDING), seed=seeds, more=st.integers(1, 2), noise=st.booleans())
def test_padding_changes_nothing_and_comes_out_as_zero(kind, seed, more, noise):
    block_case = case_of(kind, seed, length=4)
    x = block_case.x
    longer = torch.cat([x, noise * torch.randn(len(x), more, x.shape[-1], dtype=x.dtype)], 1).requires_grad_()
    padding = (torch.arange(4 + more) >= 4).expand(len(x), -1)
    y = block_case.f(longer, padding)
    torch.testing.assert_close(y[:, :4], block_case.f(x, padding[:, :4]))
    torch.testing.assert_close(y[:, :4], block_case.f(x))
    assert torch.all(y[:, 4:] == 0)
    (gradient,) = torch.autograd.grad(y.square().sum(), longer)
    assert torch.all(gradient[:, 4:] == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_examples_give_zero_and_nothing_else_does(kind):
    case = case_of(kind, 3)
    case.x[0] = 0
    y = case.f(case.x)
    assert torch.all(y[0] == 0)
    assert kind == "gate" or torch.all(y[1].abs().amax(-1) > 0)  # which may be shut


@given(seed=seeds, padded=st.booleans(), mask=st.sampled_from(MASKS), relative=st.booleans())
def test_the_fused_kernel_gives_what_the_plain_formula_gives(seed, padded, mask, relative):
    case = case_of("attention, relative" if relative else "attention", seed, padded=padded, mask=mask)
    x = case.x.requires_grad_()
    results = []
    for fused in (False, True):
        case.block.fused = fused
        y = case.f(x, case.padding)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, case.block.log_scale])))
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("kind", TAKE_PADDING)
def test_what_is_causal_looks_back_only(kind):
    case = case_of(kind, 0, mask="causal")
    later = case.x.clone()
    later[:, 3:] = torch.randn(2, 2, 8, dtype=torch.float64)
    torch.testing.assert_close(case.f(case.x)[:, :3], case.f(later)[:, :3])
    case.causal = False
    assert not torch.allclose(case.f(case.x)[:, :3], case.f(later)[:, :3])
