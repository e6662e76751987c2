"""AdaptiveLayerIntegratedGradients is LayerIntegratedGradients with many steps, at any layer, and refuses the rest."""

import copy
import inspect

import pytest
import torch
from captum.attr import LayerIntegratedGradients
from hypothesis import given
from hypothesis import strategies as st
from path_networks import FEATURES, network, points
from torch import nn
from violations import nothing_changes

import captum_xg
from captum_xg import AdaptiveLayerIntegratedGradients, IntegrationReport
from captum_xg.errors import (
    BaselineError,
    ForwardOutputError,
    GradientError,
    InputError,
    IntegrationWarning,
    ModelStateError,
    OptionError,
    OptionTypeError,
    TargetError,
    TrainingModeError,
)

ACTIVATIONS = {"ReLU": nn.ReLU, "GELU": nn.GELU, "tanh": nn.Tanh}
MANY = {"n_steps": 1000, "method": "riemann_middle", "internal_batch_size": 2000}
MODEL = network(nn.GELU, seed=1)
X, B = points(1, 4, zero=False)


def close(one, other, rtol=1e-3):
    return bool((one - other).norm() <= rtol * other.norm() + 1e-9)


class Words(nn.Module):
    """Scores of sentences: rows of words, which are not zero for any id, between layers with biases."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(20, 5), nn.Embedding(6, 5)
        self.body = nn.Sequential(nn.Linear(5, 16), nn.GELU(), nn.LayerNorm(16), nn.Flatten(), nn.Linear(96, 3))

    def forward(self, ids, scale=1.0):
        return self.body(self.words(ids) + self.places(torch.arange(6))) * scale


class Pair(nn.Module):
    """A layer that gives two tensors, and their use."""

    def __init__(self):
        super().__init__()
        self.halves, self.head = Halves(), network(nn.Tanh, seed=3)

    def forward(self, x):
        one, other = self.halves(x)
        return self.head(torch.cat([one.tanh(), other], 1))


class Halves(nn.Module):
    def forward(self, x):
        return x[:, : FEATURES // 2] * 2, x[:, FEATURES // 2 :] - 1


def words(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Words().double().eval()


# --- the law --------------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(sorted(ACTIVATIONS)),
    place=st.integers(0, 5),
    at_input=st.booleans(),
    local=st.booleans(),
)
def test_it_is_what_captum_gives_with_many_steps(seed, kind, place, at_input, local):
    model, (x, b) = network(ACTIVATIONS[kind], seed=seed), points(seed, 2, zero=seed % 2 == 0)
    call = {"target": [2, 0], "attribute_to_layer_input": at_input}
    found = AdaptiveLayerIntegratedGradients(model, model[place], None, not local, rtol=5e-3).attribute(x, b, **call)
    expected = LayerIntegratedGradients(model, model[place], None, not local).attribute(x, b, **call, **MANY)
    assert found.dtype == torch.float64
    if not local:  # the tolerance is for the product with h(x) − h(b)
        for mine, theirs in zip(found, expected, strict=True):
            assert close(mine, theirs, 1.5e-2)
    else:
        whole = AdaptiveLayerIntegratedGradients(model, model[place], rtol=5e-3).attribute(x, b, **call)
        h = []
        for start in (x, b):
            layer = model[place]
            note = (lambda m, a: h.append(a[0])) if at_input else (lambda m, a, y: h.append(y))
            hook = layer.register_forward_pre_hook(note) if at_input else layer.register_forward_hook(note)
            model(start)
            hook.remove()
        torch.testing.assert_close(found * (h[0] - h[1]), whole)


@pytest.mark.thorough
@given(seed=st.integers(0, 1000), padding=st.integers(0, 19))
def test_token_ids_take_any_baseline(seed, padding):
    model, ids = words(seed), torch.randint(20, (2, 6), generator=torch.Generator().manual_seed(seed))
    call = {"baselines": padding, "target": torch.tensor([1, 2]), "additional_forward_args": 0.5}
    found, delta = AdaptiveLayerIntegratedGradients(model, model.words, rtol=1e-3).attribute(
        ids, **call, return_convergence_delta=True
    )
    expected = LayerIntegratedGradients(model, model.words).attribute(ids, **call, n_steps=300)
    assert found.shape == (2, 6, 5)
    for mine, theirs, left in zip(found, expected, delta, strict=True):
        assert close(mine, theirs, 3e-3)
        assert abs(left) <= 30**0.5 * 3e-3 * theirs.norm() + 1e-9


# --- forms ----------------------------------------------------------------------------------------------------------


def test_the_arguments_are_those_of_captum_in_their_order():
    theirs = list(inspect.signature(LayerIntegratedGradients.attribute).parameters)
    mine = list(inspect.signature(AdaptiveLayerIntegratedGradients.attribute).parameters)
    assert mine == [*theirs, "return_report"]
    assert list(inspect.signature(AdaptiveLayerIntegratedGradients).parameters)[:4] == [
        *list(inspect.signature(LayerIntegratedGradients).parameters)[:4]
    ]
    assert "AdaptiveLayerIntegratedGradients" in captum_xg.__all__


def flattened(attributions):
    """Return all attributions of each example side by side, and in which containers they came."""
    if isinstance(attributions, torch.Tensor):
        return attributions.flatten(1), torch.Tensor
    parts, forms = zip(*map(flattened, attributions), strict=True)
    return torch.cat(parts, 1), (type(attributions), *forms)


@pytest.mark.filterwarnings("ignore:Multiple layers provided")
def test_several_layers_and_tensors_come_in_captums_form():
    model = Pair().double().eval()
    # Of the last two one serves the other alone, so that it has no part in the score once that is replaced.
    for layer in (model.halves, [model.halves], [model.head[0], model.head[2]]):
        call = {"target": 1, "grad_kwargs": {"materialize_grads": True}}
        found = AdaptiveLayerIntegratedGradients(model, layer, rtol=1e-4).attribute(X, B, **call)
        expected = LayerIntegratedGradients(model, layer).attribute(X, B, n_steps=300, **call)
        (mine, form), (theirs, captums) = flattened(found), flattened(expected)
        assert form == captums
        assert close(mine, theirs)


def test_results_come_in_this_order():
    method = AdaptiveLayerIntegratedGradients(MODEL, MODEL[1])
    found, delta, report = method.attribute(X, B, 0, return_convergence_delta=True, return_report=True)
    assert isinstance(report, IntegrationReport)
    assert delta.shape == report.evaluations.shape == report.converged.shape == (4,)
    assert method.attribute(X, B, 0, return_report=True)[0].equal(found)
    assert method.attribute(X, B, 0).equal(found)
    assert isinstance(method, LayerIntegratedGradients)
    assert method.has_convergence_delta()
    assert method.multiplies_by_inputs


def test_parts_and_companions_change_nothing():
    model = words()
    method = AdaptiveLayerIntegratedGradients(model, model.words)
    ids = torch.arange(18).reshape(3, 6)
    call = {"baselines": 0, "target": [0, 1, 2], "additional_forward_args": torch.tensor([[1.0], [2.0], [0.5]])}
    together = method.attribute(ids, **call)
    torch.testing.assert_close(method.attribute(ids, internal_batch_size=2, **call), together)


def test_the_end_of_the_budget_is_told_where_the_call_is():
    model = network(nn.ReLU, seed=0)
    with pytest.warns(IntegrationWarning, match="max_evaluations=5") as caught:
        AdaptiveLayerIntegratedGradients(model, model[0], rtol=1e-3, max_evaluations=5).attribute(X, B, 0)
    assert [each.filename for each in caught] == [__file__]


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_touched(context):
    model, x = copy.deepcopy(MODEL), X.clone().requires_grad_()
    before = torch.get_rng_state()
    with nothing_changes(model, x), context():
        found = AdaptiveLayerIntegratedGradients(model, model[2]).attribute(x, B, 0)
    assert torch.get_rng_state().equal(before)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model)
    assert (found.requires_grad, found.is_inference()) == (False, False)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "options", "error", "says"),
    [
        ("0", {}, OptionTypeError, "get_submodule"),
        ([], {}, OptionError, "layer"),
        ([MODEL[0], MODEL[0]], {}, OptionError, "twice"),
        (MODEL[0], {"rtol": 0}, OptionError, "rtol"),
        (MODEL[0], {"rtol": "1 %"}, OptionTypeError, "rtol"),
        (MODEL[0], {"max_evaluations": 1}, OptionError, "max_evaluations"),
        (MODEL[0], {"multiply_by_inputs": nn.ReLU()}, OptionTypeError, "multiply_by_inputs"),
    ],
)
def test_an_option_without_a_meaning_is_refused(layer, options, error, says):
    with pytest.raises(error, match=says):
        AdaptiveLayerIntegratedGradients(MODEL, layer, **options)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"inputs": [X]}, InputError),
        ({"inputs": X[:0]}, InputError),
        ({"inputs": X * float("nan")}, InputError),
        ({"baselines": B[:2]}, BaselineError),
        ({"baselines": "zero"}, BaselineError),
        ({"target": 3}, TargetError),
        ({"target": None}, TargetError),
        ({"target": [0, 1]}, TargetError),
        ({"n_steps": 0}, OptionError),
        ({"method": "simpson"}, OptionError),
        ({"internal_batch_size": 0}, OptionError),
        ({"attribute_to_layer_input": "no"}, OptionTypeError),
        ({"return_report": "yes"}, OptionTypeError),
        ({"grad_kwargs": {"create_graph": True}}, OptionError),
        ({"grad_kwargs": {"inputs": X}}, OptionError),
    ],
)
def test_an_argument_without_a_meaning_is_refused(arguments, error):
    with pytest.raises(error, match=r"AdaptiveLayerIntegratedGradients\.attribute"):
        AdaptiveLayerIntegratedGradients(MODEL, MODEL[1]).attribute(**{"inputs": X, "target": 0, **arguments})


BAD_MODELS = {
    "another's layer": (lambda: (MODEL, nn.ReLU()), OptionError),
    "dropout": (lambda: (m := nn.Sequential(MODEL, nn.Dropout(0.5).train()), m[0][0]), TrainingModeError),
    "no memory": (lambda: (m := copy.deepcopy(MODEL).to("meta"), m[0]), ModelStateError),
    "twice": (lambda: (lambda x: MODEL(MODEL[1](x)), MODEL[1]), OptionError),
    "detached": (lambda: (lambda x: MODEL(x).detach(), MODEL[0]), GradientError),
    "infinite": (lambda: (lambda x: MODEL(x) / 0, MODEL[0]), ForwardOutputError),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_model_without_integrated_gradients_there_is_refused(name):
    make, error = BAD_MODELS[name]
    model, layer = make()
    with pytest.raises(error):
        AdaptiveLayerIntegratedGradients(model, layer).attribute(X, target=0)
