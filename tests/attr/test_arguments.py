"""Every argument of XGradient and of the functions beside it is checked; what Captum takes is still taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from violations import nothing_changes, seeded, xdnn

from captum_xg import XGradient, bias_ledger, certify, check_homogeneity, to_xdnn
from captum_xg.errors import BaselineError, CaptumXGError, OptionError, OptionTypeError, TargetError


class Net(nn.Sequential):
    """A network without biases that is built without arguments."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))


def batch(n: int = 4) -> Tensor:
    return torch.randn(n, 6, generator=seeded(1))


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "XGradient": XGradient,
    "certify": lambda f: certify(f, batch()),
    "check_homogeneity": lambda f: check_homogeneity(f, batch(), 1),
    "bias_ledger": lambda f: bias_ledger(f, batch(), 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("forward_func", "says"),
    [
        (Net, r"is the class Net\. Pass an instance: Net\(…\)"),
        (nn.ReLU, "is the class ReLU"),
        (lambda: to_xdnn(Net(), batch()), "Unpack it first: `model, report = to_xdnn"),
        (lambda: (Net(), Net()), "is a tuple with a model in it"),
        (lambda: Net().state_dict(), "must be callable but is OrderedDict"),
        (lambda: "net", "must be callable but is str"),
        (lambda: None, "must be callable but is NoneType"),
    ],
)
def test_what_is_no_model_is_refused_at_once(name: str, forward_func: Any, says: str) -> None:
    value = forward_func if isinstance(forward_func, type) else forward_func()
    with pytest.raises(OptionTypeError, match=says) as caught:
        FUNCTIONS[name](value)
    assert str(caught.value).startswith(f"{name}: `{'model' if name == 'bias_ledger' else 'forward_func'}`")
    assert isinstance(caught.value, TypeError)


OPTIONS = ("multiply_by_inputs", "degree", "validate", "on_violation", "rtol")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("wrong", [nn.Linear(2, 2), object(), Net, batch(), [1], "3"], ids=lambda w: type(w).__name__)
def test_an_option_of_the_wrong_type_is_refused_at_once_and_named(option: str, wrong: object) -> None:
    with pytest.raises(CaptumXGError, match=f"^XGradient: `{option}` must be"):
        XGradient(Net(), **{option: wrong})


@pytest.mark.parametrize("validate", ["numeric", "off"])
def test_a_layer_in_the_second_place_is_no_switch(validate: str) -> None:
    """LayerIntegratedGradients(model, layer) becomes XGradient(model, layer) when only the name is edited."""
    net = Net()
    with pytest.raises(OptionTypeError, match="Captum's layer methods take a layer in this place"):
        XGradient(net, net[0], validate=validate)


@pytest.mark.parametrize(
    ("options", "attribute", "meant"),
    [
        ({"multiply_by_inputs": np.bool_(False)}, "_multiply_by_inputs", False),
        ({"multiply_by_inputs": 0}, "_multiply_by_inputs", False),
        ({"multiply_by_inputs": torch.tensor(True)}, "_multiply_by_inputs", True),
        ({"degree": np.int64(2)}, "degree", 2.0),
        ({"degree": torch.tensor(2.0)}, "degree", 2.0),
        ({"degree": np.float32(1.5)}, "degree", 1.5),
        ({"validate": np.str_("off")}, "validate", "off"),
        ({"rtol": np.float64(1e-3)}, "rtol", 1e-3),
        ({"rtol": torch.tensor(0.5)}, "rtol", 0.5),
    ],
)
def test_numbers_and_strings_of_numpy_and_torch_mean_what_they_say(options: dict, attribute: str, meant: Any) -> None:
    value = getattr(XGradient(Net(), **options), attribute)
    assert value == meant
    assert isinstance(value, type(meant))


# --- the call


CALLS = [
    {"n_steps": n} for n in (-1, 0, 2.5, "50", None, True, [50], torch.zeros(3))
] + [{"method": m} for m in ("gauslegendre", "riemann", "Gausslegendre", None, 3, torch.zeros(2))]  # fmt: skip
OURS_ALONE = [
    {name: value} for name in ("return_convergence_delta", "create_graph") for value in ("yes", None, 2, nn.ReLU(), [])
] + [{"internal_batch_size": size} for size in (0, -1, 1.5, "2", True)]  # fmt: skip


@pytest.mark.parametrize("call", CALLS + OURS_ALONE, ids=str)
def test_an_argument_of_the_call_that_means_nothing_is_refused_and_named(call: dict[str, Any]) -> None:
    net, x, (name,) = Net(), batch(), call
    with nothing_changes(net, x), pytest.raises(OptionError, match=rf"^XGradient\.attribute: `{name}` must be"):
        XGradient(net).attribute(x, target=1, **call)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_captum_refuses_these_steps_and_methods_too(call: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, TypeError, RuntimeError, ValueError)):
        IntegratedGradients(Net()).attribute(batch(), target=1, **call)


