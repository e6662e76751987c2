"""Attributions inside the loss are what their formulas say, in float64, and so are their gradients by parameters."""

from __future__ import annotations

from typing import Any

import attribution_references as reference
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from captum_xg import XGradient
from captum_xg.errors import BaselineError, DegreeError, HomogeneityError, OptionError
from captum_xg.priors import AttributionPriorLoss
from captum_xg.priors.attribution import Attribution, Batch, forget_attribution, register_attribution

N, WEIGHT = 4, 0.7
LABELS = torch.tensor([0, 2, 1, 2])
ATTRIBUTIONS = ["xgradient", "input_x_gradient", "gradient", "rrr", "expected_gradients", "integrated_gradients"]
ONE_PASS = ATTRIBUTIONS[:4]


def squares(a: Tensor | tuple[Tensor, ...]) -> Tensor:
    """A prior that tells every number of an attribution from every other."""
    parts = a if isinstance(a, tuple) else (a,)
    return torch.stack([(torch.linspace(1, 2, p.numel(), dtype=p.dtype) * p.flatten() ** 2).sum() for p in parts]).sum()


def classifier(*, seed: int = 0, outputs: int = 3, smooth: bool = False) -> nn.Sequential:
    """Two linear layers, with an activation that works in place where that is possible."""
    torch.manual_seed(seed)
    activation = nn.Softplus() if smooth else nn.ReLU(inplace=True)
    return nn.Sequential(nn.Linear(5, 6, bias=smooth), activation, nn.Linear(6, outputs, bias=smooth)).double()


