"""What priors take: forms of attributions, several inputs, sums and weights, copies, and what is refused."""

import copy
import math
import pickle
import re

import pytest
import torch
from prior_cases import CASES, EDGES, SHAPE
from torch import nn

from captum_xg.errors import InputError, OptionError, PriorError
from captum_xg.priors import (
    AttributionPrior,
    EnergyInRegion,
    GiniSparsity,
    GraphSmoothness,
    GroupSparsity,
    HighFrequency,
    LpNorm,
    RightForRightReasons,
    TotalVariation,
    WeightedSum,
)

EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def _attributions(dtype=torch.float32):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


@EACH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_coarse_attributions_count_as_the_same_numbers_in_float32_also_under_autocast(case, dtype):
    A, prior = _attributions(dtype), case.make()
    expected = prior(A.float(), **case.arguments)
    assert expected.dtype == torch.float32
    assert torch.equal(prior(A, **case.arguments), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prior(A, **case.arguments), expected)
    leaf = A.clone().requires_grad_()
    prior(leaf, **case.arguments).backward()
    assert leaf.grad.dtype == dtype
    assert bool(torch.isfinite(leaf.grad).all())


@EACH
@pytest.mark.parametrize("form", ["channels_last", "strided", "transposed"])
def test_the_layout_in_memory_does_not_matter_for_value_or_gradient(case, form):
    A, prior = _attributions(torch.float64), case.make()
    other = {
        "channels_last": lambda: A.contiguous(memory_format=torch.channels_last),
        "strided": lambda: torch.stack([A, A + 1], -1)[..., 0],
        "transposed": lambda: A.transpose(0, 3).contiguous().transpose(0, 3),
    }[form]()
    assert not other.is_contiguous()
    results = []
    for leaf in (A.clone().requires_grad_(), other.detach().requires_grad_()):
        value = prior(leaf, **case.arguments)
        results.append((value, torch.autograd.grad(value, leaf)[0]))
    torch.testing.assert_close(results[0], results[1])


@EACH
def test_several_inputs_give_the_sum_and_of_gives_one(case):
    A, B, prior = _attributions(), _attributions() * 2 + 0.1, case.make()
    each = [prior(x, **case.arguments) for x in (A, B)]
    torch.testing.assert_close(prior((A, B), **case.arguments), each[0] + each[1])
    torch.testing.assert_close(prior.of(1)((A, B), **case.arguments), each[1])
    torch.testing.assert_close(prior.of(0)(A, **case.arguments), each[0])
    both = {name: (value, value) for name, value in case.arguments.items()}
    torch.testing.assert_close(prior((A, B), **both), each[0] + each[1])
    torch.testing.assert_close(prior.of(1)((A, B), **both), each[1])


@EACH
def test_copies_and_pickles_give_the_same_number_and_the_original_gives_it_again(case):
    A, prior = _attributions(), case.make()
    expected = prior(A, **case.arguments)
    for other in (prior, copy.deepcopy(prior), pickle.loads(pickle.dumps(prior)), copy.deepcopy(2 * prior + prior)):
        factor = 3 if isinstance(other, WeightedSum) else 1
        torch.testing.assert_close(other(A, **case.arguments), factor * expected)


@EACH
def test_states_can_be_saved_and_loaded_and_to_takes_all_tensors_along(case):
    prior, other = case.make(), case.make()
    for buffer in other.buffers():
        buffer.zero_()
    other.load_state_dict(prior.state_dict())
    A = _attributions()
    assert torch.equal(other(A, **case.arguments), prior(A, **case.arguments))
    assert all(tensor.is_meta for tensor in case.make().to("meta").state_dict().values())
    assert not list(prior.parameters())


def test_what_a_prior_is_made_from_stays_the_callers_own():
    edges, weights, mask, ids = EDGES.clone(), torch.ones(5), torch.ones(4, 5), torch.arange(6)
    matrix = torch.ones(3, 3).to_sparse_coo()
    makes = (
        lambda: GraphSmoothness(edges, weights),
        lambda: GraphSmoothness(matrix),
        lambda: RightForRightReasons(mask),
        lambda: EnergyInRegion(mask),
        lambda: GroupSparsity(ids),
    )
    for make in makes:
        for buffer in make().buffers():
            buffer.zero_()
    assert torch.equal(edges, EDGES)
    assert bool(EDGES.any())
    assert torch.equal(ids, torch.arange(6))
    assert torch.equal(matrix.to_dense(), torch.ones(3, 3))
    assert bool((weights == 1).all())
    assert bool((mask == 1).all())


@EACH
def test_attributions_are_left_as_they_are_and_the_representation_names_the_prior(case):
    A, prior = _attributions(), case.make()
    before = A.clone()
    prior(A, **case.arguments)
    assert torch.equal(A, before)
    assert type(prior).__name__ in repr(prior)


