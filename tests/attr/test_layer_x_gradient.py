"""LayerXGradient is LayerIntegratedGradients wherever the part behind the layer is homogeneous, and else it refuses."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import LayerAttribution, LayerIntegratedGradients
from cases import POWERS, X_DNNS, Elementwise, Power, Problem, Residual, mlp, problems, x_dnns
from hypothesis import given
from hypothesis import strategies as st
from references import behind, layer_integrated_gradients, layer_values
from tolerance import assert_close
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from violations import nothing_changes, seeded

from captum_xg import LayerXGradient
from captum_xg.errors import (
    BaselineError,
    CaptumXGError,
    CrossExampleError,
    DegreeError,
    ForwardOutputError,
    GradientError,
    HomogeneityError,
    HomogeneityWarning,
    InputError,
    ModelStateError,
    OptionError,
    OptionTypeError,
    TargetError,
    TrainingModeError,
)

UNUSED = {"materialize_grads": True}


def flat(attributions: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return attributions if isinstance(attributions, tuple) else (attributions,)


def scales(problem: Problem, layer: nn.Module, at_input: bool, degree: float, *, all_outputs: bool = False) -> bool:
    """Return whether the part behind the layer scales, by its values alone: the output explained, or all of them."""
    x = (problem.inputs,)
    values, run = layer_values(problem.model, layer, x, at_input), behind(problem.model, layer, x, at_input)
    chosen = slice(None) if all_outputs else problem.target
    with torch.no_grad():
        here = run(*(h.clone() for h in values))[:, chosen]
        size = here.abs().max()
        there = {a: run(*(a * h for h in values))[:, chosen] for a in (2.0**-32, 2.0**-9, 2.0**9, 2.0**32)}
    return all((y - a**degree * here).abs().max() <= 1e-9 * a**degree * size for a, y in there.items())


# --- the law ---------------------------------------------------------------------------------------------------------


@given(st.data())
def test_at_any_layer_of_an_x_dnn_it_is_the_integral_or_a_refusal(data: st.DataObject) -> None:
    problem = data.draw(x_dnns())
    layers = [m for m in problem.model.modules() if m is not problem.model and not isinstance(m, nn.ModuleList)]
    if not layers:  # a network of one layer
        layers = [problem.model]
    layer, at_input = data.draw(st.sampled_from(layers)), data.draw(st.booleans())
    method = LayerXGradient(problem.model, layer)
    call = {"target": problem.target, "attribute_to_layer_input": at_input, "grad_kwargs": UNUSED}
    if not scales(problem, layer, at_input, 1):
        with nothing_changes(problem.model, problem.inputs), pytest.raises(HomogeneityError):
            method.attribute(problem.inputs, **call)
        return
    if not scales(problem, layer, at_input, 1, all_outputs=True):
        # Disproved as a whole, this output scales at the example only.
        with nothing_changes(problem.model, problem.inputs), contextlib.suppress(HomogeneityError):
            method.attribute(problem.inputs, **call)
        return
    with nothing_changes(problem.model, problem.inputs):
        attributions, delta = method.attribute(problem.inputs, return_convergence_delta=True, **call)
    expected = layer_integrated_gradients(problem.model, layer, (problem.inputs,), problem.target, at_input, nodes=3)
    terms = sum(a.abs().flatten(1).sum(1) for a in expected)
    assert_close(flat(attributions), expected, 1e-9, size=terms + problem.values.abs())
    assert bool((delta.abs() <= 1e-9 * terms + 1e-12 * problem.values.abs()).all())
    again = method.attribute(problem.inputs, **call)  # while the proof stands
    assert all(torch.equal(a, b) for a, b in zip(flat(again), flat(attributions), strict=True))


@given(problems([case for case in X_DNNS if "inplace" not in case.name and "rnn" not in case.name]), st.data())
def test_it_is_layer_integrated_gradients_of_captum(problem: Problem, data: st.DataObject) -> None:
    children = [module for module in problem.model.children() if not isinstance(module, nn.ModuleList)]
    layers = [module for module in children if scales(problem, module, False, 1)] or [problem.model]
    layer = data.draw(st.sampled_from(layers))
    for multiply in (True, False):
        ours = LayerXGradient(problem.model, layer, None, multiply).attribute(problem.inputs, None, problem.target)
        captum = LayerIntegratedGradients(problem.model, layer, None, multiply)
        expected = captum.attribute(problem.inputs, None, problem.target, n_steps=10)
        assert_close(ours, expected, 1e-6, size=expected.abs().amax() * torch.ones(len(ours)))


@given(problems([case for case in POWERS if isinstance(case.build(), Power)]))
def test_the_degree_is_that_of_the_part_behind_the_layer(problem: Problem) -> None:
    layer, degree = problem.model.network[0], problem.case.degree
    expected = layer_integrated_gradients(problem.model, layer, (problem.inputs,), problem.target)[0]
    for asked in (degree, "auto"):
        ours = LayerXGradient(problem.model, layer, degree=asked).attribute(problem.inputs, target=problem.target)
        assert_close(ours, expected, 1e-7, size=expected.abs().amax() * torch.ones(len(ours)) + 1e-300)


# --- what Captum takes and gives -------------------------------------------------------------------------------------


class Split(nn.Module):
    """Two tensors from one: halves of the units, in a tuple."""

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:, :4], h[:, 4:].relu()


class Joined(nn.Module):
    """One tensor from two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
        return scale * self.first(a) + self.second(b)


