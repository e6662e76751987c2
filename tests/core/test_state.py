"""What a pass changes is put back, in tensors and in Python alike: no model comes back half initialised."""

from __future__ import annotations

import collections
import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from captum_xg import XGradient, certify, check_homogeneity
from captum_xg._core.module_attributes import ModuleAttributes
from captum_xg._core.state import preserve_state

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
OTHER = 3 * torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


class Attribute(nn.Module):
    """Takes its scale from the first batch, and keeps in mind that it has one."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3, bias=False)
        self.register_buffer("scale", torch.zeros(4))
        self.start()

    def start(self):
        self.ready = False

    def is_ready(self):
        return self.ready

    def mark(self):
        self.ready = True

    def initialise(self, x):
        self.scale.copy_(x.std(0))

    def forward(self, x):
        if not self.is_ready():
            self.initialise(x.detach())
            self.mark()
        return self.linear(x * self.scale)


class Dictionary(Attribute):
    def start(self):
        self.state = {"of": {"ready": False}}

    def is_ready(self):
        return self.state["of"]["ready"]

    def mark(self):
        self.state["of"]["ready"] = True


class Namespace(Attribute):
    def start(self):
        self.state = SimpleNamespace(ready=False)

    def is_ready(self):
        return self.state.ready

    def mark(self):
        self.state.ready = True


class State:
    ready = False


class OwnObject(Namespace):
    def start(self):
        self.state = State()


class Set(Attribute):
    def start(self):
        self.seen = set()

    def is_ready(self):
        return 1 in self.seen

    def mark(self):
        self.seen.add(1)


class List(Attribute):
    def start(self):
        self.calls = [0]

    def is_ready(self):
        return len(self.calls) > 1

    def mark(self):
        self.calls.append(1)


class ReplacedBuffer(Attribute):
    def initialise(self, x):
        self.scale = x.std(0)


class NewLayer(Attribute):
    def start(self):
        self.layer = None

    def forward(self, x):
        if self.layer is None:
            self.layer = nn.Linear(4, 4, bias=False)
            nn.init.eye_(self.layer.weight)
            self.scale.copy_(x.detach().std(0))
        return self.linear(self.layer(x) * self.scale)


class InAChild(nn.Module):
    def __init__(self):
        super().__init__()
        self.child, self.ready = Attribute(), False
        self.child.ready = True

    def forward(self, x):
        if not self.ready:
            self.child.initialise(x.detach())
            self.ready = True
        return self.child(x)


MODELS = [Attribute, Dictionary, Namespace, OwnObject, Set, List, ReplacedBuffer, NewLayer, InAChild]
LOOKS = {"certify": certify, "check_homogeneity": lambda model, x: check_homogeneity(model, x, target=0)}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_a_model_that_takes_its_state_from_the_first_batch_still_does(kind, look):
    model = kind().eval()
    untouched = copy.deepcopy(model)
    LOOKS[look](model, X)
    assert torch.equal(model(OTHER), untouched(OTHER))
    assert model(OTHER).abs().sum() > 0


class InParameters(Attribute):
    """Divides, so that initialising twice is not the same as once."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def initialise(self, x):
        with torch.no_grad():
            self.weight.div_(x.std(0))
        self.scale.fill_(1)

    def forward(self, x):
        if not self.ready:
            self.initialise(x.detach())
            self.ready = True
        return super().forward(x * self.weight)


@pytest.mark.parametrize("look", LOOKS)
def test_a_model_that_initialises_parameters_is_left_initialised_once(look):
    model = InParameters().eval()
    LOOKS[look](model, X)
    assert model.ready
    torch.testing.assert_close(model.weight.detach(), 1 / X.std(0))
    assert torch.equal(model.scale, torch.ones(4))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.norm = 0, nn.BatchNorm1d(4)

    def forward(self, x):
        self.calls += 1
        return self.norm(x)


@pytest.mark.parametrize("training", [True, False])
def test_attributes_are_put_back_only_where_buffers_are(training):
    model = Counting().train(training)
    with preserve_state(model, X.device):
        model(X)
    assert model.calls == (0 if training else 1)
    assert torch.equal(model.norm.running_mean, torch.zeros(4))
    assert list(dict(model.named_children())) == ["norm"]


