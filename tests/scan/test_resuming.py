"""A folder is completed with the data and the model that it was begun with, also where no digest tells them apart."""

import json
import threading

import pytest
import torch
from scan_cases import examples, explained, network
from test_runs import contents
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_xg import LayerXGradient, XGradient
from captum_xg.errors import FileError

HIDDEN = threading.local()
"""Nobody can look into it."""


class Hiding(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return self.inner(x) * HIDDEN.factor


def batches(x, y):
    return [(x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4)]


def loaders(x, y):
    return {"map": DataLoader(TensorDataset(x, y), batch_size=4), "stream": batches(x, y)}


@pytest.mark.parametrize("kind", ["map", "stream"])
@pytest.mark.parametrize("gone", [None, 0, 8, 16])
def test_a_model_that_gives_other_outputs_is_refused(tmp_path, kind, gone):
    loader = loaders(*examples(24))[kind]
    HIDDEN.factor = 1.0
    explained(XGradient(Hiding()), loader, tmp_path, shard_size=8)
    if gone is not None:
        (tmp_path / "shards" / f"{gone:08d}.safetensors").unlink()
    before = contents(tmp_path)
    HIDDEN.factor = 1.0 + 1e-5  # rounding
    explained(XGradient(Hiding()), loader, tmp_path / "rounding", shard_size=8)
    HIDDEN.factor = 1.02
    with pytest.raises(FileError, match="attributions of another model: outputs of examples"):
        explained(XGradient(Hiding()), loader, tmp_path, shard_size=8)
    after = {name: part for name, part in contents(tmp_path).items() if not name.startswith("rounding")}
    if not (kind == "stream" and gone == 0):
        assert after == before
    assert {name for name in after if "shards" in name} == {name for name in before if "shards" in name}
    HIDDEN.factor = 1.0 + 1e-5
    assert explained(XGradient(Hiding()), loader, tmp_path, shard_size=8).complete


@pytest.mark.parametrize("gone", [0, 16])
def test_a_stream_of_other_batches_is_refused(tmp_path, gone):
    x, y = examples(24)
    explained(XGradient(network()), batches(x, y), tmp_path, shard_size=8)
    (tmp_path / "shards" / f"{gone:08d}.safetensors").unlink()
    there = {path.name for path in (tmp_path / "shards").iterdir()}
    other = x.clone()
    other[13] += 1
    with pytest.raises(FileError, match="attributions of other data: example 13 is not the one"):
        explained(XGradient(network()), batches(other, y), tmp_path, shard_size=8)
    assert {path.name for path in (tmp_path / "shards").iterdir()} == there
    assert explained(XGradient(network()), batches(x, y), tmp_path, shard_size=8).complete


def test_of_every_shard_that_is_there_an_example_is_compared(tmp_path):
    x, y = examples(400)
    explained(XGradient(network()), DataLoader(TensorDataset(x, y), batch_size=4), tmp_path, shard_size=8)
    before = contents(tmp_path)
    seen = {i * 399 // 15 for i in range(16)}  # those of the digest of the data
    for shard in (3, 20, 40):
        other = x.clone()
        chosen = [i for i in range(8 * shard, 8 * shard + 8) if i not in seen]
        other[chosen] += 1
        with pytest.raises(FileError, match=r"attributions of other data: example \d+ is not the one"):
            explained(XGradient(network()), DataLoader(TensorDataset(other, y), batch_size=4), tmp_path, shard_size=8)
    assert contents(tmp_path) == before


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 5, padding_idx=0), nn.Linear(5, 3, bias=False)

    def forward(self, ids):
        return self.head(torch.relu(self.embedding(ids)).sum(1))


def test_texts_that_are_filled_up_to_the_longest_of_their_batch_are_the_same(tmp_path):
    torch.manual_seed(0)
    model = Bag().eval()
    texts = [torch.randint(1, 20, (2 + i % 5,)) for i in range(24)]

    def filled(rows):
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    for _ in range(2):
        loader = DataLoader(texts, batch_size=4, collate_fn=filled)
        explained(LayerXGradient(model, model.embedding), loader, tmp_path, shard_size=8)
        (tmp_path / "shards" / "00000008.safetensors").unlink()


def test_other_names_of_inputs_are_refused_and_those_of_the_folder_stay(tmp_path):
    loader = DataLoader(TensorDataset(*examples(16)), batch_size=4)
    explained(XGradient(network()), loader, tmp_path, names=["pixels"], shard_size=8)
    with pytest.raises(FileError, match=r"with the names 'pixels', and not 'numbers'\. Leave `names` out"):
        explained(XGradient(network()), loader, tmp_path, names=["numbers"], shard_size=8)
    (tmp_path / "shards" / "00000008.safetensors").unlink()
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**index, "complete": False, "shards": []}))
    assert explained(XGradient(network()), loader, tmp_path, shard_size=8).inputs == ("pixels",)
