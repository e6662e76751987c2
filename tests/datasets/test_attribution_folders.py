"""A folder of attributions reads as it was written, whatever is in it, and never as something else."""

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from captum_xg.datasets import Attributions
from captum_xg.datasets.attributions import RefusedExample
from captum_xg.datasets.attributions.example_digest import example_digests
from captum_xg.datasets.attributions.layout import Index, Listed, shard_path, write_index
from captum_xg.datasets.attributions.packing import packed, unpacked
from captum_xg.datasets.attributions.shard import Shard, sha256_of, write_shard
from captum_xg.errors import FileError, OptionError


def columns(ids, shape=(1, 4, 4), k=1, classes=3, inputs=1, half=True, labels=True):
    """Columns of a shard with random numbers, and the attributions that they stand for."""
    n, gen = len(ids), torch.Generator().manual_seed(sum(ids))
    exact = [torch.randn(n, k, *shape, generator=gen) * 1e-7 for _ in range(inputs)]
    names = ["attributions"] if inputs == 1 else [f"attributions.{i}" for i in range(inputs)]
    pairs = [packed(a) for a in exact]
    found = {name: stored if half else a for name, (stored, _), a in zip(names, pairs, exact, strict=True)}
    if half:
        found["scales"] = pairs[0][1] if inputs == 1 else torch.stack([scales for _, scales in pairs], 2)
    found |= {
        "ids": torch.tensor(ids, dtype=torch.int64),
        "digests": torch.arange(n),
        "targets": torch.zeros(n, k, dtype=torch.int64),
        "outputs": torch.randn(n, classes, generator=gen),
        "gap": torch.zeros(n, k),
    }
    if labels:
        found["labels"] = torch.tensor(ids, dtype=torch.int64) % classes
    return found, exact


def folder_of(path, parts, *, complete=True, inputs=("x",), **options):
    """Write shards of given positions, of which odd multiples of 3 are refused; return the exact attributions."""
    (path / "shards").mkdir(parents=True)
    exact, listed = [], []
    write_index(path, Index("run", {"method": "x"}, inputs))
    for first, stop in parts:
        kept = [i for i in range(first, stop) if i % 6 != 3]
        refused = tuple(RefusedExample(i, "InputError", "it is “bad”") for i in range(first, stop) if i % 6 == 3)
        own, numbers = columns(kept, inputs=len(inputs), **options)
        exact.append(numbers)
        file = shard_path(path, first)
        write_shard(file, Shard(first, stop, "run", own, refused))
        listed.append(Listed(f"shards/{file.name}", first, stop, len(kept), len(refused), sha256_of(file)))
    if complete:
        write_index(path, Index("run", {"method": "x"}, inputs, parts[-1][1], True, tuple(listed)))
    return [torch.cat(column) for column in zip(*exact, strict=True)]


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("inputs", [("x",), ("image", "table")])
def test_what_was_written_is_read_in_every_way_there_is(tmp_path, half, inputs):
    exact = folder_of(tmp_path / "a", [(0, 8), (8, 16), (16, 19)], half=half, inputs=inputs, k=2)
    read = Attributions(tmp_path / "a")
    kept = [i for i in range(19) if i % 6 != 3]
    assert len(read) == len(kept)
    assert read.ids.tolist() == kept
    assert [each.id for each in read.refused] == [3, 9, 15]
    several = len(inputs) > 1
    assert read.input_shape == (((1, 4, 4),) * 2 if several else (1, 4, 4))
    tolerance = {"rtol": 2**-11, "atol": 0} if half else {"rtol": 0, "atol": 0}
    singles = [read[i]["attributions"] for i in range(len(read))]
    batches = [batch["attributions"] for batch in read.batches(3)]
    for j, whole in enumerate(exact):
        one_by_one = torch.stack([a[j] if several else a for a in singles])
        torch.testing.assert_close(one_by_one, whole, **tolerance)
        assert torch.equal(one_by_one, torch.cat([a[j] if several else a for a in batches]))
    assert read[-1]["id"] == read.ids[-1]
    assert read[read.index(16)]["label"] == 16 % 3
    assert torch.equal(read.predictions, read.outputs.argmax(1))
    assert read.targets.shape == read.gaps.shape == (len(kept), 2)
    with pytest.raises(OptionError, match="example 9 has no attributions: InputError"):
        read.index(9)
    with pytest.raises(IndexError):
        read[len(read)]
    read.verify()


def test_workers_of_a_loader_and_copies_read_the_same(tmp_path):
    folder_of(tmp_path / "a", [(0, 8), (8, 16)])
    read = Attributions(tmp_path / "a")
    read[0]
    copy = pickle.loads(pickle.dumps(read))
    assert torch.equal(copy[5]["attributions"], read[5]["attributions"])
    ids = torch.cat([batch["id"] for batch in DataLoader(read, batch_size=4, num_workers=2)])
    assert torch.equal(ids, read.ids)


def test_what_is_read_may_be_written_to(tmp_path):
    folder_of(tmp_path / "a", [(0, 8)], half=False)
    read = Attributions(tmp_path / "a")
    before = read[0]["attributions"].clone()
    read[0]["attributions"].zero_()
    next(read.batches(4))["outputs"].zero_()
    assert torch.equal(read[0]["attributions"], before)
    Attributions(tmp_path / "a").verify()


