"""The rules that adaptive integration chooses from, each on integrands that it is made for, known in closed form."""

import numpy as np
import pytest
from effort import tries
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.attr.adaptive.cells import cell_estimate
from captum_xg.attr.adaptive.jumps import jump_estimate
from captum_xg.attr.adaptive.placement import mirrored, placed, shared_out, unpaired
from captum_xg.attr.adaptive.power import power_estimate
from captum_xg.attr.adaptive.samples import Samples
from captum_xg.attr.adaptive.scheme import next_steps
from captum_xg.attr.adaptive.smoothness import smooth_estimate

FEATURES = 10


def samples(points, rows, antiderivative):
    """Return samples of one curve, with the antiderivative of the sum of its entries."""
    points = np.sort(np.asarray(points))
    matrix = np.stack([rows(a) for a in points])
    values = np.array([antiderivative(a) for a in (0.0, *points, 1.0)])
    return Samples(points[None], (matrix @ matrix.T)[None], matrix.sum(1)[None], values[None], FEATURES), matrix


def together(several):
    """Return samples of several curves with as many points each."""
    parts = ([getattr(each, name)[0] for each in several] for name in ("points", "gram", "sums", "values"))
    return Samples(*map(np.stack, parts), FEATURES)


def given_out(energies, count):
    """Return how many of ``count`` points each cell of one example gets."""
    return shared_out(np.asarray(energies)[None], np.array([count]))


def steps(seed, jumps):
    """Return a random step function, its integral to any α, and its integral to 1."""
    rng = np.random.default_rng(seed)
    places, sizes = rng.uniform(size=jumps), rng.normal(size=(jumps, FEATURES)) / jumps**0.5
    start = rng.normal(size=FEATURES)

    def rows(a):
        return start + sizes[places < a].sum(0)

    def integral(a):
        return a * start + (np.clip(a - places, 0, None)[:, None] * sizes).sum(0)

    return rows, lambda a: integral(a).sum(), integral(1.0)


@given(seed=st.integers(0, 1000), jumps=st.integers(20, 500), n=st.integers(8, 60))
def test_errors_of_jumps_are_known_to_a_small_factor(seed, jumps, n):
    ratios = []
    for i in range(tries(10, 40)):
        rows, scalar, exact = steps(1000 * i + seed, jumps)
        seen, matrix = samples((np.arange(n) + 0.5) / n, rows, scalar)
        estimate = cell_estimate(seen)
        ratios.append(np.linalg.norm(estimate.weights[0] @ matrix - exact) / estimate.error[0])
    assert 1 / 3 < np.sqrt(np.mean(np.square(ratios))) < 3
    assert np.mean(np.array(ratios) < 3) >= 0.9


@given(seed=st.integers(0, 1000), n=st.integers(5, 12))
def test_weights_of_every_rule_integrate_constants(seed, n):
    points = np.sort(np.random.default_rng(seed).uniform(size=n))
    rows, scalar, _ = steps(seed, 40)
    seen, _ = samples(points, rows, scalar)
    for estimate in (cell_estimate(seen), smooth_estimate(seen)):
        assert estimate.weights.sum() == pytest.approx(1, abs=1e-6)


@given(seed=st.integers(0, 1000))
def test_smooth_curves_are_told_from_steps(seed):
    rng = np.random.default_rng(seed)
    frequencies, sizes = rng.uniform(0.5, 3, FEATURES), rng.normal(size=FEATURES)

    def rows(a):
        return sizes * np.cos(frequencies * a)

    def integral(a):
        return sizes * np.sin(frequencies * a) / frequencies

    seen, matrix = samples([0.11, 0.37, 0.63, 0.89], rows, lambda a: integral(a).sum())
    smooth = smooth_estimate(seen)
    assert smooth.jumpy[0] < 0.1
    assert np.linalg.norm(smooth.weights[0] @ matrix - integral(1.0)) <= 3 * smooth.error[0] + 1e-6
    jumping, _ = samples([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95], *steps(seed, 60)[:2])
    assert smooth_estimate(jumping).jumpy[0] > 0.5


@given(seed=st.integers(0, 1000), power=st.integers(0, 4))
def test_powers_are_integrated_from_two_points(seed, power):
    direction = np.random.default_rng(seed).normal(size=FEATURES)
    seen, matrix = samples(
        [0.1, 0.9], lambda a: direction * a**power, lambda a: direction.sum() * a ** (power + 1) / (power + 1)
    )
    estimate = power_estimate(seen)
    np.testing.assert_allclose(estimate.weights[0] @ matrix, direction / (power + 1))
    assert estimate.relative[0] < 1e-6


def test_two_points_are_no_power_if_a_value_disagrees():
    seen, _ = samples([0.1, 0.9], lambda a: np.ones(FEATURES), lambda a: FEATURES * a + 0.5 * (a > 0.5))
    assert np.isinf(power_estimate(seen).error).all()
    seen, _ = samples([0.1, 0.9], lambda a: np.ones(FEATURES) / a, np.log1p)
    assert np.isinf(power_estimate(seen).error).all()


