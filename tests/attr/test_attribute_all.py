"""attribute_all is a loop over the targets: same numbers, same refusals, from one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from cases import POWERS, Problem, mlp, problems, x_dnns
from effort import thorough
from hypothesis import given
from hypothesis import strategies as st
from references import gradients
from tolerance import assert_close
from torch import Tensor, nn
from violations import nothing_changes, seeded

from captum_xg import ExpectedXGradient, LayerXGradient, XGradient
from captum_xg.errors import (
    BaselineError,
    CaptumXGError,
    DegreeError,
    ForwardOutputError,
    GradientError,
    HomogeneityError,
    HomogeneityWarning,
    InputError,
    OptionError,
    TargetError,
)

X = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
B = torch.randn(5, 6, generator=seeded(2), dtype=torch.float64)


def net(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(*(widths or (6, 8, 7))).double()


def stacked(method: Any, targets: Any, *arguments: Any) -> Tensor:
    return torch.stack([method.attribute(*arguments, target=t) for t in targets], 1)


@given(st.one_of(x_dnns(), problems(POWERS)), st.sampled_from([None, 1, 3]), st.sampled_from(["auto", "numeric"]))
def test_it_is_x_times_the_jacobian_over_the_degree(problem: Problem, rows: int | None, validate: Any) -> None:
    k, model, x = problem.case.degree, problem.model, problem.inputs
    method = XGradient(model, degree=k, validate=validate)
    with nothing_changes(model, x):
        ours = method.attribute_all(x, internal_batch_size=rows)
    jacobian = torch.stack([gradients(model, (x,), t)[0] for t in range(problem.case.outputs)], 1)
    expected = x[:, None] * jacobian / k
    assert ours.shape == (len(x), problem.case.outputs, *x.shape[1:])
    assert_close(ours, expected, 1e-9, size=expected.abs().amax() * torch.ones(len(x)) + 1e-300)


METHODS: dict[str, Callable[[nn.Sequential, str], tuple[Any, tuple[Any, ...], tuple[Any, ...]]]] = {
    "input": lambda m, v: (XGradient(m, validate=v), (X,), (None,)),
    "layer": lambda m, v: (LayerXGradient(m, m[1], validate=v), (X,), (None,)),
    "expected": lambda m, v: (ExpectedXGradient(m, validate=v), (X, B), (B,)),
}


@pytest.mark.parametrize("validate", ["auto", "numeric", "certificate", "off"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rows", [None, 1, *thorough([2, 5, 100])])
def test_it_is_the_loop_for_each_class_and_any_number_of_rows(name: str, validate: Any, rows: int | None) -> None:
    method, arguments, baselines = METHODS[name](net(), validate)
    for targets, listed in ((None, range(7)), ([3, -1, 3], [3, -1, 3]), (torch.tensor([6, 0]), [6, 0])):
        ours = method.attribute_all(X, targets, *baselines, internal_batch_size=rows)
        assert torch.allclose(ours, stacked(method, listed, *arguments), rtol=0, atol=1e-13)


def test_all_forms_of_targets_mean_the_same() -> None:
    method = XGradient(net())
    expected = method.attribute_all(X, [1, 5])
    for targets in ((1, 5), [(1,), (5,)], np.array([1, 5]), iter([1, np.int64(5)]), range(1, 6, 4)):
        assert torch.equal(method.attribute_all(X, targets), expected)
    images = XGradient(lambda x: net()(x)[:, None, :].expand(-1, 2, 7))
    assert torch.equal(images.attribute_all(X, [(0, 1), (1, 5), (1, slice(5, 6))])[:, :2], expected)


def test_tuples_lists_of_layers_and_rows_that_are_parts_of_examples() -> None:
    model = net()
    two = XGradient(lambda a, b: model(a + 2 * b))
    ours = two.attribute_all((X, X.flip(0)), [1, 2])
    assert_close(
        ours[1], stacked(XGradient(lambda b: model(X + 2 * b) - model(X) * 0, validate="off"), [1, 2], X.flip(0)), 1
    )
    for i in range(2):
        assert torch.equal(ours[i][:, 1], two.attribute((X, X.flip(0)), target=2)[i])
    torch.manual_seed(0)
    layer, head = nn.Linear(3, 4, bias=False).double(), nn.Linear(8, 2, bias=False).double()
    windows = LayerXGradient(lambda x: head(layer(x.reshape(-1, 3)).relu().reshape(-1, 8)), [layer])
    (whole,) = windows.attribute_all(X)
    assert whole.shape == (8, 2, 4)
    for t in range(2):
        assert torch.allclose(whole[:, t], windows.attribute(X, target=t)[0], atol=1e-14)


def test_rows_of_a_single_example_add_up_and_arguments_go_with_their_examples() -> None:
    model, gate = net(), torch.rand(4, 7, generator=seeded(4), dtype=torch.float64)
    nodes = XGradient(lambda x: model(x[0]))
    assert torch.allclose(nodes.attribute_all(X[None]), stacked(nodes, range(7), X[None]), atol=1e-14)
    gated = lambda x, g: model(x) * g
    for method, extra in ((XGradient(gated), ()), (ExpectedXGradient(gated), (B,))):
        ours = method.attribute_all(X, [1, 2], *(extra or (None,)), gate, internal_batch_size=3)
        loop = torch.stack([method.attribute(X, *(extra or (None,)), t, gate) for t in (1, 2)], 1)
        assert torch.allclose(ours, loop, atol=1e-14)


class Square(torch.autograd.Function):
    """x ↦ x·|x|/2 with a backward pass that cannot be carried for many directions at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.abs() / 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.abs() if float(gradient.abs().sum()) >= 0 else gradient