def test_a_weighted_sum_is_the_sum_of_weights_times_priors_however_it_is_written():
    A, mask = _attributions(), torch.rand(4, 5) > 0.5
    gini, variation, right = GiniSparsity(), TotalVariation(), RightForRightReasons()
    expected = 0.5 * gini(A) + 2 * variation(A) - right(A, mask=mask)
    for prior in (
        0.5 * gini + variation * 2 + (-1) * right,
        WeightedSum((0.5, gini), (2, variation), (-1, right)),
        0.5 * (gini + 4 * variation) + -1.0 * right,
    ):
        torch.testing.assert_close(prior(A, mask=mask), expected)
        assert len(prior.priors) == 3
    mixed = gini.of(0) + right.of(1)
    torch.testing.assert_close(mixed((A, A + 1), mask=mask), gini(A) + right(A + 1, mask=mask))
    assert (gini + RightForRightReasons(mask)).state_dict().keys() == {"priors.1.mask"}


def test_each_input_gets_its_own_mask_and_none_means_the_one_from_construction():
    A, B = _attributions(), torch.randn(3, 7)
    masks = torch.rand(4, 5), torch.rand(3, 7)
    prior = RightForRightReasons()
    expected = prior(A, mask=masks[0]) + prior(B, mask=masks[1])
    torch.testing.assert_close(prior((A, B), mask=masks), expected)
    torch.testing.assert_close((prior.of(0) + prior.of(1))((A, B), mask=masks), expected)
    assert torch.equal(RightForRightReasons(masks[0])(A, mask=None), prior(A, mask=masks[0]))


def test_a_prior_of_ones_own_needs_a_penalty_and_nothing_else():
    class Mean(AttributionPrior):
        def penalty(self, attributions, *, scale=1.0):
            return attributions.mean() * scale

    A = _attributions()
    torch.testing.assert_close((Mean() + LpNorm())(A, scale=2.0), 2 * A.mean() + LpNorm()(A))


def test_a_prior_trains_a_model_to_obey_it():
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(1, 8))
    inputs = torch.randn(32, 8)
    for prior in (GiniSparsity(), LpNorm(), TotalVariation(), HighFrequency()):
        before = prior(inputs * weights)
        for _ in range(20):
            (gradient,) = torch.autograd.grad(prior(inputs * weights), weights)
            weights.data -= 0.02 * gradient / gradient.norm()
        assert prior(inputs * weights) < before


