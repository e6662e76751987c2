"""The fit of a degree: exact on powers, rounded to simple fractions, and no verdict of its own."""

import math

import pytest
import torch

from captum_xg.homogeneity.scaling.fit import (
    Deviations,
    deviation,
    fit_degree,
    fits_a_degree,
    measure,
    simple_degree,
)

LIMITS = torch.finfo(torch.float32)


@pytest.mark.parametrize("k", [-1.0, 0.0, 1 / 3, 0.5, 1.0, 1.5, 2.0, 7.0])
def test_the_degree_of_a_power_is_found_and_nothing_deviates(k):
    x = torch.tensor([0.3, -2.0, 5.0])
    ray = measure(lambda xs: xs[0].sign() * xs[0].abs() ** k, x.sign() * x.abs() ** k, (x,), (2.0**-8, 2.0**8))
    assert fit_degree(ray, 1e-6) == pytest.approx(k, abs=1e-15)
    assert ray.worst(k)[0] < 1e-6
    assert fits_a_degree(ray, LIMITS)


def test_a_sum_of_two_degrees_deviates_whatever_fits_best():
    x = torch.tensor([1.0, 2.0])
    ray = measure(lambda xs: xs[0] + xs[0] ** 2, x + x**2, (x,), (0.25, 4.0))
    assert ray.worst(fit_degree(ray, 1e-6))[0] > 0.1
    assert fits_a_degree(ray, LIMITS) is False


def test_what_leaves_the_range_of_its_dtype_is_no_evidence():
    here = torch.tensor([1.0])
    assert fits_a_degree(Deviations(here, {0.5: here, 2.0: here * math.inf}), LIMITS) is None
    assert fits_a_degree(Deviations(here, {0.5: here * 1e-40, 2.0: here}), LIMITS) is None


def test_other_shapes_zeros_that_move_and_nan_are_deviations():
    here = torch.zeros(2)
    assert fits_a_degree(Deviations(here, {2.0: torch.zeros(3)}), LIMITS) is False
    assert fits_a_degree(Deviations(here, {2.0: torch.ones(2)}), LIMITS) is False
    assert fits_a_degree(Deviations(here, {2.0: here}), LIMITS) is True
    assert deviation(torch.tensor([math.nan]), torch.ones(1), 2.0, 1.0) == math.inf


@pytest.mark.parametrize(("shown", "simple"), [(0.33335, 1 / 3), (1.99995, 2.0), (0.2, 0.2), (math.pi, math.pi)])
def test_only_what_is_near_a_simple_fraction_is_rounded_to_it(shown, simple):
    assert simple_degree(shown, 1e-4) == simple
