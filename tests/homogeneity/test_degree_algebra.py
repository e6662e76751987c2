"""The degree algebra against its laws, and against numbers: αᵏ is all there is to it."""

from functools import reduce

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from captum_xg.homogeneity.degree import (
    CONSTANT,
    ZERO,
    Reason,
    Scaling,
    comparison_of,
    disproved,
    maximum_of,
    nonlinear_of,
    of_degree,
    power_of,
    product_of,
    quotient_of,
    selection_of,
    sum_of,
    unknown,
)

degrees = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 1 / 3, 0.5, 1.0, 1.5, 2.0, 3.0])
powers = st.builds(of_degree, degrees)
proven = st.one_of(powers, st.just(ZERO), st.just(CONSTANT), st.builds(lambda: of_degree(0).in_steps()))
scalings = st.one_of(
    proven,
    st.builds(lambda k, what: disproved(what, otherwise=k), degrees, st.sampled_from(["shifts", "saturates"])),
    st.builds(unknown, st.sampled_from(["runs f", "runs g"])),
)
exponents = st.sampled_from([-2.0, -1.0, -1 / 3, 0.5, 1.0, 2.0, 3.0])


def same(left, right):
    """Equal up to the wording of reasons that the operations themselves add."""
    facts = ("kind", "degree", "constant", "zero", "stepwise")
    return all(getattr(left, fact) == getattr(right, fact) for fact in facts)


@given(scalings, scalings)
def test_sums_products_maxima_and_comparisons_are_commutative(a, b):
    for operation in (sum_of, product_of, maximum_of, comparison_of):
        assert operation(a, b) == operation(b, a)


@given(scalings, scalings, scalings)
def test_sums_and_products_are_associative(a, b, c):
    for operation in (sum_of, product_of, maximum_of):
        assert same(operation(operation(a, b), c), operation(a, operation(b, c)))
        assert same(operation(operation(a, b), c), operation(a, b, c))


@given(scalings)
def test_zero_is_neutral_in_sums_and_absorbs_in_products(a):
    assert sum_of(a, ZERO) == a
    assert maximum_of(a, ZERO) == a
    assert product_of(a, ZERO).zero
    assert product_of(a, ZERO).proven


@given(scalings)
def test_constants_are_neutral_in_products(a):
    assert product_of(a, CONSTANT) == a


@given(scalings)
def test_sums_and_maxima_are_idempotent(a):
    assert sum_of(a, a) == a
    assert maximum_of(a, a) == a


@given(proven, proven, proven)
def test_products_distribute_over_sums(a, b, c):
    # Not where a zero turns the sum into nothing that could disagree.
    assert same(product_of(a, sum_of(b, c)), sum_of(product_of(a, b), product_of(a, c))) or not sum_of(b, c).proven


@given(powers, powers)
def test_degrees_add_in_products_and_subtract_in_quotients(a, b):
    assert product_of(a, b).degree == pytest.approx(a.degree + b.degree)
    assert quotient_of(a, b).degree == pytest.approx(a.degree - b.degree)
    assert same(product_of(quotient_of(a, b), b), a)


@given(powers, exponents, exponents)
def test_powers_multiply_degrees(a, p, q):
    assert power_of(a, p).degree == pytest.approx(a.degree * p)
    assert same(power_of(power_of(a, p), q), power_of(power_of(a, q), p))
    assert same(power_of(power_of(a, p), 1 / p), a)


@given(scalings, exponents, exponents)
def test_powers_add_in_products(a, p, q):
    assume(not a.zero)
    assume(p + q != 0)
    assert same(product_of(power_of(a, p), power_of(a, q)), power_of(a, p + q))


@given(proven, proven)
def test_sum_of_unequal_degrees_is_not_homogeneous(a, b):
    fits = a.zero or b.zero or a.degree == b.degree
    for operation in (sum_of, maximum_of):
        assert operation(a, b).proven == fits
        assert operation(a, b).kind == ("disproved" if not fits else operation(a, b).kind)


@given(st.lists(scalings, min_size=1, max_size=4))
def test_disproved_and_unknown_are_told_apart_and_never_forgotten(parts):
    for operation in (
        sum_of,
        maximum_of,
        lambda *p: product_of(*(q for q in p if not (q.zero and q.proven)), CONSTANT),
    ):
        result = operation(*parts)
        if any(part.kind == "unknown" for part in parts):
            assert result.kind == "unknown"
        elif any(part.kind == "disproved" for part in parts):
            assert result.kind == "disproved"
        assert all(reason in result.reasons for part in parts for reason in part.reasons)


