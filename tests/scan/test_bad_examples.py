"""One bad example is named and costs the others nothing; what is wrong with all of them is said before anything."""

import warnings

import pytest
import torch
from captum.attr import Saliency
from scan_cases import Odd, examples, explained, network, whole
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from captum_xg import AdaptiveIntegratedGradients, XGradient, explain_dataset
from captum_xg.attr.observed import Observed
from captum_xg.datasets import Attributions
from captum_xg.datasets.attributions.packing import packed, unpacked
from captum_xg.errors import (
    CrossExampleError,
    ExampleError,
    FileError,
    ForwardOutputError,
    HomogeneityWarning,
    InputError,
    IntegrationWarning,
    ModelStateError,
    NondeterministicForwardError,
    OptionError,
    OptionTypeError,
    TrainingModeError,
)
from captum_xg.scan.shards import require_storable

BAD = 21


class Spoilt(Dataset):
    """Examples of which one is bad."""

    def __init__(self, kind, n=40):
        self.x, self.y = examples(n)
        self.kind = kind

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        x, y = self.x[i].clone(), self.y[i]
        if i != BAD:
            return x, y
        if self.kind == "unreadable":
            raise FileError("photo.jpg cannot be read: it is truncated.")
        if self.kind == "raises":
            raise ZeroDivisionError("division by zero")
        if self.kind == "label":
            y = torch.tensor(7)
        if self.kind == "shape":
            x = torch.randn(8)
        if self.kind in ("nan", "inf", "huge"):
            x[2] = {"nan": float("nan"), "inf": float("-inf"), "huge": 3e38}[self.kind]
        return x, y


SAID = {
    "unreadable": ("FileError", "photo.jpg cannot be read: it is truncated."),
    "raises": ("ZeroDivisionError", "division by zero"),
    "nan": ("InputError", "it holds NaN or infinity, 1 of 6 numbers."),
    "inf": ("InputError", "it holds NaN or infinity, 1 of 6 numbers."),
    "huge": ("ForwardOutputError", "overflows"),
    "label": ("TargetError", "the label is 7, and the model has the outputs 0 to 3"),
    "shape": ("InputError", "its inputs have the shape 8, and those of the others 6"),
}


