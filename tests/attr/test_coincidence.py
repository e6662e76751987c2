"""The table of guide/which_methods_coincide.md: on X-DNNs these methods of Captum's are one, each row a law."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import (
    DeepLift,
    DeepLiftShap,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    InternalInfluence,
    LayerConductance,
    LayerDeepLift,
    LayerGradientShap,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    NeuronConductance,
    NeuronGradient,
    NeuronIntegratedGradients,
    Saliency,
)
from captum.attr._utils.approximation_methods import approximation_parameters
from cases import mlp, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from captum_xg import LayerXGradient, NeuronXGradient, XGradient

PAGE = Path(__file__).parents[2] / "tutorials" / "guide" / "which_methods_coincide.md"
METHODS = ("gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid")


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Sequential, Tensor]:
    """Draw a ReLU network without biases, and inputs."""
    seed, activation = draw(seeds), draw(st.sampled_from([nn.ReLU, lambda: nn.LeakyReLU(0.3)]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp(5, 8, 6, 3, activation=activation).double()
        return model, torch.randn(3, 5, dtype=torch.float64)


def close(one: Tensor, other: Tensor, rtol: float = 1e-6) -> bool:
    """Return whether two attributions are the same up to Captum's float32 step sizes."""
    return one.shape == other.shape and float((one - other).abs().max()) <= rtol * float(other.abs().max()) + 1e-300


@given(networks(), st.integers(2, 9))
def test_integrated_gradients_is_input_times_gradient_with_any_number_of_steps(drawn: Any, n: int) -> None:
    model, x = drawn
    ours = XGradient(model).attribute(x, target=1)
    assert close(IntegratedGradients(model).attribute(x, target=1, n_steps=n), ours)
    assert close(InputXGradient(model).attribute(x, target=1).detach(), ours, 1e-12)
    local = XGradient(model, multiply_by_inputs=False).attribute(x, target=1)
    assert close(IntegratedGradients(model, multiply_by_inputs=False).attribute(x, target=1, n_steps=n), local)
    assert close(Saliency(model).attribute(x, target=1, abs=False).detach(), local, 1e-12)


@given(networks())
def test_deep_lift_is_it_too(drawn: Any) -> None:
    model, x = drawn
    ours = XGradient(model).attribute(x, target=1)
    assert close(DeepLift(model, eps=1e-300).attribute(x, target=1).detach(), ours, 1e-9)
    zeros = torch.zeros(2, 5, dtype=torch.float64)
    assert close(DeepLiftShap(model).attribute(x, zeros, target=1).detach(), ours, 1e-6)


@given(networks(), st.integers(1, 4))
def test_gradient_shap_without_noise_is_it_too(drawn: Any, n: int) -> None:
    model, x = drawn
    zeros = torch.zeros(2, 5, dtype=torch.float64)
    shap = GradientShap(model).attribute(x, zeros, n_samples=n, stdevs=0.0, target=1)
    assert close(shap, XGradient(model).attribute(x, target=1))


@given(networks(), st.integers(0, 4), st.integers(2, 9))
def test_at_a_layer_three_methods_are_one(drawn: Any, place: int, n: int) -> None:
    model, x = drawn
    ours = LayerXGradient(model, model[place]).attribute(x, target=1)
    assert close(LayerIntegratedGradients(model, model[place]).attribute(x, target=1, n_steps=n), ours)
    assert close(LayerGradientXActivation(model, model[place]).attribute(x, target=1).detach(), ours, 1e-12)
    zeros = torch.zeros(2, 5, dtype=torch.float64)
    shap = LayerGradientShap(model, model[place]).attribute(x, zeros, n_samples=2, stdevs=0.0, target=1)
    assert close(shap, ours)
    assert close(LayerDeepLift(model, model[place]).attribute(x, target=1).detach(), ours, 1e-6)


@given(networks(), st.integers(0, 4), st.sampled_from(("gausslegendre", "riemann_middle", "riemann_right")))
def test_layer_conductance_is_it_times_the_length_of_its_path_which_tends_to_one(
    drawn: Any, place: int, rule: str
) -> None:
    model, x = drawn
    ours = LayerXGradient(model, model[place]).attribute(x, target=1)
    for n in (3, 40):
        found = LayerConductance(model, model[place]).attribute(x, target=1, n_steps=n, method=rule)
        # It adds up differences between n + 1 points, from the first of the rule to the last.
        points = approximation_parameters(rule)[1](n + 1)
        assert close(found.detach(), (points[-1] - points[0]) * ours)
    assert 1 - (points[-1] - points[0]) < 0.03