def data(seed: int = 1) -> Tensor:
    return torch.randn(N, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def margin(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.gather(1, labels[:, None]).squeeze(1) - outputs.mean(1)


class Recorder:
    """Keeps what a module is called with, as it was."""

    def __init__(self, module: nn.Module) -> None:
        self.calls: list[Tensor] = []
        module.register_forward_pre_hook(lambda _, arguments: self.calls.append(arguments[0].detach().clone()))


def scores_of(target: Any, attribution: str, model: nn.Module, x: Tensor) -> list[reference.Score]:
    if attribution == "rrr":
        return [reference.log_probability_score]
    if target == "all":
        return [lambda row, i, c=c: row[c] for c in range(3)]
    if target == "predicted":
        return [reference.class_score(model(x).argmax(1))]
    if target == "true":
        return [reference.class_score(LABELS)]
    return [lambda row, i: row[LABELS[i]] - sum(row) / 3]


@pytest.mark.parametrize("layer", [None, "0", 0])
@pytest.mark.parametrize("target", ["true", "predicted", "all", margin])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_attributions_total_and_parameter_gradients_are_those_of_the_slow_reference(attribution, target, layer):
    model, x = classifier(), data()
    k, options = 3, {}
    drawn = torch.randn(N * k, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    if attribution == "expected_gradients":
        options = {"n_samples": k, "references": lambda n: drawn}
    if attribution == "integrated_gradients":
        options = {"n_steps": 4, "baselines": 0.3}
    start = model[0] if layer is not None else nn.Identity()
    head = model[1:] if layer is not None else model
    recorder = Recorder(head[0])
    loss = AttributionPriorLoss(
        model,
        squares,
        weight=WEIGHT,
        attribution=attribution,
        target=target,
        layer=model[0] if layer == 0 else layer,
        **options,
    )
    found = loss(x, LABELS)
    last = recorder.calls[-1]
    scores = scores_of(target, attribution, model, x)

    def point() -> Tensor:
        return start(x).clone()

    def f(z: Tensor) -> Tensor:
        return head(z.clone())  # the activation works in place

    alphas = None
    if attribution == "expected_gradients":
        ends, starts = point().repeat_interleave(k, 0).detach(), start(drawn).detach()
        step = ends - starts
        alphas = (((last - starts) * step).sum(1) / step.square().sum(1)).reshape(N, k)
        torch.testing.assert_close(last, starts + alphas.reshape(-1, 1) * step)  # one α for all features
        assert 0 <= float(alphas.min()) < float(alphas.max()) <= 1
        assert alphas.unique().numel() == N * k

    def expected() -> list[Tensor]:
        z = point()
        if attribution in ("gradient", "rrr"):
            return [reference.gradient(f, (z,), s)[0] for s in scores]
        if attribution == "expected_gradients":
            starts = start(drawn).reshape(N, k, -1)
            return [reference.expected_gradients(f, (z,), (starts,), alphas, s)[0] for s in scores]
        if attribution == "integrated_gradients":
            b = start(torch.full_like(x, 0.3))
            return [reference.integrated_gradients(f, (z,), (b,), s, 4)[0] for s in scores]
        return [reference.input_times_gradient(f, (z,), s)[0] for s in scores]

    def total() -> Tensor:
        priors = [squares(a) for a in expected()]
        return reference.cross_entropy(model(x), LABELS) + WEIGHT * sum(priors) / len(priors)

    of_each = expected()
    torch.testing.assert_close(found.attributions, torch.stack(of_each, 1) if len(of_each) > 1 else of_each[0])
    torch.testing.assert_close(found.task, reference.cross_entropy(model(x), LABELS))
    torch.testing.assert_close(found.total, total())
    torch.testing.assert_close(found.outputs, model(x))

    found.total.backward()
    parameters = list(model.parameters())
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        direction = [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in parameters]
        slope = reference.slope(total, parameters, direction)
        assert sum((p.grad * d).sum() for p, d in zip(parameters, direction, strict=True)).item() == pytest.approx(
            slope, rel=1e-6, abs=1e-7
        )


@pytest.mark.parametrize("attribution", ATTRIBUTIONS[1:])
@pytest.mark.parametrize("shape", ["n", "n1"])
def test_a_model_with_one_logit_is_explained_by_that_logit(attribution, shape):
    model, x, labels = classifier(outputs=1, smooth=True), data(), torch.tensor([0, 1, 1, 0])
    options = {"expected_gradients": {"references": torch.zeros(1, 5)}, "integrated_gradients": {"n_steps": 3}}
    f = model if shape == "n1" else lambda x: model(x).squeeze(1)
    recorder = Recorder(model[0])
    loss = AttributionPriorLoss(f, squares, attribution=attribution, **options.get(attribution, {}))
    found = loss(x, labels if shape == "n" else labels[:, None])
    score = reference.log_probability_score if attribution == "rrr" else lambda row, i: row.reshape(())
    if attribution in ("gradient", "rrr"):
        (expected,) = reference.gradient(f, (x,), score)
    elif attribution == "integrated_gradients":
        (expected,) = reference.integrated_gradients(f, (x,), (torch.zeros_like(x),), score, 3)
    elif attribution == "expected_gradients":
        alphas = (recorder.calls[1] / x).mean(1, keepdim=True)  # references are zero
        (expected,) = reference.expected_gradients(f, (x,), (torch.zeros(N, 1, 5),), alphas, score)
    else:
        (expected,) = reference.input_times_gradient(f, (x,), score)
    torch.testing.assert_close(found.attributions, expected)
    torch.testing.assert_close(found.task, reference.cross_entropy(model(x), labels))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignore", [-100, 1])
@pytest.mark.parametrize("attribution", ["input_x_gradient", "integrated_gradients"])
def test_scores_of_positions_are_reduced_over_those_that_count(attribution, reduction, ignore):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 1)).double()
    x = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    labels = torch.randint(3, (3, 4, 5))
    labels[0, :2] = ignore
    labels[1] = ignore  # an example without any class
    options = {"n_steps": 3} if attribution == "integrated_gradients" else {}
    loss = AttributionPriorLoss(
        model, squares, attribution=attribution, reduction=reduction, ignore_index=ignore, **options
    )
    found = loss(x, labels)
    score = reference.class_score(labels, reduction, ignore)
    if attribution == "input_x_gradient":
        (expected,) = reference.input_times_gradient(model, (x,), score)
    else:
        (expected,) = reference.integrated_gradients(model, (x,), (torch.zeros_like(x),), score, 3)
    torch.testing.assert_close(found.attributions, expected)
    assert not found.attributions[1].any()
    counted = labels != ignore
    columns = found.outputs.movedim(1, -1)[counted]
    torch.testing.assert_close(found.task, reference.cross_entropy(columns, labels[counted]))


def test_a_batch_without_any_class_has_attributions_and_a_prior_of_zero():
    model, x = classifier(), data()
    found = AttributionPriorLoss(model, squares, task_loss=lambda o, t: o.sum())(x, torch.full((N,), -100))
    assert not found.attributions.any()
    assert found.prior.item() == 0


@pytest.mark.parametrize("ignore", [-100, 0, 1, 2])
def test_the_predicted_class_is_explained_whatever_label_is_ignored(ignore):
    model, x = classifier(), data()
    labels = torch.full((N,), (ignore + 1) % 3)
    loss = AttributionPriorLoss(model, squares, target="predicted", ignore_index=ignore)
    (expected,) = reference.input_times_gradient(model, (x,), reference.class_score(model(x).argmax(1)))
    torch.testing.assert_close(loss(x, labels).attributions, expected)


@pytest.mark.parametrize("degree", [1, 2])
def test_x_gradient_is_integrated_gradients_of_homogeneous_models(degree):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 5, dtype=torch.float64))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, x: Tensor) -> Tensor:
            smooth = torch.linalg.vector_norm(x[:, None] * self.weight, dim=2)
            return smooth if degree == 1 else smooth * F.linear(x, self.weight)

    x = data()
    loss = AttributionPriorLoss(Model(), squares)
    ours = loss(x, LABELS)
    integrated = AttributionPriorLoss(Model(), squares, attribution="integrated_gradients", n_steps=8)(x, LABELS)
    torch.testing.assert_close(ours.attributions, integrated.attributions)
    one, other = (torch.autograd.grad(r.total, weight)[0] for r in (ours, integrated))
    torch.testing.assert_close(one, other)
    picked = ours.outputs.gather(1, LABELS[:, None]).squeeze(1)
    torch.testing.assert_close(ours.attributions.sum(1), picked)  # completeness
    outside = XGradient(Model(), degree=degree).attribute(x, target=LABELS)
    torch.testing.assert_close(ours.attributions, outside)
    unvalidated = AttributionPriorLoss(Model(), squares, validate="off", degree=degree)(x, LABELS)
    torch.testing.assert_close(unvalidated.attributions, outside)