@pytest.mark.parametrize("rows", [None, 1])
def test_what_cannot_be_carried_together_is_taken_one_after_the_other(rows: int | None) -> None:
    model = net()
    method = XGradient(lambda x: Square.apply(model(x)), degree=2, validate="numeric")
    ours = method.attribute_all(X, internal_batch_size=rows)
    assert torch.allclose(ours, stacked(method, range(7), X), rtol=0, atol=1e-13)


def test_there_is_one_forward_pass_and_no_more_rows_than_asked_for() -> None:
    model, seen = net(), []
    method = XGradient(model, validate="off")
    with model[0].register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0]))):
        method.attribute_all(X)
        assert seen == [4]
        method.attribute_all(X, internal_batch_size=3)
        assert seen == [4, 3, 1]


def test_an_expected_term_is_remembered_for_all_targets_at_once() -> None:
    method = ExpectedXGradient(net())
    for _ in range(2):
        method.attribute_all(X, None, B)
    method.attribute_all(X, [1], B)
    assert method._terms.n_terms == 2


# --- each target is validated ----------------------------------------------------------------------------------------


class LastBiased(nn.Module):
    """A network with a constant in one class alone, which no static proof knows as long as it looks at that one."""

    def __init__(self, size: float = 1e-3) -> None:
        super().__init__()
        self.net = net()
        self.register_buffer("shift", size * torch.eye(7, dtype=torch.float64)[5])

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.shift


