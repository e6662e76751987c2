"""Batches in whatever form loaders give them come apart into the same parts, and every error names its batch."""

import pickle
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from captum_xg import AttributionPriorLoss, fine_tune
from captum_xg._core.batches import moved, naming_batch, numbered, require_batches, taken_apart
from captum_xg.errors import CaptumXGError, InputError, OptionTypeError, TargetError
from captum_xg.metrics import AttributionBenchmark

X, Y = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
Pair = namedtuple("Pair", "image label")
Reversed = namedtuple("Reversed", "label image")


@dataclass
class Record:
    image: Any
    label: Any = None


def squares(a):
    return a.square().sum()


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).eval()


FORMS = {
    "tuple": (X, Y),
    "list": [X, Y],
    "named tuple": Pair(X, Y),
    "named tuple in another order": Reversed(Y, X),
    "three": (X, Y, None),
    "dict": {"image": X, "label": Y},
    "dict in another order": {"y": Y, "x": X},
    "ordered dict": OrderedDict(Labels=Y, pixel_values=X),
    "mapping": UserDict(inputs=X, targets=Y),
    "frozen mapping": MappingProxyType({"image": X, "target": Y}),
    "dict with nothing more": {"image": X, "target": Y, "additional_forward_args": None, "mask": None},
    "dataclass": Record(X, Y),
    "inputs in a list": ([X], Y),
    "dict with file names": {"path": ["a", "b"], "image": X, "label": Y, "n": 6},
}


@pytest.mark.parametrize("batch", FORMS.values(), ids=FORMS)
def test_every_form_has_the_same_parts_trains_alike_and_is_evaluated_alike(batch):
    parts = taken_apart(batch, "test")
    assert parts.arguments[0] is X
    assert len(parts.arguments) == 1
    assert parts.target is Y
    assert parts.labelled
    one, other = network(), network()
    assert fine_tune(one, [batch], epochs=2, progress=False) == fine_tune(other, [(X, Y)], epochs=2, progress=False)
    found, expected = (
        AttributionBenchmark(network(), ["input_x_gradient"], ["CompletenessGap"]).run([b], progress=False)
        for b in (batch, (X, Y))
    )
    key = ("input_x_gradient", "CompletenessGap")
    assert torch.equal(found.scores[key], expected.scores[key])


@pytest.mark.parametrize("batch", FORMS.values(), ids=FORMS)
def test_what_is_moved_keeps_its_container(batch):
    there = moved(batch, torch.device("meta"))
    assert type(there) is type(batch) or isinstance(batch, MappingProxyType)
    parts = taken_apart(there, "test")
    assert parts.arguments[0].is_meta
    assert parts.target.is_meta
    assert not taken_apart(batch, "test").target.is_meta
    assert moved(batch, None) is batch


def test_other_objects_that_can_be_moved_are():
    packed = pack_sequence([torch.rand(3), torch.rand(2)])
    assert moved(packed, torch.device("meta")).data.is_meta
    assert moved({"a": ["text", 3, None]}, torch.device("meta")) == {"a": ["text", 3, None]}


def test_additional_arguments_follow_the_inputs():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x, factor, shift=0.0):
            return self.net(x) * factor + shift

    for batch in ((X, Y, 2.0), (X, Y, [2.0, 0.0]), {"x": X, "y": Y, "additional_forward_args": (2.0,)}):
        one, other = Scaled(), network()
        fine_tune(one, [batch], progress=False)
        fine_tune(other, [(X, Y)], loss=lambda o, y: nn.functional.cross_entropy(2 * o, y), progress=False)
        assert torch.equal(one.net[0].weight, other[0].weight)


def test_a_dict_of_several_inputs_is_for_a_model_that_has_arguments_of_these_names():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, left, right):
            return self.net(left - right)

    class AnyNames(Two):
        def forward(self, **named):
            return super().forward(**named)

    batch = {"right": X / 2, "label": Y, "left": X}
    for kind in (Two, AnyNames):
        one, other = kind(), Two()
        fine_tune(one, [batch], progress=False)
        fine_tune(other, [((X, X / 2), Y)], progress=False)
        assert torch.equal(one.net[0].weight, other.net[0].weight)
    with pytest.raises(InputError, match=r"'right', 'left'.*no arguments of all these names"):
        fine_tune(network(), [batch], progress=False)
    with pytest.raises(InputError, match=r"batch 0: the batch is a dict .* which of 'right', 'left' the inputs are"):
        AttributionBenchmark(network(), ["gradient"], ["KPM"]).run([batch], progress=False)


@pytest.mark.parametrize(
    "batch",
    [
        (),
        (X, Y, None, None),
        "xy",
        3,
        None,
        {},
        {"label": Y},
        {"image": X, "label": Y, "y": Y},
        {"image": X, "label": Y, "index": Y},
        X.numpy(),
        {1, 2},
    ],
    ids=lambda batch: str(type(batch)),
)
def test_what_is_no_batch_is_refused_with_the_form_that_it_should_have(batch):
    with pytest.raises(InputError, match=r"^test: the batch is (a|of type) .*\(inputs, target\)"):
        taken_apart(batch, "test")


