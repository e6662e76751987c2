"""Captum's infidelity and maximum sensitivity, accumulated: the same numbers, whatever the batches."""

import functools
import math
import warnings

import agreement_references as slow
import captum.metrics
import numpy as np
import pytest
import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients
from recording import Recording
from torch import nn

from captum_xg import XGradient
from captum_xg.errors import (
    ForwardOutputError,
    GradientError,
    InputError,
    OptionError,
    TargetError,
    TrainingModeError,
)
from captum_xg.metrics import GaussianNoise, Infidelity, MaxSensitivity, RandomRemoval, UniformNoise


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(bias=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 9, bias=bias), nn.ReLU(), nn.Linear(9, 3, bias=bias)).double()


def fed(metric, *arguments, size=None):
    for part in zip(*(t.split(size or len(t)) for t in arguments), strict=True):
        metric.update(*part)
    return metric


def halved(x):
    """A perturbation without chance, in Captum's form."""
    return torch.full_like(x, 0.5), x - 0.5


# Infidelity


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("internal", [None, 1, 3])
def test_infidelity_is_that_of_captum_on_the_whole_batch(normalize, internal):
    model, x, a, target = network(bias=True), draw(5, 6), draw(5, 6, seed=1), torch.tensor([0, 1, 2, 0, 1])
    metric = Infidelity(model, halved, n_samples=4, normalize=normalize, internal_batch_size=internal)
    expected = captum.metrics.infidelity(
        model, halved, x, a, target=target, n_perturb_samples=4, normalize=normalize
    ).detach()
    torch.testing.assert_close(metric.scores(x, a, target), expected, rtol=1e-11, atol=1e-14)


def test_infidelity_is_the_formula_over_the_perturbations_that_the_model_saw():
    x, a, w = draw(1, 5), draw(1, 5, seed=1), draw(5, seed=2)
    model = Recording(lambda t: (t @ w) ** 3)
    found = Infidelity(model, n_samples=40).scores(x, a)
    rows = [row for row in model.rows if not torch.equal(row, x[0])]
    same = 40 - len(rows)  # draws that removed nothing add an error of 0
    perturbations = [(row == 0).double().tolist() for row in rows] + [[0.0] * 5] * same
    outputs = [float((row @ w) ** 3) for row in rows] + [float((x @ w) ** 3)] * same
    expected = slow.infidelity(a[0].tolist(), float((x @ w) ** 3), perturbations, outputs)
    assert float(found) == pytest.approx(expected, rel=1e-10)


def test_exact_attributions_of_a_linear_model_are_not_unfaithful():
    x, w = draw(4, 7), draw(7, seed=1)

    def linear(t):
        return t @ w + 3

    assert float(Infidelity(linear).scores(x, x * w).max()) < 1e-25
    assert float(Infidelity(linear, RandomRemoval(0.2, baselines=1.5)).scores(x, (x - 1.5) * w).max()) < 1e-25
    assert float(Infidelity(linear, GaussianNoise(2.0)).scores(x, w.expand(4, 7)).max()) < 1e-25
    assert float(Infidelity(linear, normalize=True).scores(x, -3 * x * w).max()) < 1e-14
    assert float(Infidelity(linear).scores(x, w.expand(4, 7)).min()) > 1e-3


@pytest.mark.parametrize("probability", [0.2, 0.5, 1.0])
def test_random_removal_gives_the_expectation_in_closed_form(probability):
    x, w, a = draw(1, 6), draw(6, seed=1), draw(1, 6, seed=2)
    metric = Infidelity(lambda t: t @ w, RandomRemoval(probability), n_samples=20000)
    expected = slow.expected_infidelity_of_removal((a - x * w)[0].tolist(), probability)
    assert float(metric.scores(x, a)) == pytest.approx(expected, rel=0.05)


def test_gaussian_noise_gives_the_expectation_in_closed_form():
    x, w, a = draw(1, 6), draw(6, seed=1), draw(1, 6, seed=2)
    metric = Infidelity(lambda t: t @ w, GaussianNoise(0.3), n_samples=20000)
    assert float(metric.scores(x, a)) == pytest.approx(0.09 * float((a - w).square().sum()), rel=0.05)


def test_infidelity_grows_with_the_square_of_the_output():
    model, x, a = network(), draw(3, 6), draw(3, 6, seed=1)
    one = Infidelity(model).scores(x, a, 0)
    torch.testing.assert_close(Infidelity(lambda t: 4 * model(t)).scores(x, 4 * a, 0), 16 * one)