class TwoPaths(nn.Module):
    """A front without biases, a layer that gives two tensors, and one that takes two and an option."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.split, self.joined = nn.Linear(6, 8, bias=False), Split(), Joined()

    def forward(self, x: Tensor) -> Tensor:
        return self.joined(*self.split(self.front(x)), scale=2.0)


def two_paths() -> tuple[TwoPaths, Tensor]:
    torch.manual_seed(0)
    return TwoPaths().double(), torch.randn(4, 6, dtype=torch.float64)


def test_the_arguments_are_those_of_captum_in_their_order() -> None:
    def names(method: Callable[..., Any]) -> list[str]:
        return list(inspect.signature(getattr(method, "__wrapped__", method)).parameters)

    assert names(LayerXGradient.attribute) == names(LayerIntegratedGradients.attribute)
    assert names(LayerXGradient.__init__)[:5] == names(LayerIntegratedGradients.__init__)
    method = LayerXGradient(mlp(3, 2), nn.ReLU())
    assert isinstance(method, LayerAttribution)
    assert (method.has_convergence_delta(), method.multiplies_by_inputs) == (True, True)
    assert method.get_name() == "Layer X Gradient"


@pytest.mark.parametrize("at_input", [False, True])
@pytest.mark.parametrize("chosen", ["split", "joined", "front", ["split"], ["joined.first", "joined.second"]])
def test_results_have_captums_form(chosen: str | list[str], at_input: bool) -> None:
    model, x = two_paths()
    if isinstance(chosen, str):
        layer: Any = model.get_submodule(chosen)
    else:
        layer = [model.get_submodule(name) for name in chosen]
    call = {"target": 1, "return_convergence_delta": True, "attribute_to_layer_input": at_input}
    ours, delta = LayerXGradient(model, layer).attribute(x, **call)
    expected, expected_delta = LayerIntegratedGradients(model, layer).attribute(x, **call)
    assert type(ours) is type(expected)
    pairs = zip(ours, expected, strict=True) if isinstance(ours, list) else [(ours, expected)]
    for one, other in pairs:
        assert type(one) is type(other)
        assert_close(one, other, 1e-8, size=torch.ones(4))
    assert (delta - expected_delta).abs().max() < 1e-8


def embedded() -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    torch.manual_seed(0)
    embedding, head = nn.Embedding(11, 5, padding_idx=0).double(), mlp(5, 7, 3).double()
    ids = torch.randint(1, 11, (4, 6), generator=seeded(2))
    return embedding, ids, lambda ids: head(embedding(ids)).sum(1)


@pytest.mark.parametrize("baselines", [None, 0, torch.zeros(1, 6, dtype=torch.int64)], ids=["None", "0", "row"])
def test_token_ids_are_inputs_where_the_row_of_the_baseline_is_zero(baselines: Any) -> None:
    embedding, ids, forward = embedded()
    ours, delta = LayerXGradient(forward, embedding).attribute(ids, baselines, 1, return_convergence_delta=True)
    expected = LayerIntegratedGradients(forward, embedding).attribute(ids, baselines, 1)
    assert_close(ours, expected, 1e-8)
    assert delta.abs().max() < 1e-12


def test_the_front_may_be_anything_where_it_is_zero_at_the_baseline() -> None:
    torch.manual_seed(0)
    front = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), Elementwise(lambda h: h * h.norm().detach().sin()))
    model = nn.Sequential(front, mlp(5, 4, 2)).double()
    x = torch.randn(1, 4, dtype=torch.float64)
    assert_close(
        LayerXGradient(model, front).attribute(x, target=0),
        LayerIntegratedGradients(model, front).attribute(x, target=0),
        1e-8,
    )


def test_rows_that_are_parts_of_examples_stay_with_them() -> None:
    """Windows of an image, as in a Swin transformer: the layer sees (N·windows, …)."""
    torch.manual_seed(0)
    layer, head = nn.Linear(4, 4, bias=False), nn.Linear(12, 2, bias=False)

    def forward(x: Tensor) -> Tensor:
        return head(layer(x.reshape(-1, 4)).relu().reshape(-1, 12))

    x = torch.randn(3, 12)
    method = LayerXGradient(forward, layer)
    whole = method.attribute(x, target=torch.tensor([0, 1, 0]))
    assert whole.shape == (9, 4)
    expected = LayerIntegratedGradients(forward, layer).attribute(x, target=torch.tensor([0, 1, 0]))
    assert torch.allclose(whole, expected, atol=1e-6)
    parts = method.attribute(x, target=torch.tensor([0, 1, 0]), internal_batch_size=2)
    assert torch.allclose(whole, parts, atol=1e-7)


def test_additional_arguments_and_targets_stay_with_their_examples_in_parts() -> None:
    torch.manual_seed(0)
    layer, head = nn.Linear(4, 5, bias=False), nn.Linear(5, 3, bias=False)
    sizes: list[int] = []

    def forward(x: Tensor, gate: Tensor, power: int) -> Tensor:
        sizes.append(len(x))
        return head(layer(x).relu() * gate) ** power

    x, gate, target = torch.randn(5, 4), torch.rand(5, 5), [0, 1, 2, 1, 0]
    method = LayerXGradient(forward, layer)
    whole = method.attribute(x, None, target, (gate, 1))
    sizes.clear()
    parts = method.attribute(x, None, target, (gate, 1), internal_batch_size=2)
    assert max(sizes) == 2
    assert torch.allclose(whole, parts, atol=1e-7)


def test_a_graph_reaches_every_parameter_and_only_on_demand() -> None:
    model = mlp(4, 5, 3, 2)
    x = torch.randn(3, 4, generator=seeded(0))
    method = LayerXGradient(model, model[2])
    assert not method.attribute(x, target=0).requires_grad
    with torch.no_grad():
        attributions = method.attribute(x, target=0, grad_kwargs={"create_graph": True})
    gradients = torch.autograd.grad(attributions.square().sum(), list(model.parameters()))
    assert all(g.abs().max() > 0 for g in gradients)
    # Of those behind the layer they are what Captum's method gives, which takes the layer's values for constants.
    captum = LayerIntegratedGradients(model, model[2]).attribute(x, target=0, grad_kwargs={"create_graph": True})
    expected = torch.autograd.grad(captum.square().sum(), [model[4].weight])[0]
    assert torch.allclose(gradients[2], expected, rtol=1e-4)


def test_a_layer_that_a_proof_was_made_of_stays_proven_and_a_change_is_noticed() -> None:
    model = mlp(4, 5, 3, 2)
    x = torch.randn(3, 4, generator=seeded(0))
    method = LayerXGradient(model, model[0])
    for _ in range(3):
        method.attribute(x, target=0)
    assert method._proofs.n_proofs == 1
    model[2].bias = nn.Parameter(torch.ones(3))
    with pytest.raises(HomogeneityError, match="2 \\(Linear\\): adds a bias"):
        method.attribute(x, target=0)
    model[2].bias = None
    model[0].bias = nn.Parameter(torch.ones(5))  # in front of what is scaled
    with pytest.raises(BaselineError, match="gives values up to 1, and not zero"):
        method.attribute(x, target=0)


def test_a_copy_explains_the_copy() -> None:
    model = mlp(4, 5, 2)
    x = torch.randn(3, 4, generator=seeded(0))
    method = LayerXGradient(model, model[0])
    other = copy.deepcopy(method)
    with torch.no_grad():
        model[2].weight.zero_()
    assert method.attribute(x, target=0).abs().max() == 0
    assert other.attribute(x, target=0).abs().max() > 0


def test_data_parallel_runs_on_its_first_device(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp(4, 5, 2)
    x = torch.randn(3, 4, generator=seeded(0))
    expected = LayerXGradient(model, model[0]).attribute(x, target=0)
    parallel = nn.DataParallel(model)  # without an accelerator it calls the module
    assert torch.equal(LayerXGradient(parallel, model[0]).attribute(x, target=0), expected)
    made: list[list[int]] = []
    parallel.device_ids = [3, 5]
    monkeypatch.setattr(nn.DataParallel, "__init__", lambda self, module, device_ids: made.append(device_ids))
    LayerXGradient(parallel, model[0])
    assert set(map(tuple, made)) == {(3,)}


# --- refusals --------------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """A layer that gives a tensor and a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 4, batch_first=True), nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x[:, None])[0][:, 0])


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(6, 5, 4, 3)


