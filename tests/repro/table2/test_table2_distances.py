"""Distances of Table 2: against slow ones, and what zeros and tiny references do to them."""

import pytest
import torch
from table2_references import slow_distances

from captum_xg.repro.table2.distances import compared, relative


def attributions(seed, zeros):
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(3, 1, 5, 4, generator=generator)
    reference[:, :, : 5 * zeros // 2] = 0
    given = reference * (1 + 0.3 * torch.randn(3, 1, 5, 4, generator=generator))
    return given, reference


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_distances_are_those_of_slow_formulas(seed, zeros):
    given, reference = attributions(seed, zeros)
    found = compared(given, reference)
    for i in range(3):
        slow = slow_distances(given[i].double().flatten().tolist(), reference[i].double().flatten().tolist())
        for key, value in slow.items():
            assert found[key][i] == pytest.approx(value, rel=1e-12), key


def test_one_number_near_zero_makes_the_mean_of_ratios_and_leaves_the_rest():
    reference = torch.ones(1, 100)
    given = reference * 1.01
    small = reference.clone()
    small[0, 0] = 1e-8
    tame, wild = compared(given, reference), compared(given, small)
    assert wild["paper"][0] > 1e5 * tame["paper"][0]
    assert wild["median"] == tame["median"]
    assert wild["released"][0] < 3 * tame["released"][0]


def test_relative_differences_do_not_depend_on_the_scale_and_equal_zeros_do_not_differ():
    given, reference = attributions(0, 1)
    assert relative(given * 1024, reference * 1024) == relative(given, reference)
    assert relative(torch.zeros(2, 3), torch.zeros(2, 3)) == [0.0, 0.0]
    assert relative(torch.zeros(1, 3), torch.ones(1, 3)) == [1.0]
