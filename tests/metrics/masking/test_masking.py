"""The four masking metrics agree with the protocol taken step by step, and with curves known in closed form."""

import masking_references as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_xg import metrics
from captum_xg.metrics import maskers

KINDS = reference.KINDS
PROTOCOLS = ("paper", "released")


def make(kind, *args, **options):
    return getattr(metrics, kind)(*args, **options)


def network(channels=2, size=7, classes=4, dtype=torch.float64):
    torch.manual_seed(0)
    layers = nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * (size - 2) ** 2, classes)
    return nn.Sequential(*layers).to(dtype).eval()


def batch(n, channels=2, size=7, classes=4, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, channels, size, size, generator=g, dtype=dtype)
    a = torch.randn(n, channels, size, size, generator=g, dtype=dtype)
    return x, a, torch.randint(classes, (n,), generator=g)


def ties_and_zeros(a):
    """Round coarsely: equal attributions, and whole pixels of zero."""
    a = (a * 1.5).round() / 4
    a[:, :, ::3] = 0
    return a


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_those_of_the_protocol_taken_mask_by_mask(kind, protocol):
    model = network()
    # A short last batch, zeros and ties, an example without attribution, and one with a single feature.
    batches = [batch(5, seed=1), batch(5, seed=2), batch(2, seed=3)]
    batches[1] = (batches[1][0], ties_and_zeros(batches[1][1]), batches[1][2])
    batches[2][1][0] = 0
    batches[2][1][1] = torch.eye(98, dtype=torch.float64)[17].reshape(2, 7, 7)
    metric = make(kind, model, protocol=protocol)
    for part in batches:
        metric.update(*part)
    expected = reference.curve_of_images(model, batches, kind, protocol)
    fractions, values = metric.curve()
    np.testing.assert_allclose(fractions, reference.FRACTIONS, rtol=0)
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(metric.compute(), reference.area(expected), rtol=1e-10)


@settings(max_examples=25)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(PROTOCOLS),
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.integers(1, 40),
    st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True).map(sorted),
)
def test_any_fractions_of_any_table_are_masked_as_the_protocol_says(kind, protocol, seed, n, width, fractions):
    g = torch.Generator().manual_seed(seed)
    x, w = torch.randn(n, width, generator=g).double(), torch.randn(width, 3, generator=g).double()
    a = torch.randint(-2, 3, (n, width), generator=g).double()
    y = torch.randint(3, (n,), generator=g)
    model = lambda x: (x @ w).relu()
    metric = make(kind, model, fractions, maskers.Constant(0.3), protocol=protocol, internal_batch_size=3)
    scores = metric.scores(x, a, y)
    for i in range(n):
        values = torch.full_like(x[i], 0.3)
        expected = reference.curve_of_example(model, x[i], a[i], y[i], values, kind, fractions, None)
        np.testing.assert_allclose(scores[i], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channel_dim", ["auto", 1, None])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_masked_by_position_with_all_its_channels_or_number_by_number(kind, channel_dim):
    g = torch.Generator().manual_seed(4)
    x, a = (torch.randn(3, 6, 5, generator=g, dtype=torch.float64) for _ in range(2))
    y, w = torch.randint(3, (3,), generator=g), torch.randn(30, 3, generator=g, dtype=torch.float64)
    model = lambda x: torch.relu(x.flatten(1) @ w)
    scores = make(kind, model, channel_dim=channel_dim).scores(x, a, y)
    dim = {"auto": 1, 1: 0, None: None}[channel_dim]
    for i in range(3):
        expected = reference.curve_of_example(model, x[i], a[i], y[i], torch.zeros(6, 5), kind, channel_dim=dim)
        np.testing.assert_allclose(scores[i], expected, rtol=1e-12, atol=1e-12)


def test_several_inputs_share_one_ranking():
    g = torch.Generator().manual_seed(5)
    x, a = (torch.randn(4, 9, generator=g, dtype=torch.float64) for _ in range(2))
    w = torch.randn(9, 3, generator=g, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0])
    for kind in KINDS:
        whole = make(kind, lambda x: x @ w).scores(x, a, y)
        parts = make(kind, lambda u, v: torch.cat([u, v], 1) @ w).scores(x.split([4, 5], 1), a.split([4, 5], 1), y)
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)