def test_several_inputs_targets_and_arguments_follow_their_example():
    x, y, scale = draw(3, 4), draw(3, 2, 2, seed=1), draw(3, seed=2)

    def forward(x, y, scale, offset):
        assert len(x) == len(y) == len(scale)
        return torch.stack([x.sum(1) * 2 + y.flatten(1).sum(1), y[:, 0, 0]], 1) * scale[:, None] + offset

    a = (2 * x * scale[:, None], y * scale[:, None, None])
    for target in (0, torch.zeros(3, dtype=torch.int64), [0, 0, 0], [(0,)] * 3):
        assert float(Infidelity(forward, n_samples=6).scores((x, y), a, target, (scale, 1.0)).max()) < 1e-25


# Maximum sensitivity


def test_max_sensitivity_is_that_of_captum_on_the_whole_batch():
    model, x, target = network(), draw(5, 6), torch.tensor([0, 1, 2, 0, 1])
    attribute = XGradient(model).attribute

    def shifted(t):
        return t + 0.3

    expected = captum.metrics.sensitivity_max(attribute, x, shifted, n_perturb_samples=2, target=target)
    found = MaxSensitivity(attribute, shifted, n_samples=2).scores(x, None, target)
    torch.testing.assert_close(found, expected.double(), rtol=1e-12, atol=0)


def test_max_sensitivity_is_the_formula_over_the_inputs_that_were_asked_for():
    x = draw(1, 5)
    attribute = Recording(lambda t: t**3)
    metric = MaxSensitivity(attribute, UniformNoise(0.5), n_samples=8)
    found = metric.scores(x, x**3)
    assert len(attribute.rows) == 8
    assert all(float((row - x).abs().max()) <= 0.5 for row in attribute.rows)
    assert len({tuple(row.tolist()) for row in attribute.rows}) == 8
    expected = slow.max_sensitivity((x**3)[0].tolist(), [(row**3).tolist() for row in attribute.rows])
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_constant_attributions_are_not_sensitive_and_proportional_ones_bounded_by_the_radius():
    x = draw(3, 5)
    assert MaxSensitivity(torch.ones_like).scores(x).tolist() == [0, 0, 0]
    found = MaxSensitivity(lambda t: 7 * t, UniformNoise(0.1)).scores(x)
    assert bool((found > 0).all())
    assert bool((found <= 0.1 * 5**0.5 / x.norm(dim=1)).all())


def test_attributions_of_zero_change_by_an_absolute_amount():
    x = torch.zeros(1, 4, dtype=torch.float64)
    found = MaxSensitivity(lambda t: t, lambda t: t + 0.5, n_samples=2).scores(x)
    assert found.tolist() == [1.0]


def test_attributions_that_are_given_are_not_computed_again_and_count_as_those_of_x():
    x = draw(3, 6)
    attribute = XGradient(network()).attribute
    model = Recording(lambda t: attribute(t, target=0))
    metric = MaxSensitivity(model, n_samples=3)
    with_none = metric.scores(x)
    assert len(model.rows) == 3 * 4
    model.rows.clear()
    assert torch.equal(metric.scores(x, attribute(x, target=0)), with_none)
    assert len(model.rows) == 3 * 3
    assert float(metric.scores(x, 10 * attribute(x, target=0)).min()) > 0.5


@pytest.mark.parametrize("method", [IntegratedGradients, InputXGradient, XGradient])
def test_methods_of_captum_and_ours_can_be_asked_with_several_inputs_and_arguments(method):
    def forward(x, y, scale):
        return (x.relu().sum(1) + y.flatten(1).relu().sum(1)) * scale

    inputs, scale = (draw(3, 4), draw(3, 2, 2, seed=1)), draw(3, seed=2).abs()
    found = MaxSensitivity(method(forward).attribute, n_samples=3).scores(inputs, None, None, scale)
    assert bool((found > 0).all())
    assert float(found.max()) < 1
    single = MaxSensitivity(method(forward).attribute, n_samples=3).scores(
        tuple(t[1:2] for t in inputs), None, None, scale[1:2]
    )
    torch.testing.assert_close(single, found[1:2], rtol=1e-12, atol=0)


def test_attributions_in_another_memory_format_are_taken():
    x = draw(2, 3, 4, 4).to(memory_format=torch.channels_last)
    metric = MaxSensitivity(lambda t: t.to(memory_format=torch.channels_last) ** 2)
    assert bool((metric.scores(x) > 0).all())
    assert bool((Infidelity(lambda t: t.flatten(1).sum(1)).scores(x, x) < 1e-20).all())


# Both


def both():
    model = network()
    return [
        Infidelity(model, n_samples=20),
        Infidelity(model, GaussianNoise(), n_samples=20),
        MaxSensitivity(XGradient(model).attribute, n_samples=4),
    ]


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_batches_and_their_order_do_not_matter(which, size):
    x, a, target = draw(7, 6), draw(7, 6, seed=1), torch.arange(7) % 3
    whole = fed(both()[which], x, a, target)
    parts = fed(both()[which], x.flip(0), a.flip(0), target.flip(0), size=size)
    torch.testing.assert_close(parts.compute(), whole.compute(), rtol=1e-13, atol=0)
    scores = both()[which].scores(x, a, target)
    torch.testing.assert_close(whole.compute(), whole.aggregate(scores), rtol=1e-13, atol=0)


