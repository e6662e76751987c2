"""The files of a page: complete, the same each time, of the data that were explained, and in nobody's way."""

import base64
import itertools
import json
import re
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from scans import pictures, write_scan
from torch.utils.data import TensorDataset

from captum_xg.errors import CaptumXGError, FileError, InputError, OptionError, OptionTypeError
from captum_xg.viewer import write_page


def about(page):
    """What the index of a page says, with its columns as arrays."""
    text = (page.path.parent / "data" / "index.js").read_text()
    said = json.loads(json.loads(re.fullmatch(r"captumXG\.open\((.*)\);\n", text, re.S)[1]))
    columns = {
        each["name"]: np.frombuffer(zlib.decompress(base64.b64decode(each["data"])), each["type"])
        for each in said.pop("columns")
    }
    return said, columns


def rows(page, family):
    """The bytes of every example in the chunks of a family."""
    found = []
    for number in range(family["chunks"]):
        text = (page.path.parent / "data" / f"{family['name']}.{number:05d}.js").read_text()
        name, place, data = json.loads("[" + re.fullmatch(r"captumXG\.chunk\((.*)\);\n", text, re.S)[1] + "]")
        assert (name, place) == (family["name"], number)
        content = base64.b64decode(data)
        content = zlib.decompress(content) if family["packed"] else content
        count = min(family["per"], page.examples - number * family["per"])
        offsets, start = np.frombuffer(content, "<u4", count + 1), 4 * (count + 1)
        assert start + offsets[-1] == len(content)
        found += [content[start + a : start + b] for a, b in itertools.pairwise(offsets)]
    return found


def scan(folder, n=150, **options):
    x, a, outputs, labels = pictures(n, **options)
    return write_scan(folder, x, a, outputs, labels=labels, gone=(3, 70)), x, a


def test_every_example_is_on_the_page_once_with_its_numbers(tmp_path):
    run, x, a = scan(tmp_path / "run", 1100)
    page = write_page(run, x, tmp_path / "page")
    said, columns = about(page)
    ids = run.ids.numpy()
    assert page.examples == said["examples"] == len(ids) == 1098
    np.testing.assert_array_equal(columns["id"], ids)
    np.testing.assert_array_equal(columns["label"], run.labels)
    np.testing.assert_array_equal(columns["prediction.0"], run.predictions)
    np.testing.assert_allclose(columns["gap.0"], run.gaps[:, 0])
    np.testing.assert_allclose(columns["confidence.0"], run.outputs.double().softmax(1).amax(1), rtol=1e-5)
    totals = a[ids].double().flatten(1).sum(1)
    np.testing.assert_allclose(columns["sum.0"], totals, rtol=1e-5)
    (maps,) = said["sets"][0]["families"]
    assert maps["chunks"] > 1
    kept = rows(page, maps)
    assert len(kept) == len(ids)
    for own, row in zip(a[ids, 0, 0].double().numpy(), kept, strict=True):
        end, levels = np.frombuffer(row, "<f8", 1)[0], np.frombuffer(row, np.int8, offset=8).astype(float) / 127
        bound = np.sqrt(np.abs(own).max() * np.abs(own)) / 127 + np.abs(own).max() / 64516
        assert (np.abs(end * levels * np.abs(levels) - own.ravel()) <= bound.ravel() * 1.00001).all()
    seen = rows(page, said["families"][0])
    shown = np.stack([np.frombuffer(row, np.uint8) for row in seen]).reshape(len(ids), 12, 12)
    assert np.abs(shown / 255 - x[ids, 0].numpy()).max() < 0.0021


def test_large_pictures_keep_their_sums_in_both_sizes(tmp_path):
    run, x, a = scan(tmp_path / "run", 12, size=70, channels=3)
    said, _ = about(page := write_page(run, x, tmp_path / "page", thumbnail=32, detail=50))
    total = a[run.ids].double().flatten(1).sum(1)
    for family, size in zip(said["sets"][0]["families"], (32, 50), strict=True):
        for row, own, pixels in zip(rows(page, family), total, a[run.ids].double(), strict=True):
            end, levels = np.frombuffer(row, "<f8", 1)[0], np.frombuffer(row, np.int8, offset=8).astype(float) / 127
            assert len(levels) == size**2
            assert (end * levels * np.abs(levels)).sum() == pytest.approx(
                float(own), abs=float(pixels.abs().sum()) / 100
            )


