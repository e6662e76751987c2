"""Every prior gives what its formula says."""

import math
from functools import partial

import prior_references as reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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

SIZES = st.integers(1, 4)


def _attributions(shape, seed, *, ties=False):
    generator = torch.Generator().manual_seed(seed)
    if ties:
        return torch.randint(-2, 3, shape, generator=generator).double()
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _gradient(function, attributions):
    leaf = attributions.clone().requires_grad_()
    return torch.autograd.grad(function(leaf), leaf)[0]


def _same(ours, theirs, attributions, *, gradients=True):
    torch.testing.assert_close(ours(attributions), theirs(attributions), rtol=1e-10, atol=1e-12)
    if gradients:
        mine = _gradient(ours, attributions)
        torch.testing.assert_close(mine, _gradient(theirs, attributions), rtol=1e-9, atol=1e-11)


@given(shape=st.lists(SIZES, min_size=1, max_size=4).map(tuple), seed=st.integers(0, 10**6), ties=st.booleans())
def test_gini_and_its_gradient_are_those_of_the_pairwise_form_also_where_features_are_equal(shape, seed, ties):
    A = _attributions(shape, seed, ties=ties)
    _same(GiniSparsity(), reference.gini_of_batch_mean, A)
    _same(GiniSparsity("example"), reference.mean_of_ginis, A)


def test_gini_of_two_thousand_features_is_that_of_the_pairwise_form():
    A = _attributions((4, 2000), 1)
    _same(GiniSparsity(), reference.gini_of_batch_mean, A)


