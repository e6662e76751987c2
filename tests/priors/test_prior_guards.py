"""What must not happen unseen: X-Gradient of a model that is not homogeneous, priors that train nothing, and NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attribution_references as reference
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from captum_xg import XGradient
from captum_xg.errors import (
    CaptumXGError,
    DisconnectedAttributionError,
    ForwardOutputError,
    GradientError,
    HomogeneityError,
    NonFinitePriorError,
    OptionError,
    TargetError,
    TrainingModeError,
)
from captum_xg.priors import AttributionPriorLoss, GiniSparsity, LpNorm, TotalVariation

ATTRIBUTIONS = ["xgradient", "input_x_gradient", "gradient", "rrr", "expected_gradients", "integrated_gradients"]
LABELS = torch.tensor([0, 2, 1, 2])


def squares(a: Any) -> Tensor:
    return torch.stack([part.square().sum() for part in (a if isinstance(a, tuple) else (a,))]).sum()


def network(*between: nn.Module, bias: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    middle = between or (nn.ReLU(),)
    return nn.Sequential(nn.Linear(5, 6, bias=bias), *middle, nn.Linear(6, 3, bias=bias)).double()


def data(n: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(n, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def n_proofs(loss: AttributionPriorLoss) -> int:
    return loss._attribution.n_proofs  # type: ignore[attr-defined]


# Proofs stand while a model trains, and fall with what they rest on


@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_a_proof_is_made_once_for_each_shape_however_the_weights_change(optimiser, layer):
    model = network(nn.ReLU(inplace=True), nn.Dropout(0.3))
    loss = AttributionPriorLoss(model, squares, layer=layer)
    steps = optimiser(model.parameters(), lr=0.01)
    for step in range(4):
        steps.zero_grad()
        loss(data(seed=step), LABELS).total.backward()
        steps.step()
    assert n_proofs(loss) == 1
    loss(data(2), LABELS[:2])
    assert n_proofs(loss) == 2
    loss(data(), LABELS)
    assert n_proofs(loss) == 2


@pytest.mark.parametrize("layer", [None, "0"])
def test_a_bias_of_zero_is_admitted_until_it_has_been_trained(layer):
    model = network(bias=True)
    for module in (model[0], model[2]):
        nn.init.zeros_(module.bias)
    loss = AttributionPriorLoss(model, squares, layer=layer)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loss(data(), LABELS).total.backward()
    optimiser.step()
    assert model[2].bias.any()
    with pytest.raises(HomogeneityError, match=r"2 .*Linear"):
        loss(data(), LABELS)


def _add_a_bias(model: nn.Sequential) -> None:
    model[2].bias = nn.Parameter(torch.ones(3, dtype=torch.float64))


def _exchange_a_layer(model: nn.Sequential) -> None:
    model[1] = nn.Softplus()


def _append_a_layer(model: nn.Sequential) -> None:
    model.append(nn.Tanh())


def _hook_a_layer(model: nn.Sequential) -> None:
    model[1].register_forward_hook(lambda module, arguments, result: result + 1)


def _patch_a_layer(model: nn.Sequential) -> None:
    model[1].forward = lambda x: x + 1


@pytest.mark.parametrize("change", [_add_a_bias, _exchange_a_layer, _append_a_layer, _hook_a_layer, _patch_a_layer])
def test_a_proof_falls_with_a_change_of_the_model(change):
    model = network()
    loss = AttributionPriorLoss(model, squares)
    loss(data(), LABELS)
    change(model)
    with pytest.raises(HomogeneityError, match="refused"):
        loss(data(), LABELS)


@pytest.mark.parametrize("where", ["model", "score", "output"])
def test_a_proof_falls_with_a_change_of_what_a_function_refers_to(where):
    net, state = network(), {"shift": 0.0}
    functions: dict[str, Any] = {"model": lambda x: net(x) + state["shift"]}
    if where == "score":
        functions = {"model": net, "target": lambda outputs, labels: outputs[:, 0] + state["shift"]}
    if where == "output":
        functions = {"model": net, "output": lambda outputs: outputs + state["shift"]}
    loss = AttributionPriorLoss(functions.pop("model"), squares, **functions)
    for _ in range(2):
        loss(data(), LABELS)
    assert n_proofs(loss) == 1
    state["shift"] = 1.0
    with pytest.raises(HomogeneityError, match="constant"):
        loss(data(), LABELS)


def test_a_proof_for_a_layer_is_one_for_these_inputs_if_they_come_by_another_way():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(5, 5, bias=False), nn.Linear(5, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).relu() + F.relu(x - 2))

    model = Skip().double()
    loss = AttributionPriorLoss(model, squares, layer="first")
    loss(data().clamp(max=1), LABELS)  # nothing goes around the layer
    with pytest.raises(HomogeneityError, match="as a function of what the layer returns"):
        loss(data() + 10, LABELS)


def test_what_lies_before_the_layer_need_not_be_homogeneous():
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3, bias=False)).double()
    AttributionPriorLoss(model, squares, layer="1")(data(), LABELS)
    with pytest.raises(HomogeneityError):
        AttributionPriorLoss(model, squares)(data(), LABELS)
    with pytest.raises(HomogeneityError, match="as a function of what the layer returns"):
        AttributionPriorLoss(model, squares, layer="0")(data(), LABELS)


@pytest.mark.parametrize("score", [lambda o, y: o[:, 0] ** 2 + o[:, 1], lambda o, y: o.softmax(1)[:, 0]])
def test_a_score_that_is_not_homogeneous_is_refused(score):
    with pytest.raises(HomogeneityError):
        AttributionPriorLoss(network(), squares, target=score)(data(), LABELS)


def test_the_degree_of_a_score_counts():
    found = AttributionPriorLoss(network(), squares, target=lambda o, y: o[:, 0] * o[:, 1])(data(), LABELS)
    o = found.outputs
    torch.testing.assert_close(found.attributions.sum(1), o[:, 0] * o[:, 1])


# Training mode


@pytest.mark.parametrize(
    "dropout",
    [nn.Dropout(0.5), nn.Dropout(0.5, inplace=True), nn.Dropout(0), nn.Dropout1d(0.4), StochasticDepth(0.5, "row")],
)
@pytest.mark.parametrize("layer", [None, "0"])
def test_dropout_has_one_mask_for_task_and_attribution(dropout, layer):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("0", nn.Linear(5, 6, bias=False))
            self.drop, self.last = dropout, nn.Linear(6, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            h = self.get_submodule("0")(x)
            h = self.drop(h.unsqueeze(0))[0] if isinstance(self.drop, nn.Dropout1d) else self.drop(h)
            return self.last(h.relu())

    torch.manual_seed(0)
    model = Model().double()
    loss = AttributionPriorLoss(model, squares, layer=layer)
    seen = set()
    for step in range(8):
        found = loss(data(seed=step), LABELS)
        picked = found.outputs.gather(1, LABELS[:, None]).squeeze(1)
        torch.testing.assert_close(found.attributions.sum(1), picked)  # complete for this very mask
        torch.testing.assert_close(found.task, reference.cross_entropy(found.outputs, LABELS))
        seen.add(bool(torch.isclose(found.outputs, model.eval()(data(seed=step))).all()))
        model.train()
    assert n_proofs(loss) == 1
    assert seen == ({True} if getattr(dropout, "p", 1) == 0 else seen & {False})


def test_the_proof_uses_no_random_numbers_of_the_step():
    outputs = []
    for validate in ("certificate", "off"):
        for layer in (None, "0"):
            torch.manual_seed(3)
            model = network(nn.ReLU(), nn.Dropout(0.5))
            torch.manual_seed(3)
            outputs.append(AttributionPriorLoss(model, squares, validate=validate, layer=layer)(data(), LABELS).outputs)
    for other in outputs[1:]:
        assert torch.equal(outputs[0], other)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.BatchNorm1d(6), "BatchNorm1d"),
        (nn.AlphaDropout, "AlphaDropout"),
        (nn.FeatureAlphaDropout, "FeatureAlphaDropout"),
        (nn.RReLU, "RReLU"),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6, bias=False)), "_SpectralNorm"),
        (type("OwnDropout", (nn.Dropout,), {}), "OwnDropout"),
    ],
)
@pytest.mark.parametrize("at", [None, "0"])
def test_other_layers_in_training_mode_are_refused_and_not_run(make, name, at):
    model = network(make())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(TrainingModeError, match=rf"1[^ ]* \({name}\)"):
        AttributionPriorLoss(model, squares, layer=at)(data(), LABELS)
    torch.testing.assert_close(dict(model.state_dict()), before)
    assert all(m.training for m in model.modules())
    model.eval()
    AttributionPriorLoss(model, squares, layer=at, validate="off")(data(), LABELS)
    if name in ("RReLU", "OwnDropout"):
        AttributionPriorLoss(model, squares, layer=at)(data(), LABELS)


class Attack(nn.Module):
    """A homogeneous network and something that is not, which shows in training mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.drop, self.other = network(), nn.Dropout(0.5), nn.Linear(5, 3).double()
        self.register_buffer("shift", torch.ones(3, dtype=torch.float64))


