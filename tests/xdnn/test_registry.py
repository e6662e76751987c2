"""Conversions: one rule for a kind, the nearest base class counts, and the user's own are used."""

import functools
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from captum_xg import register_conversion, to_xdnn
from captum_xg.errors import ConversionError
from captum_xg.xdnn import Conversion, Place, Refusal, forget_conversion, registry
from captum_xg.xdnn.registry import STAGES, find_conversion


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.7 * x)


class Sharper(Swish):
    pass


@pytest.fixture
def registered():
    """Register conversions that are taken back afterwards."""
    kinds = []

    def register(*new, stage="activations"):
        def keep(rule):
            register_conversion(*new, stage=stage)(rule)
            kinds.extend(new)
            return rule

        return keep

    yield register
    for kind in kinds:
        if find_conversion(kind) is not None and kind in registry._ENTRIES:
            forget_conversion(kind)


def network(*between):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), *between, nn.Linear(5, 3)).double().eval()


def inputs():
    return torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_conversion_of_the_users_is_used_for_a_class_and_its_subclasses(registered):
    seen = []

    @registered(Swish)
    def swish(module, place):
        seen.append((module, place))
        return Conversion(nn.LeakyReLU(0.125), "its limit", after="my ReLU")

    for kind in (Swish, Sharper):
        model = network(kind())
        xdnn, report = to_xdnn(model, inputs())
        assert report.homogeneous
        assert isinstance(xdnn[1], nn.LeakyReLU)
        (change,) = (c for c in report.changes if c.module == "1")
        assert (change.before, change.after, change.why) == (kind.__name__, "my ReLU", "its limit")
        assert change.stage == "activations"
        assert not change.exact
        assert type(model[1]) is kind
        module, place = seen.pop()
        assert type(module) is kind
        assert module is not model[1]
        assert isinstance(place, Place)
        assert place.module == "1"
        assert not place.returned
        with torch.no_grad():
            hidden = model[0](inputs())
        assert place.rms == pytest.approx(float(hidden.square().mean(1).sqrt().mean()))


def test_a_conversion_of_the_users_is_used_for_a_function(registered):
    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x):
            return torch.erf(self.a(x))

    model = Calls().double().eval()
    with pytest.raises(ConversionError):
        to_xdnn(model, inputs())

    @registered(torch.erf)
    def erf(call, place):
        assert call.function is torch.erf
        assert call.constants == frozenset()
        return Conversion(nn.Identity(), "is the identity for small x")

    xdnn, report = to_xdnn(model, inputs())
    assert report.homogeneous
    assert torch.equal(xdnn(inputs()), F.linear(inputs(), model.a.weight))
    forget_conversion(torch.erf)
    with pytest.raises(ConversionError):
        to_xdnn(model, inputs())


def test_the_nearest_base_class_counts(registered):
    registered(Swish)(lambda module, place: Conversion(nn.ReLU(), "base"))
    registered(Sharper)(lambda module, place: Conversion(nn.LeakyReLU(), "own"))
    assert isinstance(to_xdnn(network(Sharper()), inputs())[0][1], nn.LeakyReLU)
    assert isinstance(to_xdnn(network(Swish()), inputs())[0][1], nn.ReLU)
    forget_conversion(Sharper)
    assert isinstance(to_xdnn(network(Sharper()), inputs())[0][1], nn.ReLU)


def test_a_rule_is_asked_only_where_homogeneity_breaks(registered):
    class Scales(nn.Module):
        def forward(self, x):
            return 2 * x

    @registered(Scales)
    def never(module, place):
        raise AssertionError("asked")

    assert to_xdnn(network(Scales()), inputs())[1].homogeneous


def test_every_stage_is_done_in_its_order(registered):
    asked, kinds = [], []
    for name, stage in zip(("A", "B", "C"), reversed(STAGES), strict=True):
        kind = type(name, (Swish,), {})

        def rule(module, place, stage=stage):
            asked.append(stage)
            return Conversion(nn.ReLU(), "")

        registered(kind, stage=stage)(rule)
        kinds.append(kind)
    model = network(*(kind() for kind in kinds))
    assert to_xdnn(model, inputs())[1].homogeneous
    assert asked == list(STAGES)


def test_a_second_conversion_for_a_kind_is_refused_and_names_the_first(registered):
    @registered(Swish)
    def first_rule(module, place):
        return Conversion(nn.ReLU(), "")

    with pytest.raises(ValueError, match=r"Swish.*first_rule") as error:
        register_conversion(Swish, stage="activations")(lambda m, p: Conversion(nn.ReLU(), ""))
    assert "forget_conversion(Swish)" in str(error.value)
    assert find_conversion(Swish).rule is first_rule