class Large(nn.Module):
    """A network whose outputs are large."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return 64 * self.inner(64 * x)


@pytest.mark.parametrize(("kind", "workers"), [*((kind, 0) for kind in SAID), ("unreadable", 2), ("shape", 2)])
def test_a_bad_example_is_recorded_with_its_reason_and_the_rest_is_kept(tmp_path, kind, workers):
    loader = DataLoader(Spoilt(kind), batch_size=4, num_workers=workers)
    targets, model = ("true" if kind == "label" else "predicted"), Large() if kind == "huge" else network()
    found = explained(XGradient(model), loader, tmp_path, on_violation="record", targets=targets, shard_size=8)
    (refused,) = found.refused
    assert (refused.id, refused.kind) == (BAD, SAID[kind][0])
    assert SAID[kind][1] in refused.reason
    assert "\n" not in refused.reason
    assert found.ids.tolist() == [i for i in range(40) if i != BAD]
    x = examples(40)[0][found.ids]
    reference = XGradient(model).attribute(x, target=found.targets[:, 0])
    torch.testing.assert_close(whole(found)[:, 0], reference)
    with pytest.raises(OptionError, match=f"example {BAD} has no attributions: {SAID[kind][0]}"):
        found.index(BAD)


@pytest.mark.parametrize("kind", list(SAID))
def test_a_bad_example_ends_the_run_with_its_number_and_what_is_finished_is_kept(tmp_path, kind):
    loader = DataLoader(Spoilt(kind), batch_size=4)
    targets, model = ("true" if kind == "label" else "predicted"), Large() if kind == "huge" else network()
    with pytest.raises(ExampleError, match=rf"example {BAD} cannot be \w+: {SAID[kind][0]}: ") as caught:
        explained(XGradient(model), loader, tmp_path, targets=targets, shard_size=8)
    assert caught.value.example == BAD
    assert "What was finished before it is kept" in str(caught.value)
    assert len(Attributions(tmp_path, missing="skip")) == 16
    # As the message says, it then goes on from there.
    found = explained(XGradient(model), loader, tmp_path, targets=targets, shard_size=8, on_violation="record")
    assert [each.id for each in found.refused] == [BAD]


def test_integrating_records_what_no_integration_can_help(tmp_path):
    found = explained(XGradient(network()), DataLoader(Spoilt("nan"), batch_size=4), tmp_path, on_violation="integrate")
    assert [(each.id, each.kind) for each in found.refused] == [(BAD, "InputError")]


def test_a_refused_example_is_named_with_the_report(tmp_path):
    model, (x, y) = Odd(network()), examples(40)
    x = x.clamp(-2, 2) * 1e-6
    x[BAD, 0] = 4
    loader = DataLoader(TensorDataset(x, y), batch_size=1)
    with pytest.raises(ExampleError, match=f"example {BAD} cannot be explained: HomogeneityError") as caught:
        explained(XGradient(model, validate="numeric"), loader, tmp_path)
    assert caught.value.__cause__.report.violated


def test_a_loader_that_raises_says_where_and_what_was_finished_is_kept(tmp_path):
    x, y = examples(40)

    def batches():
        for i in range(0, 40, 4):
            if i == 20:
                raise RuntimeError("the network share is gone")
            yield x[i : i + 4], y[i : i + 4]

    with pytest.raises(ExampleError, match=r"fails at the batch that begins with example 20.*share is gone"):
        explained(XGradient(network()), batches(), tmp_path, shard_size=8)
    assert len(Attributions(tmp_path, missing="skip")) == 16


def test_batches_of_another_size_in_the_middle_are_refused(tmp_path):
    x, y = examples(11)
    batches = [(x[:4], y[:4]), (x[4:7], y[4:7]), (x[7:], y[7:])]
    with pytest.raises(ExampleError, match="examples 4 to 6 has 3 of them, and the first has 4"):
        explained(XGradient(network()), batches, tmp_path)


def test_a_loader_may_fill_the_same_memory_again(tmp_path):
    x, y = examples(40)
    factors = torch.rand(40, 1) + 0.5
    own, labels, factor = torch.empty(4, 6), torch.empty(4, dtype=torch.int64), torch.empty(4, 1)
    model = network()

    def batches():
        for i in range(0, 40, 4):
            yield own.copy_(x[i : i + 4]), labels.copy_(y[i : i + 4]), factor.copy_(factors[i : i + 4])

    method = XGradient(lambda x, factor: model(x) * factor)
    found = explained(method, batches(), tmp_path / "a", shard_size=8)
    loader = DataLoader(TensorDataset(x, y, factors), batch_size=4)
    reference = explained(method, loader, tmp_path / "b", shard_size=8)
    assert torch.equal(found.digests, reference.digests)
    assert torch.equal(found.labels, y)
    assert torch.equal(whole(found), whole(reference))


def test_an_example_beyond_a_dtype_is_refused_and_costs_the_others_nothing(tmp_path):
    model, x = nn.Linear(6, 3, bias=False).double(), examples(8)[0].double()
    x[5] *= 1e200
    for dtype in ("float16", "float32"):
        with pytest.raises(ExampleError, match=r"(?s)example 5 cannot.*too large for float.*float64"):
            explain_dataset(XGradient(model), [x], tmp_path / f"{dtype} raise", dtype=dtype, progress=False)
        found = explain_dataset(
            XGradient(model), [x], tmp_path / dtype, dtype=dtype, progress=False, on_violation="record"
        )
        assert [(each.id, each.kind) for each in found.refused] == [(5, "ForwardOutputError")]
        assert torch.isfinite(whole(found)).all()
    found = explain_dataset(XGradient(model), [x], tmp_path / "float64", dtype="float64", progress=False)
    torch.testing.assert_close(whole(found)[:, 0], XGradient(model).attribute(x, target=found.targets[:, 0]))
    assert torch.equal(found.outputs, model(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_what_is_refused_as_too_large_is_what_would_be_read_as_infinity(dtype):
    for exponent in range(10, 60):
        for number in (2.0**128 - 2.0 ** (128 - exponent), -(2.0**128) + 2.0 ** (128 - exponent)):
            column = torch.tensor([[[number, 1.0]]], dtype=torch.float64)
            read = unpacked(*packed(column)) if dtype == torch.float16 else column.to(dtype)
            observed = Observed((column,), column, column, column)
            if bool(torch.isfinite(read).all()):
                require_storable(observed, dtype, summed=False)
            else:
                with pytest.raises(ForwardOutputError):
                    require_storable(observed, dtype, summed=False)
    with pytest.raises(ForwardOutputError):  # although each of them is none
        require_storable(Observed((torch.full((1, 1, 1, 2), 3e38),), column, column, column), dtype, summed=True)


def test_predictions_are_those_that_were_explained(tmp_path):
    model = nn.Linear(6, 2, bias=False).double()
    with torch.no_grad():
        model.weight[1] = model.weight[0] * (1 + 1e-12)
    loader = DataLoader(TensorDataset(examples(40)[0].double().abs()), batch_size=8)
    found = explained(XGradient(model), loader, tmp_path)
    assert torch.equal(found.predictions, found.targets[:, 0])


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("choice", ["record", "integrate", "raise"])
def test_one_bad_example_is_one_bad_example_wherever_it_stands(tmp_path, bad, choice):
    x, y = examples(64)
    x = x.clamp(-2, 2) * 1e-6
    x[bad, 0] = 4
    method = XGradient(Odd(network()), validate="numeric")
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    if choice == "raise":
        with pytest.raises(ExampleError, match=f"example {bad} cannot be explained: HomogeneityError"):
            explained(method, loader, tmp_path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationWarning)
        found = explained(method, loader, tmp_path, on_violation=choice)
    assert found.settings["closed_form"] is True
    assert [each.id for each in found.refused] == ([bad] if choice == "record" else [])
    assert len(found) == (63 if choice == "record" else 64)
    assert [each["error"].item() > 0 for each in found if "error" in each].count(True) <= 4


@pytest.mark.parametrize("bad", [0, 5])
def test_the_shape_of_the_data_is_that_of_most_of_them(tmp_path, bad):
    rows = [(torch.randn(8 if i == bad else 6), 0) for i in range(12)]
    model = network()
    method = XGradient(lambda x: model(x[:, :6]))  # which takes any of them
    found = explained(method, DataLoader(rows, batch_size=4), tmp_path, on_violation="record")
    assert [each.id for each in found.refused] == [bad]


def _without_none(rows):
    return torch.utils.data.default_collate([row for row in rows if row is not None])


@pytest.mark.parametrize("bad", [{0}, {5}, {4, 5, 6, 7}])
def test_a_data_set_may_give_none_for_what_it_cannot_read(tmp_path, bad):
    rows = [None if i in bad else (torch.randn(6), 0) for i in range(12)]
    loader = DataLoader(rows, batch_size=4, collate_fn=_without_none)
    found = explained(XGradient(network()), loader, tmp_path, on_violation="record")
    assert {each.id for each in found.refused} == bad
    assert "gives None" in found.refused[0].reason


def test_a_collate_function_that_drops_examples_is_named(tmp_path):
    loader = DataLoader(TensorDataset(*examples(12)), batch_size=4, collate_fn=lambda rows: rows[0][0][None][:0])
    with pytest.raises(InputError, match=r"has inputs of 0 rows\. A collate_fn must give one row"):
        explained(XGradient(network()), loader, tmp_path, on_violation="record")


class Random(nn.Module):
    """Adds noise."""

    def forward(self, x):
        return x + torch.randn_like(x)


class Mixing(nn.Module):
    """Takes the mean over the batch off."""

    def forward(self, x):
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (nn.Sequential(network(), nn.Dropout(0.5)).train(), TrainingModeError),
        (Random(), NondeterministicForwardError),
        (Mixing(), CrossExampleError),
        (nn.Linear(6, 3, bias=False, device="meta"), ModelStateError),
        (nn.Linear(5, 3, bias=False), RuntimeError),
        (nn.Flatten(0), Exception),
    ],
    ids=["training", "random", "mixing", "meta", "other inputs", "no rows"],
)
@pytest.mark.parametrize("choice", ["raise", "record", "integrate"])
def test_what_is_wrong_with_the_model_is_said_before_anything(tmp_path, model, error, choice):
    loader = DataLoader(TensorDataset(*examples(12)), batch_size=4)
    with pytest.raises(error):
        explained(XGradient(model), loader, tmp_path / "a", on_violation=choice)
    assert not (tmp_path / "a").exists()


class Augmented(Dataset):
    """Another example each time."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return torch.randn(6), 0


