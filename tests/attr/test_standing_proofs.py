"""A standing proof is confronted with numbers on every call: after a change F is refused, or the numbers are right."""

import os
import sys
import types
from threading import local
from unittest.mock import patch

import pytest
import torch
from effort import thorough
from torch import nn
from torch.nn import functional

from captum_xg import XGradient, check_homogeneity
from captum_xg.attr.validation import VALIDATIONS
from captum_xg.errors import CrossExampleError, HomogeneityError, HomogeneityWarning
from captum_xg.xdnn import HomogeneousExtension

KEPT = ("certificate", "auto")
X = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
W = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def network():
    torch.manual_seed(1)
    layers = [nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False)]
    return nn.Sequential(*layers).double().eval()


def integrated(forward, x, points=4):
    """The path integral by the midpoint rule, example by example."""
    rows = []
    for row in x.split(1):
        gradient = torch.zeros_like(row)
        for i in range(points):
            at = ((i + 0.5) / points * row).requires_grad_()
            gradient += torch.autograd.grad(forward(at)[:, 1].sum(), at)[0] / points
        rows.append(row * gradient)
    return torch.cat(rows)


# --------------------------------------------------------------------------- what holds a number, and how it is changed


def imported():
    module = types.ModuleType("settings")
    exec("VALUE = 0.0\ndef value(): return VALUE\nclass Deep:\n  class Settings:\n    value = 0.0", module.__dict__)
    return module


class Lazily:
    _kept = 0.0

    @property
    def value(self):
        return self._kept


class Kind(type):
    value = 0.0


class OfKind(metaclass=Kind):
    settings = types.SimpleNamespace(value=0.0)


def variable(name="CAPTUM_XG_TEST_VALUE"):
    os.environ.pop(name, None)
    return name


def threaded():
    holder = local()
    holder.value = 0.0
    return holder


HOLDERS = {
    "constant of a module": (imported, lambda h: h.VALUE, lambda h, v: setattr(h, "VALUE", v)),
    "global behind a function": (imported, lambda h: h.value(), lambda h, v: setattr(h, "VALUE", v)),
    "class in a class": (imported, lambda h: h.Deep.Settings.value, lambda h, v: setattr(h.Deep.Settings, "value", v)),
    "metaclass": (lambda: OfKind, lambda h: h.value, lambda h, v: setattr(Kind, "value", v)),
    "namespace of a class": (lambda: OfKind, lambda h: h.settings.value, lambda h, v: setattr(h.settings, "value", v)),
    "property": (Lazily, lambda h: h.value, lambda h, v: setattr(h, "_kept", v)),
    "thread": (threaded, lambda h: h.value, lambda h, v: setattr(h, "value", v)),
    "environment": (variable, lambda h: float(os.environ.get(h, "0")), lambda h, v: os.environ.__setitem__(h, str(v))),
    "deep in lists": (
        lambda: [[[[[[[[[[0.0]]]]]]]]]],
        lambda h: h[0][0][0][0][0][0][0][0][0][0],
        lambda h, v: h[0][0][0][0][0][0][0][0][0].__setitem__(0, v),
    ),
    "memory": (lambda: memoryview(bytearray(8)).cast("d"), lambda h: h[0], lambda h, v: h.__setitem__(0, v)),
    "attribute of a library": (
        lambda: sys,
        lambda h: getattr(h, "captum_xg_test_value", 0.0),
        lambda h, v: setattr(h, "captum_xg_test_value", v),
    ),
}
EFFECTS = {
    "shifts": lambda x, s: (x @ W + s).relu(),
    "scales": lambda x, s: (x @ W).relu() * (1 + s),
    "raises to a power": lambda x, s: (x @ W).abs() ** (1 + s),
    "limits": lambda x, s: (x @ W).clamp(max=s or torch.inf),
    "normalises": lambda x, s: (x @ W) / (x @ W).norm(dim=1, keepdim=True) if s else x @ W,
    "mixes": lambda x, s: x @ W - (x @ W).mean(0) if s else x @ W,
    "detaches": lambda x, s: (x @ W).relu() + ((x @ W).relu().detach() * s if s else 0),
}


