"""Mean maps and scores are those of a plain loop over examples, whatever the shapes and however they are read."""

import math

import pytest
import torch
from attribution_folders import folder
from effort import thorough, tries
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_xg.analysis import summarize
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.errors import OptionError
from captum_xg.priors import GiniSparsity


def gini_of(values):
    """The Gini coefficient by its definition, over all pairs."""
    n, total = len(values), sum(values)
    return sum(abs(a - b) for a in values for b in values) / (2 * n * total)


def random_folder(path, seed, shape=(2, 3, 4), n=20, tokens=False):
    generator = torch.Generator().manual_seed(seed)
    attributions = torch.randn(n, *shape, generator=generator)
    attributions[::7] = 0  # examples without any attribution
    targets, labels = torch.randint(0, 3, (n,), generator=generator), torch.randint(-1, 3, (n,), generator=generator)
    words = torch.randint(0, 6, (n, shape[0]), generator=generator) if tokens else None
    return (
        folder(path, attributions, targets=targets, labels=labels, tokens=words),
        attributions,
        targets,
        labels,
        words,
    )


SHAPES = [(5,), (3, 4), (2, 3, 4), *thorough([(1, 1, 1), (2, 2, 3, 2), ()])]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("by", ["target", "label"])
def test_maps_and_scores_are_those_of_a_plain_loop(tmp_path, shape, by):
    found, attributions, targets, labels, _ = random_folder(tmp_path / "a", 1, shape)
    region = torch.rand(summarize(found).maps.mean.shape[1:])
    result = summarize(found, by=by, regions={"here": region})
    groups = targets if by == "target" else labels
    assert result.maps.names == tuple(str(g) for g in sorted({int(g) for g in groups} - {-1}))
    for place, name in enumerate(result.maps.names):
        own = [a.double() for a, g in zip(attributions, groups, strict=True) if int(g) == int(name)]
        flat = [a.sum(0) if a.dim() >= 3 else a for a in own]
        sizes = [a.abs().sum(0) if a.dim() >= 3 else a.abs() for a in own]
        shown = [a / a.sum() for a in sizes if float(a.sum()) > 0]
        assert int(result.maps.counts[place]) == len(own)
        assert int(result.maps.empty[place]) == len(own) - len(shown)
        for mean, parts in (("mean", flat), ("absolute", sizes), ("share", shown)):
            expected = sum(parts) / len(parts)
            actual = getattr(result.maps, mean)[place].reshape(expected.shape)
            torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-15)
    for i, a in enumerate(attributions.double()):
        size = a.abs().sum(0) if a.dim() >= 3 else a.abs()
        scores = {name: float(values[i]) for name, values in result.scores.values.items()}
        assert scores["sum"] == pytest.approx(float(a.sum()), abs=1e-12)
        assert scores["absolute sum"] == pytest.approx(float(a.abs().sum()), abs=1e-12)
        if float(size.sum()) == 0:
            assert math.isnan(scores["gini"])
            assert math.isnan(scores["share of here"])
        else:
            assert scores["gini"] == pytest.approx(gini_of(a.abs().flatten().tolist()), abs=1e-12)
            assert scores["gini"] == pytest.approx(-float(GiniSparsity("example")(a[None])), abs=1e-12)
            inside = float((size.reshape(region.shape) * region.double()).sum() / size.sum())
            assert scores["share of here"] == pytest.approx(inside, abs=1e-12)


@settings(max_examples=tries(4, 20))
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 30), min_size=2, max_size=3, unique=True))
def test_it_does_not_matter_how_many_are_read_at_a_time(tmp_path_factory, seed, sizes):
    path = tmp_path_factory.mktemp("folder")
    found = random_folder(path / "a", seed, (4,), tokens=True)[0]
    results = [summarize(found, batch_size=size) for size in sizes]
    for other in results[1:]:
        for mean in ("mean", "absolute", "share", "counts", "empty"):
            assert torch.equal(getattr(other.maps, mean), getattr(results[0].maps, mean)), mean
        for mean in ("tokens", "mean", "share", "total", "occurrences", "texts"):
            assert torch.equal(getattr(other.tokens, mean), getattr(results[0].tokens, mean)), mean
        for name, values in other.scores.values.items():
            torch.testing.assert_close(values, results[0].scores.values[name], rtol=1e-13, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(4,), (4, 3)], ids=["summed", "embedding"])
