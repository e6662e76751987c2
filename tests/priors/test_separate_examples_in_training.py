"""A model that mixes the examples of a training batch is refused by the X-Gradient prior, and no other one is."""

import pytest
import torch
from torch import nn

from captum_xg.errors import CrossExampleError
from captum_xg.priors import AttributionPriorLoss, GiniSparsity
from captum_xg.priors.separate import is_asked_at

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 4


class Network(nn.Module):
    def __init__(self, gate=0.0, layer=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 10, bias=False), nn.Linear(10, 4, bias=False)
        self.drop = layer or nn.Dropout(0.5)
        self.gate = nn.Parameter(torch.tensor(gate))

    def forward(self, x):
        direction = x / x.norm(dim=1, keepdim=True)
        return self.second(self.drop(self.first(x).relu())) * (1 + self.gate * direction.mean(0).abs().sum())


def loss_of(model, **options):
    return AttributionPriorLoss(model, GiniSparsity(), attribution="xgradient", weight=1.0, **options)


@pytest.mark.parametrize("options", [{}, {"target": "all"}], ids=str)
def test_a_model_that_mixes_by_a_factor_of_degree_0_is_refused_at_the_first_step(options):
    with pytest.raises(
        CrossExampleError, match=r"AttributionPriorLoss: the value for one example depends on the others"
    ):
        loss_of(Network(gate=1.0), **options)(X, Y)


@pytest.mark.parametrize("drop", [nn.Dropout(0.5), nn.Dropout1d(0.5), nn.Identity()], ids=str)
def test_dropout_is_no_mixing_and_draws_what_it_would_have_drawn(drop):
    model = Network(layer=drop)
    torch.manual_seed(1)
    first = loss_of(model)(X, Y)
    assert all(layer.training for layer in model.modules())
    first.total.backward()
    state = torch.get_rng_state()
    torch.manual_seed(1)
    AttributionPriorLoss(model, GiniSparsity(), attribution="input_x_gradient", weight=1.0)(X, Y)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_gate_that_training_opens_is_found_at_a_later_step():
    model = Network()
    loss = loss_of(model)
    loss(X, Y)
    with torch.no_grad():
        model.gate.fill_(1.0)
    for _ in range(14):
        loss(X, Y)
    with pytest.raises(CrossExampleError):
        loss(X, Y)


def test_it_is_asked_ever_more_rarely():
    assert [step for step in range(1, 300) if is_asked_at(step)] == [1, 16, 32, 64, 128, 256]


def test_it_is_not_asked_of_one_example_nor_without_validation():
    model = Network(gate=1.0)
    loss_of(model)(X[:1], Y[:1])
    loss_of(model, validate="off")(X, Y)
