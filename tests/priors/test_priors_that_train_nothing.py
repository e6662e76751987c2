"""A prior is refused where no gradient leads back from it to the parameters, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg._core.autograd_graph import gradient_ancestors
from captum_xg.errors import DisconnectedAttributionError, ForwardOutputError, OptionTypeError, PriorOutputError
from captum_xg.priors import (
    AttributionPrior,
    AttributionPriorLoss,
    EnergyInRegion,
    GiniSparsity,
    GraphSmoothness,
    GroupSparsity,
    HighFrequency,
    LpNorm,
    RightForRightReasons,
    TotalVariation,
    WeightedSum,
)

LABELS = torch.tensor([0, 2, 1, 2])
X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

LAYER = nn.Linear(5, 1).double()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False)).double()


def squares(a: Tensor) -> Tensor:
    return a.square().sum()


def _no_grad(a: Tensor) -> Tensor:
    with torch.no_grad():
        return a.square().sum()


def _inference(a: Tensor) -> Tensor:
    with torch.inference_mode():
        return a.square().sum()


def _in_place(a: Tensor) -> Tensor:
    return (a * 1).gt_(0.1).mean()


class OnItself(nn.Module):
    """It has parameters, and trains these alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 1).double()

    def forward(self, a: Tensor) -> Tensor:
        return self.layer(a.detach()).square().mean()