def test_the_curves_of_a_linear_model_are_partial_sums_of_its_sorted_terms():
    """F(x) = Σ wᵢxᵢ with attributions wᵢxᵢ and zeros for masked features."""
    g = torch.Generator().manual_seed(6)
    n = 50
    x, w = torch.randn(8, n, generator=g, dtype=torch.float64), torch.randn(n, 1, generator=g, dtype=torch.float64)
    a = x * w.T
    kept = [int(f * n) for f in reference.FRACTIONS]
    best = a.clamp_min(0).sort(1, descending=True).values.cumsum(1)
    worst = a.clamp_max(0).sort(1).values.cumsum(1)
    for kind, sums in (("KeepPositiveMask", best), ("KeepNegativeMask", worst)):
        expected = torch.stack([sums[:, k - 1] if k else torch.zeros(8) for k in kept], 1)
        scores = make(kind, lambda x: x @ w).scores(x, a, 0)
        torch.testing.assert_close(scores, expected, rtol=1e-12, atol=1e-12)


def test_accuracy_follows_the_sign_of_the_partial_sums_of_a_linear_model():
    g = torch.Generator().manual_seed(7)
    n = 50
    x, w = torch.randn(8, n, generator=g, dtype=torch.float64), torch.randn(n, generator=g, dtype=torch.float64)
    model = lambda x: torch.stack([torch.zeros(len(x)).to(x), x @ w], 1)
    a, y = x * w, torch.ones(8, dtype=torch.int64)
    order = a.abs().argsort(1, descending=True)
    sums = a.gather(1, order).cumsum(1)
    for kind in ("KeepAbsoluteMask", "RemoveAbsoluteMask"):
        columns = []
        for k in (int(f * n) for f in reference.FRACTIONS):
            kept = sums[:, -1] - (sums[:, n - k - 1] if n > k else 0) if kind[0] == "R" else k and sums[:, k - 1]
            columns.append(100.0 * (torch.as_tensor(kept).expand(8) > 0))
        scores = make(kind, model).scores(x, a, y)
        torch.testing.assert_close(scores, torch.stack(columns, 1).double(), rtol=0, atol=0)


def test_a_constant_output_has_the_area_of_the_range():
    x, a, y = batch(3)
    for kind in KINDS[:2]:
        metric = make(kind, lambda x: torch.full((len(x), 4), 5.0, dtype=torch.float64))
        metric.update(x, a, y)
        np.testing.assert_allclose(metric.compute(), 5 * 0.99, rtol=1e-12)


def test_true_attributions_of_a_linear_model_beat_all_others():
    g = torch.Generator().manual_seed(8)
    x, w = torch.randn(40, 30, generator=g, dtype=torch.float64), torch.randn(30, 3, generator=g, dtype=torch.float64)
    model = lambda x: x @ w
    y = model(x).argmax(1)
    truth = x * w.T[y]
    for kind in KINDS:
        metric = make(kind, model)
        best = metric.aggregate(metric.scores(x, truth, y))
        for seed in range(5):
            other = torch.randn(40, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            worse = metric.aggregate(metric.scores(x, other, y))
            assert best > worse if metric.higher_is_better else best < worse, (kind, seed)


def test_scores_of_the_protocols_differ_in_the_kernel_alone():
    model, (x, a, y) = network(), batch(6)
    a = ties_and_zeros(a)
    for kind in KINDS:
        paper = make(kind, model, masker=maskers.GaussianBlur(protocol="released")).scores(x, a, y)
        assert torch.equal(make(kind, model, protocol="released").scores(x, a, y), paper)
    x = x * torch.linspace(0, 9, 7, dtype=torch.float64)
    assert not torch.equal(
        make(KINDS[0], model, protocol="released").scores(x, a, y), make(KINDS[0], model).scores(x, a, y)
    )


def test_removing_and_keeping_are_two_sides_of_one_ranking():
    """What RAM keeps of n features at f is what KAM leaves out at 1 − f."""
    n = 8
    fractions = [k / n for k in range(n + 1)]
    g = torch.Generator().manual_seed(9)
    x, a = torch.rand(5, n, generator=g, dtype=torch.float64) + 1, torch.randint(1, 3, (5, n), generator=g).double()
    kept = []

    def model(x):
        kept.append(x != 0)
        return torch.stack([x.sum(1), -x.sum(1)], 1)

    seen = {}
    for kind in KINDS[2:]:
        kept.clear()
        make(kind, model, fractions, internal_batch_size=1000).update(x.clone(), a, 0)
        seen[kind] = torch.cat(kept).reshape(5, n + 1, n)
    assert torch.equal(seen["KeepAbsoluteMask"], ~seen["RemoveAbsoluteMask"].flip(1))
    assert torch.equal(seen["KeepAbsoluteMask"].sum(2), torch.arange(n + 1).expand(5, -1))
