"""ExpectedXGradient: complete against any baselines, linear in their set, remembered for as long as it is right."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel
from cases import POWERS, Problem, mlp, problems, x_dnns
from hypothesis import given
from hypothesis import strategies as st
from references import expected_x_gradient
from tolerance import assert_close
from torch import Tensor, nn
from violations import nothing_changes, seeded

from captum_xg import ExpectedXGradient, XGradient
from captum_xg.errors import (
    BaselineError,
    DegreeError,
    HomogeneityError,
    HomogeneityWarning,
    InputError,
    OptionError,
    OptionTypeError,
    TargetError,
)

X = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
B = torch.randn(5, 6, generator=seeded(2), dtype=torch.float64)


def net(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(*(widths or (6, 8, 3))).double()


def sizes(problem: Problem, baselines: Tensor) -> Tensor:
    """Return the size of the terms of each example, against which rounding is measured."""
    rows = torch.cat([problem.inputs, baselines])
    terms = XGradient(problem.model, degree=problem.case.degree).attribute(rows, target=problem.target)
    return terms.abs().amax() * torch.ones(len(problem.inputs)) + 1e-300


VALIDATIONS = st.sampled_from(["auto", "numeric", "off"])


@given(st.one_of(x_dnns(), problems(POWERS)), st.integers(1, 4), st.sampled_from([1.0, 1e-3]), VALIDATIONS)
def test_it_is_what_the_formula_says_and_complete(problem: Problem, count: int, size: float, validate: Any) -> None:
    k, model, x = problem.case.degree, problem.model, problem.inputs
    baselines = size * problem.case.inputs(problem.seed + 7, count)
    method = ExpectedXGradient(model, degree=k, validate=validate)
    with nothing_changes(model, x, baselines):
        ours, delta = method.attribute(x, baselines, problem.target, return_convergence_delta=True)
    expected = expected_x_gradient(model, (x,), (baselines,), problem.target, k)
    scale = sizes(problem, baselines)
    assert_close((ours,), expected, 1e-9, size=scale)
    assert bool((delta.abs() <= 1e-9 * scale * x[0].numel()).all())
    again = method.attribute(x, baselines, problem.target)
    assert torch.equal(ours, again)
    assert method._terms.n_terms == 1


@given(x_dnns(), st.integers(1, 3), st.integers(1, 3))
def test_it_is_linear_in_the_set_of_baselines(problem: Problem, m: int, n: int) -> None:
    one, other = (problem.case.inputs(problem.seed + i, count) for i, count in ((3, m), (5, n)))
    method = ExpectedXGradient(problem.model, validate="off")  # the law is of numbers

    def of(baselines: Tensor) -> Tensor:
        return method.attribute(problem.inputs, baselines, problem.target)

    both = torch.cat([one, other])
    assert_close(of(both), (m * of(one) + n * of(other)) / (m + n), 1e-9, size=sizes(problem, both))


def test_against_zero_it_is_x_gradient() -> None:
    model = net()
    expected = XGradient(model).attribute(X, target=1)
    for zero in (None, 0, 0.0, torch.zeros(1, 6), torch.zeros(3, 6), lambda: 0):
        assert torch.equal(ExpectedXGradient(model).attribute(X, zero, 1), expected)


def test_baselines_of_zero_count_in_the_mean() -> None:
    model = net()
    some, method = torch.cat([B, torch.zeros(2, 6)]), ExpectedXGradient(model)
    ours, delta = method.attribute(X, some, 1, return_convergence_delta=True)
    assert_close((ours,), expected_x_gradient(model, (X,), (some,), 1), 1e-10)
    assert delta.abs().max() < 1e-12


def test_on_a_linear_model_it_is_the_mean_of_integrated_gradients() -> None:
    model = net(6, 3)
    captum = IntegratedGradients(model)
    expected = torch.stack([captum.attribute(X, b[None], target=2) for b in B]).mean(0)
    assert_close(ExpectedXGradient(model).attribute(X, B, 2), expected, 1e-6)


def test_sensitivity_a_is_lost() -> None:
    forward = lambda p: torch.minimum(2 * p[:, 0], p[:, 0] + p[:, 1])
    x, b = torch.tensor([[1.5, 1.0]]), torch.tensor([[0.75, 1.0]])
    assert ExpectedXGradient(forward).attribute(x, b).tolist() == [[0.0, 1.0]]
    assert IntegratedGradients(forward).attribute(x, b)[0, 1] == 0


@pytest.mark.parametrize("target", [[0, 2, 1, 0], torch.tensor([0, 2, 1, 0]), [(0,), (2,), (1,), (0,)], (1,), 1])
@pytest.mark.parametrize("size", [None, 2])
def test_each_example_has_the_baseline_term_of_its_target(target: Any, size: int | None) -> None:
    model = net()
    method = ExpectedXGradient(model)
    expected = expected_x_gradient(model, (X,), (B,), target)
    ours, delta = method.attribute(X, B, target, internal_batch_size=size, return_convergence_delta=True)
    assert_close((ours,), expected, 1e-10)
    assert delta.abs().max() < 1e-12
    assert method._terms.n_terms == (1 if isinstance(target, (int, tuple)) else 3)


def test_additional_rows_go_with_their_examples_for_baselines_too() -> None:
    model = net()
    gate = torch.rand(4, 3, generator=seeded(3), dtype=torch.float64)
    forward = lambda x, g: model(x) * g
    ours, delta = ExpectedXGradient(forward).attribute(X, B, 1, gate, return_convergence_delta=True)
    expected = torch.cat([
        expected_x_gradient(lambda x, i=i: forward(x, gate[i]), (X[i : i + 1],), (B,), 1)[0] for i in range(4)
    ])  # fmt: skip
    assert_close(ours, expected, 1e-10)
    assert delta.abs().max() < 1e-12


def test_several_inputs_have_baselines_row_by_row() -> None:
    model = net()
    forward = lambda a, b: model(a + b.relu())
    inputs, baselines = (X, 2 * X), (B, 0.5)
    ours = ExpectedXGradient(forward).attribute(inputs, baselines, 1)
    assert_close(ours, expected_x_gradient(forward, inputs, (B, torch.full_like(B, 0.5)), 1), 1e-10)
    called = ExpectedXGradient(forward).attribute(inputs, lambda xs: (B, 0.5 * xs[1][:1] / xs[1][:1]), 1)
    assert_close(called, ours, 1e-10)


# --- memory ----------------------------------------------------------------------------------------------------------


class Forwards(nn.Module):
    """A network that counts its examples."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.scale = net(), 1.0
        self.seen: list[int] = torch.zeros(1, dtype=torch.int64)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.scale * self.net(x)