class Rounded(torch.autograd.Function):
    """Straight through: it rounds and hands its gradient on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Sign(Rounded):
    pass


DEAD = {
    "count above a threshold": lambda a: (a.abs() > 0.01).float().mean(),
    "count not zero": lambda a: a.count_nonzero().double(),
    "where of a comparison": lambda a: torch.where(a > 0, 1.0, 0.0).mean(),
    "argmax": lambda a: a.argmax(1).double().mean(),
    "order": lambda a: a.argsort(1)[:, 0].double().mean(),
    "one hot": lambda a: F.one_hot(a.argmax(1), 5).double().mean(),
    "integers": lambda a: (a * 10).long().double().mean(),
    "bucketize": lambda a: torch.bucketize(a, torch.arange(3.0).double()).double().mean(),
    "item": lambda a: torch.tensor(a.square().sum().item()),
    "new tensor": lambda a: a.new_tensor(float(a.detach().sum())),
    "constant": lambda a: torch.zeros(()),
    "constant that requires a gradient": lambda a: torch.zeros((), requires_grad=True),
    "parameter": lambda a: nn.Parameter(a.detach().sum()),
    "detached": lambda a: a.detach().square().sum(),
    "data": lambda a: a.data.square().sum(),
    "detached in part, and nothing else": lambda a: (a.detach() * torch.ones(5, requires_grad=True)).sum(),
    "no_grad": _no_grad,
    "inference_mode": _inference,
    "on itself": OnItself(),
    "rounded": lambda a: (10 * a).round().abs().mean(),
    "floor": lambda a: a.floor().mean(),
    "trunc of a quotient": lambda a: torch.div(a, 0.1, rounding_mode="floor").mean(),
    "sign": lambda a: a.sign().mean(),
    "sgn": lambda a: a.sgn().mean(),
    "sign of a smooth function": lambda a: a.square().sum().sign(),
    "L0 norm": lambda a: torch.linalg.vector_norm(a, 0),
    "angle": lambda a: a.angle().mean(),
    "sign of another number": lambda a: torch.copysign(torch.ones_like(a), a).mean(),
    "power 0": lambda a: a.abs().pow(0).mean(),
    "distances of order 0": lambda a: F.pdist(a, 0).mean(),
    "L0 norm of rows": lambda a: a.norm(p=0, dim=1).mean(),
    "compared in place": _in_place,
    "overwritten": lambda a: (a * 1).fill_(2.0).mean(),
    "drawn": lambda a: torch.bernoulli(a.sigmoid()).mean(),
    "heaviside": lambda a: torch.heaviside(a, torch.ones_like(a)).mean(),
    "floor division": lambda a: (a // 0.1).mean(),
}
NUMBERS = {
    "Python": lambda a: 1.0,
    "item": lambda a: a.square().sum().item(),
    "float": lambda a: float(a.detach().sum()),
    "integer": lambda a: a.argmax(),
    "truth": lambda a: (a > 0).all(),
    "Python's truth": lambda a: bool((a > 0).all()),
    "NumPy": lambda a: np.abs(a.detach().numpy()).mean(),
    "NumPy, as it comes": lambda a: np.abs(a.numpy()).mean(),
    "NumPy, by a function": lambda a: np.asarray(a).mean(),
}
ALIVE = {
    "squares": squares,
    "detached in part": lambda a: (a.detach() * a).sum(),
    "straight through": lambda a: (a + (a.round() - a).detach()).square().sum(),
    "own rounding": lambda a: Rounded.apply(a).square().sum(),
    "own sign": lambda a: Sign.apply(a).square().sum(),
    "true division": lambda a: (a / 0.1).abs().mean(),
    "sign of a complex number": lambda a: torch.view_as_real(torch.fft.rfft(a).sgn()).square().sum(),
    "angle of a complex number": lambda a: torch.fft.rfft(a).angle().square().mean(),
    "with another sign": lambda a: torch.copysign(a, torch.ones(())).mean(),
    "power in a tensor": lambda a: a.abs().pow(torch.tensor([0.0, 1, 2, 3, 4])).mean(),
    "exponent": lambda a: (2**a).mean(),
    "distances": lambda a: F.pdist(a, 1).mean(),
    "sign times the value": lambda a: (a.sign() * a).sum(),
    "remainder": lambda a: a.remainder(0.1).mean(),
    "largest": lambda a: a.amax(),
    "sorted": lambda a: a.sort(1).values[:, 0].mean(),
    "chosen by a comparison": lambda a: a[a > 0].sum(),
    "where": lambda a: torch.where(a > 0, a, 0).sum(),
    "zero by a factor": lambda a: 0 * a.sum(),
    "flat here": lambda a: (a - 1e6).relu().sum(),
    "nothing chosen": lambda a: a[a > 1e6].sum(),
    "L2 norm": lambda a: torch.linalg.vector_norm(a),
    "in place": lambda a: a.mul_(2).square().sum(),
    "with parameters of its own": lambda a: LAYER(a).square().mean(),
}


@pytest.mark.parametrize("prior", DEAD.values(), ids=DEAD)
def test_a_prior_without_a_path_to_the_attributions_is_refused_and_nothing_has_changed(prior):
    model = network()
    loss = AttributionPriorLoss(model, prior, validate="off")
    with pytest.raises(DisconnectedAttributionError, match=r"AttributionPriorLoss: .*the prior"):
        loss(X, LABELS)
    assert loss.step == 0
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("prior", NUMBERS.values(), ids=NUMBERS)
def test_a_number_without_a_graph_is_refused_as_what_trains_nothing_and_as_no_tensor(prior):
    with pytest.raises(PriorOutputError, match="the prior") as caught:
        AttributionPriorLoss(network(), prior)(X, LABELS)
    assert isinstance(caught.value, DisconnectedAttributionError)
    assert isinstance(caught.value, ForwardOutputError)


@pytest.mark.parametrize("prior", ALIVE.values(), ids=ALIVE)
def test_a_prior_with_a_path_is_taken_whatever_its_gradient_is(prior):
    AttributionPriorLoss(network(), prior, attribution="gradient")(X, LABELS).total.backward()


@pytest.mark.parametrize(
    "prior",
    [
        GiniSparsity(),
        GiniSparsity("example"),
        TotalVariation(),
        HighFrequency(),
        LpNorm(1),
        LpNorm(1.5),
        LpNorm(float("inf")),
        GroupSparsity([[0, 1], [2]]),
        RightForRightReasons(torch.zeros(5)),
        EnergyInRegion(torch.ones(5)),
        GraphSmoothness(torch.zeros(2, 0, dtype=torch.int64)),
        0.5 * GiniSparsity() + TotalVariation(),
    ],
    ids=repr,
)
def test_priors_of_attributions_that_are_all_zero_are_taken(prior):
    model = network()
    for p in model.parameters():
        nn.init.zeros_(p)
    found = AttributionPriorLoss(model, prior)(X, LABELS)
    found.total.backward()
    assert not found.attributions.any()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


@pytest.mark.parametrize("prior", [*DEAD.values(), *NUMBERS.values()], ids=[*DEAD, *NUMBERS])
def test_a_term_that_trains_nothing_is_refused_though_the_others_train(prior):
    if isinstance(prior, nn.Module):
        pytest.skip("modules are terms only as subclasses of AttributionPrior")
    with pytest.raises(DisconnectedAttributionError, match=r"Function\(|the function|NumPy"):
        AttributionPriorLoss(network(), GiniSparsity() + prior, validate="off")(X, LABELS)


@pytest.mark.parametrize("prior", [DEAD["sign"], NUMBERS["item"]])
def test_it_does_not_matter_how_a_sum_was_written_or_what_is_explained(prior):
    for total in (prior, prior + GiniSparsity(), WeightedSum((1.0, GiniSparsity()), (0.1, prior))):
        for target in ("predicted", "all"):
            with pytest.raises(DisconnectedAttributionError):
                AttributionPriorLoss(network(), total, target=target)(X, LABELS)


class OfMine(AttributionPrior):
    def penalty(self, attributions: Tensor, *_: Any, **arguments: Any) -> Tensor:
        return (attributions > 0).double().mean()


def test_a_term_is_named_wherever_it_stands_and_one_without_weight_is_not_looked_at():
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.terms = GiniSparsity() + OfMine()

        def forward(self, a: Tensor) -> Tensor:
            return 2 * self.terms(a)

    for total in (TotalVariation() + 0.5 * (GiniSparsity() + OfMine()), (GiniSparsity() + OfMine()).of(0), Holds()):
        with pytest.raises(DisconnectedAttributionError, match=r"OfMine\(\), a term of the prior,"):
            AttributionPriorLoss(network(), total)(X, LABELS)
        assert not any(m._forward_hooks for m in total.modules())
    AttributionPriorLoss(network(), GiniSparsity() + 0 * OfMine())(X, LABELS)


def test_a_function_is_a_term_with_its_own_arguments():
    def of_mask(a: Tensor, mask: Tensor) -> Tensor:
        return (a * mask).square().sum()

    model, mask = network(), torch.ones(5)
    found = AttributionPriorLoss(model, 2 * TotalVariation() - of_mask)(X, LABELS, mask=mask)
    torch.testing.assert_close(
        found.prior, 2 * TotalVariation()(found.attributions) - found.attributions.square().sum()
    )


@pytest.mark.parametrize("target", ["true", "all"])
@pytest.mark.parametrize("prior", [lambda a: (a > 0).double().mean(), OfMine()])
def test_what_is_not_trained_with_is_measured(prior, target):
    loss = AttributionPriorLoss(network(), prior, weight=0, target=target)
    assert loss(X, LABELS).prior > 0
    assert AttributionPriorLoss(network(), prior, target=target).eval()(X, LABELS).prior > 0
    schedule = AttributionPriorLoss(network(), prior, weight=lambda step: float(step > 0), target=target)
    schedule(X, LABELS)
    with pytest.raises(DisconnectedAttributionError):
        schedule(X, LABELS)


class Apart(nn.Module):
    """The first input goes through parameters, the second is added as it is: its attribution trains nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.net(a) + b


