"""Texts of different lengths: what pads them, and how they are spread over shards, changes no number."""

import pytest
import torch
from attribution_folders import folder

from captum_xg.analysis import cluster, summarize
from captum_xg.datasets import Attributions


class Shards(Attributions):
    """Folders one behind the other: texts of another length in each, as shards of one run may have them."""

    def __init__(self, parts):
        self.parts = parts
        self.__dict__ |= {"ids": torch.cat([p.ids for p in parts]), "targets": torch.cat([p.targets for p in parts])}
        self.__dict__ |= {"outputs": torch.cat([p.outputs for p in parts]), "labels": None}

    settings = {}  # noqa: RUF012

    def __len__(self):
        return sum(map(len, self.parts))

    def __getitem__(self, i):
        return self.parts[0][i]

    def batches(self, size):
        for part in self.parts:
            yield from part.batches(size)


@pytest.fixture
def texts(tmp_path):
    """The same texts in shards of their own length, and padded to the longest in one folder."""
    generator = torch.Generator().manual_seed(0)
    parts, tokens, maps, first = [], [], [], 0
    for length in (5, 9, 7):
        ids = torch.randint(1, 20, (20, length), generator=generator)
        numbers = torch.randn(20, length, generator=generator)
        places = torch.arange(first, first := first + 20)
        parts.append(folder(tmp_path / str(length), numbers, tokens=ids, ids=places))
        fill = 9 - length
        tokens.append(torch.nn.functional.pad(ids, (0, fill), value=-1))
        maps.append(torch.nn.functional.pad(numbers, (0, fill)))
    ids = torch.arange(60)
    return Shards(parts), folder(tmp_path / "padded", torch.cat(maps), tokens=torch.cat(tokens), ids=ids, shard=20)


def test_padding_changes_nothing_of_a_summary(texts):
    region = {"regions": {"start": torch.arange(5) < 2}}
    own, padded = (
        summarize(found, **({"regions": {"start": torch.arange(9) < 2}} if found is texts[1] else region))
        for found in texts
    )
    assert own.maps.mean.shape == (1, 9)
    for name in ("mean", "absolute", "share"):
        torch.testing.assert_close(getattr(own.maps, name), getattr(padded.maps, name), rtol=0, atol=0)
    for name, values in own.scores.values.items():
        torch.testing.assert_close(values, padded.scores.values[name], rtol=1e-12, atol=0)
    for name in ("tokens", "occurrences", "total"):
        torch.testing.assert_close(getattr(own.tokens, name), getattr(padded.tokens, name))


def test_padding_changes_no_cluster(texts):
    pytest.importorskip("sklearn")
    own, padded = (cluster(found, clusters=2) for found in texts)
    assert own.clusters == padded.clusters
    assert torch.equal(own.index, padded.index)
    assert own.maps.share.shape[1:] == (9,)
