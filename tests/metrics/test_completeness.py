"""The completeness gap: what attributions miss of F(x) − F(b)."""

import math

import agreement_references as slow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg import XGradient
from captum_xg.errors import (
    BaselineError,
    ForwardOutputError,
    InputError,
    OptionError,
    TargetError,
    TrainingModeError,
)
from captum_xg.metrics import CompletenessGap


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(bias=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 8, bias=bias), nn.ReLU(), nn.Linear(8, 3, bias=bias)).double()


def value(metric, *arguments, size=None):
    for part in zip(*(t.split(size or len(t)) for t in arguments), strict=True):
        metric.update(*part)
    return metric.compute()


@given(st.integers(0, 10**6), st.booleans(), st.floats(-2, 2))
def test_the_gap_is_the_formula(seed, relative, baseline):
    model, x, a = network(bias=True), draw(4, 5, seed=seed), draw(4, 5, seed=seed + 1)
    target = torch.tensor([0, 2, 1, 1])
    found = value(CompletenessGap(model, baseline, relative), x, a, target)
    with torch.no_grad():
        outputs, without = (model(t)[range(4), target].tolist() for t in (x, torch.full_like(x, baseline)))
    assert float(found) == pytest.approx(slow.completeness_gap(a.tolist(), outputs, without, relative), rel=1e-10)


@given(st.integers(0, 10**6), st.floats(-3, 3))
def test_weights_times_distance_from_the_baseline_leave_no_gap_in_a_linear_model(seed, baseline):
    x, w = draw(6, 4, seed=seed), draw(4, seed=seed + 1)
    metric = CompletenessGap(lambda t: t @ w + 1.5, baseline)
    assert float(value(metric, x, (x - baseline) * w)) < 1e-13


def test_x_gradient_leaves_no_gap_on_a_homogeneous_network_and_twice_of_it_leaves_all():
    model, x = network(), draw(7, 5)
    a = XGradient(model).attribute(x, target=1)
    assert float(CompletenessGap(model).scores(x, a, 1).max()) < 1e-13
    relative = CompletenessGap(model, relative=True)
    torch.testing.assert_close(relative.scores(x, 2 * a, 1), torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(relative.scores(x, 0 * a, 1), torch.ones(7, dtype=torch.float64))


def test_the_relative_gap_at_no_change_is_0_for_a_sum_of_0_and_infinite_otherwise():
    metric = CompletenessGap(lambda x: x.sum(1) * 0, relative=True)
    x = torch.ones(3, 2)
    a = torch.tensor([[1.0, -1.0], [0.0, 0.0], [1.0, 0.0]])
    assert metric.scores(x, a).tolist() == [0.0, 0.0, math.inf]
    metric.update(x, a)
    assert float(metric.compute()) == math.inf


def test_the_absolute_gap_is_finite_where_the_output_does_not_change():
    assert CompletenessGap(lambda x: x.sum(1) * 0).scores(torch.ones(1, 2), torch.ones(1, 2)).tolist() == [2.0]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("internal", [None, 1, 3])
def test_batches_and_their_order_do_not_matter(size, internal, relative):
    model, x, a = network(bias=True), draw(7, 5), draw(7, 5, seed=1)
    target = torch.arange(7) % 3
    whole = value(CompletenessGap(model, relative=relative), x, a, target)
    parts = CompletenessGap(model, relative=relative, internal_batch_size=internal)
    found = value(parts, x.flip(0), a.flip(0), target.flip(0), size=size)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=0)


def test_every_form_of_a_baseline_means_the_same():
    model, x, a = network(bias=True), draw(3, 5), draw(3, 5, seed=1)
    forms = [0.5, torch.tensor(0.5), torch.full((1, 5), 0.5), torch.full((3, 5), 0.5), (0.5,)]
    forms.append(lambda t: torch.full_like(t, 0.5))
    found = [CompletenessGap(model, form).scores(x, a, 0) for form in forms]
    assert all(torch.equal(found[0], other) for other in found)
    assert not torch.equal(found[0], CompletenessGap(model).scores(x, a, 0))