def test_the_same_content_is_the_same_bytes_and_a_file_of_safetensors(tmp_path):
    refused = (RefusedExample(2, "InputError", "α is NaN"),)
    own, _ = columns([0, 1])
    for name in ("a", "b"):
        write_shard(tmp_path / name, Shard(0, 3, "run", dict(sorted(own.items(), reverse=name == "b")), refused))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = load_file(tmp_path / "a")
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[name], own[name]) for name in own)


@pytest.mark.parametrize("kept", [[], [0]])
def test_shards_without_examples_are_nothing_special(tmp_path, kept):
    own, _ = columns(kept)
    (tmp_path / "shards").mkdir()
    refused = tuple(RefusedExample(i, "E", "r") for i in range(2) if i not in kept)
    write_shard(shard_path(tmp_path, 0), Shard(0, 2, "run", own, refused))
    listed = Listed("shards/00000000.safetensors", 0, 2, len(kept), len(refused), sha256_of(shard_path(tmp_path, 0)))
    write_index(tmp_path, Index("run", {}, ("x",), 2, True, (listed,)))
    read = Attributions(tmp_path)
    assert len(read) == len(read.ids) == len(read.predictions) == len(list(read.batches(5))) == len(kept)
    assert len(read.refused) == 2 - len(kept)


def test_an_unfinished_run_is_refused_or_read_in_part(tmp_path):
    folder_of(tmp_path / "a", [(0, 8), (8, 16)], complete=False)
    with pytest.raises(FileError, match=r"not come to its end; 2 shards.*missing='skip'"):
        Attributions(tmp_path / "a")
    part = Attributions(tmp_path / "a", missing="skip")
    assert not part.complete
    assert len(part) == 13


def test_shards_that_are_gone_foreign_or_damaged_are_named(tmp_path):
    folder_of(tmp_path / "a", [(0, 8), (8, 16)])
    path = shard_path(tmp_path / "a", 8)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FileError, match="not as it was written"):
        Attributions(tmp_path / "a").verify()
    path.write_bytes(content[:-20])
    with pytest.raises(FileError, match=r"00000008.safetensors cannot be read.*Delete it"):
        Attributions(tmp_path / "a")[-1]
    write_shard(path, Shard(8, 16, "other", columns(list(range(8, 16)))[0]))
    with pytest.raises(FileError, match="belongs to another run"):
        Attributions(tmp_path / "a")[-1]
    path.unlink()
    with pytest.raises(FileError, match="1 of 2 shards are gone, first shards/00000008"):
        Attributions(tmp_path / "a")
    assert len(Attributions(tmp_path / "a", missing="skip")) == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "x"}, "its format cannot be 'x'"),
        ({"version": 2}, "version 2, and this captum_xg knows 1"),
        ({"digest": 3}, "its digest cannot be 3"),
        ({"inputs": []}, "its inputs cannot be"),
        ({"shards": [{"file": "/etc/passwd"}]}, "lacks"),
        ({"more": 1}, "unknown more"),
    ],
)
def test_an_index_of_another_form_is_refused(tmp_path, change, said):
    folder_of(tmp_path / "a", [(0, 8)])
    path = tmp_path / "a" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileError, match=said):
        Attributions(tmp_path / "a")


def test_a_shard_outside_of_the_folder_is_refused(tmp_path):
    folder_of(tmp_path / "a", [(0, 8)])
    path = tmp_path / "a" / "index.json"
    content = json.loads(path.read_text())
    content["shards"][0]["file"] = "../b/00000000.safetensors"
    path.write_text(json.dumps(content))
    with pytest.raises(FileError, match="a shard cannot be"):
        Attributions(tmp_path / "a")


def test_a_folder_without_attributions_says_what_writes_them(tmp_path):
    with pytest.raises(FileError, match="captum-xg attribute and explain_dataset write them"):
        Attributions(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.integers(-140, 120), st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]))
def test_sixteen_bits_keep_eleven_digits_of_attributions_of_any_size(exponent, seed, dtype):
    numbers = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    numbers = (numbers.clamp(-8, 8) * 2.0**exponent).to(dtype)
    stored, scales = packed(numbers)
    assert torch.isfinite(stored).all()
    assert torch.equal(torch.frexp(scales)[0], torch.full_like(scales, 0.5))
    largest = numbers.double().abs().amax(2, keepdim=True)
    error = (unpacked(stored, scales).double() - numbers.double()).abs()
    assert (error <= 2.0**-11 * numbers.double().abs() + largest * 2.0**-39 + 2.0**-140).all()


def test_zeros_stay_zero():
    stored, scales = packed(torch.zeros(2, 1, 3))
    assert not stored.any()
    assert (scales == 1).all()
    assert packed(torch.zeros(2, 1, 0))[0].shape == (2, 1, 0)


def test_a_digest_tells_numbers_shapes_and_dtypes_apart():
    x = torch.arange(12.0).reshape(2, 6)
    variants = [(x,), (x.reshape(2, 2, 3),), (x.double(),), (x + 1e-6,), (x, x), (x[:, :3], x[:, 3:])]
    found = [tuple(example_digests(inputs).tolist()) for inputs in variants]
    assert len(set(found)) == len(found)
    assert torch.equal(example_digests((x,)), example_digests((torch.stack([x, x], 2)[:, :, 0],)))
    assert example_digests((x[1:],))[0] == example_digests((x,))[1]
