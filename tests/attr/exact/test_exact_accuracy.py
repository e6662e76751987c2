"""Exact to rounding: against walks that know no operations, dense sums, hand calculations, and its own axioms."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from exact_lines import by_pieces, by_sums, region_by_region
from hypothesis import given
from hypothesis import strategies as st
from piecewise_networks import ACTIVATIONS, POOLS, cnn, ends, initialised, mlp
from torch import nn

from captum_xg import AdaptiveIntegratedGradients, ExactIntegratedGradients, XGradient
from captum_xg.attr.exact.steps import Rule

seeds = st.integers(0, 10_000)
names = st.sampled_from(sorted(ACTIVATIONS))
METHODS = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")


def exact(model, x, b, target=1, **options):
    return ExactIntegratedGradients(model, **options).attribute(
        x, b, target, return_convergence_delta=True, return_report=True
    )


def require_exact(model, x, b):
    """Compare with two references that know no operations, and look at the sums."""
    found, delta, report = exact(model, x, b)
    assert bool((report.completeness_gap <= 1e-10).all())
    assert bool((delta.abs() <= 1e-10 * found.flatten(1).abs().sum(1)).all())
    for i in range(len(x)):
        own = slice(i, i + 1)
        reference = by_pieces(lambda z: model(z)[:, 1], x[own], b[own], report.line(i).breakpoints)
        terms = reference * (x - b)[own]
        torch.testing.assert_close(found[own], terms, rtol=1e-9, atol=1e-10 * float(terms.abs().max()))
        sums = by_sums(lambda z: model(z)[:, 1], x[own], b[own], 1000) * (x - b)[own]
        assert float((found[own] - sums).norm()) <= 2e-2 * float(sums.norm())


@given(seed=seeds, layers=st.lists(names, min_size=1, max_size=3))
def test_random_networks_get_what_gradients_in_all_pieces_give(seed, layers):
    require_exact(mlp(layers, seed, width=7), *ends(seed, 2, 6))


@given(seed=seeds, layers=st.tuples(names, names), pool=st.sampled_from(POOLS))
def test_random_convolutional_networks_get_it_too(seed, layers, pool):
    require_exact(cnn(layers, seed, pool=pool), *ends(seed, 1, 2, 5, 5))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation(name):
    require_exact(cnn([name, name], 4), *ends(4, 1, 2, 4, 4))


@given(seed=seeds)
def test_one_region_after_another_gives_the_same(seed):
    model = initialised(nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)), seed)
    x, b = ends(seed, 1, 8)
    found, _, report = exact(model, x, b)
    reference, pieces = region_by_region(model, x, b, 1)
    torch.testing.assert_close(found, reference * (x - b), rtol=1e-6, atol=1e-8)
    assert abs(int(report.regions) - pieces) <= 1  # where two meet, rounding decides


def test_two_layers_by_hand():
    # F(x) = relu(x₁ + x₂ − 1) − 2·relu(x₁ − x₂) on the path from (0, 0) to (2, 1): kinks at α = 1/3 and 0.
    def forward(x):
        return ((x[:, 0] + x[:, 1] - 1).relu() - 2 * (x[:, 0] - x[:, 1]).relu()).unsqueeze(1)

    found, _, report = exact(forward, torch.tensor([[2.0, 1.0]]).double(), None, 0)
    # ∇F = (−2, 2) up to 1/3, then (−1, 3).
    expected = torch.tensor([[2 * (-2 / 3 - 2 / 3), 2 / 3 + 2.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=1e-15)
    line = report.line(0)
    torch.testing.assert_close(line.breakpoints, torch.tensor([0, 1 / 3, 1], dtype=torch.float64))
    torch.testing.assert_close(line.values, torch.tensor([0, -2 / 3, 0], dtype=torch.float64))


def test_leaky_and_bounded_by_hand():
    # F(x) = hardtanh(2x) + leaky(x − 3/4, 1/4) from −1 to 1: slopes 1/4, 9/4, 1/4, 1 from −1/2, 1/2 and 3/4 on.
    def forward(x):
        return nn.functional.hardtanh(2 * x) + nn.functional.leaky_relu(x - 0.75, 0.25)

    found, _, report = exact(forward, torch.ones(1, 1).double(), -1, 0)
    torch.testing.assert_close(found.item(), 0.5 * 0.25 + 1 * 2.25 + 0.25 * 0.25 + 0.25 * 1, rtol=1e-14, atol=0)
    assert report.line(0).breakpoints.tolist() == pytest.approx([0, 0.25, 0.75, 0.875, 1], abs=1e-15)


@given(seed=seeds, zero=st.booleans())
def test_homogeneous_networks_have_one_region_and_get_x_gradient(seed, zero):
    model = initialised(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3, bias=False)
        ),
        seed,
    )
    x, b = ends(seed, 3, 2, 6, 6)
    found, _, report = exact(model, x, None if zero else b, [0, 1, 2])
    if zero:
        assert report.regions.tolist() == [1, 1, 1]
        expected = XGradient(model, validate="numeric").attribute(x, target=[0, 1, 2])
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
    else:
        assert int(report.regions.min()) > 1


@given(seed=seeds, layers=st.lists(names, min_size=1, max_size=2))
def test_the_line_is_f_along_the_path(seed, layers):
    model, (x, b) = mlp(layers, seed), ends(seed, 1, 6)
    line = exact(model, x, b)[2].line(0)
    assert line.breakpoints[0] == 0
    assert line.breakpoints[-1] == 1
    assert bool((line.breakpoints.diff() > 0).all())
    alpha = torch.cat([line.breakpoints, (line.breakpoints[:-1] + line.breakpoints[1:]) / 2, torch.rand(50).double()])
    with torch.no_grad():
        there = model(b + alpha[:, None] * (x - b))[:, 1]
    expected = torch.from_numpy(np.interp(alpha, line.breakpoints, line.values))
    torch.testing.assert_close(there, expected, rtol=1e-10, atol=1e-11)


@given(seed=seeds, size=st.sampled_from([1, 2, 5]))
def test_an_example_does_not_depend_on_the_others_nor_on_the_parts(seed, size):
    model, (x, b) = mlp(["abs"], seed, width=4), ends(seed, 2, 6)
    method = ExactIntegratedGradients(model)
    together = method.attribute(x, b, 0)
    parts = method.attribute(x, b, 0, internal_batch_size=size)
    torch.testing.assert_close(parts, together, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(method.attribute(x[1:], b[1:], 0), together[1:], rtol=1e-10, atol=1e-12)


@given(seed=seeds)
def test_paths_add_up(seed):
    """IG from a to c along a line is that from a to b and from b to c, for b on it."""
    model, (x, b) = cnn(["ReLU", "Hardtanh"], seed), ends(seed, 1, 2, 4, 4)
    middle = 0.3 * x + 0.7 * b
    method = ExactIntegratedGradients(model)
    parts = method.attribute(middle, b, 0) + method.attribute(x, middle, 0)
    torch.testing.assert_close(parts, method.attribute(x, b, 0), rtol=1e-9, atol=1e-11)


@given(seed=seeds)
def test_linearity_and_what_is_ignored(seed):
    one, other, (x, b) = mlp(["ReLU"], seed, width=5), mlp(["LeakyReLU"], seed + 1, width=5), ends(seed, 1, 6)

    def sum_of(z):
        return 2 * one(z * torch.tensor([1, 1, 1, 0, 1, 1])) - other(z)

    method = ExactIntegratedGradients(lambda z: one(z * torch.tensor([1, 1, 1, 0, 1, 1])))
    parts = 2 * method.attribute(x, b, 0) - ExactIntegratedGradients(other).attribute(x, b, 0)
    torch.testing.assert_close(ExactIntegratedGradients(sum_of).attribute(x, b, 0), parts, rtol=1e-9, atol=1e-11)
    assert bool((method.attribute(x, b, 0)[:, 3] == 0).all())


@given(seed=seeds, method=st.sampled_from(METHODS), zero=st.booleans())
def test_errors_of_captums_rules_are_those_that_captum_makes(seed, method, zero):
    model, (x, b) = mlp(["ReLU"], seed), ends(seed, 2, 6)
    b = torch.zeros_like(x) if zero else b
    exactly = ExactIntegratedGradients(model).attribute(x, b, 1)
    needed = ExactIntegratedGradients(model).steps_needed(x, b, 1, method=method, most=60)
    for n in (2, 14, 50):
        captums = IntegratedGradients(model).attribute(x, b, 1, n_steps=n, method=method)
        error = (captums - exactly).norm(dim=1) / exactly.norm(dim=1)
        column = needed.tried.tolist().index(n)
        torch.testing.assert_close(needed.errors[:, column], error, rtol=1e-5, atol=1e-6)


def test_steps_are_the_first_from_which_on_the_error_stays_small():
    model, (x, b) = mlp(["ReLU", "ReLU"], 5), ends(5, 2, 6)
    needed = ExactIntegratedGradients(model).steps_needed(x, b, 1, rtol=0.05, most=300)
    for steps, errors in zip(needed.steps.tolist(), needed.errors, strict=True):
        at = needed.tried.tolist().index(steps)
        assert bool((errors[at:] <= 0.05).all())
        assert at == 0 or errors[at - 1] > 0.05
    impossible = ExactIntegratedGradients(model).steps_needed(x, b, 1, rtol=1e-9, most=40)
    assert bool(impossible.steps.isinf().all())
    assert "> 40" in str(impossible)


@pytest.mark.parametrize("method", METHODS)
def test_rules_count_every_weight_once(method):
    for n in (2, 7, 50):
        cuts = np.concatenate([[0.0], np.sort(np.random.default_rng(n).random(9)), [1.0]])
        rule = Rule(method, n)
        total = rule.weights(cuts[:-1], cuts[1:]).sum() + rule.at_ends.sum()
        assert total == pytest.approx((n - 1) / n if method == "riemann_trapezoid" else 1)


def test_adaptive_integration_comes_near():
    model, (x, b) = cnn(["ReLU", "ReLU"], 7), ends(7, 1, 2, 4, 4)
    found = ExactIntegratedGradients(model).attribute(x, b, 2)
    near = AdaptiveIntegratedGradients(model, rtol=1e-3, max_evaluations=4096).attribute(x, b, 2)
    assert float((found - near).norm()) <= 5e-3 * float(found.norm())


def test_float32_models_give_what_float64_models_give():
    model, (x, b) = cnn(["ReLU", "PReLU"], 8), ends(8, 2, 2, 4, 4)
    weights = {
        name: value.float().double() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(weights)
    wide = ExactIntegratedGradients(model).attribute(x.float().double(), b.float().double(), 0)
    narrow = ExactIntegratedGradients(model.float()).attribute(x.float(), b.float(), 0)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=1e-6, atol=1e-7)