def reused() -> tuple[nn.Module, nn.Module]:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(6, 5, bias=False), relu, nn.Linear(5, 3, bias=False), relu)
    return model, relu


def refused(error: type[CaptumXGError], says: str, model: Any, layer: Any, x: Any, **call: Any) -> None:
    options = call.pop("options", {})
    things = [t for t in (x if isinstance(x, tuple) else (x,)) if isinstance(t, Tensor) and not t.is_meta]
    modules = [m for m in (model,) if isinstance(m, nn.Module) and not any(p.is_meta for p in m.parameters())]
    with nothing_changes(*modules, *things), pytest.raises(error, match=says) as caught:
        LayerXGradient(model, layer, **options).attribute(x, **({"target": 0} | call))
    assert type(caught.value) is error
    assert str(caught.value).startswith("LayerXGradient.attribute: ")


X = torch.randn(4, 6, generator=seeded(5))


def test_checkpoints_give_the_same_numbers_or_are_refused() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.head = net(), nn.Linear(3, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(checkpoint(self.inside, x, use_reentrant=False))

    model = Checkpointed()
    plain = nn.Sequential(model.inside, model.head)
    ours = LayerXGradient(model, model.inside[0]).attribute(X, target=1)
    assert torch.equal(ours, LayerXGradient(plain, model.inside[0]).attribute(X, target=1))
    model.requires_grad_(False)
    refused(GradientError, "Explain without checkpoints", model, model.inside[0], X)


def test_a_layer_that_runs_twice_is_refused_with_the_reason() -> None:
    model, relu = reused()
    refused(
        OptionError, r"`1` \(ReLU\) runs 2 times in one forward pass\. What it gives is then several", model, relu, X
    )


def test_a_layer_that_does_not_run_is_refused() -> None:
    refused(OptionError, "the layer ReLU does not run when forward_func is called", net(), nn.ReLU(), X)
    refused(OptionError, "does not run", net(), [net()[0]], X)


@pytest.mark.parametrize(
    ("error", "says", "call"),
    [
        (OptionTypeError, "`n_steps` must be", {"n_steps": "many"}),
        (OptionError, "`method` must be", {"method": "simpson"}),
        (OptionError, "`internal_batch_size` must be", {"internal_batch_size": 0}),
        (OptionTypeError, "`attribute_to_layer_input` must be", {"attribute_to_layer_input": "yes"}),
        (OptionTypeError, "`return_convergence_delta` must be", {"return_convergence_delta": [1]}),
        (OptionTypeError, "`grad_kwargs` must be a dict", {"grad_kwargs": True}),
        (OptionError, "but has 'is_grads_batched'", {"grad_kwargs": {"is_grads_batched": True}}),
        (TargetError, "out of range", {"target": 7}),
        (TargetError, "no `target` says", {"target": None}),
        (BaselineError, "3 baselines for 1 inputs", {"baselines": (0, 0, 0)}),
        (BaselineError, r"has shape \(4, 5\)", {"baselines": torch.zeros(4, 5)}),
        (BaselineError, "must be a number or a tensor but is str", {"baselines": "zero"}),
        (BaselineError, r"`0` \(Linear\) gives values up to .* and not zero", {"baselines": torch.ones(1, 6)}),
    ],
)
def test_an_unsuitable_argument_is_an_error_of_its_own(error: Any, says: str, call: dict[str, Any]) -> None:
    model = net()
    refused(error, says, model, model[0], X, **call)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ((), "is an empty tuple"),
        ([1.0], "must be a torch.Tensor but is list"),
        (torch.tensor(1.0), r"has shape \(\)"),
        (torch.empty(0, 6), r"has shape \(0, 6\)"),
        (torch.ones(4, 6, device="meta"), "is on the meta device"),
        ((X, X[:2]), "has 2 examples"),
        (X * torch.nan, r"`0` \(Linear\) gives NaN or infinity, first in example 0"),
    ],
    ids=range(7),
)
def test_unsuitable_inputs_are_refused(x: Any, says: str) -> None:
    model = net()
    refused(InputError, says, model, model[0], x)