def per_class(bad: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function whose class 5 is another one."""
    model = net()
    return lambda x: torch.cat([model(x)[:, :5], bad(model(x)[:, 5:6]), model(x)[:, 6:]], 1)


BAD = {
    "constant": lambda h: h + 1e-6,
    "degree 2": lambda h: h * h.abs(),
    "detached": lambda h: h + h.detach(),
    "clipped": lambda h: h.clamp(max=50),
    "zero with a gradient": lambda h: (h - h.detach()).abs() ** 0 * (h * h - h.detach() * h),
}


@pytest.mark.parametrize("validate", ["auto", "numeric", "certificate"])
@pytest.mark.parametrize("bad", BAD)
def test_a_target_that_is_not_homogeneous_is_refused_and_the_others_are_not(bad: str, validate: Any) -> None:
    method = XGradient(per_class(BAD[bad]), validate=validate)
    with pytest.raises(HomogeneityError) as caught:
        method.attribute_all(X)
    if validate == "numeric":
        assert "That is targets[5]." in str(caught.value)
        others = [0, 1, 2, 3, 4, 6]
        assert torch.allclose(method.attribute_all(X, others), stacked(method, others, X), atol=1e-13)
        with pytest.warns(HomogeneityWarning):
            XGradient(per_class(BAD[bad]), validate=validate, on_violation="warn").attribute_all(X)


def test_a_proof_that_numbers_contradict_for_one_target_is_dropped() -> None:
    model = LastBiased(0.0)
    method = XGradient(model)
    method.attribute_all(X)
    method.attribute_all(X)
    model.shift.data = model.shift.data + 0.1 * torch.eye(7, dtype=torch.float64)[5]
    with pytest.raises(HomogeneityError):
        method.attribute_all(X)


def test_one_call_has_one_degree() -> None:
    model = net()
    two = lambda x: torch.cat([model(x)[:, :1], model(x)[:, 1:2].square()], 1)
    method = XGradient(two, degree="auto", validate="numeric")
    with pytest.raises(CaptumXGError) as caught:
        method.attribute_all(X)
    assert isinstance(caught.value, (DegreeError, HomogeneityError))
    assert method.attribute_all(X, [1]).shape == (4, 1, 6)


@pytest.mark.parametrize(
    ("error", "says", "call"),
    [
        (TargetError, r"targets\[1\]` must be an int or a tuple of ints, but is float", {"targets": [1, 2.0]}),
        (TargetError, "but is list. Each target is meant for every example", {"targets": [[1, 2, 0, 1]]}),
        (TargetError, "`targets` is empty", {"targets": []}),
        (TargetError, "but is int", {"targets": 3}),
        (TargetError, "but is str", {"targets": "all"}),
        (TargetError, "out of range", {"targets": [1, 7]}),
        (TargetError, "2 indices for 1 dimensions", {"targets": [(1, 0)]}),
        (BaselineError, "is not zero", {"baselines": 1.0}),
        (OptionError, "`internal_batch_size` must be", {"internal_batch_size": 0}),
        (InputError, "NaN or infinity", {"inputs": X * torch.nan}),
    ],
    ids=range(10),
)
def test_what_is_unsuitable_is_an_error_of_its_own(error: Any, says: str, call: dict[str, Any]) -> None:
    model = net()
    with nothing_changes(model, X), pytest.raises(error, match=says) as caught:
        XGradient(model).attribute_all(**({"inputs": X} | call))
    assert type(caught.value) is error
    assert str(caught.value).startswith("XGradient.attribute_all: ")


def test_outputs_and_gradients_that_are_no_numbers_are_refused_for_the_target_that_has_them() -> None:
    with pytest.raises(ForwardOutputError, match="F\\(x\\) is nan in example 0"):
        XGradient(per_class(lambda h: h * torch.nan)).attribute_all(X)
    with pytest.raises(GradientError, match=r"gradient .* has NaN or infinity"):
        XGradient(per_class(lambda h: (h * 0).abs().sqrt())).attribute_all(X)
    with pytest.raises(GradientError, match="does not depend on inputs"):
        XGradient(lambda x: net()(x.detach())).attribute_all(X)
    with pytest.raises(TargetError, match="all classes of an output \\(N, C\\)"):
        XGradient(lambda x: net()(x)[:, None]).attribute_all(X)
    method = XGradient(net(), validate="off")
    method.gradient_func = lambda **_: ()
    with pytest.raises(OptionError, match="`gradient_func` was replaced"):
        method.attribute_all(X)
