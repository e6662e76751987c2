"""Activations that a model uses several times, or in place, which DeepLift's hooks cannot take."""

import pytest
import torch
from captum.attr import DeepLift, IntegratedGradients
from torch import nn
from torchvision.models.resnet import BasicBlock

from captum_xg import XGradient, certify


class Reused(nn.Module):
    """One activation for all layers."""

    def __init__(self, activation):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m, bias=False) for n, m in ((6, 8), (8, 8), (8, 3)))
        self.activation = activation

    def forward(self, x):
        first, second, last = self.layers
        return last(self.activation(second(self.activation(first(x)))))


def blocks():
    """Blocks of torchvision's ResNets: one ReLU in place, used twice, and an addition in place."""
    block = BasicBlock(1, 1, norm_layer=nn.Identity)
    return nn.Sequential(nn.Unflatten(1, (1, 2, 3)), block, nn.Flatten(), nn.Linear(6, 3, bias=False))


MODELS = {
    "reused": lambda: Reused(nn.ReLU()),
    "reused, in place": lambda: Reused(nn.ReLU(inplace=True)),
    "reused LeakyReLU": lambda: Reused(nn.LeakyReLU(0.1)),
    "a residual block": blocks,
}


@pytest.mark.parametrize("name", MODELS)
def test_an_activation_that_is_used_twice_is_no_obstacle_as_it_is_to_deeplift(name):
    torch.manual_seed(0)
    model, x = MODELS[name]().double(), torch.randn(4, 6, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="used more than once"), pytest.warns(UserWarning, match="hooks"):
        DeepLift(model).attribute(x, target=1)
    by_ig = IntegratedGradients(model).attribute(x, target=1)
    for validate in ("numeric", "certificate"):
        by_xg = XGradient(model, validate=validate).attribute(x, target=1)
        assert torch.allclose(by_xg, by_ig, rtol=1e-6, atol=1e-8)
    assert certify(model, x).degree == 1


@pytest.mark.parametrize("relu", [torch.relu_, nn.functional.relu_, nn.ReLU(inplace=True)])
def test_an_activation_in_place_leaves_inputs_and_result_alone(relu):
    torch.manual_seed(0)
    first, last = nn.Linear(6, 8, bias=False).double(), nn.Linear(8, 3, bias=False).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    before = x.clone()
    in_place, not_in_place = (XGradient(lambda x, f=f: last(f(first(x)))) for f in (relu, torch.relu))
    assert torch.equal(in_place.attribute(x, target=0), not_in_place.attribute(x, target=0))
    assert torch.equal(x, before)