@given(scalings, scalings)
def test_reasons_of_comparisons_survive_except_those_about_gradients(a, b):
    cut = Reason("is cut off", kind="gradient")
    result = comparison_of(a.because(cut), b)
    assert cut not in result.reasons
    assert a.reasons | b.reasons <= result.reasons
    assert result.stepwise


@given(proven, proven)
def test_comparisons_of_equal_degrees_do_not_change_with_the_scale(a, b):
    result = comparison_of(a, b)
    assert result.degree == 0
    assert result.proven == (a.zero or b.zero or a.degree == b.degree)


@given(scalings, scalings, scalings)
def test_selection_is_what_both_branches_are(condition, a, b):
    result = selection_of(condition.in_steps(), a, b)
    if not condition.in_steps().reasons and sum_of(a, b).proven:
        assert result.proven
        assert result.zero == (a.zero and b.zero)
        if result.depends_on_input and not result.stepwise:
            assert result.degree == sum_of(a, b).degree
    if condition.in_steps().reasons and not (a.zero and b.zero and sum_of(a, b).proven):
        assert not result.proven


def test_a_choice_between_constants_by_the_input_is_no_constant():
    chosen = selection_of(of_degree(0).in_steps(), CONSTANT, ZERO)
    assert chosen.depends_on_input
    assert chosen.stepwise
    assert chosen.degree == 0


def test_a_choice_by_what_changes_with_the_scale_is_refused():
    assert not selection_of(of_degree(1), of_degree(1), ZERO).proven


@given(scalings)
def test_any_function_of_what_the_scale_does_not_change_does_not_change_either(a):
    result = nonlinear_of(a, Reason("is curved"))
    assert result.proven == (a.proven and a.scale_free)
    if a.zero:
        assert not result.zero  # f(0) need not be 0


@given(scalings)
def test_division_by_zero_is_never_proven(a):
    assert not quotient_of(a, ZERO).proven or (a.zero and quotient_of(a, ZERO).zero)
    assert not power_of(ZERO, -1.0).proven


numbers = st.floats(0.1, 4.0)


@st.composite
def expressions(draw, depth=3):
    """A scaling and a function of α with that scaling, built alike: (scaling, value at α)."""
    if depth == 0 or draw(st.booleans()):
        k, c = draw(degrees), draw(numbers)
        return (of_degree(k), lambda alpha: c * alpha**k) if draw(st.booleans()) else (CONSTANT, lambda alpha: c)
    operation = draw(st.sampled_from(["sum", "product", "quotient", "maximum", "power"]))
    a, f = draw(expressions(depth=depth - 1))
    if operation == "power":
        p = draw(exponents)
        return power_of(a, p), lambda alpha: f(alpha) ** p
    b, g = draw(expressions(depth=depth - 1))
    return {
        "sum": (sum_of(a, b), lambda alpha: f(alpha) + g(alpha)),
        "product": (product_of(a, b), lambda alpha: f(alpha) * g(alpha)),
        "quotient": (quotient_of(a, b), lambda alpha: f(alpha) / g(alpha)),
        "maximum": (maximum_of(a, b), lambda alpha: max(f(alpha), g(alpha))),
    }[operation]


@given(expressions())
def test_what_the_algebra_proves_is_true_of_numbers(expression):
    scaling, f = expression
    if scaling.proven:
        for alpha in (0.25, 0.7, 3.0):
            assert f(alpha) == pytest.approx(alpha**scaling.degree * f(1.0), rel=1e-9)


@given(expressions())
def test_positive_sums_are_proven_exactly_if_numbers_scale(expression):
    scaling, f = expression
    ratios = [f(alpha) / f(1.0) for alpha in (0.5, 2.0, 4.0)]
    scales = ratios[2] == pytest.approx(ratios[1] ** 2, rel=1e-9) and ratios[0] * ratios[1] == pytest.approx(
        1, rel=1e-9
    )
    if not scales:
        assert not scaling.proven


def test_thirds_add_up_to_one():
    third = power_of(of_degree(1), 1 / 3)
    assert product_of(third, third, third) == of_degree(1)
    assert reduce(product_of, [of_degree(0.1)] * 10) == of_degree(1)


def test_a_scaling_says_what_it_is():
    assert [str(s) for s in (ZERO, CONSTANT, of_degree(1.5))] == ["zero", "constant", "degree 1.5"]
    assert str(sum_of(of_degree(1), CONSTANT)).startswith("disproved: adds a constant")
    assert str(unknown("runs f")) == "unknown: runs f"
    assert isinstance(ZERO, Scaling)
