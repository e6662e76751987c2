"""NeuronXGradient is NeuronIntegratedGradients where the part up to the neuron is homogeneous; else it refuses."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from captum.attr import NeuronAttribution, NeuronIntegratedGradients
from cases import Elementwise, Problem, mlp, problems, random_mlps
from hypothesis import given
from hypothesis import strategies as st
from references import integrated_gradients
from tolerance import assert_close
from torch import Tensor, nn
from violations import nothing_changes, seeded

from captum_xg import NeuronXGradient
from captum_xg.errors import (
    BaselineError,
    ForwardOutputError,
    HomogeneityError,
    InputError,
    OptionError,
    OptionTypeError,
    TargetError,
    TrainingModeError,
)


def conv() -> nn.Sequential:
    """A network whose last layers are of no degree."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 5, bias=False), nn.GELU(), nn.Linear(5, 3),
    ).double()  # fmt: skip


X = torch.randn(3, 2, 6, 6, generator=seeded(1), dtype=torch.float64)


@given(problems(random_mlps()), st.data())
def test_a_neuron_of_an_x_dnn_is_the_integral_whatever_follows(problem: Problem, data: st.DataObject) -> None:
    model = nn.Sequential(*problem.model, nn.Linear(problem.case.outputs, 2).double(), nn.Sigmoid())
    place = data.draw(st.integers(0, len(problem.model) - 1))
    part = nn.Sequential(*model[: place + 1])
    neuron = data.draw(st.integers(0, part(problem.inputs).shape[1] - 1))
    method = NeuronXGradient(model, model[place])
    with nothing_changes(model, problem.inputs):
        ours = method.attribute(problem.inputs, neuron)
    assert_close((ours,), integrated_gradients(part, (problem.inputs,), neuron, nodes=4), 1e-9)


SELECTORS: list[tuple[int, Any]] = [
    (3, 2),
    (3, (1,)),
    (0, (1, 2, 2)),
    (0, (-1, 0, 3)),
    (1, (slice(0, 2), 1, slice(0, 4, 2))),
    (1, (slice(1, 3),)),
    (0, lambda h: h[:, 1].sum((1, 2))),
    (0, lambda h: h[:, 1].amax((1, 2))),
    (0, lambda h: h[:, 1].sum()),
]


@pytest.mark.parametrize(("layer", "selector"), SELECTORS, ids=range(len(SELECTORS)))
@pytest.mark.parametrize("multiply", [True, False])
def test_every_selector_of_captums_means_the_same(layer: int, selector: Any, multiply: bool) -> None:
    model = conv()
    ours = NeuronXGradient(model, model[layer], None, multiply)
    captum = NeuronIntegratedGradients(model, model[layer], None, multiply)
    expected = captum.attribute(X, selector)
    assert_close(ours.attribute(X, selector), expected, 1e-7, size=torch.ones(3))
    with torch.no_grad():
        again = ours.attribute(X, selector, 0, None, internal_batch_size=2)
    assert_close(again, expected, 1e-7, size=torch.ones(3))
    assert ours._proofs.n_proofs <= 3  # of parts of two and of one example


def test_the_input_of_a_layer_has_neurons_too() -> None:
    model = conv()
    call = {"neuron_selector": 3, "attribute_to_neuron_input": True}
    expected = NeuronIntegratedGradients(model, model[3]).attribute(X, **call)
    assert_close(NeuronXGradient(model, model[3]).attribute(X, **call), expected, 1e-7)


def test_one_proof_serves_all_neurons_of_a_layer() -> None:
    model = conv()
    method = NeuronXGradient(model, model[3])
    for neuron in range(5):
        method.attribute(X, neuron)
    assert method._proofs.n_proofs == 1


