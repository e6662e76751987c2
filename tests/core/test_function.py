"""The wrapper of a model, its additional arguments and its target: what belongs to an example stays with it."""

from __future__ import annotations

import pytest
import torch

from captum_xg._core.function import ScalarFunction, without_gradients
from captum_xg.errors import TargetError

X = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
FACTORS = torch.tensor([[10.0], [100.0], [1000.0]])


def scaled(x: torch.Tensor, factors: torch.Tensor, offset: float) -> torch.Tensor:
    return x * factors + offset


@pytest.mark.parametrize("target", [0, torch.tensor([0, 1, 0]), [0, 1, 0], [(0,), (1,), (0,)]])
def test_chosen_examples_bring_their_arguments_and_targets(target: object) -> None:
    function = ScalarFunction(scaled, (FACTORS, 0.5), target, "here")  # type: ignore[arg-type]
    everything = function((X,))
    chosen = torch.tensor([2, 0, 0, 1])
    assert torch.equal(function.take(chosen, 3)((X[chosen],)), everything[chosen])
    assert torch.equal(function.examples(1, 3, 3)((X[1:],)), everything[1:])
    for i in range(3):
        repeated = function.examples(i, i + 1, 3).repeat(4)
        assert torch.equal(repeated((X[i : i + 1].expand(4, 2),)), everything[i : i + 1].expand(4))


def test_targets_are_looked_at_once_for_all_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    function = ScalarFunction(scaled, (FACTORS, 0.0), torch.tensor([0, 1, 0]), "here")
    function.require_target(X, 3)
    monkeypatch.setattr("captum_xg._core.function.check_target", lambda *_: pytest.fail("checked again"))
    function.require_target(X[:1], 3)
    function.take(torch.tensor([0, 2]), 3)((X[[0, 2]],))


@pytest.mark.parametrize("target", [torch.tensor([0, 1]), [0, 1], torch.tensor([0, -1, 1])])
def test_a_target_that_belongs_to_no_example_is_refused_before_the_model_runs(target: object) -> None:
    function = ScalarFunction(lambda x: pytest.fail("ran"), None, target, "here")  # type: ignore[arg-type]
    with pytest.raises(TargetError, match=r"^here: `target`"):
        function.take(torch.tensor([0]), 3)
    with pytest.raises(TargetError, match=r"^here: `target`"):
        function.require_target(X, 3)


def test_what_was_checked_for_one_number_of_classes_is_checked_again_for_another() -> None:
    function = ScalarFunction(lambda x: x, None, 1, "here")
    function.require_target(X, 3)
    with pytest.raises(TargetError):
        function.take(torch.tensor([0]), 3)((X[:1, :1],))


def test_a_model_that_differentiates_by_its_input_has_values_without_gradients() -> None:
    def input_times_gradient(x: torch.Tensor) -> torch.Tensor:
        return x * torch.autograd.grad((x**2).sum(), x)[0]

    function = ScalarFunction(input_times_gradient, None, 0, "here")
    for values in (function.values((X.clone(),)), without_gradients(function.output, (X.clone(),))[:, 0]):
        assert torch.equal(values, 2 * X[:, 0] ** 2)
        assert not values.requires_grad
