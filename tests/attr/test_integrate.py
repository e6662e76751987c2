"""With ``on_violation="integrate"`` classes give what Captum's converge to, and no error where Captum has none."""

import copy
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import captum.attr
import pytest
import torch
from captum.testing.helpers.basic_models import BasicModel2
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg import (
    AdaptiveIntegratedGradients,
    ExpectedXGradient,
    LayerXGradient,
    NeuronXGradient,
    XGradient,
)
from captum_xg.errors import HomogeneityError, InputError, IntegrationNotice, OptionError, TargetError

WHERE = {"on_violation": "integrate"}
FINE = {"n_steps": 500, "method": "riemann_middle"}  # Gauss–Legendre nodes of so many would take seconds to find


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True, bias=False)
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(x + self.attend(x, x, x, need_weights=False)[0]).flatten(1)


class MeanFree(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)) ** 2


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make().double().eval()


def biased():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


def without_biases():
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False))


def smooth():
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 4), nn.Softmax(1))


MODELS = [biased, without_biases, smooth]


def quietly(attribute, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return attribute(*args, **kwargs)


def assert_near(found, expected, rtol=0.02):
    pairs = zip(*(a if isinstance(a, tuple) else (a,) for a in (found, expected)), strict=True)
    found, expected = (torch.cat([p.flatten(1) for p in parts], 1) for parts in zip(*pairs, strict=True))
    assert found.shape == expected.shape
    # Of the whole batch: where attributions nearly vanish the reference is no nearer than the tolerance.
    assert (found - expected).norm() <= rtol * expected.norm() + 1e-3


@given(st.sampled_from(MODELS), st.sampled_from(["none", "number", "one", "each"]), st.integers(0, 99), st.booleans())
def test_input_attributions_are_what_captums_converge_to(make, baseline, seed, local):
    model = seeded(make, seed)
    x = torch.randn(3, 6, dtype=torch.float64)
    start = {"none": None, "number": 0.5, "one": x[:1] + 1, "each": torch.randn_like(x)}[baseline]
    ours, captums = XGradient(model, not local, **WHERE), captum.attr.IntegratedGradients(model, not local)
    found, delta = quietly(ours.attribute, x, start, target=[1, 2, 0], return_convergence_delta=True)
    expected = captums.attribute(x, start, target=[1, 2, 0], **FINE)
    # The tolerance is that of global attributions.
    scale = 1 if not local else x - (0 if start is None else start)
    assert_near(found * scale, expected * scale)
    assert local or (delta.abs() <= 0.02 * (expected * scale).abs().sum(1) + 1e-3).all()


@given(st.sampled_from(MODELS), st.sampled_from([0, 1]), st.booleans(), st.integers(0, 99))
def test_layer_attributions_are_what_captums_converge_to(make, at, at_input, seed):
    model = seeded(make, seed)
    x, start = torch.randn(2, 3, 6, dtype=torch.float64)
    ours, captums = (method(model, model[at]) for method in (ours_at_layers, captum.attr.LayerIntegratedGradients))
    call = {"target": 2, "attribute_to_layer_input": at_input}
    assert_near(quietly(ours.attribute, x, start, **call), captums.attribute(x, start, **FINE, **call))
    found, delta = quietly(ours.attribute, x, return_convergence_delta=True, **call)
    assert_near(found, captums.attribute(x, **FINE, **call))
    assert delta.abs().max() <= 0.03 * found.abs().sum()


def ours_at_layers(model, layer):
    return LayerXGradient(model, layer, **WHERE)


@given(st.sampled_from(MODELS), st.sampled_from([2, (1,), (slice(0, 3),)]), st.integers(0, 99))
def test_neuron_attributions_are_what_captums_converge_to(make, selector, seed):
    model = seeded(make, seed)
    x, start = torch.randn(2, 3, 6, dtype=torch.float64)
    ours, captums = NeuronXGradient(model, model[1], **WHERE), captum.attr.NeuronIntegratedGradients(model, model[1])
    for baseline in (None, start):
        found = quietly(ours.attribute, x, selector, baseline)
        assert_near(found, captums.attribute(x, selector, baseline, **FINE), 0.03)


def test_a_selector_of_one_number_for_all_examples_is_integrated_as_well():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh()).double()
    x, start = torch.randn(2, 3, 1, 5, 5, dtype=torch.float64)
    ours, captums = NeuronXGradient(model, model[1], **WHERE), captum.attr.NeuronIntegratedGradients(model, model[1])
    for baseline in (None, start):
        found = quietly(ours.attribute, x, torch.sum, baseline)
        assert_near(found, captums.attribute(x, torch.sum, baseline, **FINE), 0.03)