def test_tokens_have_the_shares_of_a_plain_count(tmp_path, shape):
    found, attributions, *_, words = random_folder(tmp_path / "a", 2, shape, tokens=True)
    result = summarize(found, tokens={"two": 2, "few": [0, 5]}, vocabulary=list("abcdef"))
    times, texts, signed, share = ([0.0] * 6 for _ in range(4))
    shares = {"two": [], "few": []}
    for a, row in zip(attributions.double(), words.tolist(), strict=True):
        net, size = (a.sum(1), a.abs().sum(1)) if a.dim() == 2 else (a, a.abs())
        part = (size / size.sum()).tolist() if float(size.sum()) else [math.nan] * len(row)
        for word in set(row):
            texts[word] += 1
        for place, word in enumerate(row):
            times[word] += 1
            signed[word] += float(net[place])
            share[word] += 0 if math.isnan(part[place]) else part[place]
        shares["two"].append(sum(p for p, word in zip(part, row, strict=True) if word == 2) + 0 * part[0])
        shares["few"].append(sum(p for p, word in zip(part, row, strict=True) if word in (0, 5)) + 0 * part[0])
    order = sorted((word for word in range(6) if times[word]), key=lambda word: -share[word])
    table = result.tokens
    assert table.tokens.tolist() == order
    assert table.words == tuple("abcdef"[word] for word in order)
    assert table.occurrences.tolist() == [times[word] for word in order]
    assert table.texts.tolist() == [texts[word] for word in order]
    assert table.mean.tolist() == pytest.approx([signed[word] / times[word] for word in order])
    assert table.share.tolist() == pytest.approx([share[word] / texts[word] for word in order])
    assert table.total.tolist() == pytest.approx([share[word] / len(words) for word in order])
    known = summarize(found, vocabulary=Vocabulary(("c", "d", "e"))).tokens.words
    assert known == tuple(["[padding]", "[unknown]", "c", "d", "e", "5"][word] for word in order)
    for name, expected in shares.items():
        assert result.scores.values[f"share of {name}"].tolist() == pytest.approx(expected, nan_ok=True)


def test_the_highest_are_first_ties_in_order_and_what_is_not_a_number_nowhere(tmp_path):
    sums = torch.tensor([1.0, 3.0, 0.0, 3.0, -2.0, 2.0])
    found = folder(tmp_path / "a", torch.stack([sums, torch.zeros(6)], 1), targets=torch.tensor([0, 1, 0, 1, 0, 0]))
    scores = summarize(found).scores
    assert scores.highest("sum", 3) == [(3, 3.0), (9, 3.0), (15, 2.0)]
    assert scores.lowest("sum", 1) == [(12, -2.0)]
    assert scores.highest("sum", 9, group="0") == [(15, 2.0), (0, 1.0), (6, 0.0), (12, -2.0)]
    assert {example for example, _ in scores.highest("gini", 9)} == {0, 3, 9, 12, 15}
    with pytest.raises(OptionError, match="`score` must be 'sum'"):
        scores.highest("size")
    with pytest.raises(OptionError, match="`group` must be '0' or '1'"):
        scores.lowest("sum", group="2")


def test_one_of_several_targets_and_inputs_is_read(tmp_path):
    numbers = torch.randn(6, 2, 3), torch.randn(6, 2, 4)
    targets = torch.tensor([[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]])
    found = folder(tmp_path / "a", numbers, targets=targets)
    result = summarize(found, target=1, input=1)
    assert result.maps.counts.tolist() == [2, 2, 2]
    torch.testing.assert_close(result.maps.mean[0], numbers[1][[2, 4], 1].double().mean(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 1}, "attributions of 1 target"),
        ({"input": 1}, "the model has 1 input"),
        ({"by": "label"}, "no labels in the folder"),
        ({"by": "name"}, "`by` must be 'target'"),
        ({"classes": ["a"]}, "has 1 names, but there is a class 1"),
        ({"regions": {"a": torch.ones(3)}}, r"shape \(3,\), but a map of these attributions has \(2, 2\)"),
        ({"regions": {"a": torch.full((2, 2), 2.0)}}, "above 1"),
        ({"tokens": {"a": [1]}}, "has no tokens"),
        ({"batch_size": 0}, "positive|≥ 1"),
    ],
)
def test_options_that_do_not_fit_the_folder_are_refused(tmp_path, options, message):
    found = folder(tmp_path / "a", torch.ones(2, 1, 2, 2), targets=torch.tensor([0, 1]))
    with pytest.raises(OptionError, match=message):
        summarize(found, **options)


def test_numbers_that_are_none_are_refused_with_the_example(tmp_path):
    found = folder(tmp_path / "a", torch.tensor([[1.0], [math.nan]]))
    with pytest.raises(OptionError, match="attributions of example 3 have NaN"):
        summarize(found)


def test_pictures_of_maps_are_drawn(tmp_path):
    for shape in ((5,), (2, 6, 5)):
        found = folder(tmp_path / f"{len(shape)}", torch.randn(9, *shape), targets=torch.arange(9) % 3)
        maps = summarize(found).maps
        for of in ("mean", "absolute", "share"):
            assert len(maps.plot(of)._repr_png_()) > 1000
    with pytest.raises(OptionError, match="`of` must be"):
        maps.plot("sum")
