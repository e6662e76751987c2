"""Means over examples: their intervals hold the mean as often as they say, however few examples there are."""

import math

import pytest
import torch

from captum_xg.repro.means import FEW, mean_over_examples


@pytest.mark.parametrize("n", [2, 3, 6, FEW - 1])
def test_intervals_of_few_examples_hold_the_mean_in_95_of_100_cases(n):
    draws = torch.randn(600, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    found = [mean_over_examples(each) for each in draws]
    share = sum(each.low <= 0 <= each.high for each in found) / len(found)
    assert 0.92 < share < 0.98  # 0.5 of two by the bootstrap


def test_the_value_is_the_mean_and_one_example_has_no_interval():
    for n in (1, 2, FEW - 1, FEW, 50):
        values = torch.arange(n) / 7
        found = mean_over_examples(values)
        assert found.value == pytest.approx(float(values.double().mean()))
        assert math.isnan(found.low) == (n == 1)


def test_what_is_not_finite_has_no_interval_and_no_error():
    found = mean_over_examples([1.0, math.inf])
    assert found.value == math.inf
    assert math.isnan(found.low)
