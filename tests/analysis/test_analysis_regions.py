"""The region that stands out is found: by a slow search over all boxes, and where one was planted."""

import math
from itertools import product

import pytest
import torch
from attribution_folders import folder
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_xg.analysis import MeanMaps, find_regions, summarize
from captum_xg.errors import OptionError


def maps_of(shares, counts):
    shares = torch.as_tensor(shares, dtype=torch.float64)
    names = tuple(map(str, range(len(shares))))
    return MeanMaps(names, torch.tensor(counts), torch.zeros(len(shares), dtype=torch.int64), shares, shares, shares)


def random_shares(seed, groups, shape):
    shares = torch.rand(groups, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
    return shares / shares.flatten(1).sum(1).reshape(-1, *[1] * len(shape))


def slow_scores(shares, counts, sides):
    """Score and group of every box, by loops over places."""
    groups, *shape = shares.shape
    found = {}
    for side in sides:
        for corner in product(*(range(length - side + 1) for length in shape)):
            places = list(product(*(range(first, first + side) for first in corner)))
            even = len(places) / math.prod(shape)
            best = (0.0, None)
            for g in range(groups):
                inside = {h: sum(float(shares[(h, *place)]) for place in places) for h in range(groups)}
                others = [h for h in range(groups) if h != g]
                p = (inside[g] * counts[g] + even) / (counts[g] + 1)
                q = (sum(inside[h] * counts[h] for h in others) + even) / (sum(counts[h] for h in others) + 1)
                if p > q:
                    score = p * math.log(p / q) + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0)
                    best = max(best, (score, g), key=lambda pair: pair[0])
            found[corner, side] = best
    return found


@settings(max_examples=tries(4, 20))
@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(6,), (5, 4)]), groups=st.integers(2, 4))
def test_regions_are_the_best_boxes_of_a_slow_search(seed, shape, groups):
    shares, counts = random_shares(seed, groups, shape), [10 + 7 * g for g in range(groups)]
    slow = slow_scores(shares, counts, (1, 2, 3))
    result = find_regions(maps_of(shares, counts), sizes=[1, 2, 3], most=50)
    taken = set()
    for region in result.regions:
        free = {
            (corner, side): score
            for (corner, side), (score, _) in slow.items()
            if not taken & set(product(*(range(first, first + side) for first in corner)))
        }
        assert region.score == pytest.approx(max(free.values()), rel=1e-9)
        score, group = slow[region.corner, region.size[0]]
        assert (region.score, region.group) == (pytest.approx(score, rel=1e-9), str(group))
        assert region.inside == pytest.approx(float(shares[int(region.group)][region.slices].sum()))
        taken |= set(product(*(range(part.start, part.stop) for part in region.slices)))
    scores = [region.score for region in result.regions]
    assert scores == sorted(scores, reverse=True)


@settings(max_examples=tries(5, 30))
@given(
    seed=st.integers(0, 1000),
    side=st.integers(2, 6),
    row=st.integers(0, 9),
    column=st.integers(0, 9),
    strength=st.floats(0.3, 0.9),
)
def test_a_box_that_was_planted_is_found_with_its_place_and_its_size(seed, side, row, column, strength):
    even = torch.full((3, 16, 16), 1 / 256, dtype=torch.float64)
    shares = even * (1 + 0.1 * random_shares(seed, 3, (16, 16)))
    planted = torch.zeros(16, 16, dtype=torch.bool)
    planted[row : row + side, column : column + side] = True
    shares[1] = (1 - strength) * shares[1] + strength * planted / side**2
    shares /= shares.flatten(1).sum(1)[:, None, None]
    first = find_regions(maps_of(shares, [50, 20, 50])).regions[0]
    assert (first.corner, first.size, first.group) == ((row, column), (side, side), "1")


def test_masks_are_the_first_regions_and_regions_do_not_overlap():
    result = find_regions(maps_of(random_shares(3, 3, (20, 18)), [30, 40, 50]), most=7)
    assert len(result.regions) == 7
    assert result.shares.shape == (7, 20, 18)
    assert int(result.mask(7).sum()) == sum(math.prod(region.size) for region in result.regions)
    assert int(result.mask().sum()) == math.prod(result.regions[0].size)
    assert len(result.plot()._repr_png_()) > 1000


def test_scores_do_not_depend_on_the_scale_of_an_example(tmp_path):
    numbers, targets = torch.randn(40, 1, 8, 8), torch.arange(40) % 2
    scale = 2.0 ** torch.randint(-9, 9, (40, 1, 1, 1))
    one, other = (
        find_regions(summarize(folder(tmp_path / name, given, targets=targets)))
        for name, given in (("a", numbers), ("b", numbers * scale))
    )
    assert one.regions == other.regions


def test_groups_that_are_small_or_alone_are_passed_over():
    shares = random_shares(5, 2, (8, 8))
    assert find_regions(maps_of(shares[:1], [50])).regions == ()
    assert find_regions(maps_of(shares, [9, 9])).regions == ()
    assert {region.group for region in find_regions(maps_of(shares, [9, 10])).regions} == {"1"}
    equal = maps_of(shares[:1].expand(2, 8, 8), [20, 20])
    assert all(region.score < 1e-12 for region in find_regions(equal).regions)
    assert str(find_regions(maps_of(shares[:1], [50]))) == "No region stands out"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [([9], "does not fit"), ([(2,)], "does not fit"), ([], "is empty"), ([0], "positive"), ([2.5], "positive")],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(OptionError, match=message):
        find_regions(maps_of(random_shares(0, 2, (8, 8)), [20, 20]), sizes=sizes)


def test_what_is_no_result_of_the_analysis_is_refused():
    with pytest.raises(OptionError, match="must be clusters, mean maps or a summary but is Tensor"):
        find_regions(torch.ones(3))
    with pytest.raises(OptionError, match="one or two dimensions"):
        find_regions(maps_of(random_shares(0, 2, (2, 2, 2)), [20, 20]))