def test_without_validation_x_gradient_of_any_model_is_input_times_gradient():
    model, x = classifier(smooth=True), data()
    found = AttributionPriorLoss(model, squares, validate="off")(x, LABELS).attributions
    (expected,) = reference.input_times_gradient(model, (x,), reference.class_score(LABELS))
    torch.testing.assert_close(found, expected)
    with pytest.raises(HomogeneityError, match=r"0.*Linear"):
        AttributionPriorLoss(model, squares)(x, LABELS)


@pytest.mark.parametrize("degree", [0, 0.5, True, "1", float("nan")])
def test_degrees_below_one_are_refused(degree):
    with pytest.raises(DegreeError):
        AttributionPriorLoss(classifier(), squares, degree=degree)


def test_a_degree_that_is_not_the_proven_one_is_refused():
    with pytest.raises(DegreeError, match="degree 1, not 2"):
        AttributionPriorLoss(classifier(), squares, degree=2)(data(), LABELS)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS[1:])
def test_attributions_as_functions_of_parameters_pass_gradcheck_and_gradgradcheck(attribution):
    model, x = classifier(smooth=True), data()[:2]
    names = [name for name, _ in model.named_parameters()]
    options: dict[str, Any] = {}
    if attribution == "expected_gradients":
        options = {"references": lambda n: torch.ones(n, 5), "generator": torch.Generator()}
    if attribution == "integrated_gradients":
        options = {"n_steps": 2}

    def prior_of(*values: Tensor) -> Tensor:
        if "generator" in options:
            options["generator"].manual_seed(0)

        def f(z: Tensor) -> Tensor:
            return torch.func.functional_call(model, dict(zip(names, values, strict=True)), z)

        loss = AttributionPriorLoss(f, squares, attribution=attribution, **options)
        return loss(x, LABELS[:2]).attributions

    values = [p.detach().clone().requires_grad_() for p in model.parameters()]
    assert torch.autograd.gradcheck(prior_of, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(prior_of, values, fast_mode=True)


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.tanh(), x[:, :2] ** 2


class Behind(nn.Module):
    """A layer that returns two tensors in the middle of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.split = nn.Linear(5, 6), TwoOutputs()
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat(self.split(self.first(x)), 1) ** 2)


@pytest.mark.parametrize("attribution", ["gradient", "input_x_gradient", "integrated_gradients"])
def test_a_layer_that_returns_a_tuple_has_a_tuple_of_attributions(attribution):
    torch.manual_seed(0)
    model, x = Behind().double(), data()
    options = {"n_steps": 3} if attribution == "integrated_gradients" else {}
    found = AttributionPriorLoss(model, squares, attribution=attribution, layer="split", **options)(x, LABELS)

    def head(a: Tensor, b: Tensor) -> Tensor:
        return model.last(torch.cat((a, b), 1) ** 2)

    points, score = model.split(model.first(x)), reference.class_score(LABELS)
    if attribution == "gradient":
        expected = reference.gradient(head, points, score)
    elif attribution == "input_x_gradient":
        expected = reference.input_times_gradient(head, points, score)
    else:
        expected = reference.integrated_gradients(head, points, model.split(model.first(torch.zeros_like(x))), score, 3)
    torch.testing.assert_close(found.attributions, expected)
    gradients = torch.autograd.grad(found.prior, list(model.parameters()), allow_unused=True)
    others = torch.autograd.grad(squares(expected), list(model.parameters()), allow_unused=True)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(
            torch.zeros(()) if one is None else one, torch.zeros(()) if other is None else other, check_dtype=False
        )


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_a_frozen_part_before_the_layer_changes_nothing_but_its_own_gradients(attribution):
    results = []
    for frozen in (False, True):
        model = classifier()
        model[0].requires_grad_(not frozen)
        options = {"references": torch.ones(1, 5), "generator": torch.Generator().manual_seed(0)}
        loss = AttributionPriorLoss(
            model, squares, attribution=attribution, layer="0", **(options if attribution.startswith("exp") else {})
        )
        found = loss(data(), LABELS)
        found.total.backward()
        assert (model[0].weight.grad is None) == frozen
        results.append((found.attributions.detach(), model[2].weight.grad))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_tuples_of_inputs_have_tuples_of_attributions(attribution):
    torch.manual_seed(0)
    one, two = nn.Linear(5, 3, bias=False).double(), nn.Linear(2, 3, bias=False).double()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = one, two

        def forward(self, a: Tensor, b: Tensor, factor: Tensor) -> Tensor:
            # Not additive, but of degree 1; the factor belongs to the example.
            return torch.linalg.vector_norm(torch.stack((self.one(a), self.two(b))), dim=0) * factor

    model, a, b = Model(), data(), torch.randn(N, 2, dtype=torch.float64)
    factor = torch.rand(N, 1, dtype=torch.float64)
    options: dict[str, Any] = {}
    if attribution == "expected_gradients":
        options = {"n_samples": 2, "references": (torch.zeros(1, 5), torch.zeros(1, 2))}
    if attribution == "integrated_gradients":
        options = {"n_steps": 2, "baselines": (0, torch.zeros(2))}
    loss = AttributionPriorLoss(model, squares, attribution=attribution, **options)
    found = loss((a, b), LABELS, factor).attributions
    assert isinstance(found, tuple)

    class One:
        """The model for one example after the other, each with its factor."""

        def __init__(self) -> None:
            self.i = -1

        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            self.i += 1
            return model(a, b, factor[self.i : self.i + 1])

    score = reference.log_probability_score if attribution == "rrr" else reference.class_score(LABELS)
    if attribution in ("gradient", "rrr"):
        expected = reference.gradient(One(), (a, b), score)
    else:  # paths from zero in a model of degree 1 all have one gradient
        expected = reference.input_times_gradient(One(), (a, b), score)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_tokens_are_attributed_to_at_their_embedding(attribution):
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.head = nn.Linear(4, 3, bias=False)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.embedding(tokens).relu_().mean(1))

    model, tokens = Model().double(), torch.randint(10, (N, 6))
    model.embedding.weight.data[0] = 0  # what baselines of 0 come to
    options = {"expected_gradients": {"references": torch.zeros(1, 6, dtype=torch.int64)}}.get(attribution, {})
    loss = AttributionPriorLoss(model, squares, attribution=attribution, layer="embedding", **options)
    found = loss(tokens, LABELS)
    assert found.attributions.shape == (N, 6, 4)
    score = reference.log_probability_score if attribution == "rrr" else reference.class_score(LABELS)
    way = reference.gradient if attribution in ("gradient", "rrr") else reference.input_times_gradient
    (expected,) = way(lambda e: model.head(e.relu().mean(1)), (model.embedding(tokens),), score)
    torch.testing.assert_close(found.attributions, expected)
    found.total.backward()
    assert model.embedding.weight.grad is not None


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
@pytest.mark.parametrize("times", [0, 2])
def test_a_layer_that_does_not_run_exactly_once_is_refused(attribution, times):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(5, 5, bias=False), nn.Linear(5, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(times):
                x = self.layer(x)
            return self.head(x)

    with pytest.raises(OptionError, match=f"{times} times"):
        AttributionPriorLoss(Model().double(), squares, attribution=attribution, layer="layer")(data(), LABELS)


@pytest.mark.parametrize("source", ["batch", "tensor", "tuple", "dataset", "list", "function"])
def test_expected_gradients_take_references_from_where_they_are_told(source):
    model, x = classifier(smooth=True), data()
    pool = torch.randn(7, 5, dtype=torch.float64) + 10
    sources = {
        "batch": None,
        "tensor": pool,
        "tuple": (pool,),
        "dataset": TensorDataset(pool, torch.arange(7)),
        "list": list(pool),
        "function": lambda n: pool[torch.randint(7, (n,))],
    }
    recorder = Recorder(model[0])
    loss = AttributionPriorLoss(
        model, squares, attribution="expected_gradients", n_samples=200, references=sources[source]
    )
    loss(x, LABELS)
    points = recorder.calls[1].reshape(N, 200, 5)
    available = x if source == "batch" else pool
    used = set()
    for i in range(N):
        for p in points[i]:
            # A point lies on the segment from exactly one reference to the example; from itself it is the example.
            step = x[i] - available
            along = ((p - available) * step).sum(1) / step.square().sum(1).clamp(min=1e-300)
            distance = (available + along[:, None] * step - p).abs().amax(1)
            assert float(distance.min()) < 1e-10
            used.add(int(distance.argmin()))
    assert used == set(range(len(available)))


def test_expected_gradients_converge_to_their_definition():
    model, x = classifier(smooth=True), data()
    pool = torch.randn(3, 5, dtype=torch.float64)
    score = reference.class_score(LABELS)
    exact = sum(reference.integrated_gradients(model, (x,), (r.expand_as(x),), score, 8)[0].detach() / 3 for r in pool)
    means = []
    for n in (100, 10_000):
        loss = AttributionPriorLoss(
            model,
            squares,
            attribution="expected_gradients",
            n_samples=n,
            references=pool,
            generator=torch.Generator().manual_seed(3),
        )
        means.append(float((loss.eval()(x, LABELS).attributions - exact).abs().max()))
    assert means[1] < 0.03 * float(exact.abs().max())
    assert means[1] < means[0]


def test_expected_gradients_draw_anew_and_a_generator_makes_them_reproducible():
    def run(seed: int | None) -> list[Tensor]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        loss = AttributionPriorLoss(classifier(), squares, attribution="expected_gradients", generator=generator)
        return [loss(data(), LABELS).attributions.detach() for _ in range(2)]

    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again = run(5), run(5)
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(first[0], first[1])
    torch.set_rng_state(before)
    run(None)
    assert not torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("attribution", ["expected_gradients", "integrated_gradients"])
@pytest.mark.parametrize("layer", [None, "2"])
def test_points_and_references_are_no_data_for_batch_norm(attribution, layer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    plain = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    plain.load_state_dict(model.state_dict())
    loss = AttributionPriorLoss(model, squares, attribution=attribution, layer=layer)
    loss(data(), LABELS).total.backward()
    plain(data())
    for one, other in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attribution": "expected_gradients", "n_samples": 0}, OptionError),
        ({"attribution": "expected_gradients", "references": 3}, OptionError),
        ({"attribution": "integrated_gradients", "n_steps": 1.5}, OptionError),
        ({"attribution": "gradient", "n_steps": 3}, OptionError),
        ({"attribution": "xgradient", "validate": "numeric"}, OptionError),
        ({"attribution": "saliency"}, OptionError),
        ({"attribution": ["gradient"]}, OptionError),
    ],
)
def test_options_that_an_attribution_does_not_have_are_refused_at_once(options, error):
    with pytest.raises(error, match="AttributionPriorLoss"):
        AttributionPriorLoss(classifier(), squares, **options)


def test_references_and_baselines_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match="references have shapes"):
        AttributionPriorLoss(classifier(), squares, attribution="expected_gradients", references=torch.ones(2, 4))(
            data(), LABELS
        )
    for baselines in (torch.ones(3), (0, 0), "zero"):
        with pytest.raises(BaselineError):
            AttributionPriorLoss(classifier(), squares, attribution="integrated_gradients", baselines=baselines)(
                data(), LABELS
            )


def test_targets_in_a_dictionary_reach_functions_at_every_point_of_a_path():
    model, x = classifier(smooth=True), data()
    loss = AttributionPriorLoss(
        model,
        squares,
        attribution="integrated_gradients",
        n_steps=3,
        target=lambda o, t: margin(o, t["labels"]),
        task_loss=lambda o, t: F.cross_entropy(o, t["labels"]),
    )
    found = loss(x, {"labels": LABELS}).attributions
    plain = AttributionPriorLoss(model, squares, attribution="integrated_gradients", n_steps=3, target=margin)
    torch.testing.assert_close(found, plain(x, LABELS).attributions)


class Uses(nn.Module):
    """A first layer whose input goes elsewhere, too, before a head of degree 1 that is not linear."""

    def __init__(self, first: nn.Module, way: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.way = first, way
        self.head = nn.Linear(self._features(torch.zeros(1, *shape, dtype=torch.float64)).shape[1], 3, bias=False)

    def _features(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.first(x), 0.1, inplace=True).flatten(1)
        if self.way == "residual":
            return torch.cat((h, x.abs().flatten(1)), 1)
        if self.way == "twice":
            return h - 2 * self.first(x).relu().flatten(1)
        return h * 3 if self.way == "flipped" else h

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self._features(x.flip(-1) if self.way == "flipped" else x))


FIRST_LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: nn.Linear(4, 6, bias=False), (4,)),
    (lambda: nn.Linear(4, 2, bias=False), (3, 4)),
    (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2, bias=False), (2, 6)),
    (lambda: nn.Conv2d(2, 3, 3, padding=1, dilation=2, bias=False), (2, 5, 6)),
    (lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 3), bias=False), (2, 6, 6)),
    (lambda: nn.Conv2d(2, 3, 3, padding="same", bias=False), (2, 4, 4)),
    (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", bias=False), (2, 4, 4)),
    (lambda: nn.Conv3d(1, 2, 2, stride=2, bias=False), (1, 4, 4, 3)),
    (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 6, bias=False)), (4,)),
]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("way", ["plain", "residual", "twice", "flipped"])
@pytest.mark.parametrize(("make", "shape"), FIRST_LAYERS)
def test_gradients_are_right_whatever_the_first_layer_is_and_wherever_else_its_input_goes(make, shape, way, frozen):
    torch.manual_seed(0)
    first = make().double()
    model = Uses(first, way, shape).double()
    first.requires_grad_(not frozen)
    x = torch.randn(N, *shape, dtype=torch.float64)
    loss = AttributionPriorLoss(model, squares, weight=WEIGHT)
    for _ in range(2):  # what the first call finds out, the second uses
        model.zero_grad()
        found = loss(x, LABELS)
        found.total.backward()
    (expected,) = reference.input_times_gradient(model, (x,), reference.class_score(LABELS))
    torch.testing.assert_close(found.attributions, expected)
    total = reference.cross_entropy(model(x), LABELS) + WEIGHT * squares(expected)
    parameters = [p for p in model.parameters() if p.requires_grad]
    torch.testing.assert_close([p.grad for p in parameters], list(torch.autograd.grad(total, parameters)))
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_an_attribution_of_ones_own_is_known_by_its_name_or_passed_as_it_is():
    @register_attribution("squared_gradient")
    class SquaredGradient(Attribution):
        def __call__(self, batch: Batch) -> list[tuple[Tensor, ...]]:
            scores = batch.selection.scores(batch.passed.explained)
            found = (batch.gradients(each, batch.passed.points) for each in scores)
            return [tuple(g.square() for g in each) for each in found]

    try:
        with pytest.raises(ValueError, match="squared_gradient"):
            register_attribution("squared_gradient")(SquaredGradient)
        model, x = classifier(), data()
        (gradient,) = reference.gradient(model, (x,), reference.class_score(LABELS))
        total = reference.cross_entropy(model(x), LABELS) + WEIGHT * squares(gradient.square())
        parameters = list(model.parameters())
        for attribution in ("squared_gradient", SquaredGradient()):
            found = AttributionPriorLoss(model, squares, weight=WEIGHT, attribution=attribution)(x, LABELS)
            torch.testing.assert_close(found.attributions, gradient.square())
            torch.testing.assert_close(
                torch.autograd.grad(found.total, parameters), torch.autograd.grad(total, parameters, retain_graph=True)
            )
        with pytest.raises(OptionError, match="n_steps"):
            AttributionPriorLoss(model, squares, attribution=SquaredGradient(), n_steps=3)
    finally:
        forget_attribution("squared_gradient")
    with pytest.raises(OptionError, match="squared_gradient"):
        AttributionPriorLoss(model, squares, attribution="squared_gradient")
