"""Models whose numbers are not finite, not there or lost by the conversion are refused by name."""

import math

import pytest
import torch
from torch import nn

from captum_xg import HomogeneousExtension, XGradient, to_xdnn
from captum_xg.errors import CaptumXGError, ConversionError, ModelStateError, OptionTypeError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()


def x():
    return torch.randn(3, 3, 4, 4)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.running_mean", "1.running_var", "1.weight", "4.weight"])
def test_numbers_that_are_not_finite_are_named(name, value, strict):
    model = network()
    with torch.no_grad():
        model.state_dict()[name].view(-1)[1] = value
    with pytest.raises(ModelStateError, match=rf"to_xdnn: (?s:.*){name} .*1 (NaN|infinite) of"):
        to_xdnn(model, x(), strict=strict)


def test_a_model_without_values_is_refused_and_one_that_is_lazy():
    with pytest.raises(ModelStateError, match="on the meta device"):
        to_xdnn(network().to("meta"), x())
    with pytest.raises(ModelStateError, match="lazy"):
        to_xdnn(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)).eval(), x())


@pytest.mark.parametrize(("variance", "eps"), [(-1.0, 1e-5), (0.0, 0.0)])
def test_numbers_that_the_conversion_would_lose_are_named(variance, eps):
    model = network()
    model[1].running_var[0], model[1].eps = variance, eps
    with pytest.raises(ConversionError, match=r"numbers that are not finite: 1\.weight"):
        to_xdnn(model, x())


def test_an_original_that_is_not_finite_on_the_examples_is_not_compared_without_a_word():
    model = network()
    nn.init.constant_(model[4].weight, 3e38)
    _, report = to_xdnn(model, x(), strict=False)
    assert any("The original is not finite on the examples" in note for note in report.notes)


def test_the_extension_of_a_spoilt_model_gives_no_attributions():
    model = network()
    with torch.no_grad():
        model[4].weight[0, 0] = math.nan
    with pytest.raises(CaptumXGError, match=r"(?i)nan"):
        XGradient(HomogeneousExtension(model)).attribute(x(), target=0)


def test_arguments_of_another_kind_are_refused_by_name():
    with pytest.raises(OptionTypeError, match="`model` is the class Linear"):
        to_xdnn(nn.Linear, x())
    with pytest.raises(OptionTypeError, match="Unpack it first"):
        to_xdnn(to_xdnn(network(), x()), x())
    with pytest.raises(OptionTypeError, match="`strict`"):
        to_xdnn(network(), x(), strict="no")


class Logarithms(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.norm(torch.log(x)))


def test_a_size_that_is_not_finite_on_the_examples_is_not_one_that_a_norm_is_kept_at():
    _, report = to_xdnn(Logarithms().eval(), torch.randn(3, 4), strict=False)
    assert any("LayerNorm" in change.before for change in report.changes)
    assert any("not finite on the examples" in note for note in report.notes)


class Gated(nn.Module):
    def forward(self, x):
        return nn.functional.silu(torch.log(x))


def test_a_forward_is_not_recorded_where_nothing_can_be_compared():
    model = nn.Sequential(nn.Linear(4, 4), Gated(), nn.Linear(4, 2)).eval()
    xdnn, report = to_xdnn(model, torch.randn(3, 4), strict=False)
    assert type(xdnn[1]) is Gated
    assert not any(change.stage == "functional calls" for change in report.changes)
    assert any("torch.fx does something else" in left.reason for left in report.unconverted)