def test_the_order_of_layers_and_what_was_removed_come_back():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Identity())
    with preserve_state(model, X.device):
        model(X)
        del model[1]
        model.append(nn.Tanh())
    assert [type(part) for part in model] == [nn.BatchNorm1d, nn.ReLU, nn.Identity]


def test_lazy_layers_stay_initialised():
    model = nn.LazyBatchNorm1d()
    with preserve_state(model, X.device):
        model(X)
    assert (type(model), model.num_features) == (nn.BatchNorm1d, 4)


def test_of_long_containers_the_entries_are_kept_and_not_what_they_hold():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))
            self.counts = collections.defaultdict(int)
            self.words = [[i] for i in range(100)]

        def forward(self, x):
            self.seen += 1
            self.counts["calls"] += 1
            self.words.append([x.shape[0]])
            return x

    model = Reader()
    kept = ModuleAttributes([model])
    # The attributes and their containers: what is long takes no walk through its entries at every call.
    assert len(kept._held) < 20
    with preserve_state(model, torch.device("cpu")):
        model(torch.ones(2, 3))
    assert dict(model.counts) == {}
    assert len(model.words) == 100


class Averages(nn.Module):
    """Keeps averages of what it has seen in a parameter, the largest in a buffer, and the last beside both."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3, bias=False)
        self.mean = nn.Parameter(torch.zeros(4), requires_grad=False)
        self.register_buffer("largest", torch.zeros(4))
        self.last, self.calls = torch.zeros(6, 4), 0

    def forward(self, x):
        with torch.no_grad():
            self.mean.lerp_(x.mean(0), 0.5)
            self.largest.copy_(torch.maximum(self.largest, x.amax(0)))
        self.last, self.calls = x.detach(), self.calls + 1
        return self.linear(x)


@pytest.mark.parametrize("check", [certify, lambda model, x: check_homogeneity(model, x, target=0)])
def test_a_parameter_that_is_written_to_lets_no_buffer_keep_what_was_seen_far_away(check):
    model = Averages()
    with torch.no_grad():
        model(X)
    before = model.largest.clone()
    check(model, X)
    assert torch.equal(model.largest, before)


def long_list():
    return [*map(str, range(100)), nn.ReLU()]


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.held = nn.Linear(4, 3, bias=False), long_list()

    def forward(self, x):
        return self.held[-1](self.linear(x))


@pytest.mark.parametrize("place", ["closure", "object", "dictionary", "module"])
def test_no_list_is_too_long_for_the_layers_in_it(place):
    from captum_xg.homogeneity.certificate.fingerprint import fingerprint_of

    linear, held = nn.Linear(4, 3, bias=False), long_list()
    owner = SimpleNamespace(held=held, of={"all": held})
    model = Listed()
    function, changed = {
        "closure": (lambda x: held[-1](linear(x)), held),
        "object": (lambda x: owner.held[-1](linear(x)), held),
        "dictionary": (lambda x: owner.of["all"][-1](linear(x)), held),
        "module": (model, model.held),
    }[place]
    before = fingerprint_of(function, (X,), ())[0]
    assert before == fingerprint_of(function, (X,), ())[0]
    changed[-1] = nn.GELU()
    assert before != fingerprint_of(function, (X,), ())[0]


@pytest.mark.parametrize(
    "look",
    [
        certify,
        lambda model, x: check_homogeneity(model, x, target=0),
        lambda model, x: XGradient(model, validate="certificate").attribute(x, target=0),
        lambda model, x: XGradient(model).attribute(x, target=0),
        lambda model, x: certify(model, x).is_stale(model),
    ],
    ids=["certify", "check", "certificate", "auto", "stale"],
)
def test_looking_at_memory_leaves_no_mark_on_it(look):
    """Memory that NumPy was shown can no longer be resized, and a model that writes to it is no longer proven."""
    model, x = Averages(), X.clone()
    model.mean.requires_grad_(False)
    for _ in range(2):
        look(model, x)
    tensors = [x, *model.parameters(), *model.buffers()]
    assert all(t.untyped_storage().resizable() for t in tensors)
    running = Attribute()
    running(X)
    assert [certify(running, X).homogeneous for _ in range(2)] == [True, True]
