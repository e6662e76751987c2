"""Control flow operators and the like, which run functions as a whole: unknown, and no reason to fail."""

import pytest
import torch
from torch import nn

from captum_xg import XGradient, bias_ledger, certify, check_homogeneity
from captum_xg._core.function import ScalarFunction
from captum_xg.errors import HomogeneityError
from captum_xg.homogeneity.scaling.dtypes import inner_dtypes

operators = pytest.importorskip("torch._higher_order_ops")

X = torch.linspace(-1, 1, 12).reshape(4, 3)
ALWAYS = torch.tensor(True)


def _net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))


class Cond(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = _net()

    def forward(self, x):
        return torch.cond(ALWAYS, lambda h: 2 * h, lambda h: h + 1, (self.net(x),))


class CondOverLayers(Cond):
    """Branches that refer to parameters, which PyTorch's compiler has to find."""

    def forward(self, x):
        return torch.cond(ALWAYS, lambda h: self.net(h) * 2, lambda h: self.net(h) + 1, (x,))


class WhileLoop(Cond):
    def forward(self, x):
        start = (torch.tensor(0), self.net(x))
        return operators.while_loop(lambda i, h: i < 2, lambda i, h: (i + 1, h + h / 2), start)[1]


class Map(Cond):
    def forward(self, x):
        from torch._higher_order_ops import map as over_rows

        return over_rows(lambda row: self.net(row) * 2, x)


def _exported():
    return torch.export.export(Cond(), (X,)).module()


MODELS = {"cond": Cond, "cond over layers": CondOverLayers, "while_loop": WhileLoop, "map": Map}
EXPORTED = {"exported cond": _exported}


def _name(name):
    return name.removeprefix("exported ").split()[0]


@pytest.mark.parametrize("name", ["cond over layers", "while_loop", "exported cond"])
def test_is_unknown_and_named(name):
    certificate = certify({**MODELS, **EXPORTED}[name](), X)
    assert certificate.verdict == "unknown"
    assert len(certificate.unsupported) == 1
    assert f"runs the operator {_name(name)}" in str(certificate)


@pytest.mark.parametrize("name", MODELS)
def test_is_attributed_and_has_a_ledger_without_a_proof(name):
    model = MODELS[name]()
    with torch.no_grad():
        factor = float((model(X) / _net()(X)).mean())
    expected = factor * XGradient(_net()).attribute(X)
    torch.testing.assert_close(XGradient(model).attribute(X), expected)
    ledger = bias_ledger(model, X)
    assert ledger.exact
    assert not ledger.rows


def test_a_proof_is_refused():
    with pytest.raises(HomogeneityError, match="runs the operator map"):
        XGradient(Map(), validate="certificate").attribute(X)


def test_the_look_for_inner_dtypes_sees_past_them():
    assert inner_dtypes(ScalarFunction(CondOverLayers(), None, None, "here"), (X,)) == {torch.float32}


def test_constants_that_cannot_be_followed_are_in_the_remainder():
    class Shifted(Cond):
        def forward(self, x):
            return torch.cond(ALWAYS, lambda h: self.net(h) + 1, lambda h: self.net(h), (x,))

    ledger = bias_ledger(Shifted(), X)
    torch.testing.assert_close(ledger.remainder, torch.ones(4))
    assert "runs the operator cond" in str(ledger)


def test_python_values_choose_a_branch_that_is_followed():
    net = _net()
    assert certify(
        lambda x: torch.cond(x.shape[0] > 2, lambda h: net(h) * 1, lambda h: net(h) + 1, (x,)), X
    ).homogeneous


def test_what_only_fails_while_it_is_followed_is_unknown():
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    net = _net()

    def shy(x):
        if _get_current_dispatch_mode() is not None:
            raise RuntimeError("not while somebody looks")
        return net(x)

    certificate = certify(shy, X)
    assert certificate.verdict == "unknown"
    assert "RuntimeError: not while somebody looks" in str(certificate)


def test_what_fails_anyway_fails_as_it_does():
    def broken(x):
        raise ZeroDivisionError("my own")

    for look in (certify, check_homogeneity, bias_ledger):
        with pytest.raises(ZeroDivisionError, match="my own"):
            look(broken, X)
