"""Whatever a model returns: HomogeneousExtension scales every number in it, or refuses; nothing is left unscaled."""

import collections
import dataclasses
import functools
import types
from collections import OrderedDict, UserDict, deque, namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils import _pytree

from captum_xg import HomogeneousExtension, certify
from captum_xg.errors import ForwardOutputError

N = 3


def x():
    return torch.randn(N, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Returning(nn.Module):
    """Curved values, packed as told."""

    def __init__(self, pack):
        super().__init__()
        self.pack = pack

    def forward(self, x):
        return self.pack(torch.tanh(x) + 0.5)


@dataclasses.dataclass
class Plain:
    logits: Any
    hidden: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    logits: Any


@dataclasses.dataclass(slots=True)
class Slots:
    logits: Any
    name: str = "text"


@dataclasses.dataclass
class Computed:
    """Its constructor does not take what it holds."""

    source: dataclasses.InitVar[Any]
    logits: Any = dataclasses.field(init=False)

    def __post_init__(self, source):
        self.logits = 2 * source


class ModelOutput(OrderedDict):
    """Every part as item and as attribute, as in transformers."""

    def __init__(self, **parts):
        super().__init__(parts)
        for name, part in parts.items():
            object.__setattr__(self, name, part)


class Noted(list):
    pass


class Point(NamedTuple):
    logits: Any
    extra: Any = None


class Doubled(namedtuple("Doubled", "one two")):
    def __new__(cls, one):
        return super().__new__(cls, one, 2 * one)


class Registered:
    def __init__(self, inside):
        self.inside = inside


_pytree.register_pytree_node(Registered, lambda r: ([r.inside], None), lambda parts, _: Registered(next(iter(parts))))


def noted(y):
    result = Noted([y])
    result.more = 3 * y
    return result


CONTAINERS = {
    "complex": (lambda y: torch.complex(y, -y), lambda o: [o]),
    "dataclass": (lambda y: Plain(y, (y, 2 * y)), lambda o: [o.logits, *o.hidden]),
    "frozen dataclass": (Frozen, lambda o: [o.logits]),
    "dataclass with slots": (Slots, lambda o: [o.logits]),
    "dataclass that computes": (Computed, lambda o: [o.logits]),
    "dataclass in a dict in a list": (lambda y: [{"a": Plain(y)}], lambda o: [o[0]["a"].logits]),
    "model output": (lambda y: ModelOutput(logits=y, two=2 * y), lambda o: [o["logits"], o.logits, o["two"], o.two]),
    "default dict": (lambda y: collections.defaultdict(list, a=y), lambda o: [o["a"]]),
    "user dict": (lambda y: UserDict(a=y), lambda o: [o["a"], o.data["a"]]),
    "list with attributes": (noted, lambda o: [o[0], o.more]),
    "named tuple": (Point, lambda o: [o.logits]),
    "named tuple that computes": (Doubled, lambda o: [o.one, o.two]),
    "deque": (lambda y: deque([y], maxlen=4), lambda o: [o[0]]),
    "registered": (Registered, lambda o: [o.inside]),
    "return type of torch": (lambda y: y.max(1), lambda o: [o.values]),
    "complex in a dataclass": (lambda y: Plain(torch.fft.fft(y)), lambda o: [o.logits]),
}


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("name", CONTAINERS)
def test_every_number_in_every_container_is_scaled_once(name, degree):
    pack, numbers = CONTAINERS[name]
    model = Returning(pack)
    extension = HomogeneousExtension(model, degree, radius=2.0)
    size = x().norm(dim=1)
    outside, inside = extension(x()), model(2 * x() / size[:, None])
    assert type(outside) is type(inside)
    for got, on_sphere in zip(numbers(outside), numbers(inside), strict=True):
        factor = ((size / 2) ** degree).reshape(-1, *[1] * (on_sphere.dim() - 1))
        torch.testing.assert_close(got, factor * on_sphere, rtol=1e-13, atol=0)
    for four, one in zip(numbers(extension(4 * x())), numbers(outside), strict=True):
        assert torch.equal(four, 4**degree * one)


def test_what_the_model_keeps_of_what_it_returned_stays_as_it_was():
    kept = []

    def pack(y):
        kept.append(ModelOutput(logits=y))
        return kept[-1]

    extension = HomogeneousExtension(Returning(pack))
    result = extension(4 * x())
    assert not torch.equal(kept[0].logits, result.logits)
    assert torch.equal(kept[0].logits, kept[0]["logits"])
    assert torch.equal(kept[0].logits, torch.tanh(x() / x().norm(dim=1, keepdim=True)) + 0.5)


def test_one_tensor_in_two_places_is_one_tensor_in_both():
    result = HomogeneousExtension(Returning(lambda y: (y, {"again": y})))(x())
    assert result[0] is result[1]["again"]


@dataclasses.dataclass
class Rest:
    index: torch.Tensor
    mask: torch.Tensor
    text: str
    number: float
    nothing: None = None
    config: types.SimpleNamespace = dataclasses.field(default_factory=lambda: types.SimpleNamespace(width=3))


def test_what_is_no_number_of_the_input_stays_as_it_is():
    index, mask = torch.arange(N), torch.ones(N, dtype=torch.bool)
    rest = HomogeneousExtension(Returning(lambda y: Rest(index, mask, "text", 0.25)), radius=2.0)(x())
    assert rest == Rest(index, mask, "text", 0.25)


class Opaque:
    def __init__(self, inside):
        self.inside = inside


class OpaqueSlots:
    __slots__ = ("inside",)

    def __init__(self, inside):
        self.inside = inside


def itself(y):
    result = {"logits": y}
    result["me"] = result
    return result


REFUSED = {
    "object": Opaque,
    "object with slots": OpaqueSlots,
    "object in an object": lambda y: Opaque(Opaque([y])),
    "object in a dataclass": lambda y: Plain(Opaque(y)),
    "namespace": lambda y: types.SimpleNamespace(logits=y),
    "distribution": lambda y: torch.distributions.Normal(y, 1.0),
    "set": lambda y: {y},
    "mapping that cannot be written": lambda y: types.MappingProxyType({"a": y}),
    "packed sequence": lambda y: pack_padded_sequence(y[:, :1], torch.ones(N), batch_first=True),
    "sparse": lambda y: y.to_sparse(),
    "nested": lambda y: torch.nested.nested_tensor(list(y)),
    "quantised": lambda y: torch.quantize_per_tensor(y.float(), 0.1, 0, torch.qint8),
    "array": lambda y: y.detach().numpy(),
    "array in a dict": lambda y: {"a": y, "b": np.ones(N)},
    "itself": itself,
    "generator": lambda y: (part for part in [y]),
    "iterator in a dict": lambda y: {"a": y, "b": map(torch.neg, [y])},
    "arguments that wait for their function": lambda y: functools.partial(torch.mul, y),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scaled_is_refused_by_name(name):
    with pytest.raises(ForwardOutputError, match=r"HomogeneousExtension: what it returns.*Return tensors"):
        HomogeneousExtension(Returning(REFUSED[name]))(x())


@given(st.recursive(st.just("leaf"), lambda s: st.tuples(st.sampled_from("lftdpmn"), s, s), max_leaves=6))
def test_any_nesting_of_containers_keeps_its_shape_and_scales_by_power_of_two(tree):
    build = {
        "l": lambda a, b: [a, b],
        "f": lambda a, b: (Frozen(a), b),
        "t": lambda a, b: (a, b),
        "d": lambda a, b: {"a": a, "b": b},
        "p": Plain,
        "m": lambda a, b: ModelOutput(a=a, b=b),
        "n": Point,
    }

    def packed(tree, y):
        return y if tree == "leaf" else build[tree[0]](packed(tree[1], y), packed(tree[2], 2 * y))

    def numbers(tree, value):
        if tree == "leaf":
            return [value]
        kind = tree[0]
        if kind == "f":
            value = (value[0].logits, value[1])
        elif kind == "p":
            value = (value.logits, value.hidden)
        elif kind in "dm":
            value = (value["a"], value["b"])
        return numbers(tree[1], value[0]) + numbers(tree[2], value[1])

    extension = HomogeneousExtension(Returning(lambda y: packed(tree, y)), 2)
    for one, four in zip(numbers(tree, extension(x())), numbers(tree, extension(4 * x())), strict=True):
        assert torch.equal(four, 16 * one)


def test_complex_outputs_are_certified():
    extension = HomogeneousExtension(Returning(torch.fft.fft), 2)
    assert certify(extension, x()).degree == 2
