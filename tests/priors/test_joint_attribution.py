"""attribution="joint": what reaches the prior is the joint attribution, and its gradient reaches every parameter."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks_with_constants import NETWORKS, inputs_of, network
from torch import nn

from captum_xg import JointXGradient
from captum_xg.errors import CrossExampleError, HomogeneityError, OptionError, TrainingModeError
from captum_xg.priors import AttributionPriorLoss, LpNorm

LABELS = torch.tensor([0, 2, 1])


def size(attributions):
    """A prior of any attributions."""
    parts = attributions if isinstance(attributions, tuple) else (attributions,)
    return sum((part**2).sum() for part in parts)


@given(st.sampled_from(list(NETWORKS)), st.sampled_from(["inputs", "constants", "both"]), st.integers(0, 1000))
def test_the_prior_sees_joint_attributions(name, part, seed):
    model, shape = network(name, seed)
    x = inputs_of(shape, seed)
    loss = AttributionPriorLoss(model, size, attribution="joint", part=part)(x, LABELS)
    joint = JointXGradient(model, validate="off").attribute(x, LABELS)
    expected = {"inputs": [joint.inputs], "constants": [*joint.constants.values()]}
    expected["both"] = expected["inputs"] + expected["constants"]
    found = loss.attributions if isinstance(loss.attributions, tuple) else (loss.attributions,)
    torch.testing.assert_close([a.detach() for a in found], expected[part], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(loss.prior.detach(), size(tuple(expected[part])), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["mlp", "tokens"])
@pytest.mark.parametrize("part", ["inputs", "constants"])
def test_gradients_are_those_of_finite_differences(name, part):
    model, shape = network(name)
    x = inputs_of(shape)
    loss = AttributionPriorLoss(model, size, attribution="joint", part=part)
    loss(x, LABELS).total.backward()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
            values.append(float(loss(x, LABELS).total.detach()))
            with torch.no_grad():
                parameter.sub_(direction, alpha=step)
        slope = 0.0 if parameter.grad is None else float((parameter.grad * direction).sum())
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_a_proof_holds_for_all_steps():
    model, shape = network("mlp")
    x = inputs_of(shape)
    loss = AttributionPriorLoss(model, size, attribution="joint", part="both")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(3):
        optimizer.zero_grad()
        loss(x, LABELS).total.backward()
        optimizer.step()
    assert loss._attribution.n_proofs == 1


def test_training_with_it_moves_the_prediction_from_constants_to_inputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    x = torch.randn(60, 6).double()
    y = (x[:, :3]).argmax(1)
    loss = AttributionPriorLoss(model, size, attribution="joint", part="constants", weight=0.1)
    before = float(JointXGradient(model).attribute(x, y).share.mean())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        loss(x, y).total.backward()
        optimizer.step()
    assert float(JointXGradient(model).attribute(x, y).share.mean()) < 0.5 * before


@pytest.mark.parametrize(
    ("model", "options", "kind", "said"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3)), {}, HomogeneityError, "GELU"),
        (nn.Sequential(nn.Linear(5, 4), nn.Dropout(), nn.Linear(4, 3)), {}, TrainingModeError, "Dropout"),
        (nn.Sequential(nn.Linear(5, 3)), {"layer": "0"}, OptionError, "layer"),
        (nn.Sequential(nn.Linear(5, 3)), {"part": "weights"}, OptionError, "part"),
        (nn.Sequential(nn.Linear(5, 3)), {"constants": ["1.bias"]}, OptionError, "1.bias"),
        (nn.Sequential(nn.Linear(5, 3, bias=False)), {"part": "constants"}, OptionError, "no constants"),
    ],
)
def test_what_it_is_not_defined_for_is_refused(model, options, kind, said):
    with pytest.raises(kind, match=said) as error:
        AttributionPriorLoss(model, LpNorm(1), attribution="joint", **options)(torch.rand(3, 5), LABELS)
    assert str(error.value).startswith("AttributionPriorLoss")


class Mixing(nn.Module):
    """Sees how large the other examples are."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x):
        return self.linear(x / x.norm() * x.norm(dim=1, keepdim=True))


def test_a_model_that_mixes_examples_is_refused():
    loss = AttributionPriorLoss(Mixing(), LpNorm(1), attribution="joint")
    with pytest.raises(CrossExampleError, match="by itself"):
        loss(torch.rand(3, 5), LABELS)


def test_what_is_added_is_searched_for_anew_for_other_arguments():
    class Switched(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.position = nn.Linear(5, 3), nn.Parameter(torch.randn(5))

        def forward(self, x, switch):
            return self.linear(x + self.position if switch else x).relu()

    loss = AttributionPriorLoss(Switched(), size, attribution="joint", part="constants")
    for switch, count in ((False, 1), (True, 2), (False, 1)):
        found = loss(torch.rand(3, 5), LABELS, additional_forward_args=(switch,)).attributions
        assert (len(found) if isinstance(found, tuple) else 1) == count