# What is no loader


class Examples(Dataset):
    def __getitem__(self, index):
        return X[index], Y[index]

    def __len__(self):
        return len(X)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(X, Y)])


class OnesOwn(Examples):
    """A dataset that gives batches where it is gone through."""

    def __iter__(self):
        return iter([(X, Y)])


@dataclass
class Loader:
    batch_size: int = 6

    def __iter__(self):
        return iter([(X, Y)])


class Graph:
    """What graph libraries have in place of dicts: it gives its entries where it is gone through."""

    def keys(self):
        return ["x", "y"]

    def to(self, device):
        return self

    def __iter__(self):
        return iter([("x", X), ("y", Y)])


def _make():
    yield X, Y


NO_LOADERS = {
    "dataset": (TensorDataset(X, Y), "DataLoader"),
    "own dataset": (Examples(), "DataLoader"),
    "subset": (Subset(Examples(), [0]), "DataLoader"),
    "joined": (ConcatDataset([Examples()]), "DataLoader"),
    "pair": ((X, Y), r"\[\(inputs, target\)\]"),
    "list of two": ([X, Y], r"\[\(inputs, target\)\]"),
    "several inputs": (((X, X), Y), r"\[\(inputs, target\)\]"),
    "triple": ((X, Y, Y), r"\[\(inputs, target\)\]"),
    "pair with a list": ((X, [0, 1, 2, 0, 1, 2]), r"\[\(inputs, target\)\]"),
    "arrays": ((X.numpy(), Y.numpy()), r"\[\(inputs, target\)\]"),
    "named tuple": (Pair(X, Y), r"\[\(inputs, target\)\]"),
    "dict": ({"image": X, "label": Y}, r"\[\(inputs, target\)\]"),
    "dataclass": (Record(X, Y), r"\[\(inputs, target\)\]"),
    "graph": (Graph(), r"\[\(inputs, target\)\]"),
    "tensor": (X, "DataLoader"),
    "array": (X.numpy(), "DataLoader"),
    "class": (DataLoader, "instance"),
    "function": (_make, "call it"),
    "model": (network(), "iterable of batches"),
    "text": ("data", "iterable of batches"),
    "number": (3, "iterable of batches"),
    "nothing": (None, "iterable of batches"),
}


def test_graphs_are_to_be_taken_apart_by_hand():
    with pytest.raises(InputError, match=r"of type Graph.*Take its parts out: \[\(b\.x"):
        taken_apart(Graph(), "test")


@pytest.mark.parametrize(("loader", "said"), NO_LOADERS.values(), ids=NO_LOADERS)
def test_what_is_no_loader_is_refused_at_once_with_what_to_pass(loader, said):
    model = network()
    with pytest.raises(OptionTypeError, match=rf"^fine_tune: `batches` .*{said}"):
        fine_tune(model, loader, progress=False)
    with pytest.raises(OptionTypeError, match=rf"^AttributionBenchmark.run: `loader` .*{said}"):
        AttributionBenchmark(model, ["gradient"], ["KPM"]).run(loader, progress=False)
    assert not model.training


@pytest.mark.parametrize(
    "loader",
    [
        [(X, Y)],
        ((X, Y),),
        [(X, Y), (X, Y)],
        [[X, Y], [X, Y]],
        [((X, X), Y), ((X, X), Y)],
        [{"image": X, "label": Y}],
        [Pair(X, Y), Pair(X, Y)],
        [X, X],
        (X, X[:2]),
        [torch.rand(2, 3, 5), torch.rand(2, 3, 7)],
        [],
        iter([(X, Y)]),
        Stream(),
        DataLoader(Stream(), batch_size=None),
        OnesOwn(),
        Loader(),
        DataLoader(Examples(), batch_size=2),
        _make(),
    ],
)
def test_loaders_are_taken(loader):
    require_batches(loader, "test")


# Errors name the batch


class UnreadableError(Exception):
    """Its text does not come from its arguments."""

    def __str__(self):
        return "own text"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("own"),
        RuntimeError("own"),
        KeyError("own"),
        OSError(2, "own"),
        AssertionError(),
        TargetError("test: own"),
        UnreadableError("a", 2),
        UnicodeDecodeError("utf-8", b"a", 0, 1, "own"),
    ],
    ids=repr,
)
def test_an_error_stays_itself_and_says_in_which_batch_it_came_up(error):
    kind, arguments = type(error), error.args
    with pytest.raises(kind) as caught, naming_batch(7, "test"), naming_batch(7, "test"):
        raise error
    assert caught.value is error
    notes = getattr(error, "__notes__", [])
    assert "".join([str(error), *notes]).count("test, batch 7") == 1 or not hasattr(error, "add_note")
    assert "own" in str(error) or not arguments
    if kind is TargetError:
        assert str(pickle.loads(pickle.dumps(error))) == "test, batch 7: own"


def test_what_is_no_error_passes_by():
    with pytest.raises(KeyboardInterrupt) as caught, naming_batch(7, "test"):
        raise KeyboardInterrupt
    assert not caught.value.args


