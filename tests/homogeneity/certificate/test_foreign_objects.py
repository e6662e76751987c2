"""Objects that raise when they are looked at, wherever a model keeps them, do not stand between it and its proof."""

import types
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn

from captum_xg import XGradient, bias_ledger, certify, check_homogeneity

X = torch.linspace(-1, 1, 12).reshape(4, 3)


class _Fails:
    """Raises something in all that may be asked of it."""

    def __init__(self, error=KeyError):
        object.__setattr__(self, "_error", error)

    def __getattr__(self, name):
        raise object.__getattribute__(self, "_error")(name)

    def __eq__(self, other):
        raise ValueError

    def __hash__(self):
        raise ValueError

    def __repr__(self):
        raise ValueError

    def __len__(self):
        raise ValueError

    def __bool__(self):
        raise ValueError

    def __iter__(self):
        raise ValueError


class _MissingError(AttributeError):
    pass


class _Recursive:
    __slots__ = ()

    def __getattr__(self, name):
        return getattr(self, f"{name}_")


class _Slotted:
    __slots__ = ("set", "unset")

    def __init__(self):
        self.set = 1

    def __getattr__(self, name):
        raise KeyError(name)


class _NotConnected:
    @property
    def __class__(self):
        raise RuntimeError("not connected")

    @__class__.setter
    def __class__(self, value): ...

    @property
    def __dict__(self):
        raise RuntimeError("not connected")


class _BadList(list[int]):
    def __iter__(self):
        raise ValueError


class _BadDict(dict[str, int]):
    def items(self):
        raise ValueError

    def values(self):
        raise ValueError


class _BadString(str):
    def __repr__(self):
        raise ValueError


class _BadClass(type):
    @property
    def __module__(cls):
        raise KeyError

    def __eq__(cls, other):
        raise ValueError

    __hash__ = type.__hash__


class _OfBadClass(metaclass=_BadClass):
    pass


class _BadModule(types.ModuleType):
    def __getattribute__(self, name):
        raise ImportError(name)


OBJECTS: dict[str, Callable[[], Any]] = {
    "KeyError": _Fails,
    "TypeError": lambda: _Fails(TypeError),
    "a kind of AttributeError": lambda: _Fails(_MissingError),
    "endless recursion": _Recursive,
    "slots": _Slotted,
    "a proxy without its object": _NotConnected,
    "list": lambda: _BadList([1]),
    "dict": lambda: _BadDict(a=1),
    "string": lambda: _BadString("a"),
    "class": lambda: _OfBadClass,
    "instance": _OfBadClass,
    "module": lambda: _BadModule("lost"),
    "mock": MagicMock,
    "mock of a module": lambda: MagicMock(spec=nn.Module),
    "mock of a tensor": lambda: MagicMock(spec=torch.Tensor),
    "slice": lambda: slice(_Fails(), torch.rand(2)),
}


def _net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))


def _as_attribute(thing):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = _net()
            object.__setattr__(self, "config", thing)
            object.__setattr__(self, "configs", [thing, {"thing": thing}, (thing,)])

        def forward(self, x):
            local, several = self.config, self.configs  # noqa: F841  frames are looked into as well
            return self.net(x)

    return Model()


def _as_closure(thing):
    net, several = _net(), [thing]

    def forward(x, default=thing):
        self, others = thing, several  # noqa: F841
        return net(x)

    return forward


def _as_callable(thing):
    class Model:
        limit = thing

        def __init__(self):
            self.net, self.config = _net(), thing

        def __call__(self, x):
            local = self.config, self.limit  # noqa: F841
            return self.net(x)

    return Model()


@pytest.mark.parametrize("place", [_as_attribute, _as_closure, _as_callable])
@pytest.mark.parametrize("name", OBJECTS)
def test_is_of_no_concern(name, place):
    model, expected = place(OBJECTS[name]()), XGradient(_net()).attribute(X)
    for validate in ("numeric", "certificate", "off"):
        torch.testing.assert_close(XGradient(model, validate=validate).attribute(X), expected)
    assert certify(model, X).homogeneous
    assert check_homogeneity(model, X).homogeneous
    assert bias_ledger(model, X).exact


class _Delegating(_Fails):
    """A model that fails when it is asked for anything but its output."""

    def __call__(self, x):
        return torch.relu(x).sum(1)


def test_forward_functions_may_fail_like_that_themselves():
    model = _Delegating()
    assert certify(model, X).homogeneous
    expected = torch.relu(X)
    torch.testing.assert_close(XGradient(model, validate="certificate").attribute(X), expected)
    torch.testing.assert_close(XGradient(model).attribute(X), expected)


def test_a_model_that_answers_to_every_name_is_not_taken_for_a_compiled_one():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = _net()

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return None

        def forward(self, x):
            return self.net(x)

    assert certify(Model(), X).homogeneous


def test_no_proof_stands_on_what_cannot_be_described():
    key = _Fails()
    type(key).__hash__ = object.__hash__
    net = _net()
    xg = XGradient(lambda x, options: net(x), validate="certificate")
    for n in (1, 2):
        xg.attribute(X, additional_forward_args=({key: 1},))
        assert xg._proofs.n_proofs == n


def test_no_proof_stands_on_what_hides_its_content():
    class Hides:
        limit = 1.0

        @property
        def __dict__(self):
            raise RuntimeError

    xg = XGradient(_as_attribute(Hides()), validate="certificate")
    for n in (1, 2):
        xg.attribute(X)
        assert xg._proofs.n_proofs == n


def test_slots_are_seen_past_the_class_that_guards_them():
    class Guarded:
        __slots__ = ("__private", "public")

        def __init__(self):
            self.set(1.0)

        def set(self, value):
            self.__private = value
            object.__setattr__(self, "public", value)

        def __getattribute__(self, name):
            if name in ("public", "_Guarded__private"):
                raise KeyError(name)
            return object.__getattribute__(self, name)

    thing = Guarded()
    xg = XGradient(_as_attribute(thing), validate="certificate")
    for value, n in ((1.0, 1), (1.0, 1), (2.0, 2)):
        thing.set(value)
        xg.attribute(X)
        assert xg._proofs.n_proofs == n


def test_a_proof_stands_on_objects_that_only_lack_attributes():
    xg = XGradient(_as_attribute(_Slotted()), validate="certificate")
    for _ in range(2):
        xg.attribute(X)
    assert xg._proofs.n_proofs == 1


def test_what_such_objects_hold_still_ends_a_proof():
    thing = _Fails()
    xg = XGradient(_as_attribute(thing), validate="certificate")
    xg.attribute(X)
    object.__setattr__(thing, "limit", 3.0)
    xg.attribute(X)
    assert xg._proofs.n_proofs == 2


@pytest.mark.parametrize("remove", [True, False])
def test_layers_without_a_training_flag_count_as_evaluating(remove):
    class Odd(nn.ReLU):
        @property
        def training(self):
            raise KeyError

        @training.setter
        def training(self, value): ...

    net = _net()
    if remove:
        del net[1].training
    else:
        net[1] = Odd()
    assert certify(net, X).homogeneous
    assert check_homogeneity(net, X).homogeneous
    assert bias_ledger(net, X).exact