class Endless(IterableDataset):
    """Every worker gives all of it."""

    def __iter__(self):
        return iter(zip(*examples(12), strict=True))


DATA = TensorDataset(*examples(10))


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        (DataLoader(DATA, batch_size=4, shuffle=True), r"the order of a RandomSampler.*shuffle=False"),
        (
            DataLoader(DATA, batch_size=4, sampler=torch.utils.data.SubsetRandomSampler([1, 2])),
            "SubsetRandomSampler.*no sampler, and a Subset",
        ),
        (
            DataLoader(DATA, sampler=DistributedSampler(DATA, num_replicas=2, rank=0)),
            "DistributedSampler.*processes that torchrun started share",
        ),
        (
            DataLoader(DATA, batch_sampler=type("Own", (BatchSampler,), {})(SequentialSampler(DATA), 2, False)),
            "batches of a sampler of its own.*batch_size=",
        ),
        (DataLoader(DATA, batch_size=4, drop_last=True), "drops the last 2 examples"),
        (DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 4, False)), r"the order of a RandomSampler"),
        (DataLoader(DATA, batch_size=None, shuffle=True), r"the order of a RandomSampler"),
        (DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 4, True)), "drops the last 2 examples"),
        (
            DataLoader(DATA, batch_sampler=BatchSampler(DistributedSampler(DATA, 2, 0), 4, False)),
            "has a DistributedSampler",
        ),
        (DataLoader(DATA, batch_size=4, sampler=SequentialSampler(range(8))), "made for 8 examples, and its data set"),
        (DataLoader(Endless(), batch_size=4, drop_last=True), "drops what does not fill"),
        (DataLoader(Endless(), batch_size=4, num_workers=2), "each of them goes through all of the data set"),
        (DataLoader(TensorDataset(torch.empty(0, 6))), "is empty"),
        (DataLoader(Augmented(), batch_size=4), "example 0 is another one each time"),
        ([], "gives no batch"),
    ],
)
def test_loaders_whose_examples_have_no_fixed_place_are_refused(tmp_path, loader, said):
    with pytest.raises(OptionError, match=said):
        explained(XGradient(network()), loader, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"method": XGradient}, OptionError, "must be an instance"),
        ({"method": 3}, OptionError, "must be an instance"),
        ({"loader": DATA}, OptionTypeError, "is a dataset"),
        ({"loader": 3}, OptionTypeError, "must be an iterable of batches"),
        ({"dtype": "int8"}, OptionError, "dtype"),
        ({"on_violation": "warn"}, OptionError, "on_violation"),
        ({"shard_size": 0}, OptionError, "shard_size"),
        ({"names": ("a", "b")}, OptionError, "one text for each of the 1 inputs"),
        ({"options": {"baselines": 0.5}}, OptionError, "are for other methods"),
        ({"sum_last": True}, InputError, "no features to sum over"),
        ({"split": lambda batch: batch[0]}, InputError, "must return"),
        ({"split": lambda batch: ("a", None)}, InputError, "must be tensors"),
        ({"to": 3}, OptionTypeError, "to"),
    ],
)
def test_wrong_arguments_change_nothing(tmp_path, options, error, said):
    given = {
        "method": XGradient(network()),
        "loader": DataLoader(DATA, batch_size=4),
        "to": tmp_path / "a",
        "progress": False,
        **options,
    }
    with pytest.raises(error, match=said):
        explain_dataset(**given)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileError, match="cannot be used as a folder"):
        explained(XGradient(network()), DataLoader(DATA, batch_size=4), tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


def test_what_was_not_integrated_to_its_tolerance_is_told(tmp_path):
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 3))
    loader = DataLoader(TensorDataset(*examples(8)), batch_size=4)
    with pytest.warns(IntegrationWarning, match=r"of 8 examples are not within 0.001"):
        found = explained(AdaptiveIntegratedGradients(model, rtol=1e-3, max_evaluations=3), loader, tmp_path)
    assert found.errors.shape == (8, 1)
    assert found[2]["error"] == found.errors[2]


def test_a_method_that_warns_does_so_once(tmp_path):
    method = XGradient(network(bias=True), on_violation="warn")
    with pytest.warns(HomogeneityWarning) as said:
        found = explained(method, DataLoader(TensorDataset(*examples(8)), batch_size=2), tmp_path)
    assert len([each for each in said if each.category is HomogeneityWarning]) == 1
    assert float(found.gaps.abs().max()) > 1e-3


def test_attributions_that_are_not_finite_are_refused_whatever_method_gives_them(tmp_path):
    model = Large()
    x, y = examples(8)
    x[5, 2] = 3e38
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    found = explained(Saliency(model), loader, tmp_path, on_violation="record")
    assert [(each.id, each.kind) for each in found.refused] == [(5, "ForwardOutputError")]