def test_several_inputs_and_additional_arguments_count_together():
    def forward(x, y, scale, offset):
        return (x.sum(1) * 2 + y.flatten(1).sum(1)) * scale + offset

    x, y, scale = draw(4, 3), draw(4, 2, 2, seed=1), draw(4, seed=2)
    a = (2 * x * scale[:, None], y * scale[:, None, None])
    for size in (None, 1, 3):
        metric = CompletenessGap(forward, internal_batch_size=size)
        assert float(metric.scores((x, y), a, None, (scale, 3.0)).max()) < 1e-13
        with_baselines = CompletenessGap(forward, (1.0, None), internal_batch_size=size)
        torch.testing.assert_close(
            with_baselines.scores((x, y), a, None, (scale, 3.0)), (6 * scale).abs(), rtol=1e-12, atol=0
        )


def test_attributions_of_a_layer_have_their_own_shape():
    x = draw(4, 3)
    hidden = torch.stack([x.sum(1), -x[:, 0]], 1)
    assert float(CompletenessGap(lambda t: t[:, 1:].sum(1)).scores(x, hidden).max()) < 1e-14


def test_inputs_are_left_alone_by_a_model_that_overwrites_them():
    x = draw(3, 4)
    before = x.clone()
    CompletenessGap(lambda t: t.mul_(2).sum(1)).update(x, draw(3, 4, seed=1))
    assert torch.equal(x, before)


def test_the_model_is_no_part_of_the_metric():
    model = network()
    metric = CompletenessGap(model)
    assert not list(metric.parameters())
    assert not list(metric.modules())[1:]
    metric.train()
    metric.to("meta")
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_scores_are_the_values_of_single_examples_and_change_no_state():
    model, x, a = network(), draw(4, 5), draw(4, 5, seed=1)
    metric = CompletenessGap(model)
    scores = metric.scores(x, a, 2)
    assert scores.dtype == torch.float64
    assert not scores.requires_grad
    assert int(metric.count) == 0
    metric.update(x, a, 2)
    torch.testing.assert_close(metric.compute(), metric.aggregate(scores), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("forward", "arguments", "options", "error", "said"),
    [
        (lambda x: x, (torch.ones(2, 3), torch.ones(2, 3)), {}, TargetError, "no `target`"),
        (lambda x: x, (torch.ones(2, 3), torch.ones(2, 3), 3), {}, TargetError, "out of range"),
        (lambda x: x.sum(1), (torch.ones(2, 3), torch.ones(3, 3)), {}, InputError, "3 attributions"),
        (lambda x: x.sum(1), (torch.ones(2, 3), torch.full((2, 3), math.nan)), {}, InputError, "NaN"),
        (lambda x: x.sum(1), (torch.full((2, 3), math.nan), torch.ones(2, 3)), {}, InputError, "NaN"),
        (lambda x: x.sum(), (torch.ones(2, 3), torch.ones(2, 3)), {}, ForwardOutputError, "one entry per example"),
        (lambda x: 1 / x.sum(1), (torch.ones(2, 3), torch.ones(2, 3)), {}, ForwardOutputError, "NaN or infinity"),
        (lambda x: x.sum(1), (torch.ones(2, 3),) * 2, {"baselines": torch.ones(2)}, BaselineError, "shape"),
        (lambda x: x.sum(1), (torch.ones(2, 3),) * 2, {"baselines": (0, 0)}, BaselineError, "2 baselines for 1"),
        (lambda x: x.sum(1), (torch.ones(2, 3),) * 2, {"baselines": math.inf}, BaselineError, "infinite"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_counts_nothing(forward, arguments, options, error, said):
    metric = CompletenessGap(forward, **options)
    with pytest.raises(error, match=said):
        metric.update(*arguments)
    assert int(metric.count) == 0


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(TrainingModeError, match="Dropout"):
        CompletenessGap(nn.Sequential(nn.Dropout(), nn.Linear(2, 1))).update(torch.ones(1, 2), torch.ones(1, 2))


@pytest.mark.parametrize("options", [{"relative": 1}, {"internal_batch_size": 0}, {"internal_batch_size": True}])
def test_options_without_meaning_are_refused(options):
    with pytest.raises(OptionError):
        CompletenessGap(network(), **options)


@pytest.mark.parametrize("baselines", ["0", [0], (0, "0"), nn.Linear])
def test_baselines_of_the_wrong_type_are_refused_at_once(baselines):
    with pytest.raises(BaselineError, match=type(baselines[1] if isinstance(baselines, tuple) else baselines).__name__):
        CompletenessGap(network(), baselines=baselines)


def test_no_model_is_refused():
    with pytest.raises(OptionError, match="callable"):
        CompletenessGap(None)
