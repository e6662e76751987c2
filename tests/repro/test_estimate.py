"""Means with their intervals: as wide as they say."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.errors import OptionError
from captum_xg.repro.estimate import difference, estimate, t_quantile


@pytest.mark.parametrize(
    ("degrees", "value"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (30, 2.04227), (199, 1.97196)],
)
def test_the_quantiles_are_those_of_the_tables(degrees, value):
    assert t_quantile(degrees) == pytest.approx(value, abs=6e-6 * value)


@given(st.integers(2, 60))
def test_a_t_distributed_number_is_within_the_quantile_with_95_percent(degrees):
    # The density, integrated by Simpson's rule.
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    t = np.linspace(-t_quantile(degrees), t_quantile(degrees), 4001)
    density = np.exp(log_scale - (degrees + 1) / 2 * np.log1p(t**2 / degrees))
    integral = (density[0] + density[-1] + 4 * density[1:-1:2].sum() + 2 * density[2:-1:2].sum()) * (t[1] - t[0]) / 3
    assert integral == pytest.approx(0.95, abs=1e-9)


def test_the_interval_covers_the_true_mean_in_95_percent_of_the_cases():
    values = np.random.default_rng(0).normal(0.3, 0.1, size=(1000, 5))
    inside = np.mean([found.low <= 0.3 <= found.high for found in map(estimate, values)])
    assert inside == pytest.approx(0.95, abs=0.02)  # its standard deviation is 0.007
    assert estimate([1.0, 2.0, 3.0]).standard_error == pytest.approx(1 / math.sqrt(3))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(-0.5, 0.5))
def test_a_constant_difference_is_certain_however_far_the_values_scatter(values, shift):
    found = difference([v + shift for v in values], values)
    assert found.mean == pytest.approx(shift, abs=1e-12)
    assert found.reach == pytest.approx(0, abs=1e-12)


def test_one_value_has_no_interval():
    with pytest.raises((OptionError, statistics.StatisticsError)):
        estimate([0.5])
