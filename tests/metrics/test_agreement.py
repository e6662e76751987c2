"""Mean absolute relative difference: Eq. 14 and the released ratio of means, at and off zero references."""

import math

import agreement_references as slow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.errors import InputError, OptionError
from captum_xg.metrics import MeanAbsoluteRelativeDifference


def pair(n, features, seed, zeros=False):
    generator = torch.Generator().manual_seed(seed)
    a, r = (torch.randn(n, features, generator=generator, dtype=torch.float64) for _ in range(2))
    if zeros:  # 0/0 only
        gone = torch.rand(n, features, generator=generator) < 0.3
        a, r = a.masked_fill(gone, 0.0), r.masked_fill(gone, 0.0)
    return a, r


def value(a, r, sizes=None, protocol="paper"):
    metric = MeanAbsoluteRelativeDifference(protocol)
    for part, reference in zip(a.split(sizes or len(a)), r.split(sizes or len(a)), strict=True):
        metric.update(part, reference)
    return metric.compute()


cases = given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 10**6), st.booleans())


@cases
def test_the_paper_protocol_is_equation_14(n, features, seed, zeros):
    a, r = pair(n, features, seed, zeros)
    assert float(value(a, r)) == pytest.approx(slow.paper_difference(a.tolist(), r.tolist()), rel=1e-12)


@cases
def test_the_released_protocol_is_the_mean_over_batches_of_the_ratio_of_means(n, features, seed, zeros):
    a, r = pair(n, features, seed, zeros)
    batches = [(x.tolist(), y.tolist()) for x, y in zip(a.split(3), r.split(3), strict=True)]
    expected = slow.released_difference(batches)
    assert float(value(a, r, 3, "released")) == pytest.approx(expected, rel=1e-12)


@cases
def test_equation_14_does_not_depend_on_batches_or_their_order(n, features, seed, zeros):
    a, r = pair(n, features, seed, zeros)
    whole = value(a, r)
    torch.testing.assert_close(value(a, r, 2), whole, rtol=1e-13, atol=0)
    torch.testing.assert_close(value(a.flip(0), r.flip(0), 3), whole, rtol=1e-13, atol=0)


def test_the_released_protocol_counts_a_short_batch_as_much_as_a_full_one():
    a, r = torch.zeros(3, 2), torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 3.0]])
    a[2] = r[2]
    # two batches, one all wrong and one all right; per example it would be 2/3
    assert float(value(a, r, 2, "released")) == pytest.approx(0.5, rel=1e-6)
    assert float(value(a, r, 2)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("protocol", ["paper", "released"])
def test_equal_attributions_differ_by_exactly_0(protocol):
    a, _ = pair(4, 5, 0, zeros=True)
    assert value(a, a, protocol=protocol) == 0
    assert value(torch.zeros(2, 3), torch.zeros(2, 3), protocol=protocol) == 0


@pytest.mark.parametrize("protocol", ["paper", "released"])
def test_zero_attributions_differ_by_1_as_a_fraction_not_100(protocol):
    _, r = pair(4, 5, 0)
    assert float(value(torch.zeros_like(r), r, protocol=protocol)) == pytest.approx(1.0, rel=1e-6)


@given(st.integers(0, 10**6), st.integers(-20, 20))
def test_equation_14_does_not_change_when_both_are_scaled(seed, power):
    a, r = pair(3, 4, seed)
    assert torch.equal(value(a * -(2.0**power), r * -(2.0**power)), value(a, r))


def test_a_zero_that_both_have_counts_as_a_feature_that_agrees():
    assert float(value(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 1.0]]))) == 0.5


def test_an_attribution_where_the_reference_is_zero_is_infinitely_far_off_and_counted():
    metric = MeanAbsoluteRelativeDifference()
    metric.update(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[0.0, 2.0], [0.0, 1.0]]))
    assert float(metric.compute()) == math.inf
    assert int(metric.infinite) == 1
    assert metric.scores(torch.zeros(1, 2), torch.zeros(1, 2)).tolist() == [0.0]


def test_the_released_protocol_stays_finite_where_the_reference_is_zero():
    ones, zeros = torch.ones(1, 4), torch.zeros(1, 4)
    assert float(value(ones, zeros, protocol="released")) == pytest.approx(1e7)


def test_features_of_several_inputs_and_of_any_shape_are_one_list():
    a, r = pair(3, 12, 5)
    metric = MeanAbsoluteRelativeDifference()
    metric.update((a[:, :8].reshape(3, 2, 2, 2), a[:, 8:]), (r[:, :8].reshape(3, 2, 2, 2), r[:, 8:]))
    torch.testing.assert_close(metric.compute(), value(a, r), rtol=1e-14, atol=0)
    assert torch.equal(value(a[:, 0], r[:, 0]), value(a[:, :1], r[:, :1]))


@pytest.mark.parametrize("protocol", ["paper", "released"])
def test_scores_are_the_values_of_single_examples_and_leave_the_sums_alone(protocol):
    a, r = pair(5, 4, 1)
    metric = MeanAbsoluteRelativeDifference(protocol)
    scores = metric.scores(a, r)
    assert int(metric.count) == 0
    assert float(metric.total) == 0
    assert torch.equal(scores, torch.stack([value(a[i : i + 1], r[i : i + 1], protocol=protocol) for i in range(5)]))
    torch.testing.assert_close(metric.aggregate(scores), value(a, r, 1, protocol), rtol=1e-14, atol=0)


def test_reset_forgets_everything():
    metric = MeanAbsoluteRelativeDifference()
    metric.update(torch.ones(1, 2), torch.zeros(1, 2))
    metric.reset()
    metric.update(torch.ones(1, 2), torch.full((1, 2), 2.0))
    assert float(metric.compute()) == 0.5
    assert int(metric.infinite) == 0


def test_half_precision_is_compared_in_double_precision():
    a, r = (t.to(torch.bfloat16) for t in pair(3, 50, 2))
    assert torch.equal(value(a, r), value(a.double(), r.double()))


@pytest.mark.parametrize(
    ("a", "r", "said"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), "same shapes"),
        (torch.ones(2, 3), torch.ones(1, 3), "same shapes"),
        (torch.ones(2, 3), (torch.ones(2, 3), torch.ones(2, 3)), "same shapes"),
        ((torch.ones(2, 3), torch.ones(3, 3)), (torch.ones(2, 3), torch.ones(3, 3)), "for 2 examples"),
        (torch.tensor([[1.0], [math.nan]]), torch.ones(2, 1), "example 1"),
        (torch.ones(2, 1), torch.tensor([[math.inf], [1.0]]), "`reference` has NaN or infinity, first in example 0"),
        (torch.ones(0, 3), torch.ones(0, 3), "not empty"),
        ([1.0], torch.ones(1, 1), "list"),
        (torch.ones(1, 1, dtype=torch.complex64), torch.ones(1, 1), "real"),
        ((), (), "empty tuple"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_counts_nothing(a, r, said):
    metric = MeanAbsoluteRelativeDifference()
    with pytest.raises(InputError, match=said):
        metric.update(a, r)
    assert int(metric.count) == int(metric.infinite) == 0


def test_unknown_protocol_and_no_example_are_refused():
    with pytest.raises(OptionError, match="'paper' or 'released'"):
        MeanAbsoluteRelativeDifference("percent")
    with pytest.raises(InputError, match="no example"), pytest.warns(UserWarning, match="before the ``update``"):
        MeanAbsoluteRelativeDifference().compute()