@pytest.mark.parametrize("over", ["batch", "example"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_gini_is_least_where_one_feature_has_everything_and_zero_where_all_are_equal(over, n):
    A = torch.zeros(3, n, dtype=torch.float64)
    A[:, n // 2] = torch.tensor([1.0, -2, 3])
    torch.testing.assert_close(GiniSparsity(over)(A), torch.tensor(1 / n - 1, dtype=torch.float64))
    assert GiniSparsity(over)(torch.full((3, n), -0.3)) == 0


@given(seed=st.integers(0, 10**6), exponent=st.integers(-60, 60), over=st.sampled_from(["batch", "example"]))
def test_gini_in_float32_is_bit_for_bit_the_same_for_attributions_times_a_power_of_two(seed, exponent, over):
    A = _attributions((3, 11), seed).float()
    scaled = A * 2.0**exponent
    assert torch.equal(GiniSparsity(over)(A), GiniSparsity(over)(scaled))
    assert torch.equal(_gradient(GiniSparsity(over), A), _gradient(GiniSparsity(over), scaled) * 2.0**exponent)


@given(seed=st.integers(0, 10**6), over=st.sampled_from(["batch", "example"]))
def test_gini_does_not_depend_on_the_order_or_sign_of_features(seed, over):
    A = _attributions((3, 2, 5), seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(10, generator=generator)
    signs = torch.where(torch.rand(3, 10, generator=generator) > 0.5, 1.0, -1.0).double()
    changed = A.flatten(1)[:, order] * signs
    torch.testing.assert_close(GiniSparsity(over)(A), GiniSparsity(over)(changed))


@given(
    shape=st.lists(SIZES, min_size=2, max_size=5).map(tuple),
    dims=st.sampled_from([None, 1, 2, 3]),
    power=st.sampled_from([1, 2]),
    wrap=st.booleans(),
    seed=st.integers(0, 10**6),
    ties=st.booleans(),
)
@settings(max_examples=30)
def test_total_variation_is_the_sum_over_pairs_of_neighbours(shape, dims, power, wrap, seed, ties):
    inferred = {2: 1, 3: 1, 4: 2, 5: 3}[len(shape)]
    if dims is not None and dims >= len(shape):
        dims = None
    A = _attributions(shape, seed, ties=ties)
    used = inferred if dims is None else dims
    prior = TotalVariation(dims, power=power, wrap=wrap)
    _same(prior, lambda A: reference.total_variation(A, used, power, wrap), A)


@pytest.mark.parametrize("power", [1, 2])
def test_total_variation_does_not_see_a_constant_added_and_if_wrapped_no_shift(power):
    A = _attributions((2, 3, 5, 6), 0)
    free, wrapped = TotalVariation(power=power), TotalVariation(power=power, wrap=True)
    torch.testing.assert_close(free(A + 7), free(A))
    torch.testing.assert_close(wrapped(A.roll((2, 3), (2, 3))), wrapped(A))
    assert not torch.allclose(free(A.roll((2, 3), (2, 3))), free(A))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@given(n=st.integers(1, 6), N=SIZES, power=st.sampled_from([1, 2]), seed=st.integers(0, 10**6))
def test_graph_smoothness_is_the_sum_over_unordered_pairs_in_every_form_of_the_graph(n, N, power, seed):
    A = _attributions((N, n), seed)
    generator = torch.Generator().manual_seed(seed)
    W = torch.rand(n, n, generator=generator, dtype=torch.float64) * (torch.rand(n, n, generator=generator) > 0.4)
    W = W + W.T  # with a diagonal, which must not matter
    edges = W.triu(1).nonzero().T.contiguous()
    weights = W[edges[0], edges[1]]
    forms = [(W,), (W.to_sparse_coo(),), (W.to_sparse_csr(),), (edges, weights), (edges.flip(0), weights)]
    mean = lambda A: torch.stack([x.abs() for x in A]).mean(0)[None]
    for form in forms:
        _same(GraphSmoothness(*form, power=power), lambda A: reference.graph_smoothness(A, W, power), A)
        batch = GraphSmoothness(*form, power=power, of="mean_absolute")
        _same(batch, lambda A: reference.graph_smoothness(mean(A), W, power), A)


def test_graph_smoothness_of_power_two_is_the_quadratic_form_of_the_laplacian():
    W = (torch.rand(6, 6) > 0.5).double().triu(1)
    W = W + W.T
    a = torch.randn(1, 6, dtype=torch.float64)
    laplacian = torch.diag(W.sum(0)) - W
    torch.testing.assert_close(GraphSmoothness(W.bool())(a), (a @ laplacian @ a.T).squeeze())


@given(N=SIZES, C=SIZES, H=SIZES, W=SIZES, seed=st.integers(0, 10**6), dtype=st.sampled_from([bool, int, float]))
def test_masks_of_all_shapes_count_as_the_mask_spread_out_to_all_examples_and_channels(N, C, H, W, seed, dtype):
    A = _attributions((N, C, H, W), seed)
    generator = torch.Generator().manual_seed(seed)
    for shape in [(H, W), (1, H, W), (C, H, W), (N, 1, H, W), (N, C, H, W), (1, C, H, W), (1, 1, H, W)]:
        mask = torch.rand(shape, generator=generator, dtype=torch.float64)
        mask = mask if dtype is float else (mask > 0.5).to({bool: torch.bool, int: torch.uint8}[dtype])
        spread = mask.double().expand(N, C, H, W)
        if not (shape == (C, H, W) and N == C > 1):
            _same(partial(RightForRightReasons(), mask=mask), partial(reference.right_reasons, masks=spread), A)
            outside = partial(reference.energy_outside, regions=spread, positive=False)
            _same(partial(EnergyInRegion(), region=mask), outside, A)
        if len(shape) < 4 or shape[0] == 1:
            _same(RightForRightReasons(mask), partial(reference.right_reasons, masks=spread), A)
            outside = partial(reference.energy_outside, regions=spread, positive=True)
            _same(EnergyInRegion(mask, positive=True), outside, A)


@given(N=SIZES, F=SIZES, seed=st.integers(0, 10**6))
def test_masks_of_tables_are_per_feature_or_per_example_and_feature(N, F, seed):
    A = _attributions((N, F), seed)
    for shape in [(F,), (1, F), (N, F)]:
        mask = torch.rand(shape, dtype=torch.float64)
        spread = mask.expand(N, F)
        _same(partial(RightForRightReasons(), mask=mask), partial(reference.right_reasons, masks=spread), A)


@given(data=st.data(), N=SIZES, K=st.integers(1, 3), H=st.integers(1, 5), W=st.integers(1, 5), half=st.booleans())
def test_boxes_are_half_open_and_their_union_counts(data, N, K, H, W, half):
    corner = lambda: sorted(data.draw(st.tuples(st.integers(-1, 6), st.integers(-1, 6))))
    boxes = torch.zeros(N, K, 4)
    for box in boxes.reshape(-1, 4):
        (x1, x2), (y1, y2) = corner(), corner()
        box[:] = torch.tensor([x1, y1, x2, y2]) + 0.5 * half
    A = _attributions((N, 2, H, W), N + H)
    region = reference.region_of_boxes(boxes, N, 2, H, W).double()
    expected = lambda A: reference.energy_outside(A, region, False)
    _same(lambda A: EnergyInRegion()(A, boxes=boxes), expected, A)
    if K == 1:
        _same(lambda A: EnergyInRegion()(A, boxes=boxes[:, 0]), expected, A)


def test_the_box_of_the_whole_image_has_nothing_outside_and_the_empty_box_everything():
    A = torch.randn(2, 3, 4, 6)
    assert EnergyInRegion()(A, boxes=torch.tensor([[0, 0, 6, 4]] * 2)) == 0
    assert EnergyInRegion()(A, boxes=torch.tensor([[3, 2, 3, 4]] * 2)) == 1


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple),
    low=st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.4, 0.5]),
    width=st.sampled_from([0.05, 0.25, math.inf]),
    normalise=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=25)
