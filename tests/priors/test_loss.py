"""AttributionPriorLoss as an object: what it costs, what it takes, and what it leaves alone."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import attribution_references as reference
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_pre_hook

from captum_xg.errors import ForwardOutputError, InputError, OptionError, TargetError
from captum_xg.priors import AttributionPriorLoss, GiniSparsity, LpNorm, RightForRightReasons

ATTRIBUTIONS = ["xgradient", "input_x_gradient", "gradient", "rrr", "expected_gradients", "integrated_gradients"]
ONE_PASS = ATTRIBUTIONS[:4]
LABELS = torch.tensor([0, 2, 1, 2])


def squares(a: Any) -> Tensor:
    return torch.stack([part.square().sum() for part in (a if isinstance(a, tuple) else (a,))]).sum()


def network(seed: int = 0, between: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(seed)
    middle = nn.ReLU() if between is None else between
    return nn.Sequential(nn.Linear(5, 6, bias=False), middle, nn.Linear(6, 3, bias=False)).double()


def data(n: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(n, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@contextmanager
def sizes_of_runs(model: nn.Module) -> Iterator[list[int]]:
    """List for how many examples a model is called, without anything that a proof could take for a part of it."""
    sizes: list[int] = []
    handle = register_module_forward_pre_hook(lambda m, args: sizes.append(len(args[0])) if m is model else None)
    try:
        yield sizes
    finally:
        handle.remove()


LAST: deque[weakref.ref[Tensor]] = deque()


# What a step costs


@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_one_pass_attributions_share_the_forward_pass_of_the_task(attribution, layer):
    model = network()
    loss = AttributionPriorLoss(model, squares, attribution=attribution, layer=layer)
    with sizes_of_runs(model) as sizes:
        loss(data(), LABELS)  # X-Gradient proves
        sizes.clear()
        loss(data(seed=2), LABELS).total.backward()
    further = {"expected_gradients": [4], "integrated_gradients": [80]}.get(attribution, [])
    ends = [4] if further and layer else []  # references, or baselines, have to get to the layer
    assert sizes == [4, *ends, *further]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_the_graph_is_freed_with_the_result(attribution):
    model = network()
    loss = AttributionPriorLoss(model, squares, attribution=attribution)
    hook = model[1].register_forward_hook(lambda m, args, out: LAST.append(weakref.ref(out)))
    loss(data(), LABELS)  # a proof may leave its own traces to the garbage collector
    LAST.clear()
    gc.collect()
    gc.disable()
    try:
        result = loss(data(), LABELS)
        result.total.backward()
        assert LAST
        del result
        assert all(r() is None for r in LAST)
    finally:
        gc.enable()
        hook.remove()


def test_a_weight_of_zero_measures_the_prior_and_keeps_nothing_for_it():
    model = network()
    found = AttributionPriorLoss(model, squares, weight=0)(data(), LABELS)
    other = AttributionPriorLoss(model, squares, weight=1)(data(), LABELS)
    assert not found.prior.requires_grad
    assert not found.attributions.requires_grad
    torch.testing.assert_close(found.prior, other.prior.detach())
    torch.testing.assert_close(found.attributions, other.attributions.detach())
    torch.testing.assert_close(found.total, other.task)
    found.total.backward()
    ours = [p.grad.clone() for p in model.parameters()]
    plain = torch.autograd.grad(F.cross_entropy(model(data()), LABELS), list(model.parameters()))
    torch.testing.assert_close(tuple(ours), plain)


# The weight


@pytest.mark.parametrize("weight", [-0.5, 0.25, 3, torch.tensor(2.0)])
def test_the_total_is_the_task_loss_plus_the_weighted_prior(weight):
    found = AttributionPriorLoss(network(), squares, weight=weight)(data(), LABELS)
    torch.testing.assert_close(found.total, found.task + float(weight) * found.prior)


def test_a_schedule_is_asked_with_the_number_of_losses_made_so_far():
    asked: list[int] = []

    def schedule(step: int) -> float:
        asked.append(step)
        return 0.5 * step

    loss = AttributionPriorLoss(network(), squares, weight=schedule)
    for step in range(3):
        found = loss(data(), LABELS)
        torch.testing.assert_close(found.total, found.task + 0.5 * step * found.prior)
    loss.eval()(data(), LABELS)
    loss.train()(data(), LABELS)
    loss(data(), LABELS, step=10)
    loss(data(), LABELS)
    assert asked == [0, 1, 2, 3, 3, 10, 11]


@pytest.mark.parametrize("weight", [math.nan, math.inf, "1", None, True, [1.0]])
def test_weights_that_are_no_finite_numbers_are_refused(weight):
    with pytest.raises(OptionError, match="`weight`"):
        AttributionPriorLoss(network(), squares, weight=weight)
    loss = AttributionPriorLoss(network(), squares, weight=lambda step: weight)
    with pytest.raises(OptionError, match="step 7"):
        loss(data(), LABELS, step=7)


# Evaluation


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_evaluation_gives_the_same_numbers_in_any_mode_detached_and_uncounted(attribution, mode):
    options: dict[str, Any] = {}
    if attribution == "expected_gradients":
        options = {"generator": torch.Generator()}
    loss = AttributionPriorLoss(network(), squares, attribution=attribution, **options)
    for generator in options.values():
        generator.manual_seed(0)
    expected = loss(data(), LABELS)
    for generator in options.values():
        generator.manual_seed(0)
    with mode():
        found = loss.eval()(data(), LABELS.clone())  # inputs and labels are made in that mode
    assert loss.step == 1
    for one, other in zip(found, expected, strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, other.detach())


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_tensors_from_inference_mode_can_be_trained_on(attribution):
    with torch.inference_mode():
        x, labels, mask = data(), LABELS.clone(), torch.ones(5)
    loss = AttributionPriorLoss(network(), RightForRightReasons(), attribution=attribution)
    loss(x, labels, mask=mask).total.backward()
    assert all(p.grad is not None for p in loss.model.parameters())


# What it takes


def test_the_options_of_a_task_loss_and_the_arguments_of_a_prior_are_handed_on():
    model, x = network(), data()
    y, mask = torch.randn(4, 3, dtype=torch.float64), torch.tensor([1.0, 0, 0, 1, 1])
    loss = AttributionPriorLoss(
        model, RightForRightReasons(), task_loss=F.mse_loss, target=lambda outputs, targets: (outputs * targets).sum(1)
    )
    found = loss(x, y, mask=mask)
    (expected,) = reference.input_times_gradient(model, (x,), lambda row, i: (row * y[i]).sum())
    torch.testing.assert_close(found.attributions, expected)
    torch.testing.assert_close(found.prior, ((expected * mask) ** 2).sum() / 4)
    torch.testing.assert_close(found.task, ((model(x) - y) ** 2).mean())


@pytest.mark.parametrize("shape", ["n", "n1"])
def test_a_regression_explains_its_one_output(shape):
    model = nn.Linear(5, 1, bias=False).double()
    f = model if shape == "n1" else lambda x: model(x).squeeze(1)
    y = torch.randn(4, 1, dtype=torch.float64) if shape == "n1" else torch.randn(4, dtype=torch.float64)
    found = AttributionPriorLoss(f, squares, task_loss=F.mse_loss)(data(), y)
    torch.testing.assert_close(found.attributions, data() * model.weight)
    torch.testing.assert_close(found.task, F.mse_loss(f(data()), y))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("labels", ["n1hw", "nhw"])
def test_one_logit_per_position_is_reduced_over_positions(reduction, labels):
    model = nn.Conv2d(2, 1, 3, bias=False).double()
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    y = torch.randint(2, (2, 1, 3, 3))
    found = AttributionPriorLoss(model, squares, reduction=reduction)(x, y if labels == "n1hw" else y[:, 0])
    score = reference.class_score(torch.zeros(2, 3, 3, dtype=torch.int64), reduction)
    (expected,) = reference.input_times_gradient(model, (x,), score)
    torch.testing.assert_close(found.attributions, expected)
    torch.testing.assert_close(found.task, F.binary_cross_entropy_with_logits(model(x), y.double()))


class Named(NamedTuple):
    logits: Tensor
    hidden: Tensor


class Several(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.network = kind, network()

    def forward(self, x: Tensor) -> Any:
        logits = self.network(x)
        if self.kind == "dict":
            return {"inner": {"logits": logits}, "hidden": x + 1}
        return Named(logits, x + 1) if self.kind == "named" else (x + 1, logits)


@pytest.mark.parametrize(
    ("kind", "output"),
    [("dict", ("inner", "logits")), ("dict", lambda o: o["inner"]["logits"]), ("tuple", 1), ("named", "logits")],
)
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_output_says_which_part_is_explained_and_all_of_it_is_returned(attribution, kind, output):
    model = Several(kind)
    options = {"references": torch.zeros(1, 5)} if attribution == "expected_gradients" else {}
    found = AttributionPriorLoss(model, squares, attribution=attribution, output=output, **options)(data(), LABELS)
    assert type(found.outputs) is type(model(data()))
    plain = AttributionPriorLoss(model.network, squares, attribution=attribution, **options)(data(), LABELS)
    torch.testing.assert_close(found.attributions, plain.attributions)
    torch.testing.assert_close(found.task, plain.task)
    with pytest.raises((ForwardOutputError, TargetError), match=r"AttributionPriorLoss"):
        AttributionPriorLoss(model, squares, attribution=attribution)(data(), LABELS)


def test_a_layer_may_return_a_named_tuple_and_is_empty_or_not():
    class Split(nn.Module):
        def forward(self, x: Tensor) -> Named:
            return Named(x * 2, x * 3)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shortcut, self.split, self.head = nn.Sequential(), Split(), network()

        def forward(self, x: Tensor) -> Tensor:
            parts = self.split(self.shortcut(x))
            return self.head(parts.logits - parts.hidden)

    model = Model()
    for attribution in ("xgradient", "integrated_gradients"):
        found = AttributionPriorLoss(model, squares, attribution=attribution, layer="split")(data(), LABELS)
        one, other = found.attributions
        torch.testing.assert_close(one / 2, -other / 3)
        at_input = AttributionPriorLoss(model, squares, attribution=attribution, layer="shortcut")(data(), LABELS)
        torch.testing.assert_close(one + other, at_input.attributions)


def test_a_model_that_is_a_function_of_plain_tensors_can_be_trained():
    weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    loss = AttributionPriorLoss(lambda x: x @ weight, squares)
    loss(data(), LABELS).prior.backward()
    torch.testing.assert_close(weight.grad[:, 1], 2 * weight.detach()[:, 1] * data()[LABELS == 1].square().sum(0))


def test_parameters_before_the_inputs_are_trained_too():
    encoder, model = nn.Linear(5, 5).double(), network()

    def total() -> Tensor:
        x = encoder(data())
        (a,) = reference.input_times_gradient(model, (x,), reference.class_score(LABELS))
        return reference.cross_entropy(model(x), LABELS) + squares(a)

    AttributionPriorLoss(model, squares)(encoder(data()), LABELS).total.backward()
    parameters = list(encoder.parameters())
    direction = [torch.randn_like(p) for p in parameters]
    found = sum((p.grad * d).sum() for p, d in zip(parameters, direction, strict=True))
    assert found.item() == pytest.approx(reference.slope(total, parameters, direction), rel=1e-6)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (torch.rand(4), TargetError),
        (torch.tensor([0, 1, 2, 3]), TargetError),
        (torch.tensor([0, 1, 2, -1]), TargetError),
        (torch.tensor([0, 1, 2]), TargetError),
        (torch.zeros(4, 1, dtype=torch.int64), TargetError),
        (torch.zeros(4, 3), TargetError),
        ([0, 1, 2, 0], TargetError),
        (None, TargetError),
    ],
)
def test_targets_that_name_no_class_are_refused(labels, error):
    with pytest.raises(error, match="`target`"):
        AttributionPriorLoss(network(), squares, attribution="gradient")(data(), labels)


@pytest.mark.parametrize("labels", [torch.tensor([0, 1, 2, 1]), torch.rand(4), torch.zeros(3, dtype=torch.int64)])
def test_labels_that_fit_no_binary_loss_are_refused(labels):
    with pytest.raises((TargetError, OptionError), match=r"`target`|labels must be 0 or 1"):
        AttributionPriorLoss(nn.Linear(5, 1).double(), squares, attribution="gradient")(data(), labels)


@pytest.mark.parametrize(
    "inputs",
    [torch.zeros(0, 5), (), "x", torch.tensor(1.0), (torch.ones(2, 5), torch.ones(3, 5)), torch.ones(2).bool()],
)
def test_inputs_that_nothing_can_be_attributed_to_are_refused(inputs):
    with pytest.raises(InputError, match="AttributionPriorLoss"):
        AttributionPriorLoss(network(), squares)(inputs, LABELS)


@pytest.mark.parametrize(
    "prior", [lambda a: a.sum(1), lambda a: 1.0, lambda a: a.sum().long(), lambda a: a.sum().reshape(1), lambda a: None]
)
def test_a_prior_that_gives_no_one_number_is_refused(prior):
    with pytest.raises(ForwardOutputError, match="the prior must return one"):
        AttributionPriorLoss(network(), prior)(data(), LABELS)


@pytest.mark.parametrize("task_loss", [lambda o, t: F.cross_entropy(o, t, reduction="none"), lambda o, t: 0.5])
def test_a_task_loss_that_gives_no_one_number_is_refused(task_loss):
    with pytest.raises(ForwardOutputError, match="task_loss must return one"):
        AttributionPriorLoss(network(), squares, task_loss=task_loss)(data(), LABELS)


@pytest.mark.parametrize(
    "options",
    [
        {"target": "label"},
        {"target": 1},
        {"reduction": "none"},
        {"layer": "nowhere"},
        {"layer": ""},
        {"layer": nn.ReLU()},
        {"task_loss": "mse"},
        {"n_steps": 3},
        {"attribution": lambda x, target: x, "n_steps": 3},
        {"attribution": lambda x, target: x, "target": "all"},
    ],
)
def test_options_that_do_not_exist_are_refused_at_construction(options):
    with pytest.raises(OptionError, match="AttributionPriorLoss"):
        AttributionPriorLoss(network(), squares, **options)


@pytest.mark.parametrize(("model", "prior"), [(3, squares), (network(), 3)])
def test_a_model_or_prior_that_cannot_be_called_is_refused(model, prior):
    with pytest.raises(OptionError, match="must be callable"):
        AttributionPriorLoss(model, prior)


# What it leaves alone


def test_the_model_is_not_registered_under_any_name():
    model = network()
    loss = AttributionPriorLoss(model, GiniSparsity(), layer=model[0])
    assert list(loss.parameters()) == []
    assert set(loss.state_dict()) == {"_extra_state"}
    wrapped = nn.Module()
    wrapped.model, wrapped.loss = model, loss
    assert len(list(wrapped.parameters())) == 2
    assert loss.train().model is not loss.eval()

    class Method(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor, target: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.model(x).gather(1, target[:, None]).sum(), x, create_graph=True)[0]

    assert list(AttributionPriorLoss(model, squares, attribution=Method()).parameters()) == []


def test_modes_of_the_loss_are_not_modes_of_the_model():
    model = network()
    loss = AttributionPriorLoss(model, squares)
    loss.eval()
    assert model.training
    model.eval()
    loss.train()
    assert not model.training


def test_the_state_has_the_step_and_the_buffers_of_the_prior():
    loss = AttributionPriorLoss(network(), RightForRightReasons(torch.ones(5)), weight=lambda step: 1.0 + step)
    loss(data(), LABELS)
    state = loss.state_dict()
    other = AttributionPriorLoss(network(), RightForRightReasons(torch.zeros(5)), weight=lambda step: 1.0 + step)
    other.load_state_dict(state)
    assert other.step == 1
    one, two = loss(data(), LABELS), other(data(), LABELS)
    torch.testing.assert_close(tuple(one), tuple(two))


@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("way", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_a_copy_has_a_model_of_its_own_and_gives_the_same(attribution, way, layer):
    model = network()
    options = {"references": torch.zeros(1, 5), "n_samples": 1} if attribution == "expected_gradients" else {}
    loss = AttributionPriorLoss(model, LpNorm(2), attribution=attribution, layer=layer, **options)
    torch.manual_seed(0)
    first = loss(data(), LABELS)
    other = way(loss)
    assert other.model is not model
    assert other.step == 1
    torch.manual_seed(0)
    second = other(data(), LABELS)
    torch.testing.assert_close(tuple(first), tuple(second))
    second.total.backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in other.model.parameters())
    with torch.no_grad():
        other.model[2].weight.mul_(2)
    torch.manual_seed(0)
    torch.testing.assert_close(loss(data(), LABELS).total, first.total)


def test_the_representation_tells_the_options():
    text = repr(AttributionPriorLoss(network(), GiniSparsity(), weight=0.25, attribution="gradient"))
    assert "GiniSparsity" in text
    assert "attribution='gradient'" in text
    assert "weight=0.25" in text


@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_a_call_leaves_gradients_inputs_modes_and_hooks_alone(attribution, layer):
    model = nn.Sequential(nn.ReLU(inplace=True), network())
    model[1][1].eval()
    x = data()
    before = x.clone()
    layer = None if layer is None else "1.0"
    loss = AttributionPriorLoss(model, squares, attribution=attribution, layer=layer)
    found = loss(x, LABELS)
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert x.grad is None
    found.total.backward()
    assert x.grad is None
    assert all(p.grad is not None for p in model.parameters())
    assert [m.training for m in model.modules()] == [m is not model[1][1] for m in model.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in model.modules())
    with pytest.raises(RuntimeError, match="second time"):
        found.total.backward()


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_inputs_that_require_gradients_get_those_of_the_total(attribution):
    x = data().requires_grad_()
    options = {"n_steps": 2} if attribution == "integrated_gradients" else {}
    model = network()
    options |= {"references": torch.zeros(1, 5), "generator": torch.Generator()} if "exp" in attribution else {}

    def total() -> Tensor:
        if "generator" in options:
            options["generator"].manual_seed(0)
        return AttributionPriorLoss(model, squares, attribution=attribution, **options)(x, LABELS).total

    total().backward()
    direction = [torch.randn_like(x)]
    found = (x.grad * direction[0]).sum().item()
    assert found == pytest.approx(reference.slope(total, [x], direction), rel=1e-6)


def test_calls_do_not_depend_on_calls_before():
    model = network()
    loss = AttributionPriorLoss(model, squares)
    one, other = loss(data(), LABELS), loss(data(seed=5), LABELS)
    (one.total + other.total).backward()
    together = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    loss(data(), LABELS).total.backward()
    loss(data(seed=5), LABELS).total.backward()  # accumulates
    torch.testing.assert_close(together, [p.grad for p in model.parameters()])