def test_several_inputs_and_a_layer_that_gives_several_tensors() -> None:
    torch.manual_seed(0)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Elementwise(lambda h: (h.relu(), -h))
            self.head = nn.Linear(4, 1)

        def forward(self, a: Tensor, b: Tensor, gate: Tensor) -> Tensor:
            one, other = self.pair(gate * (a + 2 * b))
            return self.head(one) * other.exp()

    model, inputs, gate = Two(), (torch.randn(3, 4), torch.randn(3, 4)), torch.rand(3, 1)
    call = {"neuron_selector": lambda h: h[0][:, 2] + h[1][:, 0], "additional_forward_args": gate}
    ours = NeuronXGradient(model, model.pair).attribute(inputs, **call)
    expected = NeuronIntegratedGradients(model, model.pair).attribute(inputs, **call)
    assert_close(ours, expected, 1e-5)
    with pytest.raises(ForwardOutputError, match="is a tuple, and indices select of a single tensor"):
        NeuronXGradient(model, model.pair).attribute(inputs, 2, additional_forward_args=gate)


def test_the_arguments_are_those_of_captum_in_their_order() -> None:
    ours, theirs = NeuronXGradient.attribute.__wrapped__, NeuronIntegratedGradients.attribute.__wrapped__
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    assert isinstance(NeuronXGradient(mlp(3, 2), nn.ReLU()), NeuronAttribution)


@pytest.mark.parametrize(
    ("error", "says", "layer", "selector", "call"),
    [
        (OptionTypeError, "`neuron_selector` must be an int, .* but is 'a'", 3, "a", {}),
        (OptionTypeError, r"Put it into a tuple, \(slice\(1, 2, None\),\)", 3, slice(1, 2), {}),
        (OptionTypeError, "but is 'bool'", 3, True, {}),
        (OptionTypeError, "has 4 indices, but what `0`", 0, (0, 0, 0, slice(0, 1)), {}),
        (TargetError, "out of range.*\n.*`target`, here `neuron_selector`, picks of what `3`", 3, 7, {}),
        (TargetError, "picks 16 numbers per example", 0, 1, {}),
        (ForwardOutputError, "`neuron_selector` returns str", 0, lambda h: "neuron", {}),
        (ForwardOutputError, "dimension 0 must have one entry per example", 0, lambda h: h[:2, 0, 0, 0], {}),
        (BaselineError, "is not zero", 3, 1, {"baselines": 1.0}),
        (OptionTypeError, "`attribute_to_neuron_input` must be", 3, 1, {"attribute_to_neuron_input": None}),
        (OptionError, "`method` must be", 3, 1, {"method": "simpson"}),
        (HomogeneityError, "4 \\(GELU\\)[^$]*on_violation='integrate'", 4, 0, {}),
    ],
    ids=range(12),
)
def test_what_is_unsuitable_is_an_error_of_its_own(
    error: Any, says: str, layer: int, selector: Any, call: dict[str, Any]
) -> None:
    model = conv()
    with nothing_changes(model, X), pytest.raises(error, match=says) as caught:
        NeuronXGradient(model, model[layer]).attribute(X, selector, **call)
    assert type(caught.value) is error
    assert str(caught.value).startswith("NeuronXGradient.attribute: ")


def test_layers_and_models_that_do_not_do_are_refused() -> None:
    model, relu = conv(), nn.ReLU()
    twice = nn.Sequential(nn.Linear(6, 5, bias=False), relu, nn.Linear(5, 3, bias=False), relu).double()
    x = X[:, 0, 0]
    with nothing_changes(twice, x), pytest.raises(OptionError, match="runs 2 times in one forward pass"):
        NeuronXGradient(twice, relu).attribute(x, 1)
    with pytest.raises(OptionError, match="does not run when forward_func is called"):
        NeuronXGradient(model, relu).attribute(X, 1)
    with pytest.raises(OptionTypeError, match="must be one module but is a list"):
        NeuronXGradient(model, [model[0]])
    with pytest.raises(InputError, match="NaN or infinity"):
        NeuronXGradient(model, model[3]).attribute(X * torch.nan, 1)
    model.append(nn.Dropout(0.5)).train()
    for selector in (1, lambda h: h[:, 0]):
        with pytest.raises(TrainingModeError, match="Nothing was run"):
            NeuronXGradient(model, model[3]).attribute(X, selector)


def test_a_layer_that_is_set_later_is_the_one_that_counts() -> None:
    model = conv()
    method = NeuronXGradient(model, model[3])
    method.attribute(X, 1)
    method.layer = model[0]
    assert torch.equal(method.attribute(X, (1, 2, 2)), NeuronXGradient(model, model[0]).attribute(X, (1, 2, 2)))