def test_layers_that_give_something_else_are_refused() -> None:
    embedding, ids, forward = embedded()
    with pytest.raises(OptionError, match=r"gets torch.int64, and only.*Nothing can be attributed to ids"):
        LayerXGradient(forward, embedding).attribute(ids, target=0, attribute_to_layer_input=True)
    model = Recurrent()
    refused(OptionError, r"`lstm` \(LSTM\) gives torch.float32, tuple, and only", model, model.lstm, X)

    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Elementwise(torch.relu)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x=x)

    keyword = Keyword()
    call = {"attribute_to_layer_input": True}
    refused(OptionError, "gets no tensors by position", keyword, keyword.inner, X, **call)
    summed = nn.Sequential(Elementwise(lambda x: x.reshape(-1)[:-1]), Elementwise(lambda x: x.sum().expand(4, 3)))
    refused(InputError, r"gives shape \(23,\) for 4 examples", summed, summed[0], X)


def test_what_breaks_behind_the_layer_is_named_and_what_breaks_before_it_is_not() -> None:
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.GELU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(HomogeneityError) as caught:
        LayerXGradient(model, model[1]).attribute(X, target=0)
    message = str(caught.value)
    assert all(f"{i} (Linear): adds a bias" in message for i in (2, 4))
    assert "GELU):" not in message
    assert "on_violation='integrate' gives Integrated Gradients of this function as it is" in message
    assert "F is the part of the model behind the layer: inputs[0] is what `1` (GELU) gives." in message
    with pytest.warns(HomogeneityWarning, match="LayerXGradient.attribute"):
        LayerXGradient(model, model[1], on_violation="warn").attribute(X, target=0)