def test_band_energy_is_that_of_the_full_spectrum(shape, low, width, normalise, seed):
    A = _attributions(shape, seed)
    prior = HighFrequency(band=(low, low + width), normalise=normalise)
    dims = {2: 1, 3: 1, 4: 2}[len(shape)]
    _same(prior, lambda A: reference.band_energy(A, dims, low, low + width, normalise), A)


def test_band_energy_of_volumes_is_that_of_the_full_spectrum():
    A = _attributions((2, 1, 2, 3, 4), 0)
    _same(HighFrequency(0.3), lambda A: reference.band_energy(A, 3, 0.3, math.inf, True), A)


@given(
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=5).map(tuple),
    cut=st.floats(0.01, 0.8),
    seed=st.integers(0, 10**6),
)
def test_bands_that_adjoin_add_up_to_all_energy(shape, cut, seed):
    A = _attributions(shape, seed)
    for normalise, everything in ((True, torch.tensor(1.0).double()), (False, A.flatten(1).square().sum(1).mean())):
        low = HighFrequency(band=(0, cut), normalise=normalise)(A)
        torch.testing.assert_close(low + HighFrequency(cut, normalise=normalise)(A), everything)


def test_a_frequency_that_is_the_edge_of_two_bands_belongs_to_the_upper():
    # √((3/12)² + (4/12)²) = 5/12, which squares in binary miss by a rounding
    n, places = 12, torch.arange(12).double()
    wave = torch.cos(2 * math.pi * (3 * places[:, None] + 4 * places[None, :]) / n)
    for image in (wave, wave.T.contiguous()):
        torch.testing.assert_close(HighFrequency(5 / n)(image[None, None]), torch.tensor(1.0).double())
        assert HighFrequency(band=(0, 5 / n))(image[None, None]) < 1e-12


def test_a_constant_is_low_and_an_alternating_sign_is_the_highest_frequency():
    constant, alternating = torch.ones(1, 1, 8), torch.tensor([1.0, -1] * 4).reshape(1, 1, 8)
    assert HighFrequency(0.01)(constant) < 1e-6
    assert HighFrequency(0.5)(alternating) > 1 - 1e-6


@given(shape=st.lists(SIZES, min_size=1, max_size=4).map(tuple), p=st.sampled_from([1, 1.5, 2, 3.0, math.inf]))
def test_norms_are_the_mean_over_examples_of_each_ones_norm(shape, p):
    A = _attributions(shape, len(shape))
    _same(LpNorm(p), lambda A: reference.lp_norm(A, p), A)


@given(n=st.integers(1, 7), N=SIZES, seed=st.integers(0, 10**6))
def test_group_sparsity_is_the_weighted_sum_of_norms_in_every_form_of_groups(n, N, seed):
    A = _attributions((N, n, 2), seed)
    ids = torch.randint(0, 3, (n, 2), generator=torch.Generator().manual_seed(seed))
    lists = [torch.nonzero(ids.flatten() == g).flatten().tolist() for g in ids.unique()]
    expected = lambda A: reference.group_lasso(A, lists)
    _same(GroupSparsity(ids), expected, A)
    _same(GroupSparsity(lists), expected, A)
    channels = [[2 * i, 2 * i + 1] for i in range(n)]
    _same(GroupSparsity("channels"), lambda A: reference.group_lasso(A, channels), A)


def test_groups_may_overlap_and_leave_features_out():
    A, groups = _attributions((2, 6), 0), [[0, 1], [1, 2, 3]]
    _same(GroupSparsity(groups), lambda A: reference.group_lasso(A, groups), A)
    assert not _gradient(GroupSparsity(groups), A)[:, 4:].any()