def test_of_several_inputs_one_that_parameters_are_reached_from_has_to_be_looked_at():
    inputs = (X, torch.rand(4, 3, dtype=torch.float64))
    for prior in (lambda a: squares(a[0]), LpNorm().of(0), LpNorm(), lambda a: squares(a[0]) + squares(a[1])):
        AttributionPriorLoss(Apart(), prior)(inputs, LABELS).total.backward()
    for prior in (lambda a: squares(a[1]), LpNorm().of(1), LpNorm().of(0) + LpNorm().of(1)):
        with pytest.raises(DisconnectedAttributionError, match="those attributions that depend on parameters"):
            AttributionPriorLoss(Apart(), prior)(inputs, LABELS)


@pytest.mark.parametrize("attribution", ["xgradient", "input_x_gradient", "gradient", "rrr", "integrated_gradients"])
@pytest.mark.parametrize("layer", [None, "1"])
def test_priors_of_every_attribution_and_of_layers_are_judged_alike(attribution, layer):
    AttributionPriorLoss(network(), squares, attribution=attribution, layer=layer)(X, LABELS).total.backward()
    with pytest.raises(DisconnectedAttributionError, match="the prior"):
        AttributionPriorLoss(network(), DEAD["sign"], attribution=attribution, layer=layer)(X, LABELS)