@given(networks(), st.integers(0, 4), st.integers(2, 9))
def test_internal_influence_is_the_gradient_at_the_layer(drawn: Any, place: int, n: int) -> None:
    model, x = drawn
    ours = LayerXGradient(model, model[place], multiply_by_inputs=False).attribute(x, target=1)
    assert close(InternalInfluence(model, model[place]).attribute(x, target=1, n_steps=n).detach(), ours)


@given(networks(), st.integers(0, 4), st.integers(2, 9))
def test_neuron_methods_are_products_of_gradients(drawn: Any, place: int, n: int) -> None:
    model, x = drawn
    ours = NeuronXGradient(model, model[place]).attribute(x, 2)
    assert close(NeuronIntegratedGradients(model, model[place]).attribute(x, 2, n_steps=n), ours)
    assert close(x * NeuronGradient(model, model[place]).attribute(x, 2).detach(), ours, 1e-12)
    # The chain rule: what the neuron passes on, times what it gets from each input.
    passed_on = LayerXGradient(model, model[place], multiply_by_inputs=False).attribute(x, target=1)[:, 2:3]
    neuron = NeuronConductance(model, model[place])
    found = neuron.attribute(x, 2, target=1, n_steps=n, method="gausslegendre")
    assert close(found.detach(), passed_on * ours)


@given(networks())
def test_conductance_of_all_neurons_adds_up_to_x_gradient(drawn: Any) -> None:
    model, x = drawn
    parts = [NeuronConductance(model, model[1]).attribute(x, j, target=1, method="gausslegendre") for j in range(8)]
    assert close(sum(parts).detach(), XGradient(model).attribute(x, target=1))


# --- the sums of weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 10, 50])
@pytest.mark.parametrize("rule", METHODS)
def test_trapezoid_weights_of_captums_do_not_add_up_to_one_and_all_others_do(rule: str, n: int) -> None:
    """If this fails for the trapezoid, Captum has mended it, and the page must say since when."""
    expected = (n - 1) / n if rule == "riemann_trapezoid" else 1
    assert sum(approximation_parameters(rule)[0](n)) == pytest.approx(expected)


def test_ten_steps_of_the_trapezoid_give_nine_tenths_of_a_linear_model() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(4, 1, bias=False), torch.randn(2, 4)
    truth = XGradient(model).attribute(x)
    ten = IntegratedGradients(model).attribute(x, n_steps=10, method="riemann_trapezoid")
    assert torch.allclose(ten, 0.9 * truth, rtol=1e-6)
    by_default = NeuronConductance(model, model).attribute(x, 0, n_steps=10)  # its default rule is the trapezoid
    assert torch.allclose(by_default, 0.9 * truth, rtol=1e-6)


def test_rules_that_look_at_zero_lose_that_step_on_relu_networks() -> None:
    torch.manual_seed(0)
    model, x = mlp(4, 6, 1).double(), torch.randn(2, 4, dtype=torch.float64)
    truth = XGradient(model).attribute(x)
    left = IntegratedGradients(model).attribute(x, n_steps=10, method="riemann_left")
    assert close(left, 0.9 * truth)
    both = IntegratedGradients(model).attribute(x, n_steps=10, method="riemann_trapezoid")
    assert close(both, 0.85 * truth)


def test_of_degree_two_each_method_has_its_own_factor() -> None:
    """What is one for degree 1 is not for others: only Integrated Gradients is complete."""
    torch.manual_seed(0)
    model = mlp(5, 8, 3).double()
    squared = lambda x: model(x).square()
    x = torch.randn(3, 5, dtype=torch.float64)
    ours = XGradient(squared, degree=2).attribute(x, target=1)
    assert close(IntegratedGradients(squared).attribute(x, target=1), ours)
    assert close(InputXGradient(squared).attribute(x, target=1).detach(), 2 * ours, 1e-12)
    assert close(IntegratedGradients(squared).attribute(x, target=1, n_steps=7, method="riemann_right"), 8 / 7 * ours)


# --- the page --------------------------------------------------------------------------------------------------------


def test_every_row_of_the_table_names_its_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`" in line]
    named = [re.findall(r"test_\w+", row) for row in rows]
    assert len(rows) >= 8
    assert all(names and all(name in globals() for name in names) for names in named)