@pytest.mark.parametrize("validate", ["auto", "numeric", "certificate"])
def test_a_path_past_the_layer_is_a_constant_and_breaks_homogeneity(validate: str) -> None:
    model = nn.Sequential(Residual(nn.Linear(6, 6, bias=False)), nn.ReLU(), nn.Linear(6, 3, bias=False))
    refused(
        HomogeneityError, "F is the part of the model behind", model, model[0].block, X, options={"validate": validate}
    )
    LayerXGradient(model, model[0]).attribute(X, target=0)  # what joins the two paths has no such path


def test_models_that_give_no_numbers_are_refused_as_by_x_gradient() -> None:
    model = net()
    model.insert(1, nn.Dropout(0.5))
    model.train()
    refused(TrainingModeError, "Nothing was run", model, model[0], X)
    model = net()
    model[2].weight = nn.Parameter(torch.empty(4, 5, device="meta"))
    refused(ModelStateError, "meta device", model, model[0], X)
    mixed = nn.Sequential(
        nn.Linear(6, 5, bias=False), Elementwise(lambda h: h - h.mean(0)), nn.Linear(5, 3, bias=False)
    )
    refused(CrossExampleError, "depends on the others", mixed, mixed[0], X)
    cut = nn.Sequential(nn.Linear(6, 5, bias=False), Elementwise(torch.Tensor.detach), nn.Linear(5, 3, bias=False))
    refused(GradientError, "inputs\\[0\\] is what `0` \\(Linear\\) gives", cut, cut[0], X)
    pair = nn.Sequential(nn.Linear(6, 5, bias=False), Elementwise(lambda h: (h, h)))
    refused(ForwardOutputError, "returns tuple", pair, pair[0], X)
    root = nn.Sequential(
        nn.Linear(6, 5, bias=False), Elementwise(lambda h: h.abs().sqrt()), nn.Linear(5, 3, bias=False)
    )
    refused(DegreeError, "no degree k ≥ 1|found degree 0.5", root, root[0], X, options={"degree": "auto"})


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((nn.ReLU, nn.ReLU()), {}, OptionTypeError, "`forward_func` is the class ReLU"),
        ((net(), "0"), {}, OptionTypeError, r"but is str\. Pass model.get_submodule\('0'\)"),
        ((net(), nn.ReLU), {}, OptionTypeError, "but is the class ReLU"),
        ((net(), []), {}, OptionError, "at least one layer"),
        ((net(), [net()[0]] * 2), {"degree": 0.5}, OptionError, "none of them twice|degree"),
        ((net(), nn.ReLU()), {"degree": 0.5}, DegreeError, "`degree` must be"),
        ((net(), nn.ReLU()), {"validate": "never"}, OptionError, "`validate` must be"),
        ((net(), nn.ReLU()), {"on_violation": "ignore"}, OptionError, "`on_violation` must be"),
        ((net(), nn.ReLU()), {"rtol": -1}, OptionError, "`rtol` must be"),
        ((net(), nn.ReLU()), {"multiply_by_inputs": "no"}, OptionTypeError, "`multiply_by_inputs` must be"),
        ((net(), nn.ReLU()), {"degree": "auto", "validate": "off"}, DegreeError, "validate='off' leaves out both"),
    ],
)
def test_unsuitable_options_are_refused_at_once(arguments: Any, options: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        LayerXGradient(*arguments, **options)
    assert str(caught.value).startswith("LayerXGradient: ")


@pytest.mark.parametrize("first", [None, 1])
def test_a_layer_that_is_set_later_is_the_one_that_counts(first: int | None) -> None:
    model = net()
    method = LayerXGradient(model, None if first is None else model[first])
    if first is None:
        with pytest.raises(OptionTypeError, match=r"^LayerXGradient: `layer` must be a module .* but is NoneType"):
            method.attribute(X, target=1)
    else:
        method.attribute(X, target=1)
    for layer in (model[0], [model[0]], model[2]):
        method.layer = layer
        found, expected = (m.attribute(X, target=1) for m in (method, LayerXGradient(model, layer)))
        assert type(found) is type(expected)
        assert all(map(torch.equal, found, expected))


def test_a_hook_of_the_users_runs_before_what_is_attributed_to() -> None:
    model = net()
    with model[0].register_forward_hook(lambda module, arguments, result: 3 * result):
        ours = LayerXGradient(model, model[0]).attribute(X, target=0)
        expected = LayerIntegratedGradients(model, model[0]).attribute(X, target=0)
    assert torch.allclose(ours, expected, atol=1e-6)
