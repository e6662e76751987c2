"""Intervals: equal to those of a slow bootstrap, of the stated coverage, paired."""

import math

import numpy as np
import pytest
import torch
from benchmark_samples import Median, Profile, Total
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_xg.benchmark.bootstrap import estimate, resample


def _slow(scores, aggregate, resamples, seed):
    """One resample after the other, by numpy; the draws are those that the fast one documents."""
    n = len(scores)
    drawn = torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(seed)).numpy()
    return np.array([aggregate(scores.numpy()[rows]) for rows in drawn])


def _trapezoid(scores):
    y, x = scores.mean(0), Profile.fractions
    return sum((y[i] + y[i + 1]) / 2 * (x[i + 1] - x[i]) for i in range(len(x) - 1))


CASES = {
    "mean": (Total().aggregate, lambda s: s.mean(), ()),
    "area": (Profile().aggregate, _trapezoid, (3,)),
    "ratio of means": (lambda s: s[:, 0].mean() / s[:, 1].mean(), lambda s: s[:, 0].mean() / s[:, 1].mean(), (2,)),
    "median": (Median().aggregate, lambda s: np.sort(s)[(len(s) - 1) // 2], ()),
    "looks at numbers": (lambda s: s.mean() if float(s.mean()) > 0 else s.sum(), None, ()),
}


@pytest.mark.parametrize(
    ("name", "declared"),
    [*((name, False) for name in CASES), *((name, True) for name in ("mean", "area", "ratio of means"))],
)
@settings(max_examples=10, deadline=None)
@given(n=st.integers(2, 30), seed=st.integers(0, 100))
def test_resampled_values_are_those_of_a_loop(name, declared, n, seed):
    aggregate, reference, shape = CASES[name]
    scores = torch.rand((n, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5
    if reference is None:
        scores, reference = scores - 1, lambda s: s.mean() if s.mean() > 0 else s.sum()
    of_mean = {"a"} if declared else ()
    found = resample({"a": scores}, {"a": aggregate}, resamples=120, seed=seed, of_mean=of_mean)["a"]
    expected = _slow(scores, reference, 120, seed)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
    interval = estimate(0.0, found)
    assert interval.low == pytest.approx(np.quantile(expected, 0.025), rel=1e-9)
    assert interval.high == pytest.approx(np.quantile(expected, 0.975), rel=1e-9)


def test_how_much_is_held_at_once_changes_nothing(monkeypatch):
    import captum_xg.benchmark.bootstrap as module

    scores = {"mean": torch.rand(20, dtype=torch.float64), "median": torch.rand(20, dtype=torch.float64)}
    aggregates = {"mean": Total().aggregate, "median": Median().aggregate}
    whole = resample(scores, aggregates, resamples=100, seed=3, of_mean={"mean"})
    monkeypatch.setattr(module, "_ENTRIES", 20 * 7)
    parts = resample(scores, aggregates, resamples=100, seed=3, of_mean={"mean"})
    for name in scores:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-12, atol=0)


def test_the_interval_covers_the_true_mean_about_95_times_in_100():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 60, generator=generator, dtype=torch.float64) * 3 + 1
    mean = Total().aggregate
    found = [estimate(0.0, resample({0: s}, {0: mean}, resamples=400, seed=i)[0]) for i, s in enumerate(samples)]
    covered = sum(each.low <= 1 <= each.high for each in found) / len(found)
    # Binomial standard error 1.1 %; the percentile interval of 60 examples covers some 94 %.
    assert 0.905 <= covered <= 0.98


def test_the_interval_narrows_with_the_root_of_the_number_of_examples():
    generator = torch.Generator().manual_seed(1)
    widths = []
    for n in (100, 1600):
        scores = torch.randn(n, generator=generator, dtype=torch.float64)
        interval = estimate(0.0, resample({0: scores}, {0: Total().aggregate}, resamples=2000, seed=0)[0])
        widths.append((interval.high - interval.low) * math.sqrt(n) / (2 * 1.96 * float(scores.std())))
    assert widths == pytest.approx([1, 1], abs=0.08)


def test_differences_of_equal_scores_are_exactly_zero_and_of_shifted_ones_exactly_the_shift():
    scores = torch.randn(50, dtype=torch.float64)
    found = resample({"a": scores, "b": scores, "c": scores + 2}, dict.fromkeys("abc", Total().aggregate),
                     resamples=100, seed=0)  # fmt: skip
    assert torch.equal(found["a"], found["b"])
    torch.testing.assert_close(found["c"] - found["a"], torch.full((100,), 2.0, dtype=torch.float64))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_have_no_interval_and_do_not_leak_into_others(bad):
    scores = torch.tensor([1.0, bad, 2.0], dtype=torch.float64)
    found = resample(
        {"a": scores, "b": torch.ones(3)}, dict.fromkeys("ab", Total().aggregate), resamples=100, seed=0, of_mean="ab"
    )
    assert math.isnan(estimate(1.0, found["a"]).low)
    assert torch.equal(found["b"], torch.ones(100, dtype=torch.float64))
    # Resamples without the example are finite: nothing was multiplied by zero.
    assert bool(found["a"].isfinite().any())


def test_a_single_example_has_no_interval():
    found = resample({"a": torch.ones(1)}, {"a": Total().aggregate}, resamples=100, seed=0)["a"]
    interval = estimate(1.0, found)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert not interval.excludes_zero