CHANGES = [(e, h, "auto") for e in EFFECTS for h in HOLDERS if e == "shifts" or h == "global behind a function"]
FURTHER = [(e, h, v) for v in KEPT for e in EFFECTS for h in HOLDERS if (e, h, v) not in CHANGES]


@pytest.mark.parametrize(
    ("effect", "holder", "validate"), [*CHANGES, *(pytest.param(*c, marks=pytest.mark.thorough) for c in FURTHER)]
)
def test_after_a_change_that_nobody_announces_f_is_refused_or_the_numbers_are_right(effect, holder, validate):
    make, read, write = HOLDERS[holder]
    held, compute = make(), EFFECTS[effect]

    def forward(x):
        return compute(x, read(held))

    write(held, 0.0)
    method = XGradient(forward, validate=validate)
    try:
        for factor in (1.0, 1.5):
            torch.testing.assert_close(method.attribute(factor * X, target=1), integrated(forward, factor * X))
        write(held, 0.5)
        if effect == "scales":
            torch.testing.assert_close(method.attribute(X, target=1), integrated(forward, X))
        else:
            with pytest.raises(CrossExampleError if effect == "mixes" else HomogeneityError):
                method.attribute(X, target=1)
    finally:
        write(held, 0.0)


# ---------------------------------------------------------------------------------- what acts around the call, unseen


def hooks(pack, unpack):
    return lambda: torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def shifted(function, by=0.2):
    return lambda *args, **kwargs: function(*args, **kwargs) + by


AROUND = {
    "saved tensors are doubled": hooks(lambda t: 2 * t, lambda t: t),
    "saved tensors are halved when they are read": hooks(lambda t: t, lambda t: t / 2),
    "saved tensors lose their sign": hooks(torch.abs, lambda t: t),
    "the forward of a class of PyTorch": lambda: patch.object(nn.ReLU, "forward", lambda self, x: x.sigmoid()),
    "the forward of linear layers": lambda: patch.object(nn.Linear, "forward", shifted(nn.Linear.forward)),
    "a function of PyTorch": lambda: patch.object(functional, "relu", shifted(functional.relu)),
    "an operation of PyTorch": lambda: patch.object(functional, "linear", shifted(functional.linear)),
    "calls of modules": lambda: patch.object(nn.Module, "__call__", shifted(nn.Module.__call__)),
}


@pytest.mark.parametrize("validate", KEPT)
@pytest.mark.parametrize("name", AROUND)
def test_what_acts_around_the_second_call_alone_is_refused_and_said_to_have_changed(name, validate):
    method = XGradient(network(), validate=validate)
    expected = method.attribute(X, target=1)
    with AROUND[name](), pytest.raises(HomogeneityError) as refusal:
        method.attribute(X, target=1)
    said = str(refusal.value)
    assert "has changed since without the model showing it" in said or "does not hold" in said or "≠" in said
    torch.testing.assert_close(method.attribute(X, target=1), expected)


def test_the_refusal_of_a_proof_that_stood_names_what_was_written_to():
    model = network()
    method = XGradient(model)
    method.attribute(X, target=1)
    with torch.no_grad():
        model[0].weight.mul_(2)
    method.attribute(X, target=1)
    with AROUND["saved tensors are doubled"](), pytest.raises(HomogeneityError, match=r"0\.weight \(parameter\)"):
        method.attribute(X, target=1)


def test_a_warning_instead_of_a_refusal_says_the_same():
    method = XGradient(network(), on_violation="warn")
    method.attribute(X, target=1)
    with AROUND["saved tensors are doubled"](), pytest.warns(HomogeneityWarning, match="has changed since"):
        method.attribute(X, target=1)


# --------------------------------------------------------------------------------------------------- mixed examples


def mixing_inside(x):
    """Other rows enter with degree 0, and cancel in Euler's identity and at every scale."""
    direction = x / x.norm(dim=1, keepdim=True)
    return x @ W * (1 + direction.mean(0) @ W).sigmoid()


class MeanOfBatch(nn.Module):
    def forward(self, x):
        return (x - 0.5 * x.mean(0)) @ W.to(x)