def test_a_prior_that_works_in_place_on_a_view_keeps_its_path():
    model = nn.Sequential(nn.Flatten(), network())
    for attribution in ("gradient", "rrr"):
        loss = AttributionPriorLoss(model, lambda a: a.mul_(2).square().sum(), attribution=attribution)
        loss(X.reshape(4, 1, 5), LABELS).prior.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_attributions_that_are_rounded_are_no_attributions_to_train_with():
    model = network()

    def rounded(x: Tensor, target: Any) -> Tensor:
        x = x.detach().requires_grad_()
        score = model(x).gather(1, target[:, None]).sum()
        return torch.autograd.grad(score, x, create_graph=True)[0].round(decimals=2)

    with pytest.raises(DisconnectedAttributionError, match="given as `attribution`"):
        AttributionPriorLoss(model, squares, attribution=rounded)(X, LABELS)


def test_paths_agree_with_gradients_over_pytorchs_pointwise_functions():
    """Where the derivative is zero at generic points of any function, there is no path, and conversely."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(50, dtype=torch.float64, generator=generator) * 0.9 + 0.05).requires_grad_()
    names = "abs acos asin atan ceil cos erf exp expm1 floor frac log log1p neg reciprocal round rsqrt sgn sigmoid sign"
    for name in f"{names} sin sinh sqrt square tan tanh trunc relu logit digamma lgamma exp2 deg2rad".split():
        y = getattr(torch, name)(x)
        (gradient,) = torch.autograd.grad(y.sum(), x, materialize_grads=True)
        path = any(getattr(node, "variable", None) is x for node in gradient_ancestors([y]))
        assert path == bool(gradient.any()), name


# Weights are numbers


def test_priors_add_up_with_sum_and_scale_with_any_number():
    a = X.requires_grad_(False)
    p, q = LpNorm(), TotalVariation()
    expected = p(a) + q(a)
    torch.testing.assert_close(sum([p, q])(a), expected)
    assert sum([p]) is p
    for half in (0.5, np.float64(0.5), np.float32(0.5), torch.tensor(0.5)):
        for prior in (half * p, p * half):
            assert isinstance(prior, AttributionPrior)
            torch.testing.assert_close(prior(a), 0.5 * p(a))
    torch.testing.assert_close((p / 2 - q)(a), p(a) / 2 - q(a))
    torch.testing.assert_close((-p)(a), -p(a))
    for wrong in (
        lambda: p + 1,
        lambda: 1 + p,
        lambda: p * "2",
        lambda: p * True,
        lambda: p + nn.ReLU(),
        lambda: p * q,
    ):
        with pytest.raises(TypeError):
            wrong()


def test_a_weight_that_requires_a_gradient_would_get_none_and_is_refused():
    weight = torch.tensor(1.0, requires_grad=True)
    for make in (
        lambda: weight * LpNorm(),
        lambda: AttributionPriorLoss(network(), squares, weight=weight),
        lambda: AttributionPriorLoss(network(), squares, weight=lambda step: weight)(X, LABELS),
    ):
        with pytest.raises(OptionTypeError, match="requires a gradient"):
            make()


class Graph(nn.Module):
    """A layer over the edges of a graph, which are given as a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return self.net(torch.sparse.mm(adjacency, x))


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_paths_are_found_behind_sparse_arguments(layout):
    dense = torch.eye(4, dtype=torch.float64).roll(1, 0)
    sparse = dense.to_sparse(layout=layout)
    found = AttributionPriorLoss(Graph(), squares, attribution="gradient")(X, LABELS, sparse)
    found.total.backward()
    torch.testing.assert_close(found.prior, squares(found.attributions))
    with pytest.raises(DisconnectedAttributionError, match="the prior"):
        AttributionPriorLoss(Graph(), DEAD["sign"], attribution="gradient")(X, LABELS, sparse)