@pytest.mark.parametrize(
    "change",
    [
        lambda m, b: m.net[0].weight.data.mul_(2),
        lambda m, b: m.net[0].weight.data.copy_(m.net[0].weight.data.roll(1, 0)),
        lambda m, b: m.net[0].weight.data.copy_(m.net[0].weight.data.flip(1)),
        lambda m, b: b.numpy().__setitem__(slice(None), b.numpy()[:, ::-1].copy()),
        lambda m, b: m.net[2].register_forward_hook(lambda *a: -a[2]),
        lambda m, b: setattr(m, "scale", 3.0),
        lambda m, b: b.mul_(2),
        lambda m, b: b.numpy().__setitem__(0, 1.0),
        lambda m, b: m.net.__setitem__(2, nn.Linear(8, 3, bias=False).double()),
        lambda m, b: torch.optim.SGD(m.parameters(), 0.1).step(lambda: [m(X).sum().backward(), torch.tensor(0.0)][1]),
    ],
    ids=[
        "data",
        "shuffled rows",
        "shuffled columns",
        "shuffled baselines",
        "hook",
        "setting",
        "baselines",
        "numpy",
        "layer",
        "step",
    ],
)
def test_a_term_is_remembered_until_model_or_baselines_change(change: Any) -> None:
    model, b = Forwards(), B.clone()
    method = ExpectedXGradient(model, validate="off")
    method.attribute(X, b, 1)
    model.seen.zero_()
    method.attribute(X, b, 1)
    assert model.seen == len(X)  # one gradient
    change(model, b)
    ours = method.attribute(X, b, 1)
    assert torch.equal(ours, ExpectedXGradient(model, validate="off").attribute(X, b, 1))