@pytest.mark.parametrize("kind", [nn.GELU, nn.Linear, F.layer_norm])
def test_a_second_conversion_for_a_kind_of_pytorchs_is_refused(kind):
    assert find_conversion(kind) is not None
    with pytest.raises(ValueError, match="already"):
        register_conversion(kind, stage="activations")(lambda m, p: Conversion(nn.ReLU(), ""))


def test_a_conversion_for_a_kind_of_pytorchs_is_refused_also_before_anything_was_looked_up(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", {})
    for name in [name for name in sys.modules if name.startswith("captum_xg.xdnn.rules.")]:
        monkeypatch.delitem(sys.modules, name)
    registry.load_rules.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"GELU has a conversion already \(captum_xg"):
            register_conversion(nn.GELU, stage="activations")(lambda m, p: Conversion(nn.ReLU(), ""))
    finally:
        registry.load_rules.cache_clear()


def test_nothing_is_registered_if_one_of_several_kinds_is_refused():
    with pytest.raises(ValueError, match="already"):
        register_conversion(Swish, nn.GELU, stage="activations")(lambda m, p: Conversion(nn.ReLU(), ""))
    try:
        assert find_conversion(Swish) is None
    finally:
        registry._ENTRIES.pop(Swish, None)


@pytest.mark.parametrize("kind", ["nn.GELU", 3, int, dict, None])
def test_what_is_neither_a_module_class_nor_a_function_is_refused(kind):
    with pytest.raises(ValueError, match="neither"):
        register_conversion(kind, stage="activations")(lambda m, p: Conversion(nn.ReLU(), ""))


def test_a_stage_that_is_none_is_refused_by_naming_those_there_are():
    with pytest.raises(ValueError, match="activations"):
        register_conversion(Swish, stage="last")


def test_a_rule_for_nothing_is_refused():
    with pytest.raises(ValueError, match="module classes or functions that the rule is for"):
        register_conversion(stage="activations")


def test_forgetting_what_is_not_registered_is_a_key_error():
    with pytest.raises(KeyError):
        forget_conversion(Swish)


@pytest.mark.parametrize("result", [None, 3, nn.ReLU(), (nn.ReLU(), "why"), "ReLU"], ids=repr)
def test_a_rule_that_returns_nonsense_is_named(registered, result):
    @registered(Swish)
    def nonsense(module, place):
        return result

    with pytest.raises(ConversionError, match="nonsense") as error:
        to_xdnn(network(Swish()), inputs())
    assert "1" in str(error.value)
    assert "Conversion or a NotConvertible" in str(error.value)


def test_a_replacement_that_is_no_module_is_named(registered):
    registered(Swish)(lambda module, place: Conversion(torch.relu, "a function"))
    with pytest.raises(ConversionError, match="module"):
        to_xdnn(network(Swish()), inputs())


def test_a_rule_that_raises_is_named(registered):
    @registered(Swish)
    def raising(module, place):
        raise ZeroDivisionError("in the rule")

    with pytest.raises(Exception, match=r"raising|in the rule"):
        to_xdnn(network(Swish()), inputs())


def test_a_refusal_is_what_the_error_says(registered):
    registered(Swish)(lambda module, place: Refusal("is beloved", "let it go"))
    with pytest.raises(ConversionError) as error:
        to_xdnn(network(Swish()), inputs())
    text = str(error.value)
    assert "1 (Swish)" in text
    assert "is beloved" in text
    assert "let it go" in text
    assert error.value.report.unconverted[0].reason.startswith("is beloved")


def test_a_replacement_that_does_not_run_is_an_error_that_names_it(registered):
    class Breaks(nn.Module):
        def forward(self, x):
            raise RuntimeError("does not run")

    registered(Swish)(lambda module, place: Conversion(Breaks(), ""))
    with pytest.raises(ConversionError, match=r"(?s)does not run.*1: Swish"):
        to_xdnn(network(Swish()), inputs())


def test_a_replacement_that_does_not_scale_is_not_certified(registered):
    registered(Swish)(lambda module, place: Conversion(nn.Hardtanh(), ""))
    with pytest.raises(ConversionError) as error:
        to_xdnn(network(Swish()), inputs())
    assert any(u.module.startswith("1") for u in error.value.report.unconverted)


class Rule:
    def __call__(self, module, place):
        return 3


def without_a_module(module, place):
    return 3


without_a_module.__module__ = None


@pytest.mark.parametrize("rule", [Rule(), functools.partial(Rule()), without_a_module])
def test_a_rule_may_be_any_callable_and_have_no_name(rule, registered):
    registered(Swish)(rule)
    with pytest.raises(ValueError, match=r"Swish has a conversion already \(.*(Rule|without_a_module)"):
        register_conversion(Swish, stage="activations")(rule)
    with pytest.raises(ConversionError, match=r"conversion .*(Rule|without_a_module).* returned int for 1"):
        to_xdnn(network(Swish()), inputs())