MIXING = {
    "mean over the batch": lambda x: (x - x.mean(0)) @ W,
    "degree 0": mixing_inside,
    "inside an extension": HomogeneousExtension(MeanOfBatch()).eval(),
    "a row and the next": lambda x: x @ W * (functional.normalize(x, eps=0.0).roll(1, 0) @ W).sigmoid(),
    "the first row": lambda x: x @ W * (functional.normalize(x[:1], eps=0.0) @ W).sigmoid(),
    "the last row": lambda x: x @ W * (functional.normalize(x[-1:], eps=0.0) @ W).sigmoid(),
}


@pytest.mark.parametrize("validate", [name for name in VALIDATIONS if name != "off"])
@pytest.mark.parametrize("n", [2, *thorough([3, 8])])
@pytest.mark.parametrize("name", MIXING)
def test_examples_that_see_each_other_are_refused_at_the_first_call(name, n, validate):
    x = torch.randn(n, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    with pytest.raises(CrossExampleError, match=r"depends on the others(?s:.)*x\.unsqueeze\(0\)"):
        XGradient(MIXING[name], validate=validate).attribute(x, target=1)
    if validate == "auto":
        with pytest.raises(CrossExampleError):
            check_homogeneity(MIXING[name], x, 1)


SEPARATE = {
    "a constant for each row": lambda x: x @ W * torch.arange(1.0, len(x) + 1, dtype=x.dtype)[:, None],
    "no negative numbers": lambda x: (x.abs() @ W.abs()).sqrt() ** 2,
    "a loop": lambda x: torch.stack([row @ W for row in x]),
}


@pytest.mark.parametrize("validate", KEPT)
@pytest.mark.parametrize("name", SEPARATE)
def test_functions_that_treat_examples_separately_are_not_taken_for_others(name, validate):
    forward = SEPARATE[name]
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(forward(x)[:, 1].sum(), x)
    torch.testing.assert_close(XGradient(forward, validate=validate).attribute(X, target=1), (x * gradient).detach())


# ------------------------------------------------------------------------------------------------------------- auto


class Unprovable(nn.Module):
    """Asks for values, so that nothing can be proven of it."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        y = self.net(x)
        return y if float(y.sum()) != 0.5 else y + 1


def test_what_cannot_be_proven_is_tested_on_every_call_and_tried_to_be_proven_once():
    model = Unprovable()
    method = XGradient(model)
    for factor in (1.0, 2.0, 3.0):
        expected = XGradient(model.net, validate="off").attribute(factor * X, target=1)
        torch.testing.assert_close(method.attribute(factor * X, target=1), expected)
    assert method._proofs.n_proofs == 1
    object.__setattr__(model, "forward", lambda x: model.net(x) + (0.1 if float(x.sum()) else 0))
    with pytest.raises(HomogeneityError):
        method.attribute(X, target=1)


def test_auto_refuses_what_the_numeric_check_refuses_and_what_is_disproved():
    with pytest.raises(HomogeneityError) as refusal:
        XGradient(lambda x: x @ W + 0.5).attribute(X, target=1)
    assert not refusal.value.report.homogeneous
    # On these rays all holds, Euler's identity too, as what is cut off is zero.
    x = X * torch.tensor([0.0, 1, 1, 1, 1, 1], dtype=X.dtype)
    forward = lambda x: (x @ W).relu() + x.detach()[:, :1].abs()
    assert XGradient(forward, validate="numeric").attribute(x, target=1).isfinite().all()
    with pytest.raises(HomogeneityError, match="cut off from autograd"):
        XGradient(forward).attribute(x, target=1)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_auto_finds_the_degree(k):
    method = XGradient(lambda x: (x @ W).abs() ** k, degree="auto")
    expected = XGradient(lambda x: (x @ W).abs() ** k, degree=k, validate="off").attribute(X, target=1)
    for _ in range(2):
        torch.testing.assert_close(method.attribute(X, target=1), expected)
    assert method._proofs.n_proofs == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_casts_inside_do_not_speak_against_a_proof(dtype):
    net = network().to(dtype)
    for validate in KEPT:
        method = XGradient(lambda x: net(x.to(dtype)).to(x.dtype), validate=validate)
        for _ in range(3):
            method.attribute(X.float(), target=1)
        assert method._proofs.n_proofs <= 2
