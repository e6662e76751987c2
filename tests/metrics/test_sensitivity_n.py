"""Sensitivity-n: correlation of summed attributions with the drop of the output, over random sets of features."""

import collections
import itertools
import math

import agreement_references as slow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import Recording, removed_sets
from torch import nn

from captum_xg.errors import BaselineError, ForwardOutputError, InputError, OptionError, TargetError
from captum_xg.metrics import SensitivityN


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic(x):
    return (x.flatten(1).sum(1) + 0.5 * x.flatten(1).prod(1)) ** 2


def fed(metric, *arguments, size=None):
    for part in zip(*(t.split(size or len(t)) for t in arguments), strict=True):
        metric.update(*part)
    return metric


@given(st.integers(0, 10**6), st.floats(-2, 2))
@settings(max_examples=20)
def test_exact_attributions_of_a_linear_model_correlate_perfectly_for_every_n(seed, baseline):
    x, w = draw(3, 12, seed=seed), draw(12, seed=seed + 1)
    metric = SensitivityN(lambda t: t @ w - 2, baselines=baseline, n_subsets=20)
    scores = metric.scores(x, (x - baseline) * w)
    torch.testing.assert_close(scores, torch.ones(3, 10, dtype=torch.float64), rtol=1e-9, atol=0)


def test_it_is_still_so_in_single_precision():
    x, w = draw(3, 200).float(), draw(200, seed=1).float()
    scores = SensitivityN(lambda t: t @ w, n_subsets=20).scores(x, x * w)
    torch.testing.assert_close(scores, torch.ones(3, 10, dtype=torch.float64), rtol=1e-4, atol=0)


def test_attributions_of_the_wrong_sign_correlate_with_minus_1():
    x, w = draw(3, 12), draw(12, seed=1)
    scores = SensitivityN(lambda t: t @ w, n_subsets=20).scores(x, -x * w)
    torch.testing.assert_close(scores, -torch.ones(3, 10, dtype=torch.float64))


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_each_point_is_the_correlation_over_the_sets_that_the_model_saw(seed):
    x, a = draw(1, 9, seed=seed), draw(1, 9, seed=seed + 1)
    model = Recording(quadratic)
    found = SensitivityN(model, [0.1, 0.5, 0.8], n_subsets=12).scores(x, a)
    sets = removed_sets(model.rows, x)
    for n, point in zip((1, 4, 7), found[0], strict=True):
        own = [s for s in sets if len(s) == n]
        assert len(own) == 12
        outputs = [float(quadratic(x.clone().index_fill(1, torch.tensor(s), 0.0))) for s in own]
        expected = slow.sensitivity_n(a[0].tolist(), float(quadratic(x)), own, outputs)
        assert float(point) == pytest.approx(expected, abs=1e-9)


def test_sets_of_every_size_hold_every_feature_equally_often():
    x = draw(1, 10).abs() + 1
    model = Recording(quadratic)
    SensitivityN(model, [0.1, 0.4, 0.8], n_subsets=2000).scores(x, x)
    sets = removed_sets(model.rows, x)
    for n in (1, 4, 8):
        counts = collections.Counter(i for s in sets if len(s) == n for i in s)
        expected, deviation = 200 * n, math.sqrt(2000 * (n / 10) * (1 - n / 10))
        assert all(abs(counts[i] - expected) < 5 * deviation for i in range(10))
    pairs = collections.Counter(tuple(sorted(s)) for s in sets if len(s) == 8)
    assert len(pairs) == 45