def test_what_rows_do_not_see_raises_the_estimate_and_is_looked_for():
    points = (np.arange(8) + 0.5) / 8
    seen, _ = samples(points, lambda a: np.ones(FEATURES), lambda a: FEATURES * a + 4 * (a > 1e-5))
    estimate = cell_estimate(seen)
    assert estimate.relative[0] > 0.1
    given = shared_out(estimate.energies, np.array([3]))
    assert given.tolist() == [[3, *[0] * 8]]
    (new,) = placed(points[None], given)
    assert (new < points[0]).all()


@given(energies=st.lists(st.floats(1e-6, 1e3), min_size=3, max_size=20), count=st.integers(1, 30))
def test_points_are_new_and_inside_and_no_more_than_asked_for(energies, count):
    cells = np.array(energies)
    points = np.linspace(0, 1, len(cells) + 1)[1:-1]
    (new,) = placed(points[None], given_out(cells, count))
    assert 1 <= len(new) <= count
    assert ((new > 0) & (new < 1)).all()
    assert not np.isin(new, points).any()


@pytest.mark.parametrize("points", [[0.1, 0.9], [0.1, 0.5, 0.9], [0.1, 0.4, 0.6, 0.9]])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_first_points_stay_alike_on_both_sides(points, count):
    for new in mirrored(np.array(points), count):
        assert len(new) == count
        together = np.sort([*points, *new])
        assert len(np.unique(together.round(9))) == len(points) + count
        np.testing.assert_allclose(together, np.sort(1 - together))


@given(seed=st.integers(0, 1000), jumps=st.integers(1, 8))
def test_lone_jumps_are_found_by_what_the_function_says(seed, jumps):
    rng = np.random.default_rng(seed)
    cells = 4 * jumps + 4
    # One jump in every fourth cell, so that none has two, nor two that lie side by side.
    places, sizes = (4 * np.arange(1, jumps + 1) + rng.uniform(0.01, 0.99, jumps)) / cells, rng.normal(size=(jumps, 5))
    start = rng.normal(size=5)
    seen, matrix = samples(
        np.arange(1, cells) / cells,
        lambda a: start + sizes[places < a].sum(0),
        lambda a: a * start.sum() + np.clip(a - places, 0, None) @ sizes.sum(1),
    )
    estimate = jump_estimate(seen)
    exact = start + (1 - places) @ sizes
    np.testing.assert_allclose(estimate.weights[0] @ matrix, exact, rtol=1e-6, atol=1e-7)


@given(seed=st.integers(0, 1000), jumps=st.integers(10, 120), n=st.integers(12, 60))
def test_errors_of_cells_with_few_jumps_are_known_to_a_small_factor(seed, jumps, n):
    ratios = []
    for i in range(tries(20, 60)):
        rows, scalar, exact = steps(1000 * i + seed, jumps)
        seen, matrix = samples((np.arange(n) + 0.5) / n, rows, scalar)
        estimate = jump_estimate(seen)
        ratios.append(np.linalg.norm(estimate.weights[0] @ matrix - exact) / estimate.error[0])
    assert 1 / 3 < np.sqrt(np.mean(np.square(ratios))) < 3
    assert np.mean(np.array(ratios) < 3) >= 0.9


def test_a_kink_before_the_first_point_is_an_error_of_every_rule():
    points = np.linspace(0.1, 0.9, 7)
    seen, _ = samples(points, lambda a: np.ones(FEATURES) * (a > 0.05), lambda a: FEATURES * max(a - 0.05, 0))
    for estimate in (cell_estimate(seen), jump_estimate(seen)):
        assert estimate.relative[0] > 0.01
        assert np.argmax(estimate.energies[0]) == 0


