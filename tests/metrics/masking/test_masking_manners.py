"""Batches, processes' states, dtypes, edges, plots and refusals of the masking metrics."""

import copy
import pickle

import masking_references as reference
import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_masking import KINDS, PROTOCOLS, batch, make, network, ties_and_zeros
from torch import nn

from captum_xg.errors import ForwardOutputError, InputError, OptionError, TargetError, TrainingModeError
from captum_xg.metrics import KeepAbsoluteMask, KeepPositiveMask, RemoveAbsoluteMask, maskers


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=settings.default.max_examples // 4)
@given(st.permutations(range(7)), st.lists(st.integers(1, 6), min_size=1, max_size=3), st.sampled_from([None, 1, 2, 5]))
def test_neither_order_nor_batches_nor_the_internal_size_change_anything(kind, order, cuts, size):
    model, (x, a, y) = network(), batch(7)
    a = ties_and_zeros(a)
    whole, parts = make(kind, model), make(kind, model, internal_batch_size=size)
    whole.update(x, a, y)
    order = torch.tensor(order)
    for rows in order.tensor_split(sorted(set(cuts))):
        parts.update(x[rows], a[rows], y[rows])
    torch.testing.assert_close(parts.compute(), whole.compute(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts.scores(x, a, y), whole.scores(x, a, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_compute_is_the_aggregate_of_the_scores_and_scores_leave_no_trace(kind, protocol):
    model, (x, a, y) = network(), batch(6)
    metric = make(kind, model, protocol=protocol)
    scores = metric.scores(x, a, y)
    assert scores.shape == (6, 16)
    assert scores.dtype == torch.float64
    assert int(metric.count) == 0
    metric.update(x, a, y)
    torch.testing.assert_close(metric.compute(), metric.aggregate(scores), rtol=1e-12, atol=0)
    assert metric.compute().shape == ()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_released_average_divides_by_batches_times_the_largest_batch(protocol):
    model, (x, a, y) = network(), batch(7)
    metric = KeepPositiveMask(model, protocol=protocol)
    for rows in (slice(0, 3), slice(3, 6), slice(6, 7)):
        metric.update(x[rows], a[rows], y[rows])
    mean = metric.aggregate(metric.scores(x, a, y))
    expected = mean if protocol == "paper" else mean * 7 / 9
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_forward_gives_the_value_of_the_batch_and_accumulates_all(kind, protocol):
    model, (x, a, y) = network(), batch(6)
    metric = make(kind, model, protocol=protocol)
    for rows in (slice(0, 4), slice(4, 6)):
        value = metric(x[rows], a[rows], y[rows])
        torch.testing.assert_close(value, metric.aggregate(metric.scores(x[rows], a[rows], y[rows])))
    mean = metric.aggregate(metric.scores(x, a, y))
    expected = mean if protocol == "paper" else mean * 6 / (2 * 4)
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_without_any_attribution_everything_is_masked_at_every_fraction(kind):
    n = 10
    x, w = torch.ones(2, n), torch.arange(1.0, n + 1)
    model = lambda x: torch.stack([x @ w - 20.0, torch.zeros(len(x))], 1)
    for protocol in PROTOCOLS:
        scores = make(kind, model, [0.0, 0.5, 1.0], protocol=protocol).scores(x, torch.zeros_like(x), 0)
        expected = {True: [-20.0] * 3, False: [0.0] * 3}[kind in KINDS[:2]]
        assert scores.tolist() == [expected] * 2


def test_curves_end_where_candidates_run_out():
    x, a = torch.ones(1, 100), torch.zeros(1, 100)
    a[0, :3] = 1.0
    scores = KeepPositiveMask(lambda x: x.sum(1, keepdim=True)).scores(x, a, 0)
    assert scores[0].tolist() == [min(int(f * 100), 3) for f in reference.FRACTIONS]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_scores_are_float64_whatever_the_inputs_are(dtype):
    model, (x, a, y) = network(dtype=dtype), batch(3, dtype=dtype)
    for kind in KINDS:
        scores = make(kind, model).scores(x, a, y)
        assert scores.dtype == torch.float64
        if kind in KINDS[:2]:
            exact = make(kind, network(dtype=torch.float64)).scores(x.double(), a.double(), y)
            torch.testing.assert_close(scores, exact, rtol=0, atol=64 * torch.finfo(dtype).eps)


def test_channels_of_coarse_attributions_are_averaged_in_float32():
    """1 and 1 + 2⁻⁸ are one number in bfloat16."""
    x, a = torch.tensor([[[[1.0, 10.0]], [[1.0, 10.0]]]]), torch.tensor([[[[1.0, 1.0]], [[1.0, 1 + 2**-7]]]])
    metric = KeepPositiveMask(lambda x: x.flatten(1).sum(1), [0.0, 0.5], maskers.Zero())
    assert metric.scores(x, a.bfloat16()).tolist() == [[0.0, 20.0]]


def test_attributions_with_one_channel_are_those_of_whole_pixels():
    model, (x, a, y) = network(), batch(3)
    for kind in KINDS:
        whole = make(kind, model).scores(x, a, y)
        assert torch.equal(make(kind, model).scores(x, a.mean(1, keepdim=True), y), whole)


def test_additional_arguments_and_targets_go_with_their_examples():
    x, a, y = batch(5)
    scale = torch.arange(1.0, 6).double()
    net = network()
    plain = KeepPositiveMask(net).scores(x, a, y)
    call = lambda x, s, factor: net(x) * s[:, None] * factor
    metric = KeepPositiveMask(call, internal_batch_size=3)
    for form in (y, y.tolist(), [(t,) for t in y.tolist()]):
        torch.testing.assert_close(metric.scores(x, a, form, (scale, 2.0)), plain * scale[:, None] * 2)
    torch.testing.assert_close(KeepPositiveMask(net).scores(x, a, 1), KeepPositiveMask(net).scores(x, a, y * 0 + 1))


def test_a_masker_that_needs_the_mask_gets_it():
    model, (x, a, y) = network(), batch(3)
    seen = []

    class Spy(maskers.NoisyLinear):
        def __call__(self, inputs, masked):
            seen.append(masked.flatten(1).sum(1))
            return super().__call__(inputs, masked)

    metric = KeepPositiveMask(model, [0.0, 0.5], Spy(noise=0.0))
    scores, numbers = metric.scores(x, a, y), []
    for i in range(3):
        one = a[i].mean(0)
        kept = reference.kept_features(one.flatten().tolist(), 0.5, "KeepPositiveMask")
        masked = torch.tensor([p not in kept for p in range(49)]).reshape(7, 7)
        expected = model(reference.imputed(x[i], masked)[None])[0, y[i]]
        torch.testing.assert_close(scores[i, 1], expected.detach(), rtol=1e-5, atol=1e-5)
        numbers += [49, 49 - len(kept)]
    assert torch.cat(seen).tolist() == numbers


def test_any_callable_is_a_masker_and_modules_stay_outside_of_the_metric():
    model, (x, a, y) = network(), batch(3)
    module = nn.Conv2d(2, 2, 1).double()
    metric = KeepPositiveMask(model, masker=module)
    expected = KeepPositiveMask(model, masker=lambda x: module(x)).scores(x, a, y)
    assert torch.equal(metric.scores(x, a, y), expected)
    assert list(metric.parameters()) == []
    assert metric.state_dict() == {}
    metric.train()
    assert not model.training


def test_nothing_outside_is_touched():
    model, (x, a, y) = network(), batch(3)
    x.requires_grad_()
    a.requires_grad_()
    before = x.detach().clone(), a.detach().clone()
    for kind in KINDS:
        make(kind, nn.Sequential(nn.ReLU(inplace=True), model)).update(x, a, y)
    assert torch.equal(x, before[0])
    assert torch.equal(a, before[1])
    assert x.grad is None
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_copies_and_pickles_go_on_where_the_metric_was():
    x, a, y = batch(4)
    metric = RemoveAbsoluteMask(network())
    metric.update(x, a, y)
    for other in (copy.deepcopy(metric), metric.clone(), pickle.loads(pickle.dumps(metric))):
        other.update(x * 2, a, y)
        assert int(other.count) == 8
    assert int(metric.count) == 4
    metric.reset()
    with pytest.raises(InputError, match="no example"), pytest.warns(UserWarning, match="before the ``update``"):
        metric.compute()


def test_plot_draws_the_curve_and_returns_figure_and_axes():
    metric = KeepAbsoluteMask(network())
    metric.update(*batch(4))
    figure, axes = metric.plot()
    assert axes.figure is figure
    drawn = axes.lines[0].get_xydata()
    assert torch.equal(torch.tensor(drawn), torch.stack(metric.curve(), 1))
    again, same = KeepAbsoluteMask.plot(metric, ax=axes)
    assert same is axes
    assert again is figure
    assert len(axes.lines) == 2
    plt.close(figure)


@pytest.mark.parametrize(
    "options",
    [
        {"fractions": [0.5]},
        {"fractions": [0.5, 0.1]},
        {"fractions": [0.0, 1.1]},
        {"fractions": [0.0, float("nan")]},
        {"masker": 3},
        {"masker": ()},
        {"protocol": "other"},
        {"channel_dim": 0},
        {"channel_dim": "last"},
        {"internal_batch_size": 0},
    ],
)
def test_options_without_a_meaning_are_refused(options):
    with pytest.raises(OptionError, match="KeepPositiveMask"):
        KeepPositiveMask(network(), **options)


def _fails(error, match, *args, metric=None):
    with pytest.raises(error, match=match):
        (metric or KeepAbsoluteMask(network())).update(*args)


def test_what_cannot_be_measured_is_refused_with_the_reason():
    x, a, y = batch(3)
    _fails(InputError, "shape", x, a[:, :, 1:], y)
    _fails(InputError, "shape", x, a[:2], y)
    _fails(InputError, "NaN", x, a * torch.nan, y)
    _fails(InputError, "attributions for", x, (a, a), y)
    _fails(TargetError, "one class per example", x, a, (1,))
    _fails(TargetError, "several numbers", x, a, None)
    _fails(TargetError, "must lie in", x, a, y + 4)
    _fails(TargetError, "one index per example", x, a, y[:2])
    _fails(TrainingModeError, "Dropout", x, a, y, metric=KeepAbsoluteMask(nn.Sequential(network(), nn.Dropout())))
    one_logit = lambda x: x.flatten(1).sum(1)
    _fails(ForwardOutputError, "C ≥ 2", x, a, None, metric=KeepAbsoluteMask(one_logit))
    for metric in (KeepAbsoluteMask, KeepPositiveMask):
        _fails(ForwardOutputError, "NaN", x, a, y, metric=metric(lambda x: network()(x) * torch.nan))
    _fails(InputError, "same shape", x, a, y, metric=KeepAbsoluteMask(network(), masker=lambda x: x[:1]))
    _fails(InputError, "NaN", x, a, y, metric=KeepAbsoluteMask(network(), masker=lambda x: x * torch.nan))
    _fails(InputError, "maskers for", x, a, y, metric=KeepAbsoluteMask(network(), masker=(maskers.Zero(),) * 2))
    _fails(InputError, "channel_dim", x, a, y, metric=KeepAbsoluteMask(network(), channel_dim=5))


def test_the_default_blur_goes_over_positions_wherever_the_channels_are():
    x, a = torch.rand(2, 9, 7, 3), torch.randn(2, 9, 7, 3)
    behind = KeepPositiveMask(lambda x: x.flatten(1).cumsum(1), channel_dim=3)
    before = KeepPositiveMask(lambda x: x.permute(0, 2, 3, 1).flatten(1).cumsum(1))
    moved = [t.permute(0, 3, 1, 2) for t in (x, a)]
    torch.testing.assert_close(behind.scores(x, a, 50), before.scores(*moved, 50))


def test_accuracy_refuses_to_count_classes_from_the_end():
    x = torch.rand(2, 3)
    for target in (-1, torch.tensor(-1)):
        with pytest.raises(TargetError, match="counted from 0"):
            KeepAbsoluteMask(lambda x: x).scores(x, x, target)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_target_that_does_not_fit_is_named_by_its_place_in_the_batch_and_before_others_are_run(size):
    x, a, _ = batch(4)
    seen = []

    def model(x):
        seen.append(len(x))
        return network()(x)

    metric = KeepPositiveMask(model, internal_batch_size=size)
    with pytest.raises(TargetError, match=r"`target\[3\]` = \(9,\)"):
        metric.update(x, a, [(0,), (1,), (2,), (9,)])
    assert len(seen) == 1