def test_by_default_sizes_go_from_one_feature_to_80_percent_evenly_in_the_logarithm():
    metric = SensitivityN(quadratic)
    sizes = metric.sizes(100_000)
    assert (sizes[0], sizes[-1], len(sizes)) == (1, 80_000, 10)
    steps = [math.log(b / a) for a, b in itertools.pairwise(sizes[3:])]  # rounding bends the first ones
    assert max(steps) - min(steps) < 0.03
    for features in range(1, 60):
        sizes = metric.sizes(features)
        assert sizes == sorted(sizes)
        assert sizes[0] == 1
        assert sizes[-1] == max(1, 8 * features // 10)


def test_curve_gives_fractions_and_the_mean_over_examples_and_compute_the_mean_of_it():
    x, a = draw(5, 20), draw(5, 20, seed=1)
    metric = fed(SensitivityN(quadratic, [0.05, 0.26, 0.5]), x, a)
    fractions, values = metric.curve()
    assert fractions.tolist() == [0.05, 0.25, 0.5]  # 0.26 of 20 is 5 features
    torch.testing.assert_close(values, metric.scores(x, a).mean(0), rtol=1e-13, atol=0)
    torch.testing.assert_close(metric.compute(), values.mean(), rtol=1e-13, atol=0)
    torch.testing.assert_close(metric.compute(), metric.aggregate(metric.scores(x, a)), rtol=1e-13, atol=0)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("internal", [1, 7, 64, None])
def test_batches_order_and_internal_batches_do_not_matter(size, internal):
    x, a = draw(5, 8), draw(5, 8, seed=1)
    model = Recording(quadratic)
    whole = fed(SensitivityN(quadratic, n_subsets=10), x, a)
    parts = SensitivityN(model, n_subsets=10, internal_batch_size=internal)
    fed(parts, x.flip(0), a.flip(0), size=size)
    torch.testing.assert_close(parts.curve(), whole.curve(), rtol=1e-12, atol=1e-13)
    assert model.largest <= (internal or 10 * 7)


def test_the_seed_decides_the_sets_and_nothing_else_does():
    x, a = draw(2, 8), draw(2, 8, seed=1)
    first = SensitivityN(quadratic, seed=3).scores(x, a)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(SensitivityN(quadratic, seed=3).scores(x, a), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(SensitivityN(quadratic, seed=4).scores(x, a), first)
    other = SensitivityN(quadratic, seed=3).scores(x[[0]].expand(2, 8) + draw(2, 8, seed=9) * 1e-9, a[[0, 0]])
    assert not torch.allclose(other[0], other[1], atol=1e-3)  # examples have sets of their own


def test_channels_that_are_one_feature_are_removed_together():
    x, w = draw(2, 3, 4, 4).abs() + 1, draw(3, 4, 4, seed=1)
    model = Recording(lambda t: (t * w).flatten(1).sum(1))
    scores = SensitivityN(model, [0.25], n_subsets=5, joint_dim=1).scores(x, x * w)
    torch.testing.assert_close(scores, torch.ones(2, 1, dtype=torch.float64))
    gone = [row == 0 for row in model.rows if bool((row == 0).any())]
    assert len(gone) == 10
    assert all(torch.equal(g[0], g[1]) and torch.equal(g[0], g[2]) and int(g[0].sum()) == 4 for g in gone)
    last = Recording(lambda t: (t * w).flatten(1).sum(1))
    SensitivityN(last, [0.5], n_subsets=5, joint_dim=-1).scores(x, x * w)
    assert all(bool((row == 0).all(-1).eq((row == 0).any(-1)).all()) for row in last.rows)


def test_features_of_several_inputs_are_one_set_and_arguments_follow_their_example():
    x, y, scale = draw(3, 4), draw(3, 2, 2, seed=1), draw(3, seed=2)

    def forward(x, y, scale, offset):
        assert len(x) == len(y) == len(scale)
        return torch.stack([x.sum(1) * 2 + y.flatten(1).sum(1), y[:, 0, 0]], 1) * scale[:, None] + offset

    a = (2 * x * scale[:, None], y * scale[:, None, None])
    metric = SensitivityN(forward, n_subsets=10)
    for target in (0, torch.zeros(3, dtype=torch.int64), [0, 0, 0]):
        scores = metric.scores((x, y), a, target, (scale, 1.0))
        torch.testing.assert_close(scores, torch.ones(3, 10, dtype=torch.float64))
    metric.update((x, y), a, 0, (scale, 1.0))
    assert int(metric.n_features) == 8


def test_where_both_sides_are_constant_equality_is_all_that_is_asked():
    x = torch.ones(1, 6)
    alike = SensitivityN(lambda t: t.sum(1) / 3, [0.2, 0.5, 1.0], n_subsets=10)
    assert alike.scores(x, x / 3).tolist() == [[1, 1, 1]]
    assert alike.scores(x, x / 2).tolist() == [[0, 0, 0]]
    nothing = SensitivityN(lambda t: t.sum(1) * 0, n_subsets=10)
    assert nothing.scores(x, x * 0).eq(1).all()


def test_removing_all_features_asks_for_completeness():
    x, w = draw(3, 7), draw(7, seed=1)
    metric = SensitivityN(lambda t: t @ w, [1.0], n_subsets=3)
    assert metric.scores(x, x * w).tolist() == [[1.0]] * 3
    assert metric.scores(x, 2 * x * w).tolist() == [[0.0]] * 3


def test_where_only_one_side_is_constant_the_correlation_is_0():
    x, w = draw(2, 6), draw(6, seed=1)
    metric = SensitivityN(lambda t: t @ w, [0.2, 0.5], n_subsets=10)
    assert metric.scores(x, x * 0).tolist() == [[0, 0]] * 2
    assert metric.scores(x, x * 0 + 1).tolist() == [[0, 0]] * 2
    dead = SensitivityN(lambda t: t.sum(1) * 0, [0.2, 0.5], n_subsets=10)
    assert dead.scores(x, x).tolist() == [[0, 0]] * 2


def test_rounding_is_not_correlated_with_anything():
    x, a = draw(1, 300).float(), draw(1, 300, seed=1).float()
    # 1e4 has steps of 1e-3 in single precision
    noisy = Recording(lambda t: 1e4 + t.sum(1) * 1e-4)
    assert SensitivityN(noisy, [0.1, 0.5], n_subsets=30).scores(x, a).tolist() == [[0, 0]]
    assert len(noisy.function(torch.stack(noisy.rows)).unique()) > 1
    alike = torch.full((1, 300), 0.1) * (1 + (a > 0) * 2.0**-23)
    assert len(alike.unique()) > 1
    assert SensitivityN(lambda t: (t * a).sum(1), [0.1, 0.5], n_subsets=30).scores(x, alike).tolist() == [[0, 0]]


def test_sizes_that_occur_again_get_the_same_number_and_each_size_its_own():
    x, a = draw(2, 10), draw(2, 10, seed=1)
    found = SensitivityN(quadratic, [0.5, 0.2, 0.5, 0.21, 0.8]).scores(x, a)
    apart = [SensitivityN(quadratic, [f]).scores(x, a) for f in (0.5, 0.2, 0.5, 0.2, 0.8)]
    torch.testing.assert_close(found, torch.cat(apart, 1), rtol=1e-12, atol=1e-13)
    assert len(found[0].unique()) == 3


@pytest.mark.parametrize("power", [-150, -30, 30])
def test_the_scale_of_attributions_does_not_matter(power):
    x, a = draw(2, 8), draw(2, 8, seed=1)
    metric = SensitivityN(quadratic, [0.2, 0.5])
    torch.testing.assert_close(metric.scores(x, a * 2.0**power), metric.scores(x, a), rtol=1e-9, atol=1e-12)


def test_inputs_are_left_alone_by_a_model_that_overwrites_them():
    x, a = draw(2, 5), draw(2, 5, seed=1)
    before = x.clone()
    found = SensitivityN(lambda t: quadratic(t.mul_(2))).scores(x, a)
    assert torch.equal(x, before)
    assert torch.equal(found, SensitivityN(lambda t: quadratic(t * 2)).scores(x, a))


def test_trained_directions_score_higher_than_random_ones():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(30, 40, bias=False), nn.ReLU(), nn.Linear(40, 1, bias=False)).double()
    x = draw(6, 30).requires_grad_()
    (g,) = torch.autograd.grad(model(x).sum(), x)
    metric = SensitivityN(model)
    informed = metric.aggregate(metric.scores(x.detach(), x.detach() * g, 0))
    assert float(informed) > float(metric.aggregate(metric.scores(x.detach(), draw(6, 30, seed=1), 0))) + 0.3


def test_the_plot_shows_the_curve():
    import matplotlib

    matplotlib.use("Agg")
    metric = fed(SensitivityN(quadratic), draw(2, 8), draw(2, 8, seed=1))
    figure, axes = metric.plot()
    assert axes.lines[0].get_xydata().tolist() == torch.stack(metric.curve(), 1).tolist()
    assert metric.plot(axes)[0] is figure
    matplotlib.pyplot.close(figure)


def test_examples_with_another_number_of_features_are_refused_and_count_nothing():
    metric = fed(SensitivityN(quadratic, n_subsets=4), draw(2, 5), draw(2, 5))
    with pytest.raises(InputError, match="6 features and earlier ones 5"):
        metric.update(draw(2, 6), draw(2, 6))
    assert int(metric.count) == 2


@pytest.mark.parametrize(
    ("forward", "arguments", "options", "error", "said"),
    [
        (lambda x: x, (torch.ones(2, 3), torch.ones(2, 3)), {}, TargetError, "no `target`"),
        (lambda x: x, (torch.ones(2, 3), torch.ones(2, 3), [0]), {}, TargetError, "1 entries for 2"),
        (lambda x: x.sum(1), (torch.ones(2, 3), torch.ones(2, 1)), {}, InputError, "same shapes"),
        (lambda x: x.sum(1), (torch.ones(2, 3), torch.full((2, 3), math.inf)), {}, InputError, "infinity"),
        (lambda x: x.sum(1), (torch.ones(2, 3),) * 2, {"joint_dim": 2}, InputError, "joint_dim"),
        (lambda x: x.sum(1), (torch.ones(2, 3),) * 2, {"joint_dim": -2}, InputError, "joint_dim"),
        (lambda x: x.sum(1), (torch.ones(2, 3),) * 2, {"baselines": torch.ones(2)}, BaselineError, "shape"),
        (lambda x: x.prod(1).log(), (torch.ones(2, 3),) * 2, {}, ForwardOutputError, "example 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_counts_nothing(forward, arguments, options, error, said):
    metric = SensitivityN(forward, n_subsets=4, **options)
    with pytest.raises(error, match=said):
        metric.update(*arguments)
    assert int(metric.count) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"fractions": []},
        {"fractions": [0.0, 0.5]},
        {"fractions": [1.5]},
        {"fractions": [math.nan]},
        {"n_subsets": 1},
        {"n_subsets": 2.5},
        {"joint_dim": 0},
        {"seed": 0.5},
        {"internal_batch_size": -1},
    ],
)
def test_options_without_meaning_are_refused(options):
    with pytest.raises(OptionError):
        SensitivityN(quadratic, **options)


def test_a_curve_without_examples_is_refused():
    with pytest.raises(InputError, match="no example"):
        SensitivityN(quadratic).curve()
