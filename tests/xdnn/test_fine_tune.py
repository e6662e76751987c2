"""fine_tune is the plain loop, and nothing is left behind when it stops."""

import io
import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import tqdm
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_xg import fine_tune
from captum_xg.errors import ForwardOutputError, InputError, OptionError, OptionTypeError
from captum_xg.xdnn import fine_tuning


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)).eval()


def data(batches=4, seed=0, size=6):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, 4, generator=generator), torch.randint(3, (size,), generator=generator))
        for _ in range(batches)
    ]


def plain_loop(model, batches, epochs, lr, loss=nn.functional.cross_entropy):
    """What a user would write."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(batches))
    model.train()
    means = []
    for _ in range(epochs):
        values = []
        for inputs, target in batches:
            optimizer.zero_grad()
            value = loss(model(inputs), target)
            value.backward()
            optimizer.step()
            schedule.step()
            values.append(value.item())
        means.append(sum(values) / len(values))
    model.eval()
    return means


def same_state(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@given(st.integers(1, 3), st.sampled_from((1e-3, 0.1)), st.integers(1, 4), st.integers(0, 100))
@settings(max_examples=15)
def test_it_is_the_plain_loop_bit_for_bit(epochs, lr, batches, seed):
    one, other, examples = network(seed), network(seed), data(batches, seed)
    torch.manual_seed(seed)
    expected = plain_loop(one, examples, epochs, lr)
    torch.manual_seed(seed)
    losses = fine_tune(other, examples, epochs=epochs, lr=lr, progress=False)
    assert losses == expected
    assert same_state(one, other)


def test_a_data_loader_and_a_list_train_alike():
    inputs, targets = torch.cat([x for x, _ in data()]), torch.cat([y for _, y in data()])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), batch_size=6)
    one, other = network(), network()
    one[3].p = other[3].p = 0.0  # a loader draws from the generator that dropout draws from
    fine_tune(one, list(loader), epochs=2, progress=False)
    fine_tune(other, loader, epochs=2, progress=False)
    assert same_state(one, other)


def test_the_learning_rate_falls_to_zero_along_a_cosine():
    rates = []

    class Recording(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    model = network()
    optimizer = Recording(model.parameters(), lr=0.5)
    fine_tune(model, data(), epochs=2, optimizer=optimizer, progress=False)
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * t / 8)) for t in range(8)])
    assert optimizer.param_groups[0]["lr"] == 0.5  # so that the same optimizer can go on


def test_inputs_may_be_tuples_and_loaders_need_no_length():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x, y):
            return self.a(x) + self.a(y)

    model = Two()
    before = model.a.weight.detach().clone()
    x, target = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 0])
    losses = fine_tune(model, [((x, -2 * x), target)], epochs=2, progress=False)
    assert len(losses) == 2
    assert not torch.equal(model.a.weight, before)

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([(x[0], target[0]), (x[1], target[1])])

    assert len(fine_tune(nn.Linear(3, 2), torch.utils.data.DataLoader(Stream(), batch_size=2), progress=False)) == 1


def test_frozen_parameters_stay_and_every_other_one_moves():
    model = network()
    model[0].weight.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fine_tune(model, data(), progress=False)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == (name == "0.weight"), name


def test_every_module_is_left_in_the_mode_that_it_came_in_also_after_an_error():
    model = network()
    model[3].train()
    modes = [m.training for m in model.modules()]
    fine_tune(model, data(), progress=False)
    assert [m.training for m in model.modules()] == modes
    with pytest.raises(InputError):
        fine_tune(model, [], progress=False)
    with pytest.raises(RuntimeError):
        fine_tune(model, [(torch.ones(2, 5), torch.zeros(2).long())], progress=False)
    assert [m.training for m in model.modules()] == modes


def test_layers_are_in_training_mode_while_it_trains():
    seen = []
    model = network()
    model[3].register_forward_pre_hook(lambda m, a: seen.append(m.training))
    fine_tune(model, data(2), progress=False)
    assert seen == [True, True]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_refused_before_the_step(bad):
    examples = data()
    model, reference = network(), network()
    torch.manual_seed(0)
    plain = torch.optim.Adam(reference.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(plain, 4)
    reference.train()
    for x, y in examples[:2]:
        plain.zero_grad()
        nn.functional.cross_entropy(reference(x), y).backward()
        plain.step()
        schedule.step()
    calls = []

    def loss(y, target):
        calls.append(1)
        value = nn.functional.cross_entropy(y, target)
        return value * bad if len(calls) == 3 else value

    torch.manual_seed(0)
    with pytest.raises(InputError, match=r"nan|inf") as error:
        fine_tune(model, examples, loss=loss, progress=False)
    assert "epoch 1" in str(error.value)
    assert "batch 2" in str(error.value)
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("empty", [[], iter([])], ids=["list", "iterator"])
def test_nothing_to_train_on_is_an_error(empty):
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError, match="no batches"):
        fine_tune(model, empty, progress=False)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_an_iterator_that_is_used_up_is_an_error_in_the_second_epoch():
    with pytest.raises(InputError, match="only once"):
        fine_tune(network(), iter(data()), epochs=2, progress=False)


@pytest.mark.parametrize("epochs", [0, -1])
def test_fewer_than_one_epoch_is_refused(epochs):
    with pytest.raises(OptionError, match="epochs"):
        fine_tune(network(), data(), epochs=epochs, progress=False)


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(OptionError, match="requires a gradient"):
        fine_tune(network().requires_grad_(False), data(), progress=False)
    with pytest.raises(OptionError, match="parameter"):
        fine_tune(nn.ReLU(), data(), progress=False)


def test_other_losses_are_given_outputs_and_targets():
    model = nn.Linear(4, 1)
    seen = []

    def loss(y, target):
        seen.append((tuple(y.shape), target))
        return y.square().mean()

    losses = fine_tune(model, [(torch.ones(3, 4), "anything")], loss=loss, progress=False)
    assert seen == [((3, 1), "anything")]
    assert len(losses) == 1


class Outputs(OrderedDict):
    """As models of transformers return them: a dict with attributes."""

    def __getattr__(self, name):
        return self[name]


@dataclass
class Result:
    logits: torch.Tensor
    hidden: torch.Tensor | None = None


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda y: Outputs(logits=y), None),
        (Result, None),
        (lambda y: (y,), None),
        (lambda y: Outputs(hidden=y + 1, logits=y), "logits"),
        (lambda y: Result(y, y + 1), "logits"),
        (lambda y: (y + 1, {"a": y}), (1, "a")),
        (lambda y: (y + 1, y), lambda o: o[1]),
    ],
)
@pytest.mark.parametrize("loss", [None, nn.functional.cross_entropy])
def test_a_model_that_returns_more_than_a_tensor_is_trained_by_the_part_that_is_chosen(wrap, output, loss):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return wrap(self.net(x))

    if loss is not None and output is None:
        pytest.skip("a loss of one's own is given all that the model returns")
    one, other = Wrapped(), network()
    torch.manual_seed(0)
    found = fine_tune(one, data(), loss=loss, output=output, progress=False)
    torch.manual_seed(0)
    assert found == fine_tune(other, data(), progress=False)
    assert same_state(one.net, other)


def test_several_tensors_and_no_choice_are_refused_and_a_choice_that_is_not_there_too():
    class Both(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ForwardOutputError, match=r"fine_tune, epoch 1, batch 0: .*2 tensors.*output="):
        fine_tune(Both(4, 3), data(), progress=False)
    with pytest.raises(OptionError, match=r"fine_tune, epoch 1, batch 0: `output` = 'logits' is not in"):
        fine_tune(Both(4, 3), data(), output="logits", progress=False)


def test_a_loss_of_ones_own_is_given_all_that_the_model_returns():
    class Both(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    seen = []
    fine_tune(Both(4, 3), data(1), loss=lambda o, y: seen.append(o) or o[0].sum(), progress=False)
    assert isinstance(seen[0], tuple)


@pytest.mark.parametrize("length", [True, False])
def test_one_bar_goes_over_all_epochs(length, monkeypatch):
    bars = []

    class Bar(tqdm.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **{**options, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(fine_tuning, "tqdm", Bar)
    batches = data(3)
    loader = batches if length else Stream(batches)
    fine_tune(network(), loader, epochs=4)
    assert [(bar.total, bar.n) for bar in bars] == [(12 if length else None, 12)]
    assert "epoch=4/4" in bars[0].postfix
    with pytest.raises(InputError):
        fine_tune(network(), [(torch.full((2, 4), math.nan), torch.zeros(2).long())], epochs=2)
    assert len(bars) == 2
    assert bars[1].disable or bars[1] not in Bar._instances  # closed


class Stream:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"epochs": 1.5}, OptionTypeError),
        ({"epochs": True}, OptionTypeError),
        ({"epochs": "2"}, OptionTypeError),
        ({"lr": "0.1"}, OptionTypeError),
        ({"lr": True}, OptionTypeError),
        ({"lr": 0}, OptionError),
        ({"lr": -1.0}, OptionError),
        ({"lr": math.nan}, OptionError),
        ({"loss": "cross_entropy"}, OptionTypeError),
        ({"loss": nn.CrossEntropyLoss}, OptionTypeError),
        ({"optimizer": torch.optim.SGD}, OptionTypeError),
        ({"optimizer": "adam"}, OptionTypeError),
        ({"optimizer": torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)}, OptionError),
        ({"optimizer": torch.optim.LBFGS(nn.Linear(2, 2).parameters())}, OptionError),
        ({"output": 1.5}, OptionTypeError),
        ({"output": nn.Linear}, OptionTypeError),
        ({"progress": "no"}, OptionTypeError),
    ],
)
def test_options_of_another_type_or_without_meaning_are_refused_before_anything_is_trained(options, error):
    model, before = network(), network()
    with pytest.raises(error, match=rf"^fine_tune: `{next(iter(options))}`"):
        fine_tune(model, data(), **{"progress": False, **options})
    assert same_state(model, before)
    assert not model.training


@pytest.mark.parametrize("model", [nn.Linear, lambda x: x, (network(), "report"), "model", None])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(OptionTypeError, match=r"^fine_tune: `model`"):
        fine_tune(model, data(), progress=False)


@pytest.mark.parametrize("number", [np.int64(2), np.float32(0.01), torch.tensor(0.01)])
def test_numbers_of_numpy_and_torch_are_numbers(number):
    options = {"epochs": number} if isinstance(number, np.integer) else {"lr": number}
    assert len(fine_tune(network(), data(), **options, progress=False)) == options.get("epochs", 1)