@pytest.mark.parametrize("large", [True, False])
def test_the_same_arguments_give_the_same_bytes(tmp_path, large):
    run, x, _ = scan(tmp_path / "run", size=70 if large else 12)
    pages = [write_page(run, x, tmp_path / name, classes=["a", "b"], title="t") for name in ("one", "two")]
    files = [{f.relative_to(p.path.parent): f.read_bytes() for f in p.path.parent.rglob("*.*")} for p in pages]
    assert files[0] == files[1]
    assert sum(map(len, files[0].values())) == pages[0].bytes
    again = write_page(run, x, tmp_path / "one", classes=["a", "b"], title="t")
    assert {f.relative_to(tmp_path / "one"): f.read_bytes() for f in again.path.parent.rglob("*.*")} == files[0]
    assert str(tmp_path).encode() not in b"".join(files[0].values())


@pytest.mark.parametrize("changed", [5, 149])
def test_other_data_are_refused_and_the_first_example_named(tmp_path, changed):
    run, x, _ = scan(tmp_path / "run")
    other = x.clone()
    other[changed, 0, 2, 2] += 1e-6
    with pytest.raises(InputError, match=f"example {changed} of `examples`.*is not the one that was explained"):
        write_page(run, TensorDataset(other, torch.zeros(len(x))), tmp_path / "page")
    with pytest.raises(InputError, match="has 149 examples, but example 149 was explained"):
        write_page(run, x[:149], tmp_path / "page")
    with pytest.raises(InputError, match="example 0 of"):
        write_page(run, x.double(), tmp_path / "page")
    assert not (tmp_path / "page").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_two_runs_over_other_data_are_not_compared(tmp_path):
    run, x, _ = scan(tmp_path / "run")
    y, a, outputs, labels = pictures(150, seed=1)
    y[:40] = x[:40]
    other = write_scan(tmp_path / "other", y, a, outputs, labels=labels)
    with pytest.raises(InputError, match="example 40 is another one in"):
        write_page(run, x, tmp_path / "page", compare=other)


@pytest.mark.parametrize("foreign", ["notes.txt", "data/mine.csv", "data/mine.js", "viewer/my.css", "viewer/deep/x.js"])
def test_what_is_not_a_page_is_not_replaced(tmp_path, foreign):
    run, x, _ = scan(tmp_path / "run", 4)
    page = write_page(run, None, tmp_path / "page")
    file = tmp_path / "page" / foreign
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(FileError, match=re.escape(foreign.split("/")[0])):
        write_page(run, x, tmp_path / "page")
    assert file.read_text() == "mine"
    assert page.path.exists()
    with pytest.raises(FileError, match="is a file"):
        write_page(run, x, file)