@given(st.sampled_from(MODELS), st.integers(0, 99))
def test_expected_attributions_keep_their_path_and_are_complete(make, seed):
    model = seeded(make, seed)
    x, baselines = torch.randn(2, 3, 6, dtype=torch.float64)
    found = quietly(ExpectedXGradient(model, **WHERE).attribute, x, baselines, target=1)
    ends = captum.attr.IntegratedGradients(model)
    at_x, at_b = (ends.attribute(p, target=1, **FINE) for p in (x, baselines))
    expected = at_x - at_b.mean(0)
    # Each leg within the tolerance, to which its estimated error is an estimate and no bound.
    assert (found - expected).norm() <= 0.03 * (at_x.norm() + at_b.norm())


def test_where_it_applies_the_closed_form_is_what_comes_back_and_nothing_is_said():
    model, x = seeded(without_biases), torch.randn(3, 6, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method, at in ((XGradient, ()), (LayerXGradient, (model[0],))):
            found = method(model, *at, **WHERE).attribute(x, 0 * x, target=1)
            assert torch.equal(found, method(model, *at).attribute(x, target=1))


def test_attention_and_norms_are_integrated():
    model, x = seeded(Attention), torch.randn(3, 5, 4, dtype=torch.float64)
    found = quietly(XGradient(model, **WHERE).attribute, x, torch.ones_like(x), target=1)
    assert_near(found, captum.attr.IntegratedGradients(model).attribute(x, torch.ones_like(x), target=1, **FINE))


def test_many_targets_are_a_loop():
    model, x = seeded(biased), torch.randn(3, 6, dtype=torch.float64)
    method = XGradient(model, **WHERE)
    for targets in (None, [2, 0]):
        all_of_them = quietly(method.attribute_all, x, targets)
        each = [quietly(method.attribute, x, target=t, n_steps=1) for t in targets or range(4)]
        torch.testing.assert_close(all_of_them, torch.stack(each, 1), rtol=0.03, atol=1e-3)


def test_a_notice_says_why_and_what_it_took_once_for_an_object():
    model, x = seeded(biased), torch.randn(3, 6, dtype=torch.float64)
    method = XGradient(model, **WHERE)
    with pytest.warns(
        IntegrationNotice, match=r"F\(αx\) ≠ αF\(x\).*tolerance of 0.01, with \d+( to \d+)? gradients"
    ) as said:
        [method.attribute(x, start, target=1) for start in (None, 1 + x)]
    said = [warning for warning in said if warning.category is IntegrationNotice]
    assert len(said) == 1
    assert said[0].filename == __file__


def test_what_was_refused_is_not_tried_again_until_the_model_changes():
    model, x = seeded(biased), torch.randn(3, 6, dtype=torch.float64)
    method, calls = XGradient(model, **WHERE), []
    method._in_closed_form = lambda *args, original=method._in_closed_form: calls.append(1) or original(*args)
    for _ in range(3):
        quietly(method.attribute, x, target=1)
    assert len(calls) == 1
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias.zero_()
    assert torch.equal(method.attribute(x, target=1), XGradient(model).attribute(x, target=1))


@pytest.mark.parametrize("case", ["mixing", "random", "training", "nan", "one number"])
def test_what_cannot_be_integrated_to_a_tolerance_is_integrated_as_captum_does(case):
    x = torch.rand(4, 3)
    model, target = {
        "mixing": (MeanFree(), 1),
        "random": (lambda x: x * torch.rand(()), 1),
        "training": (nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train(), 1),
        "nan": (nn.Linear(3, 3), 1),
        "one number": (lambda x: x.square().sum().reshape(1), None),
    }[case]
    if case == "nan":
        x[0, 0] = torch.nan
    torch.manual_seed(1)
    with pytest.warns(IntegrationNotice, match="Captum's own method was used, by 20 steps of riemann_right"):
        found = XGradient(model, **WHERE).attribute(x, target=target, n_steps=20, method="riemann_right")
    if case not in ("random", "training"):
        expected = captum.attr.IntegratedGradients(model).attribute(
            x, target=target, n_steps=20, method="riemann_right"
        )
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_integers_are_taken_as_captum_takes_them():
    model = biased().eval()
    x = torch.randint(0, 5, (3, 6))
    found = quietly(XGradient(model, **WHERE).attribute, x, target=1)
    assert_near(found, captum.attr.IntegratedGradients(model).attribute(x, target=1, **FINE))


def test_a_replaced_gradient_is_integrated_as_captum_does():
    model, x = biased(), torch.rand(3, 6)
    ours, captums = XGradient(model, **WHERE), captum.attr.IntegratedGradients(model)
    for method in (ours, captums):
        method.gradient_func = lambda forward_fn, inputs, target_ind=None, additional_forward_args=None: tuple(
            x**2 for x in inputs
        )
    torch.testing.assert_close(quietly(ours.attribute, x, target=0), captums.attribute(x, target=0))


def test_a_layer_that_runs_twice_is_integrated_as_captum_does():
    relu, model = nn.ReLU(), None
    model = nn.Sequential(nn.Linear(6, 6), relu, nn.Linear(6, 6), relu, nn.Linear(6, 2))
    x = torch.rand(3, 6)
    try:
        expected = captum.attr.LayerIntegratedGradients(model, relu).attribute(x, target=0)
    except Exception:
        with pytest.raises(OptionError):
            LayerXGradient(model, relu, **WHERE).attribute(x, target=0)
    else:
        torch.testing.assert_close(quietly(LayerXGradient(model, relu, **WHERE).attribute, x, target=0), expected)


def test_where_captum_has_an_error_ours_is_told():
    model, x = seeded(biased), torch.randn(3, 6, dtype=torch.float64)
    method = XGradient(model, **WHERE)
    with pytest.raises(TargetError, match="out of range"):
        method.attribute(x, target=9)
    with pytest.raises(InputError):
        method.attribute([1.0, 2.0], target=0)
    with pytest.raises(OptionError, match="n_steps"):
        method.attribute(x, target=0, n_steps=0)


def test_a_graph_is_kept_of_the_closed_form_alone():
    x = torch.randn(3, 6, dtype=torch.float64)
    with pytest.raises(HomogeneityError, match="closed form alone"):
        XGradient(seeded(biased), **WHERE).attribute(x, target=0, create_graph=True)
    with pytest.raises(OptionError, match="closed form alone"):
        XGradient(seeded(without_biases), **WHERE).attribute(x, 1.0, target=0, create_graph=True)
    assert XGradient(seeded(without_biases), **WHERE).attribute(x, target=0, create_graph=True).requires_grad
    # Captum's layer method keeps one, by its own steps.
    model = seeded(biased)
    found = quietly(ours_at_layers(model, model[0]).attribute, x, target=0, grad_kwargs={"create_graph": True})
    found.sum().backward()
    assert model[2].weight.grad is not None


def test_a_replaced_model_is_the_one_that_is_explained():
    model, other = seeded(biased), seeded(biased, 1)
    x = torch.randn(3, 6, dtype=torch.float64)
    method = ours_at_layers(model, model[0])
    quietly(method.attribute, x, target=1)
    twin = copy.copy(method)
    twin.forward_func = lambda x: 2 * model(x)
    twice = quietly(twin.attribute, x, target=1)
    torch.testing.assert_close(twice, 2 * quietly(method.attribute, x, target=1))
    assert quietly(XGradient(other, **WHERE).attribute, x, target=1).shape == x.shape


def test_objects_can_be_pickled():
    method = pickle.loads(pickle.dumps(XGradient(seeded(biased), **WHERE)))
    assert quietly(method.attribute, torch.rand(2, 6, dtype=torch.float64), target=0).shape == (2, 6)


@given(st.floats(0.5, 20), st.floats(0.5, 5), st.sampled_from([1e-1, 1e-2, 1e-3]))
def test_a_lone_kink_is_closed_in_on(first, second, rtol):
    model, x = BasicModel2(), (torch.tensor([first]), torch.tensor([second]))
    expected = captum.attr.IntegratedGradients(model).attribute(x, **FINE)
    found, report = quietly(AdaptiveIntegratedGradients(model, rtol=rtol).attribute, x, return_report=True)
    size = torch.cat(expected).norm()
    assert torch.cat([a - e for a, e in zip(found, expected, strict=True)]).norm() <= 3 * rtol * size + 5e-3 * (
        first + second
    )
    assert int(report.evaluations.max()) <= 200


def larger(x):
    return x.abs().max() > 1


def negative(x):
    return x.min() < 0


@pytest.mark.parametrize("unusual", [larger, negative])
@pytest.mark.parametrize("make", [biased, without_biases])
@pytest.mark.parametrize("validate", ["auto", "numeric"])
def test_a_model_that_raises_at_inputs_that_no_path_meets_is_explained_all_the_same(make, unusual, validate):
    inner, x = seeded(make), torch.rand(5, 6, dtype=torch.float64)
    x[0, 0] = 1.0

    class Choosy(nn.Sequential):
        def forward(self, x):
            if unusual(x):
                raise ZeroDivisionError("no such data")
            return super().forward(x)

    expected = captum.attr.IntegratedGradients(inner).attribute(x, target=1, **FINE)
    model = Choosy(*inner)
    layer_expected = captum.attr.LayerIntegratedGradients(inner, inner[0]).attribute(x, target=1, **FINE)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = XGradient(model, validate=validate, **WHERE).attribute(x, target=1)
        layer = LayerXGradient(model, model[0], validate=validate, **WHERE).attribute(x, target=1)
    assert (found - expected).norm() <= 0.02 * expected.norm()
    assert (layer - layer_expected).norm() <= 0.02 * layer_expected.norm()
    if unusual is larger:
        assert "raises ZeroDivisionError at inputs larger or smaller than these: no such data." in str(said[0].message)
    with pytest.raises(ZeroDivisionError):
        XGradient(model, **WHERE).attribute(8 * x if unusual is larger else -x, target=1)


def test_others_at_which_the_model_raises_do_not_hide_why_it_is_refused():
    inner = seeded(biased)

    def choosy(x):
        if x.min() < 0:
            raise ZeroDivisionError("no such data")
        return inner(x)

    with pytest.raises(HomogeneityError, match=r"F\(αx\) ≠ αF\(x\)"):
        XGradient(choosy).attribute(torch.rand(5, 6, dtype=torch.float64), target=1)


@pytest.mark.parametrize("make", [LayerXGradient, NeuronXGradient])
def test_threads_do_not_meet_each_others_layers(make):
    model = seeded(MODELS[0], 0)
    choice = {"target": 1} if make is LayerXGradient else {"neuron_selector": 1}
    xs = torch.randn(4, 3, 6, dtype=torch.float64)
    expected = [quietly(make(model, model[1], **WHERE).attribute, x, **choice) for x in xs]

    def found(i):
        return [make(model, model[1], **WHERE).attribute(xs[i], **choice) for _ in range(4)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
            warnings.simplefilter("ignore")
            for i, several in enumerate(pool.map(found, range(4))):
                assert all(torch.equal(one, expected[i]) for one in several)
    finally:
        sys.setswitchinterval(interval)