@given(seed=st.integers(0, 1000), n=st.integers(4, 40), several=st.integers(2, 6))
def test_curves_together_are_what_each_is_alone(seed, n, several):
    rng = np.random.default_rng(seed)
    each = [
        samples(rng.uniform(size=n), *steps(seed + i, jumps)[:2])[0]
        for i, jumps in enumerate(rng.integers(1, 60, size=several))
    ]
    for rule in (cell_estimate, jump_estimate, *([smooth_estimate] if n <= 16 else [])):
        found = rule(together(each))
        for i, own in enumerate(map(rule, each)):
            np.testing.assert_allclose(found.weights[i], own.weights[0], rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(found.error[i], own.error[0], rtol=1e-6)


@given(
    energies=st.lists(st.floats(1e-6, 1e3), min_size=3, max_size=12), counts=st.lists(st.integers(1, 40), min_size=2)
)
def test_points_are_shared_out_one_after_the_other_where_they_gain_most(energies, counts):
    cells = np.array(energies)
    given = shared_out(np.tile(cells, (len(counts), 1)), np.array(counts))
    for own, count in zip(given.tolist(), counts, strict=True):
        assert own == greedily(energies, count)
    assert (given == given_out(cells, counts[0])).all() or len(set(counts)) > 1


def greedily(energies, count):
    """Return what every cell gets if each point goes where the error falls most, three to a cell at most."""
    outer = (0, len(energies) - 1)

    def gain(i, m):
        left = [0.25 / (k + 0.5) ** 2 if i in outer else 1 / (k + 1) ** 2 for k in (m, m + 1)]
        return energies[i] * left[0] - energies[i] * left[1]

    got, held_back = [0] * len(energies), 0.0
    for _ in range(count):
        free = [i for i, m in enumerate(got) if m < 3]
        if not free:
            break
        best = max(free, key=lambda i: gain(i, got[i]))
        if gain(best, got[best]) < 0.1 * held_back:
            break
        got[best] += 1
        if got[best] == 3:
            held_back = max(held_back, gain(best, 3))
    return got


def jumps_at(places, sizes):
    """Return a step function from one, with the antiderivative of its sum, and its integral."""
    start = np.ones(sizes.shape[1])

    def integral(a):
        return a * start + np.clip(a - places, 0, None) @ sizes

    return lambda a: start + sizes[places < a].sum(0), lambda a: integral(a).sum(), integral(1.0)


def claims(seen, exact, matrix):
    """Return true by claimed error of both rules on cells."""
    for rule in (cell_estimate, jump_estimate):
        found = rule(seen)
        yield np.linalg.norm(found.weights[0] @ matrix - exact) / found.claimed[0]


@given(seed=st.integers(0, 1000), n=st.integers(9, 20))
def test_jumps_that_share_the_only_cell_that_has_any_are_no_witnesses_for_themselves(seed, n):
    rng, ratios = np.random.default_rng(seed), []
    for _ in range(60):
        cell = rng.integers(1, n)
        places, sizes = (cell - 0.5 + rng.uniform(size=2)) / n, rng.normal(size=(2, 5))
        rows, scalar, exact = jumps_at(places, sizes)
        seen, matrix = samples((np.arange(n) + 0.5) / n, rows, scalar)
        ratios.append(list(claims(seen, exact, matrix)))
    assert (np.mean(np.array(ratios) <= 2, axis=0) >= 0.82).all()  # of each rule, but not where they nearly cancel


@given(seed=st.integers(0, 1000), n=st.integers(5, 20), last=st.booleans())
def test_a_jump_that_only_the_function_sees_may_be_larger_than_the_others_tell(seed, n, last):
    rng = np.random.default_rng(seed)
    place, size = rng.uniform(0.1, 0.4) / n, rng.normal(size=5)
    size += (2.5 * rng.choice([-1, 1]) * np.linalg.norm(size - size.mean()) / 5**0.5 - size.mean()) / 2.5
    jump = np.linalg.norm(size) / abs(size.sum())
    places = np.array([1 - place if last else place, 0.55])
    rows, scalar, exact = jumps_at(places, np.stack([size, np.full(5, 0.01)]))
    seen, matrix = samples((np.arange(n) + 0.5) / n, rows, scalar)
    # F shows the sum of its entries, and a row is taken to be up to three times as large.
    assert max(claims(seen, exact, matrix)) <= 1.1 * max(jump / 3, 1)


@given(seed=st.integers(0, 1000), kinks=st.integers(1, 3))
def test_a_step_between_a_few_first_points_is_never_taken_for_a_slope(seed, kinks):
    rng = np.random.default_rng(seed)
    points = np.array([0.0283, 0.085, 0.218, 0.351, 0.5, 0.649, 0.782, 0.915, 0.9717])
    cell = rng.integers(1, 8)
    places = points[cell] + rng.uniform(0.05, 0.95, kinks) * (points[cell + 1] - points[cell])
    sizes = rng.normal(size=(kinks, 5))
    rows, scalar, exact = jumps_at(places, sizes)
    while True:  # as integration does
        seen, matrix = samples(points, rows, scalar)
        steps = next_steps(seen, 1e-2 / 1.5, 200)
        if not len(steps.points[0]):
            break
        points = np.sort(np.concatenate([points, steps.points[0]]))
    found = steps.estimate.weights[0] @ matrix
    assert np.linalg.norm(found - exact) <= 1.5e-2 * np.linalg.norm(exact)


@given(points=st.lists(st.integers(1, 499), min_size=1, max_size=8, unique=True))
def test_points_without_a_mirror_are_told_from_those_with_one(points):
    half = np.sort(np.array(points) / 1000)
    both = np.concatenate([half, 1 - half[::-1]])
    assert not unpaired(both[None]).any()
    assert unpaired(half[None]).all()
    assert unpaired(np.delete(both, 0)[None]).sum() == 1