def test_an_interrupted_page_leaves_the_one_before(tmp_path):
    run, x, _ = scan(tmp_path / "run")

    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            if i == 120:
                raise self.error
            return x[i]

    before = write_page(run, x, tmp_path / "page")
    files = {f: f.read_bytes() for f in before.path.parent.rglob("*.*")}
    for error, said, words in (
        (KeyboardInterrupt, KeyboardInterrupt, None),
        (
            OSError("no such picture"),
            InputError,
            r"example 120 of `examples` cannot be read \(OSError: no such picture\)",
        ),
    ):
        Broken.error = error
        with pytest.raises(said, match=words):
            write_page(run, Broken(), tmp_path / "page")
    assert {f: f.read_bytes() for f in before.path.parent.rglob("*.*")} == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "run"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"mean": [0.5]}, OptionError, "both or none"),
        ({"mean": [0.5, 0.5], "std": [1, 1]}, OptionError, "one number per channel, of 1"),
        ({"thumbnail": 0}, OptionError, "thumbnail"),
        ({"classes": "boot"}, OptionTypeError, "classes"),
        ({"columns": {"x": [1.0]}}, OptionError, "one number for each of 148"),
        ({"columns": {"x": ["a"] * 148}}, OptionTypeError, "must be numbers"),
        ({"clusters": {}}, OptionTypeError, "captum_xg.analysis.cluster"),
        ({"input": 1}, OptionError, "single input"),
        ({"examples": 5}, OptionTypeError, "must be a data set"),
        ({"compare": "nowhere"}, FileError, "nowhere"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(tmp_path, options, error, words):
    run, x, _ = scan(tmp_path / "run")
    with pytest.raises(error, match=words) as caught:
        write_page(run, options.pop("examples", x), tmp_path / "page", **options)
    assert isinstance(caught.value, CaptumXGError)
    assert not (tmp_path / "page").exists()


def test_several_targets_are_several_maps(tmp_path):
    x, a, outputs, labels = pictures(20)
    targets = outputs.topk(3).indices
    run = write_scan(tmp_path / "run", x, a.repeat(1, 3, 1, 1, 1), outputs, targets, labels, method="XGradient")
    page = write_page(run, x, tmp_path / "page")
    assert page.maps == ("XGradient: target 1", "XGradient: target 2", "XGradient: target 3")
    _, columns = about(page)
    np.testing.assert_array_equal(columns["target.2"], targets[:, 2])
    every = write_scan(tmp_path / "all", x, a.repeat(1, 2, 1, 1, 1), outputs, torch.tensor([[0, 2]] * 20), labels)
    assert write_page(every, x, tmp_path / "page", classes=["a", "b", "c"]).maps == ("XGradient: a", "XGradient: c")


def test_of_several_inputs_one_is_shown_and_all_are_summed(tmp_path):
    x, a, outputs, labels = pictures(10)
    second = torch.randn(10, 1, 5)
    run = write_scan(tmp_path / "run", (x, torch.rand(10, 5)), (a, second), outputs, labels=labels)
    data = TensorDataset(x, torch.rand(10, 5), labels)
    with pytest.raises(InputError, match="example 0"):
        write_page(run, data, tmp_path / "page")
    for shown, kind in ((0, "picture"), (1, "table")):
        said, columns = about(write_page(run, None, tmp_path / "page", input=shown))
        assert said["kind"] == kind
        np.testing.assert_allclose(columns["sum.0"], (a.flatten(1).sum(1) + second.flatten(1).sum(1)), rtol=1e-4)


def test_attributions_to_a_layer_are_shown_on_the_picture_and_beside_no_values(tmp_path):
    x, _, outputs, labels = pictures(10)
    a = torch.randn(10, 1, 6, 3, 3)
    run = write_scan(tmp_path / "run", x, a, outputs, labels=labels, layer=["2"])
    said, columns = about(write_page(run, x, tmp_path / "page"))
    assert (said["sets"][0]["small"], said["sets"][0]["layer"], said["media"]["size"]) == ([3, 3], True, [12, 12])
    np.testing.assert_allclose(columns["sum.0"], a.flatten(1).sum(1), rtol=1e-4)
    other = write_scan(tmp_path / "other", x, torch.randn(10, 1, 6), outputs, labels=labels)
    with pytest.raises(InputError, match=r"shape \(6,\).*beside the picture"):
        write_page(run, x, tmp_path / "page", compare=other)


def test_numbers_that_are_none_are_refused_and_named(tmp_path):
    x, a, outputs, labels = pictures(10)
    a[6, 0, 0, 1, 1] = float("nan")
    run = write_scan(tmp_path / "run", x, a, outputs, labels=labels)
    with pytest.raises(InputError, match="attributions of example 6 have NaN"):
        write_page(run, x, tmp_path / "page")
    fine, _, _ = scan(tmp_path / "fine", 10)
    with pytest.raises(OptionError, match="infinity"):
        write_page(fine, None, tmp_path / "page", columns={"x": [float("inf")] * 9})


def test_nothing_global_is_touched(tmp_path):
    run, x, _ = scan(tmp_path / "run", 20)
    before = torch.get_rng_state()
    write_page(run, x, tmp_path / "page")
    assert torch.equal(torch.get_rng_state(), before)


def test_mean_maps_are_the_means_of_maps(tmp_path):
    run, x, a = scan(tmp_path / "run")
    said, _ = about(write_page(run, x, tmp_path / "page"))
    own = a[run.ids, 0].double().sum(1).numpy()
    for mean in said["sets"][0]["means"]:
        kept = own[run.labels.numpy() == mean["class"]]
        assert mean["n"] == len(kept)
        for name, expected in (("signed", kept.mean(0)), ("absolute", np.abs(kept).mean(0))):
            levels = np.frombuffer(zlib.decompress(base64.b64decode(mean[name]["data"])), np.int8) / 127
            found = mean[name]["end"] * levels * np.abs(levels)
            assert np.abs(found - expected.ravel()).max() <= np.abs(expected).max() / 120


def test_the_words_of_a_class_are_those_with_the_largest_sums(tmp_path):
    g = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 30, (50, 9), generator=g)
    a = torch.randn(50, 9, generator=g)
    labels = torch.arange(50) % 2
    outputs = torch.stack([a.sum(1), -a.sum(1)], 1)
    run = write_scan(tmp_path / "run", tokens, a[:, None], outputs, torch.zeros(50, 1).long(), labels, tokens=tokens)
    said, _ = about(write_page(run, None, tmp_path / "page"))
    for mean in said["sets"][0]["means"]:
        own = labels == mean["class"]
        sums = {id: float(a[own][tokens[own] == id].double().sum()) / int(own.sum()) for id in range(30)}
        best = sorted(sums, key=lambda id: -abs(sums[id]))[:12]
        assert [id for id, _ in mean["words"]] == best
        np.testing.assert_allclose([value for _, value in mean["words"]], [sums[id] for id in best], rtol=1e-5)


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_number_of_examples(tmp_path):
    peaks = []
    for n in (400, 1600):
        run, x, _ = scan(tmp_path / f"run{n}", n, size=24)
        list(run.batches(64))
        tracemalloc.start()
        write_page(run, x, tmp_path / f"page{n}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1200 * 400
