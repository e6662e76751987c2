"""Clusters: evidence that was planted is found; what is said of a cluster is what a plain count says."""

import sys

import pytest
import torch
from attribution_folders import folder

from captum_xg.analysis import cluster, find_regions
from captum_xg.analysis.pooling import pooled
from captum_xg.analysis.spectral import spectral_clusters
from captum_xg.errors import MissingPackageError, OptionError

pytest.importorskip("sklearn")

BOXES = ((0, 0), (12, 12), (0, 12))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Two classes; in a quarter of the first the evidence is in a box at one of two places. Which, and the folder."""
    generator = torch.Generator().manual_seed(0)
    n = 240
    numbers = 0.2 * torch.randn(n, 1, 16, 16, generator=generator)
    numbers[:, :, 5:11, 5:11] += torch.rand(n, 1, 6, 6, generator=generator)
    labels = torch.arange(n) % 2
    kind = torch.zeros(n, dtype=torch.int64)
    first = (labels == 0).nonzero().flatten()
    kind[first[:15]], kind[first[15:30]] = 1, 2
    for which, (row, column) in enumerate(BOXES[:2], 1):
        numbers[kind == which, :, row : row + 4, column : column + 4] += 3
    numbers[-2:] = 0
    predictions = labels.clone()
    predictions[first[:5]] = 1  # wrong by the label, but explained and grouped as what they are said to be
    found = folder(
        tmp_path_factory.mktemp("planted") / "a",
        numbers * 2.0 ** torch.randint(-5, 5, (n, 1, 1, 1), generator=generator),
        targets=labels,
        outputs=torch.eye(2)[predictions],
        labels=labels,
        shard=64,
    )
    return found, numbers, labels, predictions, kind


def test_planted_evidence_is_a_cluster_that_stands_apart_and_its_box_a_region(planted):
    found, _, _, _, kind = planted
    result = cluster(found.folder, clusters=3, classes=("cat", "dog"))
    best = result.clusters[:2]
    members = {frozenset(result.members(each.name).tolist()) for each in best}
    assert members == {frozenset(found.ids[kind == which].tolist()) for which in (1, 2)}
    assert {each.group for each in best} == {"cat"}
    first, second = find_regions(result).regions[:2]
    assert {first.corner, second.corner} == set(BOXES[:2])
    assert first.size == second.size == (4, 4)
    assert {each.accuracy for each in best} == {2 / 3, 1.0}


def test_what_is_said_of_a_cluster_is_what_a_plain_count_says(planted):
    found, numbers, labels, predictions, _ = planted
    result = cluster(found, by="prediction", clusters=4, pool=4)
    shares = numbers.double().abs()[:, 0]
    shares = shares / shares.sum((1, 2), keepdim=True)
    vectors = shares.reshape(-1, 4, 4, 4, 4).sum((2, 4)).flatten(1)
    assert sorted((each.apart for each in result.clusters), reverse=True) == [c.apart for c in result.clusters]
    assert int((result.index < 0).sum()) == 2  # those without attributions
    for place, each in enumerate(result.clusters):
        inside = result.index == place
        of_class = (predictions == int(each.group)) & (result.index >= 0)
        assert bool((predictions[inside] == int(each.group)).all())
        assert each.size == int(inside.sum()) == int(result.maps.counts[place])
        assert each.part == pytest.approx(each.size / int(of_class.sum()))
        assert each.accuracy == pytest.approx(float((predictions == labels)[inside].double().mean()))
        torch.testing.assert_close(result.maps.share[place], shares[inside].mean(0))
        centres = {
            o: vectors[result.index == o].mean(0) for o, c in enumerate(result.clusters) if c.group == each.group
        }
        near = {i: float((vectors[i] - centres[place]).norm()) for i in inside.nonzero().flatten().tolist()}
        assert each.typical == tuple(int(found.ids[i]) for i in sorted(near, key=near.__getitem__)[:5])
        silhouettes = []
        for i, own in near.items():
            other = min(float((vectors[i] - centre).norm()) for o, centre in centres.items() if o != place)
            silhouettes.append((other - own) / max(other, own))
        assert each.apart == pytest.approx(sum(silhouettes) / len(silhouettes), abs=1e-6)


def test_clusters_do_not_depend_on_the_batch_size_or_the_scale_of_examples(planted, tmp_path):
    found, numbers, labels, predictions, _ = planted
    result = cluster(found, batch_size=256)
    scaled = folder(tmp_path / "b", numbers, targets=labels, outputs=torch.eye(2)[predictions], labels=labels, shard=50)
    for other in (cluster(found, batch_size=7), cluster(scaled)):
        assert other.clusters == result.clusters
        assert torch.equal(other.index, result.index)
        assert torch.equal(other.maps.share, result.maps.share)


def test_those_beyond_the_sample_join_the_cluster_of_their_nearest():
    generator = torch.Generator().manual_seed(1)
    kind = torch.arange(90) % 3
    vectors = 10 * torch.eye(3)[kind] + torch.randn(90, 3, generator=generator)
    for sample in (30, 90):
        found = spectral_clusters(vectors, 3, sample, 0)
        assert torch.equal(found, kind)  # all of one size: numbered by their first member


def test_the_largest_cluster_is_the_first_and_few_examples_are_one(tmp_path):
    numbers = torch.rand(19, 1, 8, 8)
    only = cluster(folder(tmp_path / "a", numbers))
    assert [each.name for each in only.clusters] == ["0/0"]
    assert (only.clusters[0].apart, only.clusters[0].accuracy) == (0.0, None)
    assert len(only.plot()._repr_png_()) > 1000
    kind = torch.tensor([0, 1, 1, 1])[torch.arange(80) % 4]
    found = spectral_clusters(10 * torch.eye(2)[kind] + 0.1 * torch.rand(80, 2), 2, 80, 0)
    assert torch.equal(found, 1 - kind)


@pytest.mark.parametrize(("shape", "side"), [((7,), 2), ((9, 5), 3), ((3, 3), 7)])
def test_pooling_keeps_the_sum_and_puts_each_place_into_one_cell(shape, side):
    shares = torch.rand(4, *shape, dtype=torch.float64)
    cells = pooled(shares, side)
    torch.testing.assert_close(cells.double().sum(1), shares.flatten(1).sum(1), rtol=1e-6, atol=0)
    if len(shape) == 2 and side > min(shape):
        torch.testing.assert_close(cells, shares.flatten(1).float())


def test_a_model_with_a_single_output_has_no_accuracy(tmp_path):
    found = folder(
        tmp_path / "a",
        torch.rand(12, 5),
        targets=torch.full((12,), -1),
        outputs=torch.rand(12, 1),
        labels=torch.zeros(12, dtype=torch.int64),
    )
    each = cluster(found).clusters[0]
    assert (each.name, each.accuracy) == ("output/0", None)


def test_options_that_cannot_be_are_refused(planted):
    for options, message in (({"clusters": 0}, "clusters"), ({"sample": 79}, "sample"), ({"seed": -1}, "seed")):
        with pytest.raises(OptionError, match=f"`{message}`"):
            cluster(planted[0], **options)
    with pytest.raises(OptionError, match="must be what explain_dataset returns, or the folder, but is dict"):
        cluster({})
    with pytest.raises(OptionError, match="`name` must be"):
        cluster(planted[0], clusters=1).members("5/5")


def test_without_scikit_learn_it_is_said_how_to_get_it(planted, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingPackageError, match=r"pip install captum-xg\[scan\]"):
        cluster(planted[0])


@pytest.mark.parametrize(("dtype", "noise"), [("float32", 1e-7), ("float16", 3e-4)])
def test_maps_that_differ_by_rounding_are_one_cluster(tmp_path, dtype, noise):
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 1, 8, 8, generator=generator)
    maps = torch.stack([one] * 60 + [other] * 30) * (1 + noise * torch.randn(90, 1, 8, 8, generator=generator))
    found = folder(tmp_path / "a", maps * torch.rand(90, 1, 1, 1, generator=generator))
    found.settings["dtype"] = dtype
    alike = cluster(found, clusters=8, sample=90)
    assert sorted((each.size, each.apart) for each in alike.clusters) == [(30, 1.0), (60, 1.0)]


def test_where_nothing_is_attributed_there_is_no_cluster_and_no_region(tmp_path):
    result = cluster(folder(tmp_path / "a", torch.zeros(20, 1, 4, 4)))
    assert result.clusters == ()
    assert (find_regions(result).regions, find_regions(result.maps).regions) == ((), ())
    assert "0 classes" in str(result.maps)
