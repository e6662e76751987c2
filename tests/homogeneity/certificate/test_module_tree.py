"""The quick look at modules that nobody has touched: it sees all that a new description would."""

import copy
from collections import OrderedDict
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg.homogeneity.certificate.fingerprint import fingerprint_of
from captum_xg.homogeneity.certificate.module_tree import ModuleTree

X = torch.rand(2, 4)


class Own(nn.Module):
    slope = 0.1

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)
        self.register_buffer("scale", torch.ones(4))
        self.sizes, self.flag, self.rate, self.held = [1, 2], True, 0.5, {"relu": nn.ReLU()}

    def forward(self, x):
        return self.held["relu"](self.linear(x)) * self.scale * self.rate


class Halved(nn.ReLU):
    pass


def model():
    return nn.Sequential(OrderedDict(a=Own(), b=nn.Conv1d(1, 1, 1), c=nn.Sequential(nn.ReLU(), Own()), d=nn.Dropout()))


def own_hook(module, inputs):
    return None


def with_key(held, old, new):
    entries = [(new if name == old else name, value) for name, value in held.items()]
    held.clear()
    held.update(entries)


CHANGES = {
    "nothing": lambda m: None,
    "a setting": lambda m: setattr(m.b, "padding", (1,)),
    "an equal setting": lambda m: setattr(m.b, "padding", (*[0],)),
    "a flag for a number": lambda m: setattr(m.a, "flag", 1),
    "minus zero": lambda m: setattr(m.a, "rate", -0.0),
    "a float": lambda m: setattr(m.c[1], "rate", 0.25),
    "a new attribute": lambda m: setattr(m.d, "more", 1),
    "an attribute less": lambda m: delattr(m.a, "flag"),
    "a list": lambda m: m.a.sizes.append(3),
    "a layer in a dictionary": lambda m: m.a.held.update(relu=nn.GELU()),
    "another layer": lambda m: setattr(m, "d", nn.Dropout()),
    "one layer more": lambda m: m.add_module("e", nn.ReLU()),
    "one layer less": lambda m: delattr(m, "d"),
    "the name of a layer": lambda m: with_key(m._modules, "d", "e"),
    "the class of a layer": lambda m: setattr(m.c[0], "__class__", Halved),
    "an attribute of the class": lambda m: setattr(Own, "slope", Own.slope + 1),
    "a parameter": lambda m: setattr(m.a.linear, "weight", nn.Parameter(torch.rand(4, 4))),
    "the memory of a parameter": lambda m: setattr(m.a.linear.weight, "data", torch.rand(4, 4)),
    "the strides of a parameter": lambda m: setattr(m.a.linear.weight, "data", m.a.linear.weight.data.T),
    "the numbers of a parameter": lambda m: m.a.linear.weight.data.mul_(2),
    "a bias": lambda m: setattr(m.a.linear, "bias", nn.Parameter(torch.rand(4))),
    "a bias less": lambda m: setattr(m.b, "bias", None),
    "a buffer": lambda m: setattr(m.a, "scale", torch.ones(4)),
    "the name of a buffer": lambda m: with_key(m.a._buffers, "scale", "other"),
    "a hook": lambda m: m.c[0].register_forward_hook(lambda module, inputs, output: None),
    "a hook before": lambda m: m.c.register_forward_pre_hook(own_hook),
    "a hook on gradients": lambda m: m.b.register_full_backward_hook(lambda *_: None),
    "all attributes at once": lambda m: setattr(m.a, "__dict__", {**m.a.__dict__, "rate": 0.75}),
    "all layers at once": lambda m: setattr(m.c, "_modules", {**m.c._modules, "0": nn.GELU()}),
    "training": lambda m: m.train(not m.training),
}


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=4), st.sampled_from(["model", "function", "method"]))
def test_it_sees_what_a_new_description_sees(changes, kind):
    net = model()
    function = {"model": net, "function": lambda x: net(x), "method": net.forward}[kind]
    before, _, tree = fingerprint_of(function, (X,), ())
    for change in changes:
        with suppress(AttributeError):  # it may be gone
            CHANGES[change](net)
        quick, _, tree = fingerprint_of(function, (X,), (), tree)
        anew, _, _ = fingerprint_of(function, (X,), ())
        assert quick == anew
        assert hash(quick) == hash(anew)
    if not set(changes) - {"nothing", "the numbers of a parameter", "an equal setting"}:
        assert quick == before if changes else True


SEEN = sorted(set(CHANGES) - {"nothing", "the numbers of a parameter", "an equal setting", "the name of a buffer"})


@pytest.mark.parametrize("change", SEEN)
def test_each_change_is_one(change):
    net = model()
    before, _, tree = fingerprint_of(net, (X,), ())
    CHANGES[change](net)
    assert fingerprint_of(net, (X,), (), tree)[0] != before


def test_what_nobody_touched_is_not_described_again():
    net = model()
    _, _, tree = fingerprint_of(net, (X,), ())
    assert fingerprint_of(net, (X,), (), tree)[2] is tree
    net.c(X)  # a pass leaves it as it is
    assert fingerprint_of(net, (X,), (), tree)[2] is tree


def test_other_roots_are_another_tree():
    net = model()
    tree = ModuleTree([net])
    assert tree.unchanged([net])
    assert not tree.unchanged([copy.deepcopy(net)])
    assert not tree.unchanged([net, net.a])
    assert not tree.unchanged([])