class FunctionalDropout(Attack):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(F.dropout(x, 0.5, self.training))


class LooksAtTheMode(Attack):
    def forward(self, x: Tensor) -> Tensor:
        y = self.net(self.drop(x))
        return y + self.shift if self.drop.training else y


class LooksAtItsOwnMode(Attack):
    def forward(self, x: Tensor) -> Tensor:
        y = self.net(self.drop(x))
        return y + self.shift if self.training else y


class LooksAtTheRate(Attack):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.drop(x)) + self.drop.p


class LooksAtADraw(Attack):
    def forward(self, x: Tensor) -> Tensor:
        return self.other(x) if self.drop(torch.ones(1)).item() == 0 else self.net(x)


class DropsAConstant(Attack):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.drop(self.shift)


class CancelsADraw(Attack):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + (self.drop(self.shift) - 2 * self.shift)


class ComparesADraw(Attack):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.drop(self.shift) == self.drop(self.shift), self.net(x), self.net(x) + 1)


class DrawsNoise(Attack):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + torch.randn_like(x) * self.training)


class DropsPartOfTheWeight(Attack):
    """Homogeneous: dropout of weights."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.drop(self.other.weight))


@pytest.mark.parametrize(
    "kind",
    [
        *(FunctionalDropout, LooksAtTheMode, LooksAtItsOwnMode, LooksAtTheRate, LooksAtADraw, DropsAConstant),
        *(CancelsADraw, ComparesADraw, DrawsNoise),
    ],
)
def test_no_proof_is_made_of_what_only_looks_homogeneous_without_draws(kind):
    model = kind()
    with pytest.raises(HomogeneityError, match="refused"):
        AttributionPriorLoss(model, squares)(data(), LABELS)
    assert all(m.training for m in model.modules())
    assert not any("forward" in m.__dict__ for m in model.modules())


def test_dropout_of_weights_is_homogeneous():
    found = AttributionPriorLoss(DropsPartOfTheWeight(), squares)(data(), LABELS)
    torch.testing.assert_close(found.attributions.sum(1), found.outputs.gather(1, LABELS[:, None]).squeeze(1))


# Priors that would train nothing


@pytest.mark.parametrize("method", [InputXGradient, Saliency, IntegratedGradients, XGradient])
def test_attributions_without_a_graph_are_refused_and_the_message_says_what_to_use(method):
    model = network()
    with pytest.raises(DisconnectedAttributionError, match=r"Captum's methods are such.*create_graph=True"):
        AttributionPriorLoss(model, squares, attribution=method(model).attribute)(data(), LABELS)
    AttributionPriorLoss(model, squares, attribution=method(model).attribute, weight=0)(data(), LABELS)
    AttributionPriorLoss(model, squares, attribution=method(model).attribute).eval()(data(), LABELS)


@pytest.mark.parametrize("target", ["true", "predicted"])
def test_a_function_that_keeps_its_graph_trains_as_the_built_in_attribution_does(target):
    model = network()
    method = XGradient(model)
    ours = AttributionPriorLoss(
        model,
        squares,
        target=target,
        attribution=lambda x, target: method.attribute(x, target=target, create_graph=True),
    )(data(), LABELS)
    built_in = AttributionPriorLoss(model, squares, target=target)(data(), LABELS)
    torch.testing.assert_close(ours.attributions, built_in.attributions)
    one, other = (torch.autograd.grad(r.total, list(model.parameters())) for r in (ours, built_in))
    torch.testing.assert_close(one, other)


def test_a_function_gets_inputs_classes_and_additional_arguments_as_they_are():
    seen: list[Any] = []
    weight = nn.Linear(5, 1, bias=False).double()

    def attribution(inputs: Any, target: Any, **others: Any) -> Tensor:
        seen.append((inputs, target, others))
        return inputs[0] * weight.weight

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.net = weight, network()

        def forward(self, a: Tensor, b: Tensor, factor: float) -> Tensor:
            return self.net(a * b) * factor

    a, b = data(), data(seed=2)
    AttributionPriorLoss(Model(), squares, attribution=attribution)((a, b), LABELS, 3.0)
    assert seen[0][0][0] is a
    assert seen[0][0][1] is b
    assert torch.equal(seen[0][1], LABELS)
    assert seen[0][2] == {"additional_forward_args": (3.0,)}


@pytest.mark.parametrize("returned", [None, 1.0, torch.ones(3, 5), torch.ones(4, 5).long(), torch.tensor(1.0)])
def test_what_a_function_returns_has_to_be_attributions(returned):
    with pytest.raises(ForwardOutputError, match="given as `attribution`"):
        AttributionPriorLoss(network(), squares, attribution=lambda x, target: returned)(data(), LABELS)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_training_without_gradients_is_refused(attribution, mode):
    loss = AttributionPriorLoss(network(), squares, attribution=attribution)
    with mode(), pytest.raises(DisconnectedAttributionError, match=rf"{mode.__name__}.*\.eval\(\)"):
        loss(data(), LABELS)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_frozen_models_are_refused(attribution):
    model = network().requires_grad_(False)
    with pytest.raises(DisconnectedAttributionError, match="no parameter of the model requires a gradient"):
        AttributionPriorLoss(model, squares, attribution=attribution)(data(), LABELS)
    with pytest.raises(DisconnectedAttributionError, match="no parameter of the model requires a gradient"):
        AttributionPriorLoss(model, squares, attribution=attribution)(data().requires_grad_(), LABELS)
    AttributionPriorLoss(model, squares, attribution=attribution).eval()(data(), LABELS)


@pytest.mark.parametrize("attribution", ["gradient", "input_x_gradient", "expected_gradients"])
def test_training_the_biases_of_a_linear_model_alone_is_refused_and_its_weights_alone_is_not(attribution):
    for trained, other in (("weight", "bias"), ("bias", "weight")):
        model = nn.Linear(5, 3).double()
        getattr(model, other).requires_grad_(False)
        loss = AttributionPriorLoss(model, squares, attribution=attribution)
        if trained == "weight":
            loss(data(), LABELS).prior.backward()
            assert model.weight.grad.any()
        else:
            with pytest.raises(DisconnectedAttributionError, match="do not depend on the parameters"):
                loss(data(), LABELS)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS[1:])
def test_models_that_cut_the_path_are_refused(attribution):
    class Cut(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind, self.net = kind, network()

        def forward(self, x: Tensor) -> Tensor:
            if self.kind == "input":
                return self.net(x.detach())
            return x[:, :3] * self.net[2].weight.detach().sum() + self.net(x).detach()

    with pytest.raises(GradientError, match="through autograd"):
        AttributionPriorLoss(Cut("input"), squares, attribution=attribution)(data(), LABELS)
    with pytest.raises(DisconnectedAttributionError, match="detach"):
        AttributionPriorLoss(Cut("weights"), squares, attribution=attribution)(data(), LABELS)


@pytest.mark.parametrize("attribution", ["input_x_gradient", "gradient", "expected_gradients"])
def test_compiled_models_are_refused_unless_their_backward_pass_can_be_differentiated(attribution):
    model = network()
    torch._dynamo.reset()
    with pytest.raises(DisconnectedAttributionError, match="compiled"):
        AttributionPriorLoss(torch.compile(model, backend="aot_eager"), squares, attribution=attribution)(
            data(), LABELS
        )
    if attribution != "expected_gradients":
        eager = AttributionPriorLoss(torch.compile(model, backend="eager"), squares, attribution=attribution)
        plain = AttributionPriorLoss(model, squares, attribution=attribution)
        torch.testing.assert_close(eager(data(), LABELS).total, plain(data(), LABELS).total)
    with pytest.raises(HomogeneityError, match="compiled"):
        AttributionPriorLoss(torch.compile(model, backend="aot_eager"), squares)(data(), LABELS)


# What is not finite


def _nan_input(model: nn.Sequential, x: Tensor) -> Tensor:
    return x.index_fill(0, torch.tensor([2]), torch.nan)


def _nan_weight(model: nn.Sequential, x: Tensor) -> Tensor:
    model[2].weight.data.fill_(torch.inf)
    return x


def _root_of_zero(model: nn.Sequential, x: Tensor) -> Tensor:
    model[1].root = True
    return x.index_fill(0, torch.tensor([1]), 0.0)


class RootOrNot(nn.Module):
    root = False

    def forward(self, x: Tensor) -> Tensor:
        return x.abs().sqrt() if self.root else x.abs()


@pytest.mark.parametrize(
    ("break_it", "cause"),
    [
        (_nan_input, "the inputs have NaN or infinity, first in example 2"),
        (_nan_weight, "the model's outputs have NaN or infinity, first in example 0"),
        (_root_of_zero, "the attributions have NaN or infinity, first in example 1"),
    ],
)
@pytest.mark.parametrize("attribution", ["input_x_gradient", "integrated_gradients"])
def test_a_prior_that_is_not_finite_says_at_which_step_and_where_it_began(attribution, break_it, cause):
    model = network(RootOrNot())
    loss = AttributionPriorLoss(model, squares, attribution=attribution)
    for _ in range(3):
        loss(data(), LABELS)
    x = break_it(model, data())
    with pytest.raises(NonFinitePriorError, match=f"at step 3: {cause}"):
        loss(x, LABELS)
    with pytest.raises(NonFinitePriorError, match="at step 41"):
        loss(x, LABELS, step=41)
    assert loss.step == 3
    loss.eval()
    with pytest.raises(NonFinitePriorError, match=cause):
        loss(x, LABELS)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_prior_that_is_not_finite_by_itself_is_said_to_be_the_cause(value):
    loss = AttributionPriorLoss(network(), lambda a: a.sum() * value)
    with pytest.raises(NonFinitePriorError, match="at step 0: inputs, outputs and attributions are finite"):
        loss(data(), LABELS)


@pytest.mark.parametrize("prior", [GiniSparsity(), LpNorm(1), LpNorm(2), TotalVariation(dims=1)])
def test_priors_of_nothing_have_a_defined_value_and_gradient(prior):
    model = network()
    AttributionPriorLoss(model, prior)(torch.zeros(4, 5, dtype=torch.float64), LABELS).total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


# Whatever is raised, nothing has changed


def _raises(message: str) -> Callable[..., Any]:
    def function(*_: Any, **__: Any) -> Any:
        raise ValueError(message)

    return function


@pytest.mark.parametrize(
    ("options", "labels", "error"),
    [
        ({"prior": lambda a: a}, LABELS, ForwardOutputError),
        ({"prior": _raises("own")}, LABELS, ValueError),
        ({"task_loss": _raises("own")}, LABELS, ValueError),
        ({"target": _raises("own")}, LABELS, ValueError),
        ({"target": lambda o, y: o}, LABELS, CaptumXGError),
        ({"weight": _raises("own")}, LABELS, ValueError),
        ({"prior": lambda a: a.sum() * torch.nan}, LABELS, NonFinitePriorError),
        ({}, torch.full((4,), 9), TargetError),
        ({"output": "logits"}, LABELS, OptionError),
    ],
)
@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_errors_leave_gradients_modes_hooks_and_steps_alone(attribution, layer, options, labels, error):
    if attribution == "rrr" and ("target" in options or labels is not LABELS):
        pytest.skip("the summed log-probabilities have no target")
    model = network(nn.ReLU(inplace=True), nn.Dropout(0.5))
    model[1].eval()
    options = {"prior": squares, **options}
    loss = AttributionPriorLoss(model, attribution=attribution, layer=layer, **options)
    x = data()
    before, state = x.clone(), {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(error):
        loss(x, labels)
    assert loss.step == 0
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert [m.training for m in model] == [True, False, True, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in model.modules())
    torch.testing.assert_close(dict(model.state_dict()), state)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
@pytest.mark.parametrize("calls_before", [0, 1])
def test_errors_of_the_model_leave_no_hooks(attribution, calls_before):
    class Fails(nn.Module):
        fails = False

        def forward(self, x: Tensor) -> Tensor:
            if self.fails:
                raise ValueError("own")
            return x

    for layer in (None, "0"):
        model = network(nn.ReLU(), nn.Dropout(0.5), Fails())
        loss = AttributionPriorLoss(model, squares, attribution=attribution, layer=layer)
        for _ in range(calls_before):
            loss(data(), LABELS)
        model[3].fails = True
        with pytest.raises(ValueError, match="own"):
            loss(data(), LABELS)
        assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in model.modules())
        assert all(m.training for m in model.modules())
        assert loss.step == calls_before


@pytest.mark.parametrize("at", [None, "0"])
def test_a_refusal_before_the_step_draws_no_random_numbers(at):
    model = network(nn.Softplus(), nn.Dropout(0.5))
    before = torch.get_rng_state()
    with pytest.raises(HomogeneityError, match="Softplus"):
        AttributionPriorLoss(model, squares, layer=at)(data(), LABELS)
    assert torch.equal(before, torch.get_rng_state())