@pytest.mark.parametrize(
    "call",
    [
        {"n_steps": torch.tensor(5)},
        {"n_steps": np.int64(5)},
        {"method": np.str_("gausslegendre")},
        {"internal_batch_size": torch.tensor(100)},
        {"internal_batch_size": np.int32(100)},
        {"return_convergence_delta": np.bool_(False)},
        {"return_convergence_delta": 0},
    ],
    ids=str,
)
def test_every_form_of_these_arguments_that_captum_takes_is_taken(call: dict[str, Any]) -> None:
    net, x = Net().double(), batch().double()
    expected = IntegratedGradients(net).attribute(x, target=1, **call)
    torch.testing.assert_close(XGradient(net).attribute(x, target=1, **call), expected, rtol=1e-6, atol=1e-8)


def test_a_switch_that_is_a_tensor_is_on_or_off() -> None:
    result = XGradient(Net()).attribute(batch(), target=1, return_convergence_delta=torch.tensor(True))
    assert isinstance(result, tuple)


# --- check_homogeneity


@pytest.mark.parametrize(
    "scales",
    ["24", b"24", 2.0, [True, 2.0], [1.0], [], [2.0, "4"], [2.0, -1.0], [math.inf], torch.tensor(2.0), [[2.0]]],
)
def test_scales_that_are_no_list_of_positive_numbers_are_refused(scales: Any) -> None:
    with pytest.raises(OptionError, match=r"^check_homogeneity: `scales` must be"):
        check_homogeneity(Net(), batch(), 1, scales=scales)


@pytest.mark.parametrize("scales", [np.array([0.5, 2.0]), torch.tensor([0.5, 2.0]), (0.5, np.float64(2))])
def test_scales_may_be_an_array_or_a_tensor(scales: Any) -> None:
    report = check_homogeneity(Net(), batch(), 1, scales=scales, degree=np.float64(1), rtol=torch.tensor(1e-6))
    assert [check.scale for check in report.scales] == [0.5, 2.0]
    assert report.homogeneous


@pytest.mark.parametrize("rtol", [True, "x", -1.0, math.nan, nn.ReLU()])
def test_a_tolerance_that_is_no_number_is_refused(rtol: Any) -> None:
    with pytest.raises(OptionError, match=r"^check_homogeneity: `rtol` must be"):
        check_homogeneity(Net(), batch(), 1, rtol=rtol)


# --- a class in the place of the baselines, and no class at all


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (1, "target=1"),
        (2, "target=2"),
        ([1, 0, 2, 0], r"target=\[1, 0, 2, 0\]"),
        (np.array([1, 0, 2, 0]), "target=labels"),
        (torch.tensor([1, 0, 2, 0]), "target=labels"),
        (torch.tensor(1), "target=labels"),
        ((1, 0), r"target=\(1, 0\)"),
        ([(1,), (0,), (2,), (0,)], "target=labels"),
    ],
    ids=str,
)
def test_a_class_in_the_place_of_the_baselines_is_refused_and_target_named(labels: Any, shown: str) -> None:
    """InputXGradient.attribute(x, 1) becomes XGradient.attribute(x, 1) when only the name is edited."""
    with pytest.raises(BaselineError, match=f"Pass {shown}"):
        XGradient(xdnn(6, 8, 3)).attribute(batch(), labels)


@pytest.mark.parametrize("baselines", [0.5, torch.rand(4, 6), torch.ones(1, 6), "a", True])
def test_a_baseline_that_cannot_be_a_class_is_not_taken_for_one(baselines: Any) -> None:
    with pytest.raises(BaselineError) as caught:
        XGradient(xdnn(6, 8, 3)).attribute(batch(), baselines)
    assert "target" not in str(caught.value)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("call", ["XGradient", "check_homogeneity", "bias_ledger"])
def test_a_missing_target_is_refused_with_an_example_that_works(classes: int, call: str) -> None:
    net = xdnn(6, 8, classes)
    functions = {
        "XGradient": lambda **t: XGradient(net).attribute(batch(), **t),
        "check_homogeneity": lambda **t: check_homogeneity(net, batch(), **t),
        "bias_ledger": lambda **t: bias_ledger(net, batch(), **t),
    }
    with pytest.raises(TargetError, match=rf"one of the {classes} classes, such as target=(\d+)") as caught:
        functions[call]()
    functions[call](target=int(str(caught.value).split("target=")[1].split(" ")[0]))


def test_a_missing_target_of_a_map_is_refused_with_an_example_that_works() -> None:
    net = xdnn(6, 8, 3)
    deep = lambda x: net(x)[:, :, None, None] * torch.ones(4, 5)
    with pytest.raises(TargetError, match=r"target=\(1, 2, 2\)"):
        XGradient(deep).attribute(batch())
    XGradient(deep).attribute(batch(), target=(1, 2, 2))