@given(st.integers(0, 5), st.booleans())
def test_the_number_is_that_of_the_batch_that_could_not_be_had(n, lazily):
    def loader():
        yield from range(n)
        raise ValueError("torn file")

    class Torn:
        def __getitem__(self, index):
            return next(x for i, x in enumerate(loader()) if i == index)

    seen = []
    with pytest.raises(ValueError, match=f"^test, batch {n}: torn file$"):
        seen.extend(numbered(loader() if lazily else Torn(), "test"))
    assert seen == [(i, i) for i in range(n)]


BAD = {
    "label out of range": ((X, torch.full((6,), 9)), TargetError, "9"),
    "negative label": ((X, torch.full((6,), -1)), TargetError, "-1"),
    "too few labels": ((X, Y[:2]), TargetError, r"\(2,\)"),
    "labels with a dimension": ((X, Y[:, None]), TargetError, r"\(6, 1\)"),
    "other width": ((torch.rand(6, 5), Y), RuntimeError, "shapes"),
    "inputs alone": ((X,), InputError, "inputs only"),
    "four parts": ((X, Y, None, None), InputError, "tuple of 4"),
    "text": ("torn", InputError, "str"),
    "array": ((X.numpy(), Y), InputError, "ndarray"),
    "indices": ((X, Y, Y), InputError, "additional_forward_args"),
    "single example": ((X[0], Y[0]), CaptumXGError, ""),
    "empty": ((X[:0], Y[:0]), (TargetError, InputError), r"\(0,"),
}


@pytest.mark.parametrize(("batch", "error", "said"), BAD.values(), ids=BAD)
def test_a_bad_batch_is_named_whichever_it_is(batch, error, said):
    with pytest.raises(error, match=rf"^fine_tune, epoch 1, batch 2: (.|\n)*{said}"):
        fine_tune(network(), [(X, Y), (X, Y), batch], progress=False)
    for methods in (["input_x_gradient"], ["integrated_gradients_2"], ["xgradient"]):
        with pytest.raises(error, match=rf"^AttributionBenchmark.run, batch 2: (.|\n)*{said}"):
            AttributionBenchmark(network(), methods, ["CompletenessGap"]).run([(X, Y), (X, Y), batch], progress=False)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named_with_their_batch(bad):
    with pytest.raises(InputError, match=r"^fine_tune, epoch 1, batch 1: the loss is nan"):
        fine_tune(network(), [(X, Y), (X * bad, Y)], progress=False)
    with pytest.raises(InputError, match=r"^AttributionBenchmark.run, batch 1: `inputs` has NaN or infinity"):
        AttributionBenchmark(network(), ["gradient"], ["KPM"]).run([(X, Y), (X * bad, Y)], progress=False)


def test_errors_of_methods_metrics_models_and_losses_name_the_batch():
    def fails(*_, **__):
        raise LookupError("mine")

    class Fails(nn.Module):
        def forward(self, x):
            return fails() if len(x) == 2 else x

    metric = AttributionBenchmark(network(), ["gradient"], ["CompletenessGap"])
    metric.metrics[0].metric.scores = fails
    for benchmark in (AttributionBenchmark(network(), {"own": fails}, ["CompletenessGap"]), metric):
        with pytest.raises(LookupError, match=r"^AttributionBenchmark.run, batch 0: mine$"):
            benchmark.run([(X, Y)], progress=False)
    with pytest.raises(LookupError, match=r"^fine_tune, epoch 1, batch 1: mine$"):
        fine_tune(nn.Sequential(network(), Fails()), [(X, Y), (X[:2], Y[:2])], progress=False)
    with pytest.raises(LookupError, match=r"^fine_tune, epoch 1, batch 0: mine$"):
        fine_tune(network(), [(X, Y)], loss=fails, progress=False)


def test_a_loader_that_fails_in_a_worker_or_later_is_named_and_the_model_is_as_it_was_after_the_last_step():
    class Torn(Examples):
        def __getitem__(self, index):
            if index == 4:
                raise OSError("torn file")
            return super().__getitem__(index)

    model, other = network(), network()
    with pytest.raises(OSError, match=r"^fine_tune, epoch 1, batch 2: torn file$"):
        fine_tune(model, DataLoader(Torn(), batch_size=2), progress=False)
    with pytest.raises(ValueError, match="stop"):
        fine_tune(other, _stopping(3), progress=False)
    with pytest.raises(OSError, match=r"^AttributionBenchmark.run, batch 2: torn file$"):
        AttributionBenchmark(network(), ["gradient"], ["KPM"]).run(DataLoader(Torn(), batch_size=2), progress=False)


def _stopping(n):
    for _ in range(n):
        yield X, Y
    raise ValueError("stop")


def test_references_may_be_a_dataset_of_any_form():
    forms = (lambda x, y: (x, y), lambda x, y: {"image": x, "label": y}, Record, lambda x, y: Reversed(y, x))
    values = set()
    for references in (X, *([form(*pair) for pair in zip(X, Y, strict=True)] for form in forms)):
        loss = AttributionPriorLoss(network(), squares, attribution="expected_gradients", references=references)
        torch.manual_seed(0)
        values.add(float(loss(X, Y).prior.detach()))
    assert len(values) == 1
