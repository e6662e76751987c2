"""Parts of a benchmark on disk: what comes back is what was written; anything else is named and refused."""

import json
import re

import pytest
import torch
from benchmark_samples import data, network

from captum_xg.benchmark.store import Part, Store
from captum_xg.errors import OptionError
from captum_xg.metrics import AttributionBenchmark, CompletenessGap, MaxSensitivity

PART = Part(
    n=3,
    digest="of the batch",
    scores={"a": torch.arange(3.0), "b": torch.rand(3, 4, dtype=torch.float64)},
    forward_passes=3,
    gradient_evaluations=None,
    seconds=0.5,
    peak_memory=None,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, {"seed": 0}, {"own": 1}, {"a": 1, "b": 2})


def read(store):
    return store.part(0, "own", PART.digest, ["a", "b"])


def same(ours, theirs):
    plain = lambda part: {**vars(part), "scores": None}
    return plain(ours) == plain(theirs) and all(
        torch.equal(ours.scores[name].nan_to_num(nan=1e9), theirs.scores[name].nan_to_num(nan=1e9))
        for name in ours.scores
    )


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"refusal": "no", "refused_in": "a"},
        {"scores": {"a": torch.tensor([1.0, torch.nan, torch.inf]), "b": torch.zeros(3, 0)}},
        {"seconds": 0.0, "peak_memory": 7, "gradient_evaluations": 0},
    ],
    ids=["plain", "refused", "NaN of a metric", "zeros"],
)
def test_what_is_read_is_what_was_written(changed, store):
    part = Part(**{**vars(PART), **changed})
    store.add(0, "own", part)
    assert same(read(store), part)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["scores"].update(a=torch.arange(2.0)), r"scores of 'a' have shape \(2,\) for 3 examples"),
        (lambda c: c["scores"].update(a=torch.tensor(1.0)), r"scores of 'a' have shape \(\) for 3 examples"),
        (lambda c: c["scores"]["a"].fill_(torch.nan), "not those that were written"),
        (lambda c: c["scores"]["b"].select(1, 0).fill_(torch.inf), "not those that were written"),
        (lambda c: c["scores"]["a"].add_(1e-6), "not those that were written"),
        (lambda c: c["scores"].pop("a"), "not those that were written"),
        (lambda c: c["scores"].update(a=[1.0, 2.0, 3.0]), "scores of 'a' are not a tensor of numbers"),
        (lambda c: c["scores"].update(a=torch.arange(3.0).to_sparse()), "scores of 'a' are not a tensor of numbers"),
        (lambda c: c["scores"].update(a=torch.zeros(3, device="meta")), "scores of 'a' are not a tensor of numbers"),
        (lambda c: c.update(scores=None), "its scores cannot be None"),
        (lambda c: c.update(n=0), "its n cannot be 0"),
        (lambda c: c.update(n=True), "its n cannot be True"),
        (lambda c: c.update(n=2), "for 2 examples"),
        (lambda c: c.update(digest=None), "its digest cannot be None"),
        (lambda c: c.update(seconds=float("nan")), "its seconds cannot be nan"),
        (lambda c: c.update(seconds=-1.0), "its seconds cannot be -1"),
        (lambda c: c.update(forward_passes="3"), "its forward_passes cannot be '3'"),
        (lambda c: c.update(refusal=3), "its refusal cannot be 3"),
        (lambda c: c.update(more=1), "unknown more"),
        (lambda c: c.pop("seconds"), "lacks seconds"),
        (lambda c: c.clear(), "lacks n, digest"),
    ],
)
def test_a_part_that_is_not_as_it_was_written_is_named_and_refused(change, said, store):
    store.add(0, "own", PART)
    (path,) = store.folder.glob("*.pt")
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(OptionError, match=rf"{path.name} cannot be read: .*{said}.*\. Delete it to redo it"):
        read(store)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", None, [], torch.zeros(3), torch.nn.Linear(2, 2)], ids=lambda c: type(c).__name__
)
def test_a_file_that_is_no_part_is_refused_with_a_reason_and_without_the_advice_to_run_what_is_in_it(content, store):
    store.add(0, "own", PART)
    (path,) = store.folder.glob("*.pt")
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(OptionError, match=rf"{path.name} cannot be read: \w.*Delete it") as error:
        read(store)
    assert "weights_only" not in str(error.value)
    assert "()" not in str(error.value)
    assert not re.search(r"\(\d+\)", str(error.value))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '["settings", "method", "metric"]',
        '{"settings": null, "method": {}, "metric": {}}',
        '{"settings": {}, "method": null, "metric": {}}',
        '{"settings": {}, "method": {}, "metric": []}',
        '{"settings": {}, "method": {}, "metric": {}, "more": {}}',
        "\ud800",
    ],
)
def test_settings_that_are_none_are_refused(content, store):
    path = store.folder / "settings.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(OptionError, match=r"settings\.json cannot be read: \w.*Give another folder"):
        Store(store.folder, {"seed": 0}, {}, {})
    assert path.read_bytes() == content.encode("utf-8", "surrogatepass")


def test_results_without_the_settings_that_they_are_of_are_refused(store):
    store.add(0, "own", PART)
    path = store.folder / "settings.json"
    path.write_text('{"settings": {}, "method": {}, "metric": {}}')
    with pytest.raises(OptionError, match="changed: seed"):
        Store(store.folder, {"seed": 0}, {}, {})
    path.unlink()
    with pytest.raises(OptionError, match=r"settings\.json cannot be read: it is missing.*Give another folder"):
        Store(store.folder, {"seed": 0}, {}, {})
    assert not path.exists()


def test_an_empty_path_is_not_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="`resume` is an empty path"):
        AttributionBenchmark(network(), ["gradient"], ["KPM"]).run(data(), resume="", progress=False)
    assert not list(tmp_path.iterdir())


def test_other_examples_of_the_loader_are_said_to_be_what_changed_references(tmp_path):
    model = network()

    def run(loader):
        return AttributionBenchmark(model, ["expected_gradients_1"], ["CompletenessGap"]).run(
            loader, tmp_path, progress=False
        )

    run(data()[:2])
    with pytest.raises(OptionError, match=r"changed: references\. .*first images or other examples of the loader"):
        run(data()[:1])


def test_a_metric_that_gives_nan_is_resumed_to_the_same_result(tmp_path):
    class Undefined(CompletenessGap):
        def scores(self, *arguments, **options):
            return super().scores(*arguments, **options).fill_(torch.nan)

    model = network()
    first, second = (
        AttributionBenchmark(model, ["gradient"], [Undefined(model)]).run(data(), tmp_path, progress=False)
        for _ in range(2)
    )
    assert second.to_json() == first.to_json()
    assert json.loads(first.to_json())["methods"]["gradient"]["estimates"]["Undefined"]["value"] is None


def test_nothing_but_parts_and_settings_is_left_in_the_folder(tmp_path):
    model = network()
    metrics = [MaxSensitivity(lambda x, **_: x, n_samples=2)]
    AttributionBenchmark(model, ["gradient"], metrics).run(data()[:1], tmp_path, progress=False)
    assert {path.suffix for path in tmp_path.iterdir()} == {".pt", ".json"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
