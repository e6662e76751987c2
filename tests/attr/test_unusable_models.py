"""What holds no numbers is refused: models, arguments, targets and outputs on the meta device, lazy layers, NaN."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from violations import seeded, xdnn

from captum_xg import XGradient, bias_ledger, check_homogeneity
from captum_xg.errors import BaselineError, CaptumXGError, ForwardOutputError, InputError, ModelStateError, TargetError

X = torch.randn(4, 6, generator=seeded(1))
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        f"XGradient {v}": lambda f, v=v, target=1, **o: XGradient(f, validate=v).attribute(X, target=target, **o)
        for v in ("numeric", "certificate", "off")
    },
    "check_homogeneity": lambda f, target=1, **o: check_homogeneity(f, X, target, **o),
    "bias_ledger": lambda f, target=1, **o: bias_ledger(f, X, target, **o),
}


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))


def one_layer_on_meta() -> nn.Module:
    model = xdnn(6, 8, 3)
    model[-1].to("meta")
    return model


def buffer_on_meta() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 3, bias=False), nn.BatchNorm1d(3, affine=False)).eval()
    model[1].running_mean = model[1].running_mean.to("meta")
    return model


UNUSABLE: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "all on meta": lambda: xdnn(6, 8, 3).to("meta"),
    "one layer on meta": one_layer_on_meta,
    "a buffer on meta": buffer_on_meta,
    "lazy": lazy,
    "method": lambda: one_layer_on_meta().forward,
    "partial": lambda: functools.partial(one_layer_on_meta()),
    "function": lambda: (lambda model: lambda x: model(x) * 2)(one_layer_on_meta()),
    "tied": lambda: (lambda m: nn.Sequential(m, nn.Linear(3, 6, bias=False), m))(one_layer_on_meta()),
}


@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_model_that_holds_no_numbers_is_refused_and_its_tensors_named(name: str, kind: str) -> None:
    with pytest.raises(ModelStateError, match=r"weight|running_mean") as caught:
        FUNCTIONS[name](UNUSABLE[kind]())
    assert str(caught.value).startswith(name.split(" ", maxsplit=1)[0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_model_that_has_been_brought_back_is_taken(name: str) -> None:
    model = xdnn(6, 8, 3)
    again = copy.deepcopy(model).to("meta").to_empty(device="cpu")
    again.load_state_dict(model.state_dict())
    FUNCTIONS[name](again)
    first_run = lazy()
    first_run(X)
    FUNCTIONS[name](first_run)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_parameter_that_is_not_finite_makes_no_attributions(name: str, number: float) -> None:
    model = xdnn(6, 8, 3)
    with torch.no_grad():
        model[0].weight[0, 0] = number
    with pytest.raises(CaptumXGError):
        FUNCTIONS[name](model)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_output_on_the_meta_device_is_refused(name: str) -> None:
    model = xdnn(6, 8, 3)
    with pytest.raises(ForwardOutputError, match="meta device"):
        FUNCTIONS[name](lambda x: model(x).to("meta"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_targets_on_the_meta_device_are_refused(name: str) -> None:
    model = xdnn(6, 8, 3)
    with pytest.raises(InputError, match=r"`additional_forward_args\[0\]` is on the meta device"):
        FUNCTIONS[name](lambda x, scale: model(x) * scale, additional_forward_args=torch.ones(4, 1, device="meta"))
    for target in (torch.tensor(1, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")):
        with pytest.raises(TargetError, match="meta device"):
            FUNCTIONS[name](model, target=target)


def test_baselines_on_the_meta_device_are_refused() -> None:
    with pytest.raises(BaselineError, match="meta device"):
        XGradient(xdnn(6, 8, 3)).attribute(X, torch.zeros(4, 6, device="meta"), 1)