@pytest.mark.parametrize("make", [Infidelity, MaxSensitivity])
def test_internal_batches_bound_the_calls_and_change_nothing(make):
    x, a = draw(2, 6), draw(2, 6, seed=1)
    functions = [Recording((lambda t: t.sin().sum(1)) if make is Infidelity else torch.sin) for _ in range(2)]
    whole, parts = make(functions[0], n_samples=7), make(functions[1], n_samples=7, internal_batch_size=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(parts.scores(x, a), whole.scores(x, a), rtol=1e-12, atol=0)
        make(functions[1], n_samples=2, internal_batch_size=50).scores(x, a)
    assert (functions[0].largest, functions[1].largest) == (7, 3)


@pytest.mark.parametrize("which", range(3))
def test_the_seed_decides_the_draws_and_the_generators_are_put_back(which):
    x, a = draw(3, 6), draw(3, 6, seed=1)
    metric = both()[which]
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = metric.scores(x, a, 0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    torch.rand(5)
    assert torch.equal(metric.scores(x, a, 0), first)
    metric.seed = 1
    assert not torch.equal(metric.scores(x, a, 0), first)


def test_perturbations_of_numpy_and_random_attribution_methods_are_seeded_too():
    def noisy(t):
        noise = torch.as_tensor(np.random.normal(0, 0.1, t.shape))  # noqa: NPY002
        return noise, t - noise

    x, a = draw(3, 6), draw(3, 6, seed=1)
    infidelity = Infidelity(network(), noisy, n_samples=5)
    first = infidelity.scores(x, a, 0)
    np.random.seed(11)  # noqa: NPY002
    assert torch.equal(infidelity.scores(x, a, 0), first)
    shap = functools.partial(GradientShap(network()).attribute, baselines=torch.zeros(2, 6, dtype=torch.float64))
    steady = MaxSensitivity(shap, n_samples=3)
    first = steady.scores(x, None, 0)
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    assert torch.equal(steady.scores(x, None, 0), first)


@pytest.mark.parametrize(
    ("metric", "arguments", "error", "said"),
    [
        (Infidelity(lambda x: x), (torch.ones(2, 3), torch.ones(2, 3)), TargetError, "no `target`"),
        (Infidelity(lambda x: x), (torch.ones(2, 3), torch.ones(2, 3), [0, 5]), TargetError, r"target\[1\]"),
        (Infidelity(lambda x: x.sum(1)), (torch.ones(2, 3), torch.ones(2, 1)), InputError, "same shapes"),
        (Infidelity(lambda x: x.sum(1)), (torch.ones(2, 3), torch.full((2, 3), math.nan)), InputError, "NaN"),
        (Infidelity(lambda x: x.prod(1).log()), (torch.ones(2, 3),) * 2, ForwardOutputError, "example 0"),
        (Infidelity(lambda x: x.argmax(1)), (torch.ones(2, 3),) * 2, ForwardOutputError, "int64"),
        (MaxSensitivity(torch.sin), (torch.ones(2, 3), torch.ones(3, 3)), InputError, "same shapes"),
        (MaxSensitivity(torch.sin), (torch.full((2, 3), math.nan),), InputError, "NaN"),
        (MaxSensitivity(lambda x: x / 0), (torch.ones(2, 3),), GradientError, "example 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_counts_nothing(metric, arguments, error, said):
    with pytest.raises(error, match=said):
        metric.update(*arguments)
    assert int(metric.count) == 0


def test_a_model_in_training_mode_is_refused_behind_an_attribution_method_too():
    model = nn.Sequential(nn.Dropout(), nn.Linear(3, 1))
    attribute = IntegratedGradients(model).attribute
    fixed = functools.partial(attribute, n_steps=3)
    for metric in (Infidelity(model), MaxSensitivity(attribute), MaxSensitivity(fixed)):
        with pytest.raises(TrainingModeError, match="Dropout"):
            metric.update(torch.ones(1, 3), torch.ones(1, 3), 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Infidelity(torch.sin, n_samples=0),
        lambda: Infidelity(torch.sin, perturb_func=0.1),
        lambda: Infidelity(torch.sin, seed=None),
        lambda: MaxSensitivity(torch.sin, n_samples=True),
        lambda: MaxSensitivity(torch.sin, perturb_func=0.1),
        lambda: MaxSensitivity(XGradient(torch.sin)),
        lambda: RandomRemoval(0.0),
        lambda: RandomRemoval(1.5),
        lambda: GaussianNoise(0.0),
        lambda: GaussianNoise(math.nan),
        lambda: UniformNoise(-1),
    ],
)
def test_options_without_meaning_are_refused(make):
    with pytest.raises(OptionError):
        make()