A2, A4 = torch.randn(3, 5), torch.randn(SHAPE)
MASK = RightForRightReasons
REFUSED_OPTIONS = {
    "over": lambda: GiniSparsity("feature"),
    "dims": lambda: TotalVariation(4),
    "dims of frequency": lambda: HighFrequency(dims=0),
    "power": lambda: TotalVariation(power=3),
    "power of graph": lambda: GraphSmoothness(EDGES, power=0),
    "of": lambda: GraphSmoothness(EDGES, of="mean"),
    "p below 1": lambda: LpNorm(0.5),
    "p not a number": lambda: LpNorm(math.nan),
    "p a text": lambda: LpNorm("2"),
    "band reversed": lambda: HighFrequency(band=(0.3, 0.1)),
    "band negative": lambda: HighFrequency(-0.1),
    "band of three": lambda: HighFrequency(band=(0.1, 0.2, 0.3)),
    "band of texts": lambda: HighFrequency(band=("a", "b")),
    "band of NaN": lambda: HighFrequency(math.nan),
    "edge twice": lambda: GraphSmoothness(torch.tensor([[0, 1], [1, 0]])),
    "edges of three": lambda: GraphSmoothness(torch.zeros(3, 2, dtype=torch.int64)),
    "edges int32": lambda: GraphSmoothness(EDGES.int()),
    "edges negative": lambda: GraphSmoothness(-EDGES),
    "weights too few": lambda: GraphSmoothness(EDGES, torch.ones(4)),
    "weights negative": lambda: GraphSmoothness(EDGES, -torch.ones(5)),
    "weights NaN": lambda: GraphSmoothness(EDGES, torch.full((5,), math.nan)),
    "weights of a matrix": lambda: GraphSmoothness(torch.eye(3), torch.ones(3)),
    "not symmetric": lambda: GraphSmoothness(torch.ones(3, 3).triu()),
    "signs not symmetric": lambda: GraphSmoothness(torch.tensor([[0.0, 1], [2, 0]])),
    "not square": lambda: GraphSmoothness(torch.ones(2, 3)),
    "negative weights": lambda: GraphSmoothness(-torch.ones(3, 3)),
    "infinite weights": lambda: GraphSmoothness(torch.full((3, 3), math.inf)),
    "graph a list": lambda: GraphSmoothness([[0, 1]]),
    "mask negative": lambda: MASK(torch.tensor([-1.0])),
    "mask NaN": lambda: MASK(torch.tensor([math.nan])),
    "mask infinite": lambda: MASK(torch.tensor([math.inf])),
    "mask a list": lambda: MASK([True]),
    "mask complex": lambda: MASK(torch.ones(2, dtype=torch.complex64)),
    "region above 1": lambda: EnergyInRegion(torch.tensor([1.5])),
    "no groups": lambda: GroupSparsity([]),
    "empty group": lambda: GroupSparsity([[0], []]),
    "feature twice in a group": lambda: GroupSparsity([[0, 0]]),
    "negative feature": lambda: GroupSparsity([[-1]]),
    "group ids floating": lambda: GroupSparsity(torch.ones(3)),
    "group ids negative": lambda: GroupSparsity(torch.tensor([-1, 0])),
    "groups a word": lambda: GroupSparsity("pixels"),
    "groups flat": lambda: GroupSparsity([0, 1]),
    "no terms": lambda: WeightedSum(),
    "weight infinite": lambda: math.inf * LpNorm(),
    "term no prior": lambda: WeightedSum((1.0, nn.ReLU())),
    "index negative": lambda: LpNorm().of(-1),
}
REFUSED_CALLS = {
    "one dimension": lambda: TotalVariation()(torch.randn(3)),
    "six dimensions": lambda: HighFrequency()(torch.randn(1, 1, 2, 2, 2, 2)),
    "too few dimensions": lambda: TotalVariation(2)(A2),
    "too few features for edges": lambda: GraphSmoothness(EDGES)(A2),
    "other features than the matrix": lambda: GraphSmoothness(torch.ones(6, 6))(A2),
    "too few features for groups": lambda: GroupSparsity([[5]])(A2),
    "other features than the ids": lambda: GroupSparsity(torch.tensor([0, 1, 0, 1]))(A2),
    "no channels": lambda: GroupSparsity("channels")(torch.randn(3)),
    "no mask": lambda: MASK()(A4),
    "two masks": lambda: MASK(torch.ones(4, 5))(A4, mask=torch.ones(4, 5)),
    "mask per example without channels": lambda: MASK()(A4, mask=torch.ones(3, 4, 5)),
    "mask of examples or channels": lambda: MASK()(A4[:2], mask=torch.ones(2, 4, 5)),
    "mask of another batch": lambda: MASK()(A4, mask=torch.ones(2, 1, 4, 5)),
    "mask of another size": lambda: MASK()(A4, mask=torch.ones(5, 4)),
    "mask of one number": lambda: MASK()(A4, mask=torch.ones(())),
    "mask per example at construction": lambda: MASK(torch.ones(3, 1, 4, 5))(A4),
    "mask negative": lambda: MASK()(A4, mask=-torch.ones(4, 5)),
    "mask a list": lambda: MASK()(A4, mask=[1.0]),
    "region above 1": lambda: EnergyInRegion()(A4, region=torch.full((4, 5), 2)),
    "no region": lambda: EnergyInRegion()(A4),
    "region and boxes": lambda: EnergyInRegion(torch.ones(4, 5))(A4, boxes=torch.zeros(3, 4)),
    "boxes of another batch": lambda: EnergyInRegion()(A4, boxes=torch.zeros(2, 4)),
    "boxes of five": lambda: EnergyInRegion()(A4, boxes=torch.zeros(3, 5)),
    "boxes for a table": lambda: EnergyInRegion()(A2, boxes=torch.zeros(3, 4)),
    "boxes reversed": lambda: EnergyInRegion()(A4, boxes=torch.tensor([[3, 0, 1, 2]] * 3)),
    "boxes NaN": lambda: EnergyInRegion()(A4, boxes=torch.full((3, 4), math.nan)),
    "boxes a list": lambda: EnergyInRegion()(A4, boxes=[[0, 0, 1, 1]] * 3),
    "unknown argument": lambda: LpNorm()(A4, mask=torch.ones(4, 5)),
    "argument no term takes": lambda: (LpNorm() + TotalVariation())(A4, mask=torch.ones(4, 5)),
    "too few masks": lambda: MASK()((A4, A4), mask=(torch.ones(4, 5),)),
    "input that is not there": lambda: LpNorm().of(2)((A4, A4)),
}


@pytest.mark.parametrize("make", REFUSED_OPTIONS.values(), ids=REFUSED_OPTIONS)
def test_options_without_meaning_are_refused_when_given_and_the_message_names_the_prior(make):
    with pytest.raises(OptionError, match=r"^\w+(\.of)?: .{20,}"):
        make()


@pytest.mark.parametrize("call", REFUSED_CALLS.values(), ids=REFUSED_CALLS)
def test_attributions_and_arguments_without_meaning_are_refused_and_the_message_names_the_prior(call):
    with pytest.raises(PriorError, match=re.compile(r"^\w+(\.of\(\d\))?(\[\d\])?: .{20,}", re.S)):
        call()


@pytest.mark.parametrize(
    "attributions",
    [
        (),
        None,
        torch.tensor(1.0),
        torch.ones(0, 3),
        torch.ones(2, 0),
        torch.ones(2, 3).long(),
        torch.eye(3).to_sparse(),
    ],
    ids=["empty tuple", "None", "number", "no examples", "no features", "integers", "sparse"],
)
@EACH
def test_what_are_no_attributions_is_refused(case, attributions):
    with pytest.raises(InputError):
        case.make()(attributions)
