"""Verdicts follow from intervals, and from nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captum_xg._core.estimate import Estimate
from captum_xg.repro import verdicts
from captum_xg.repro.section import Claim

CLAIM = Claim("test/claim", "Table 0", "it is so")
NUMBERS = st.floats(-100, 100)


@st.composite
def estimates(draw):
    low, value, high = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    return Estimate(value, low, high)


@given(estimates(), NUMBERS)
def test_a_number_is_above_a_bound_if_its_whole_interval_is(found, bound):
    finding = verdicts.above(CLAIM, found, bound, "the number")
    assert (finding.verdict == "confirmed") is (found.low > bound)
    assert ("nothing is decided" in finding.why) is (found.low <= bound <= found.high)
    assert finding.ours.startswith("the number: ")


@given(estimates(), NUMBERS)
def test_below_is_above_with_signs_changed(found, bound):
    mirrored = Estimate(-found.value, -found.high, -found.low)
    below = verdicts.below(CLAIM, found, bound, "it")
    above = verdicts.above(CLAIM, mirrored, -bound, "it")
    assert below.verdict == above.verdict


@given(estimates(), st.floats(0.01, 100))
def test_two_things_are_equal_if_the_whole_interval_is_within_the_bound(found, bound):
    finding = verdicts.within(CLAIM, found, bound, "it")
    assert (finding.verdict == "confirmed") is (max(abs(found.low), abs(found.high)) < bound)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 10))
def test_a_printed_number_is_compared_only_where_it_is_about_the_same(found, number, tolerance):
    same = Estimate(found, found, found)
    finding = verdicts.printed_number(CLAIM, same, number, tolerance, "it", comparable="")
    assert (finding.verdict == "confirmed") is (abs(found - number) <= tolerance)
    elsewhere = verdicts.printed_number(CLAIM, same, number, tolerance, "it", comparable="other images")
    assert (elsewhere.verdict, elsewhere.why) == ("not comparable", "other images")


@pytest.mark.parametrize("rule", [verdicts.above, verdicts.below, verdicts.within])
def test_a_single_example_confirms_nothing(rule):
    assert rule(CLAIM, Estimate(1.0, math.nan, math.nan), 0.5, "it").verdict == "not confirmed"
