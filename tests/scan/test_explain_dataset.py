"""A data set is explained as its batches are one by one, whatever the loader, the method and the targets are."""

import pytest
import torch
from captum.attr import DeepLiftShap, InputXGradient, IntegratedGradients, Saliency
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_cases import Asked, Odd, examples, explained, network, whole
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset

from captum_xg import (
    AdaptiveIntegratedGradients,
    ExactIntegratedGradients,
    ExpectedXGradient,
    JointXGradient,
    LayerXGradient,
    XGradient,
    explain_dataset,
)
from captum_xg.datasets import Attributions
from captum_xg.errors import HomogeneityError, InputError, IntegrationWarning, OptionError, TargetError
from captum_xg.scan.targets import target_rule


@settings(max_examples=tries(6, 40), deadline=None)
@given(
    n=st.integers(1, 23),
    batch=st.integers(1, 9),
    shards=st.integers(1, 4),
    targets=st.sampled_from(["predicted", "true", "all", "top:2", 3, [0, 2]]),
    iterable=st.booleans(),
)
def test_it_is_what_the_method_gives_for_each_example(tmp_path_factory, n, batch, shards, targets, iterable):
    model, (x, y) = network(), examples(n)
    loader = DataLoader(TensorDataset(x, y), batch_size=batch)
    loader = [(inputs, labels) for inputs, labels in loader] if iterable else loader
    to = tmp_path_factory.mktemp("scan")
    found = explained(XGradient(model), loader, to, targets=targets, shard_size=batch * shards)
    outputs = model(x).detach()
    expected = {
        "predicted": outputs.argmax(1, keepdim=True),
        "true": y[:, None],
        "all": torch.arange(4).expand(n, -1),
        "top:2": outputs.topk(2).indices,
    }.get(str(targets))
    if expected is None:
        expected = torch.tensor(targets).reshape(1, -1).expand(n, -1)
    assert torch.equal(found.targets, expected)
    torch.testing.assert_close(found.outputs, outputs)
    assert torch.equal(found.ids, torch.arange(n))
    assert torch.equal(found.labels, y)
    method = XGradient(model, validate="off")
    reference = torch.stack([method.attribute(x, target=column) for column in expected.unbind(1)], 1)
    torch.testing.assert_close(whole(found), reference)
    gap = reference.sum(2) - outputs.gather(1, expected)
    torch.testing.assert_close(found.gaps, gap, atol=1e-5, rtol=0)
    size = found.settings["shard_size"]
    assert size == (min(batch, n) if iterable else batch) * -(-batch * shards // (min(batch, n) if iterable else batch))
    assert len(list((to / "shards").glob("*.safetensors"))) == -(-n // size)
    found.verify()


@pytest.mark.parametrize(
    ("make", "options", "reference"),
    [
        (AdaptiveIntegratedGradients, {}, lambda m, x, t: AdaptiveIntegratedGradients(m).attribute(x, target=t)),
        (ExactIntegratedGradients, {}, lambda m, x, t: ExactIntegratedGradients(m).attribute(x, target=t)),
        (
            IntegratedGradients,
            {"n_steps": 7},
            lambda m, x, t: IntegratedGradients(m).attribute(x, target=t, n_steps=7).float(),
        ),
        (JointXGradient, {}, lambda m, x, t: JointXGradient(m).attribute(x, target=t).inputs),
        (InputXGradient, {}, lambda m, x, t: InputXGradient(m).attribute(x, target=t).detach()),
        (Saliency, {"abs": False}, lambda m, x, t: Saliency(m).attribute(x, target=t, abs=False)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_methods_of_captums_form_are_called_for_each_batch_and_target(tmp_path, make, options, reference):
    model, (x, y) = network(bias=True), examples(10)
    found = explained(
        make(model), DataLoader(TensorDataset(x, y), batch_size=4), tmp_path, options=options, targets="top:2"
    )
    outputs, zero = model(x).detach(), model(torch.zeros(1, 6)).detach()
    parts = [reference(model, x[i : i + 4], t) for i in (0, 4, 8) for t in [found.targets[i : i + 4, 0]]]
    torch.testing.assert_close(whole(found)[:, 0], torch.cat(parts))
    change = outputs.gather(1, found.targets) - (0 if make is JointXGradient else zero[0][found.targets])
    total = whole(found).sum(2)
    if make is JointXGradient:
        total = (
            total
            + torch.cat([JointXGradient(model).attribute(x, target=t).constant_part for t in found.targets.T])
            .reshape(2, -1)
            .T
        )
    torch.testing.assert_close(found.gaps, total - change, atol=2e-5, rtol=0)


def test_expected_gradients_take_their_baselines(tmp_path):
    model, (x, y) = network(), examples(9)
    baselines = examples(3, seed=5)[0]
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    found = explained(ExpectedXGradient(model), loader, tmp_path, options={"baselines": baselines})
    reference = ExpectedXGradient(model).attribute(x, baselines, target=found.targets[:, 0])
    torch.testing.assert_close(whole(found)[:, 0], reference)
    assert float(found.gaps.abs().max()) < 1e-5


class Bag(nn.Module):
    """Scores of texts from an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 5, padding_idx=0)
        self.head = nn.Linear(5, 3, bias=False)

    def forward(self, ids):
        return self.head(torch.relu(self.embedding(ids)).sum(1))


def test_texts_in_one_shard_each_are_as_long_as_the_longest_of_the_folder(tmp_path):
    torch.manual_seed(0)
    model = Bag().eval()
    texts = [torch.randint(1, 20, (4, length)) for length in (5, 7, 6)]
    method = LayerXGradient(model, model.embedding)
    apart = explained(method, texts, tmp_path / "a", sum_last=True, shard_size=4)
    together = explained(method, texts, tmp_path / "b", sum_last=True, shard_size=12)
    assert apart.input_shape == together.input_shape == (7,)
    for name in ("tokens", "attributions"):
        one, other, batched = (
            torch.cat([batch[name] for batch in batches])
            for batches in (apart.batches(3), together.batches(3), DataLoader(apart, batch_size=5))
        )
        assert torch.equal(one, other)
        assert torch.equal(one, batched)
    assert (apart[0]["tokens"][5:] == -1).all()
    assert not apart[0]["attributions"][:, 5:].any()


def test_a_layer_without_tokens_cannot_be_summed_over_features(tmp_path):
    model = Bag().eval()
    with pytest.raises(InputError, match=r"have the shape 3 and no features.*layer that looks tokens up"):
        explained(LayerXGradient(model, model.head), [torch.ones(2, 3, dtype=torch.int64)], tmp_path, sum_last=True)


@pytest.mark.parametrize("summed", [False, True])
def test_texts_are_explained_at_their_embedding_and_padded_with_zeros(tmp_path, summed):
    torch.manual_seed(0)
    model = Bag().eval()
    short, long = torch.randint(1, 20, (4, 3)), torch.randint(1, 20, (4, 7))
    batches = [(short, torch.zeros(4, dtype=torch.int64)), (long, torch.ones(4, dtype=torch.int64))]
    found = explained(LayerXGradient(model, model.embedding), batches, tmp_path, sum_last=summed, shard_size=8)
    attributions = whole(found)
    assert attributions.shape == ((8, 1, 7) if summed else (8, 1, 7, 5))
    assert not attributions[:4, :, 3:].any()
    tokens = torch.stack([found[i]["tokens"] for i in range(8)])
    assert torch.equal(tokens[:4], torch.cat([short, torch.full((4, 4), -1)], 1))
    assert torch.equal(tokens[4:], long)
    reference = LayerXGradient(model, model.embedding).attribute(long, target=found.targets[4:, 0])
    torch.testing.assert_close(attributions[4:, 0], reference.sum(-1) if summed else reference)
    assert float(found.gaps.abs().max()) < 1e-5


class Two(nn.Module):
    """A score of two inputs, one number for each example."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(6, 1, bias=False), nn.Linear(2, 1, bias=False)

    def forward(self, x, z):
        return (torch.relu(self.one(x)) + self.other(z)).squeeze(1)


def test_several_inputs_and_a_single_output(tmp_path):
    torch.manual_seed(0)
    model, (x, y) = Two().eval(), examples(10)
    z = torch.randn(10, 2)
    dicts = [{"a": x[i : i + 5], "b": z[i : i + 5], "y": y[i : i + 5]} for i in (0, 5)]
    found = explained(
        XGradient(model),
        dicts,
        tmp_path / "a",
        split=lambda batch: ((batch["a"], batch["b"]), batch["y"]),
        names=("image", "table"),
    )
    assert found.inputs == ("image", "table")
    assert found.input_shape == ((6,), (2,))
    assert (found.targets == -1).all()
    assert (found.predictions == -1).all()
    reference = XGradient(model).attribute((x, z))
    for i in range(10):
        for own, other in zip(found[i]["attributions"], reference, strict=True):
            torch.testing.assert_close(own[0], other[i])
    tuples = DataLoader(TensorDataset(x, z, y), batch_size=5, collate_fn=lambda rows: _collated(rows))
    again = explained(XGradient(model), tuples, tmp_path / "b")
    assert torch.equal(again.outputs, found.outputs)
    half = explain_dataset(XGradient(model), tuples, tmp_path / "c", progress=False)
    torch.testing.assert_close(half[3]["attributions"], found[3]["attributions"], rtol=2**-10, atol=0)


def _collated(rows):
    x, z, y = (torch.stack(column) for column in zip(*rows, strict=True))
    return (x, z), y


@pytest.mark.parametrize("form", ["alone", "dict", "generator", "iterable data set"])
def test_batches_of_other_forms(tmp_path, form):
    model, (x, y) = network(), examples(10)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(x, y, strict=True))

    loader = {
        "alone": DataLoader(x, batch_size=4),
        "dict": [{"image": x[i : i + 4], "label": y[i : i + 4]} for i in (0, 4, 8)],
        "generator": ((x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8)),
        "iterable data set": DataLoader(Stream(), batch_size=4),
    }[form]
    found = explained(XGradient(model), loader, tmp_path)
    reference = explained(XGradient(model), DataLoader(TensorDataset(x, y), batch_size=4), tmp_path / "b")
    assert torch.equal(whole(found), whole(reference))
    assert (found.labels is None) == (form == "alone")


class Doubling(DataLoader):
    """Makes something else of its batches."""

    def __iter__(self):
        return ((2 * x, y) for x, y in super().__iter__())


@pytest.mark.parametrize("form", ["batch sampler", "items that are batches", "its own batches"])
def test_loaders_of_other_forms_give_what_they_give(tmp_path, form):
    model, (x, y) = network(), examples(10)
    data = TensorDataset(x, y)
    loader = {
        "batch sampler": DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), 4, False)),
        "items that are batches": DataLoader([(x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8)], batch_size=None),
        "its own batches": Doubling(data, batch_size=4),
    }[form]
    found = explained(XGradient(model), loader, tmp_path)
    torch.testing.assert_close(found.outputs, model(2 * x if form == "its own batches" else x).detach())
    assert torch.equal(found.labels, y)
    assert found.settings["batch_size"] == 4


@pytest.mark.parametrize("size", [4, 8])
def test_labels_that_some_batches_lack_are_unknown(tmp_path, size):
    x, y = examples(12)
    batches = [x[:4], (x[4:8], y[4:8]), (x[8:], None)]
    found = explained(XGradient(network()), iter(batches), tmp_path, shard_size=size)
    assert found.labels.tolist() == [-1] * 4 + y[4:8].tolist() + [-1] * 4
    assert [found[i]["label"] for i in range(12)] == found.labels.tolist()
    assert torch.equal(torch.cat([batch["label"] for batch in DataLoader(found, batch_size=5)]), found.labels)


def test_a_delta_for_each_baseline_is_none_of_an_example(tmp_path):
    model, (x, y) = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval(), examples(3)
    options = {"baselines": torch.zeros(2, 6)}
    found = explained(DeepLiftShap(model), [(x, y)], tmp_path, options=options)
    assert float(found.gaps.abs().max()) < 1e-5


@pytest.mark.parametrize("workers", [0, 2])
def test_random_numbers_are_left_to_the_user(tmp_path, workers):
    generator = torch.Generator().manual_seed(3)
    for own in (None, generator):
        before, state = generator.get_state(), torch.get_rng_state()
        loader = DataLoader(TensorDataset(*examples(6)), batch_size=3, num_workers=workers, generator=own)
        explained(XGradient(network()), loader, tmp_path / f"{own is None}")
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(generator.get_state(), before)


def test_workers_read_the_same(tmp_path):
    model, (x, y) = network(), examples(30)
    for workers in (0, 2):
        loader = DataLoader(TensorDataset(x, y), batch_size=4, num_workers=workers)
        explained(XGradient(model), loader, tmp_path / f"{workers}", shard_size=8)
    assert _bytes(tmp_path / "0") == _bytes(tmp_path / "2")


def _bytes(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_model_and_what_is_passed_are_left_as_they_are(tmp_path):
    model, (x, y) = network(), examples(6)
    method, before = XGradient(model, on_violation="integrate"), {k: v.clone() for k, v in model.state_dict().items()}
    x.requires_grad_()
    with torch.no_grad():
        found = explained(method, [(x, y)], tmp_path)
    assert method.on_violation == "integrate"
    assert x.grad is None
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not found[0]["attributions"].requires_grad


def test_a_network_with_biases_is_refused_before_anything_or_integrated(tmp_path):
    model, (x, y) = network(bias=True), examples(9)
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    for choice in ("raise", "record"):
        with pytest.raises(HomogeneityError, match=r"Nothing was explained. on_violation='integrate'"):
            explained(XGradient(model), loader, tmp_path / "a", on_violation=choice)
    assert not (tmp_path / "a").exists()
    found = explained(XGradient(model), loader, tmp_path / "a", on_violation="integrate")
    assert found.settings["closed_form"] is False
    reference = explained(AdaptiveIntegratedGradients(model), loader, tmp_path / "b")
    assert torch.equal(whole(found), whole(reference))


def test_only_the_batch_that_is_not_homogeneous_is_integrated(tmp_path):
    model, (x, y) = Odd(network()), examples(64)
    x = x.clamp(-2, 2) * 1e-6
    x[21, 0] = 4
    loader = DataLoader(TensorDataset(x, y), batch_size=1)
    method = XGradient(model, validate="numeric")
    recorded = explained(method, loader, tmp_path / "a", on_violation="record")
    assert [each.id for each in recorded.refused] == [21]
    assert recorded.refused[0].kind == "HomogeneityError"
    with pytest.warns(IntegrationWarning, match=r"1 of 64 examples .*: example 21\."):
        integrated = explained(method, loader, tmp_path / "b", on_violation="integrate")
    assert len(integrated) == 64
    exact = [i for i in range(64) if i != 21]
    assert torch.equal(whole(integrated)[exact], whole(recorded))
    assert integrated.settings["closed_form"] is True


@pytest.mark.parametrize("value", ["best", "top:0", "top", 1.5, True, -1, [], [0, -2], None, "1,x"])
def test_targets_that_mean_nothing_are_refused(value):
    with pytest.raises(OptionError, match="must be true, predicted, all, top:K"):
        target_rule(value, "here")


@pytest.mark.parametrize("value", ["true", "predicted", "all", "top:7", 3, "3", [0, 4], "0,4"])
def test_targets_have_one_text(value):
    rule = target_rule(value, "here")
    assert target_rule(rule.text(), "here") == rule


def test_a_number_that_is_no_output_and_labels_that_are_not_there_are_refused_at_once(tmp_path):
    model, (x, _) = network(), examples(6)
    with pytest.raises(TargetError, match="the model has 4 outputs, and 9 is none"):
        explained(XGradient(model), DataLoader(x, batch_size=4), tmp_path, targets=9, on_violation="record")
    with pytest.raises(TargetError, match="the data have no labels"):
        explained(XGradient(model), DataLoader(x, batch_size=4), tmp_path, targets="true", on_violation="record")
    assert not list(tmp_path.iterdir())


def test_what_is_finished_is_not_read_again(tmp_path):
    model, data = network(), Asked(*examples(40))
    explained(XGradient(model), DataLoader(data, batch_size=4), tmp_path, shard_size=8)
    (tmp_path / "shards" / "00000016.safetensors").unlink()
    with pytest.raises(Exception, match="1 of 5 shards are gone"):
        Attributions(tmp_path)
    data.asked.clear()
    found = explained(XGradient(model), DataLoader(data, batch_size=4), tmp_path, shard_size=8)
    probes = 17 + 4 + 8  # 16 and one of them twice, one of each shard that is there, two batches
    assert sorted(data.asked[probes:]) == list(range(16, 24))
    found.verify()
