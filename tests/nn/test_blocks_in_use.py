"""Blocks saved, exported, copied and trained: what is loaded gives the same, and deep stacks learn."""

import copy
import io

import pytest
import torch
from block_cases import KINDS, TAKE_PADDING, built, case_of
from effort import thorough
from torch import nn

from captum_xg import AttributionPriorLoss, certify
from captum_xg.nn import HomogeneousTransformerEncoder, HomogeneousTransformerLayer, MultiplicativePositions
from captum_xg.priors import GiniSparsity

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_brings_back_what_a_block_gives(kind):
    case = case_of(kind, 0)
    file = io.BytesIO()
    torch.save(case.block.state_dict(), file)
    file.seek(0)
    other = built(kind, 1)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(case.x), case.block(case.x))
    assert torch.equal(copy.deepcopy(case.block)(case.x), case.block(case.x))


@pytest.mark.parametrize(
    "kind", ["attention, relative", *thorough(kind for kind in KINDS if kind != "attention, relative")]
)
def test_an_exported_block_gives_the_same_for_batches_and_lengths_of_any_size(kind):
    case = case_of(kind, 0, n=3, length=4, padded=True)
    arguments = {"x": case.x, "padding": case.padding}
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = case.block

        def forward(self, x, padding):
            return case.f(x, padding)

    if kind not in TAKE_PADDING:
        arguments["padding"] = None
    shapes = {name: None if value is None else free for name, value in arguments.items()}
    exported = torch.export.export(Model().eval(), (), arguments, dynamic_shapes=shapes)
    longer = case_of(kind, 1, n=2, length=6, padded=True)
    padding = longer.padding if kind in TAKE_PADDING else None
    torch.testing.assert_close(exported.module()(x=case.x, padding=arguments["padding"]), case.f(case.x, case.padding))
    torch.testing.assert_close(exported.module()(x=longer.x, padding=padding), case.f(longer.x, padding))


def test_an_exported_layer_keeps_its_proof():
    block = built("layer", 0)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    assert certify(torch.export.export(block, (x,)).module(), x).degree == 1


class Classifier(nn.Module):
    """A stack of layers over tokens, their mean, and a linear layer."""

    def __init__(self, depth, activation="relu"):
        super().__init__()
        layer = HomogeneousTransformerLayer(16, 2, 32, dropout=0.0, activation=activation)
        self.embedding = nn.Linear(4, 16, bias=False)
        self.positions = MultiplicativePositions(6, 16)
        self.encoder = HomogeneousTransformerEncoder(layer, depth)
        self.encoder.reset_parameters()
        self.head = nn.Linear(16, 2, bias=False)

    def forward(self, x):
        return self.head(self.encoder(self.positions(self.embedding(x))).mean(1))


def task():
    """Which of the first and the last token is larger, with a zero token and a zero example among them."""
    x = torch.randn(16, 6, 4)
    x[:, 2] = 0
    x[0] = 0
    return x, (x[:, 0].norm(dim=-1) > x[:, -1].norm(dim=-1)).long()


@pytest.mark.parametrize("activation", ["relu", *thorough(["gated_relu"])])
def test_twelve_layers_train_stably(activation):
    torch.manual_seed(0)
    model = Classifier(12, activation)
    x, y = task()
    with torch.no_grad():
        sizes = [x.square().mean().sqrt(), model.encoder(model.positions(model.embedding(x))).square().mean().sqrt()]
    assert 0.2 < sizes[1] / sizes[0] < 5
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert max(losses) < 2 * losses[0]
    assert certify(model.eval(), x[:2]).degree == 1


def test_a_prior_trains_through_the_blocks():
    torch.manual_seed(0)
    model = Classifier(2, "gated_relu").eval()
    x, y = task()
    objective = AttributionPriorLoss(model, GiniSparsity(), weight=3.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    priors = []
    for _ in range(12):
        loss = objective(x, y)
        optimizer.zero_grad()
        loss.total.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        priors.append(loss.prior.item())
    assert priors[-1] < priors[0] - 0.05


def test_a_prior_trains_a_transformer_that_drops():
    """X-Gradient is proven for every draw of dropout, that of attention weights among them."""
    torch.manual_seed(0)
    model = nn.Sequential(
        HomogeneousTransformerLayer(8, 2, 12, dropout=0.3), nn.Flatten(), nn.Linear(40, 2, bias=False)
    )
    loss = AttributionPriorLoss(model.train(), GiniSparsity())
    x, y = torch.rand(4, 5, 8), torch.tensor([0, 1, 1, 0])
    one, other = loss(x, y), loss(x, y)
    one.total.backward()
    assert one.prior != other.prior
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_layers_of_an_encoder_are_copies_until_they_are_drawn_anew():
    encoder = HomogeneousTransformerEncoder(HomogeneousTransformerLayer(8, 2, 16), 3)
    weights = [layer.linear1.weight for layer in encoder.layers]
    assert torch.equal(weights[0], weights[1])
    encoder.reset_parameters()
    assert not torch.equal(weights[0], weights[1])


def test_dropout_is_random_in_training_mode_only():
    layer = HomogeneousTransformerLayer(8, 2, 16, dropout=0.5)
    x = torch.randn(2, 5, 8)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))