def test_a_copy_remembers_nothing_and_a_graph_is_not_remembered() -> None:
    model = net()
    method = ExpectedXGradient(model)
    method.attribute(X, B, 1)
    assert copy.deepcopy(method)._terms.n_terms == 0
    attributions = method.attribute(X, B, 1, create_graph=True)
    assert method._terms.n_terms == 1
    gradients = torch.autograd.grad(attributions.square().sum(), list(model.parameters()))
    shifted = copy.deepcopy(model)
    with torch.no_grad():
        shifted[2].weight[1, 0] += 1e-6
    difference = ExpectedXGradient(shifted).attribute(X, B, 1).square().sum() - attributions.square().sum()
    assert gradients[1][1, 0].item() == pytest.approx(difference.item() / 1e-6, rel=1e-4)


def test_it_runs_in_a_noise_tunnel() -> None:
    model = net()
    torch.manual_seed(0)
    tunnel = NoiseTunnel(ExpectedXGradient(model, validate="off"))
    assert tunnel.attribute(X, nt_samples=2, stdevs=0.0, baselines=B[:1], target=1).shape == X.shape


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "says", "call"),
    [
        (BaselineError, r"has shape \(5, 7\) but its input has \(4, 6\)\. Pass a set", {"baselines": torch.ones(5, 7)}),
        (BaselineError, r"has shape \(0, 6\)", {"baselines": torch.ones(0, 6)}),
        (BaselineError, "NaN or infinity", {"baselines": B * np.nan}),
        (BaselineError, "must be a finite number, a tensor .* but is nan", {"baselines": float("nan")}),
        (BaselineError, "but is str", {"baselines": "zero"}),
        (BaselineError, "2 baselines for 1 inputs", {"baselines": (0, 0)}),
        (BaselineError, "must hold real numbers", {"baselines": torch.ones(5, 6, dtype=torch.complex64)}),
        (BaselineError, "must hold real numbers", {"baselines": torch.ones(5, 6, device="meta")}),
        (InputError, "NaN or infinity", {"inputs": X * np.nan}),
        (TargetError, "out of range", {"target": 9}),
        (OptionTypeError, "`create_graph` must be", {"create_graph": "yes"}),
        (OptionError, "`method` must be", {"method": "simpson"}),
    ],
    ids=range(12),
)
def test_what_is_unsuitable_is_an_error_of_its_own(error: Any, says: str, call: dict[str, Any]) -> None:
    model = net()
    with nothing_changes(model, X, B), pytest.raises(error, match=says) as caught:
        ExpectedXGradient(model).attribute(**({"inputs": X, "baselines": B, "target": 1} | call))
    assert type(caught.value) is error
    assert str(caught.value).startswith("ExpectedXGradient.attribute: ")


def test_baselines_are_validated_like_inputs() -> None:
    model = net()
    limited = lambda x: model(x).clamp(max=20)  # linear where the inputs are, and not where the baselines are
    for validate in ("auto", "numeric"):
        with pytest.raises(HomogeneityError, match=r"ExpectedXGradient.attribute: F\(αx\)"):
            ExpectedXGradient(limited, validate=validate).attribute(X * 1e-20, B * 1e3, 1)
    with pytest.warns(HomogeneityWarning):
        ExpectedXGradient(limited, on_violation="warn").attribute(X, B * 1e3, 1)
    with pytest.raises(OptionError, match="there is no one local attribution"):
        ExpectedXGradient(net(), multiply_by_inputs=False)
    by_sign = lambda x: torch.where(x.sum(1) > 0, model(x)[:, 1].abs(), model(x)[:, 1].square())
    positive = torch.rand(3, 6, dtype=torch.float64)
    with pytest.raises(DegreeError, match="found 1 at the inputs and 2 at the baselines"):
        ExpectedXGradient(by_sign, degree="auto", validate="numeric").attribute(positive, -positive)


def test_examples_may_be_single_numbers() -> None:
    x, b = torch.tensor([1.0, -2.0, 3.0]).double(), torch.tensor([0.5, -4.0]).double()
    found = ExpectedXGradient(lambda x: 2 * x.abs()).attribute(x, b)
    assert torch.equal(found, 2 * x.abs() - 2 * b.abs().mean())
