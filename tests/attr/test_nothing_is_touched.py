"""Inputs, model and random numbers are after a call what they were before it, also when the call is refused."""

import contextlib
import copy
import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from cases import POWERS, X_DNNS, Elementwise, homogeneous, mlp, x_dnns
from hypothesis import given
from tolerance import as_tuple, assert_close
from torch import nn
from torch.nn import functional as F

from captum_xg import XGradient
from captum_xg.errors import (
    BaselineError,
    CaptumXGError,
    CrossExampleError,
    DegreeError,
    ForwardOutputError,
    GradientError,
    HomogeneityError,
    HomogeneityWarning,
    InputError,
    NondeterministicForwardError,
    TargetError,
    TrainingModeError,
)

# --- everything that could be touched --------------------------------------------------------------------------------


def state_of_tensor(tensor):
    grad = tensor.grad if tensor.is_leaf else None
    return {
        "value": tensor.detach().clone(),
        "requires_grad": tensor.requires_grad,
        "is_leaf": tensor.is_leaf,
        "grad_fn": tensor.grad_fn,
        "grad": grad,
        "value of grad": None if grad is None else grad.clone(),
        "version": None if tensor.is_inference() else tensor._version,
        "hooks": len(tensor._backward_hooks or {}),
    }


def state_of_model(model):
    state = {}
    for path, module in model.named_modules():
        state[f"mode of {path}"] = module.training
        state[f"attributes of {path}"] = sorted(vars(module))
        # A hook is told by its id and function; the dictionaries also remember options such as with_kwargs.
        for name in vars(module):
            if name.endswith(("_hooks", "_with_kwargs", "_always_called")):
                state[f"{name} of {path}"] = dict(vars(module)[name] or {})
    for name, parameter in model.named_parameters():
        state[f"parameter {name}"] = (parameter, state_of_tensor(parameter))
    for name, buffer in model.named_buffers():
        state[f"buffer {name}"] = (buffer, state_of_tensor(buffer))
    return state


def state_of_torch():
    hooks = [getattr(nn.modules.module, name) for name in dir(nn.modules.module) if name.startswith("_global_")]
    return {
        "random numbers": torch.get_rng_state(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "default dtype": torch.get_default_dtype(),
        "global hooks": [len(h) for h in hooks if isinstance(h, dict)],
    }


def same(one, other):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one is other or one.dtype != other.dtype or one.shape != other.shape:
            return one is other
        return torch.equal(one, other) or torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or one == other


@contextlib.contextmanager
def nothing_is_touched(model, *inputs):
    """Assert that the body leaves model, inputs, random numbers and modes as they were, whether it raises or not."""

    def state():
        tensors = {f"inputs[{i}]": state_of_tensor(x) for i, x in enumerate(inputs)}
        return tensors | state_of_torch() | (state_of_model(model) if isinstance(model, nn.Module) else {})

    before = state()
    try:
        yield
    finally:
        after = state()
        changed = [key for key in before if key not in after or not same(before[key], after[key])]
        assert not changed, changed
        assert before.keys() == after.keys()


def marked(model, *inputs):
    """Give the model hooks, gradients and frozen parameters, and the first input a gradient: all that can be lost."""
    for i, parameter in enumerate(model.parameters()):
        if i % 2 == 0:
            parameter.grad = torch.full_like(parameter, 0.5)
        parameter.requires_grad_(i % 3 != 2)
    for module in model.modules():
        module.register_forward_hook(lambda module, args, output: None)
        module.register_forward_pre_hook(lambda module, args, kwargs: None, with_kwargs=True)
    x = inputs[0]
    if x.dtype.is_floating_point and x.is_leaf:
        x.requires_grad_()
        x.grad = torch.full_like(x, 0.25)
        x.register_hook(lambda gradient: gradient)


def test_the_snapshot_notices_what_it_has_to():
    def gradient(x, model):
        x.grad = torch.ones_like(x)

    def parameter(x, model):
        with torch.no_grad():
            model[0].weight[0, 0] += 1

    def gradient_of_parameter(x, model):
        model[2].weight.grad = torch.ones_like(model[2].weight)

    changes = {
        "inputs[0]": (
            lambda x, model: x.requires_grad_(),
            lambda x, model: x.data.add_(1),
            lambda x, model: x.mul_(1),
            gradient,
        ),
        "mode of 1": (lambda x, model: model.train(),),
        "_forward_hooks of 1": (lambda x, model: model[1].register_forward_hook(print),),
        "_forward_pre_hooks of 1": (lambda x, model: model[1].register_forward_pre_hook(print),),
        "_backward_hooks of 1": (lambda x, model: model[1].register_full_backward_hook(print),),
        "attributes of 1": (lambda x, model: setattr(model[1], "calls", 3),),
        "parameter 0.weight": (parameter, lambda x, model: model[0].requires_grad_(False)),
        "parameter 2.weight": (gradient_of_parameter,),
        "random numbers": (lambda x, model: torch.rand(1),),
    }
    for what, kinds in changes.items():
        for change in kinds:
            model, x = mlp(3, 4, 2).eval(), torch.rand(2, 3)
            with pytest.raises(AssertionError, match=re.escape(f"'{what}'")), nothing_is_touched(model, x):
                change(x, model)


# --- a call that succeeds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*X_DNNS, *POWERS], ids=str)
@pytest.mark.parametrize("create_graph", [False, True], ids=["detached", "create_graph"])
def test_a_call_leaves_everything_as_it_was(case, create_graph):
    model, x = case.model(), case.inputs()
    marked(model, x)
    method = XGradient(model, degree=case.degree)
    with nothing_is_touched(model, x):
        method.attribute(x, target=1, create_graph=create_graph)
        method.attribute(x, target=1, internal_batch_size=2, create_graph=create_graph, return_convergence_delta=True)


@given(homogeneous())
def test_a_call_leaves_inputs_as_they_were_that_do_not_require_gradients(problem):
    for validate in ("numeric", "off"):
        with nothing_is_touched(problem.model, problem.inputs):
            method = XGradient(problem.model, degree=problem.case.degree, validate=validate)
            method.attribute(problem.inputs, target=problem.target)


def test_a_network_in_training_mode_stays_in_it_where_that_changes_nothing():
    model, x = X_DNNS[1].model().train(), X_DNNS[1].inputs()
    with nothing_is_touched(model, x):
        XGradient(model).attribute(x, target=0)
    assert model.training


def test_several_inputs_baselines_targets_and_further_arguments_stay_as_they_were():
    model, x = X_DNNS[1].model(), X_DNNS[1].inputs()
    y, baseline = torch.rand(3, 1, requires_grad=True), torch.zeros(3, 6, requires_grad=True)
    target, factor = torch.tensor([0, 2, 1]), torch.rand(3, 1, requires_grad=True)
    with nothing_is_touched(model, x, y, baseline, target, factor):
        XGradient(lambda x, y, factor: (model(x) + y) * factor).attribute(
            (x, y), (baseline, 0), target, factor, internal_batch_size=2, return_convergence_delta=True
        )
    assert factor.grad is None


def test_a_call_that_only_warns_leaves_everything_as_it_was():
    model, x = mlp(6, 5, 3, bias=True), torch.rand(4, 6)
    marked(model, x)
    with nothing_is_touched(model, x), pytest.warns(HomogeneityWarning):
        XGradient(model, on_violation="warn").attribute(x, target=0)


def test_a_replaced_gradient_function_leaves_everything_as_it_was():
    model, x = mlp(6, 5, 3), torch.rand(4, 6)
    marked(model, x)
    method = XGradient(model, validate="off")
    original = method.gradient_func
    method.gradient_func = lambda **kwargs: original(**kwargs)
    with nothing_is_touched(model, x):
        method.attribute(x, target=0)


# --- a call that raises ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """A call that raises: a network, options of XGradient and the call, and the error."""

    error: type[BaseException]
    model: Any
    call: dict[str, Any]
    options: dict[str, Any]
    inputs: Any = None


class OfTwo(nn.Module):
    """Takes two inputs and uses the first."""

    def __init__(self):
        super().__init__()
        self.network = mlp(6, 5, 3)

    def forward(self, x, y):
        return self.network(x)


class Raising(nn.Module):
    """Raises its own error when the condition on its input holds."""

    def __init__(self, condition, bias=False):
        super().__init__()
        self.network, self.condition = mlp(6, 5, 3, bias=bias), condition

    def forward(self, x):
        hidden = self.network[:2](x)
        torch.rand(1)
        if self.condition(x):
            raise OwnError("of the model")
        return self.network[2](hidden)


class OwnError(Exception):
    """What a model raises by itself."""


def after(function):
    """An MLP whose output goes through the function."""
    return lambda: nn.Sequential(mlp(6, 5, 3), Elementwise(function))


def refusal(error, build, options=None, inputs=None, **call):
    return Refusal(error, build, {"target": 0} | call, options or {}, inputs)


def not_in_eval_mode(build):
    return lambda: build().train()


REFUSALS = {
    "bias": refusal(HomogeneityError, lambda: mlp(6, 5, 3, bias=True)),
    "bias, in parts": refusal(HomogeneityError, lambda: mlp(6, 5, 3, bias=True), internal_batch_size=1),
    "bias in some parts only": refusal(
        HomogeneityError, after(lambda h: h + (h[:, :1] > 0.2)), internal_batch_size=1),
    "detached path": refusal(HomogeneityError, after(lambda h: h * 2 - h.detach())),
    "wrong degree": refusal(HomogeneityError, after(torch.square)),
    "bias, and layers that cannot be probed": refusal(
        HomogeneityError, lambda: Raising(lambda x: len(x) == 1, bias=True)),
    "baseline": refusal(BaselineError, lambda: mlp(6, 5, 3), baselines=1.0),
    "baseline of another shape": refusal(BaselineError, lambda: mlp(6, 5, 3), baselines=torch.zeros(2, 6)),
    "target out of range": refusal(TargetError, lambda: mlp(6, 5, 3), target=99),
    "no target": refusal(TargetError, lambda: mlp(6, 5, 3), target=None),
    "target of a dtype": refusal(TargetError, lambda: mlp(6, 5, 3), target=torch.rand(4)),
    "unused input": refusal(GradientError, OfTwo, inputs=(torch.rand(4, 6), torch.rand(4, 2))),
    "detached output": refusal(GradientError, after(lambda h: h.detach())),
    "infinite gradient": refusal(GradientError, after(lambda h: (h - h).sqrt() + h)),
    "dropout that trains": refusal(TrainingModeError, not_in_eval_mode(lambda: nn.Sequential(nn.Dropout(), mlp(6, 3)))),
    "batch norm that trains": refusal(
        TrainingModeError, not_in_eval_mode(lambda: nn.Sequential(nn.BatchNorm1d(6), mlp(6, 3)))),
    "random forward": refusal(NondeterministicForwardError, after(lambda h: F.dropout(h, 0.5, training=True))),
    "noise": refusal(NondeterministicForwardError, after(lambda h: h + torch.randn_like(h))),
    "noise, in parts": refusal(
        NondeterministicForwardError, after(lambda h: h + torch.randn_like(h)), internal_batch_size=1),
    "examples that mix": refusal(CrossExampleError, after(lambda h: h - h.mean(0))),
    "batch statistics": refusal(
        CrossExampleError, lambda: nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), mlp(6, 3))),
    "output that is no tensor": refusal(ForwardOutputError, after(lambda h: (h,))),
    "output that is a class": refusal(ForwardOutputError, after(lambda h: h.argmax(1))),
    "output that is infinite": refusal(ForwardOutputError, after(lambda h: h / 0)),
    "input that is NaN": refusal(InputError, lambda: mlp(6, 5, 3), inputs=torch.full((4, 6), torch.nan)),
    "no degree to find": refusal(DegreeError, lambda: mlp(6, 5, 3, bias=True), options={"degree": "auto"}),
    "degree below one": refusal(DegreeError, after(lambda h: h.abs().sqrt()), options={"degree": "auto"}),
    "batch size": refusal(ValueError, lambda: mlp(6, 5, 3), internal_batch_size=0),
    "own error": refusal(OwnError, lambda: Raising(lambda x: True)),
    "own error without gradients": refusal(OwnError, lambda: Raising(lambda x: not x.requires_grad)),
    "own error at a large scale": refusal(OwnError, lambda: Raising(lambda x: x.abs().max() > 1000)),
    "own error in the last part": refusal(OwnError, lambda: Raising(lambda x: len(x) < 3), internal_batch_size=3),
    "own error of another forward": refusal(AttributeError, after(lambda h: h.no_such_method())),
}  # fmt: skip


@pytest.mark.parametrize("create_graph", [False, True], ids=["detached", "create_graph"])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_call_that_raises_leaves_everything_as_it_was(name, create_graph):
    case = REFUSALS[name]
    torch.manual_seed(1)
    model = case.model() if "trains" in name else case.model().eval()
    inputs = torch.randn(4, 6) if case.inputs is None else case.inputs
    inputs = tuple(x.clone() for x in inputs) if isinstance(inputs, tuple) else inputs.clone()
    marked(model, *as_tuple(inputs))
    method = XGradient(model, **case.options)
    with nothing_is_touched(model, *as_tuple(inputs)), pytest.raises(case.error):
        method.attribute(inputs, **case.call, create_graph=create_graph, return_convergence_delta=True)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_model_that_was_refused_can_be_used_as_before(name):
    case = REFUSALS[name]
    torch.manual_seed(1)
    model = case.model() if "trains" in name else case.model().eval()
    untouched = copy.deepcopy(model)
    inputs = torch.randn(4, 6) if case.inputs is None else case.inputs
    with pytest.raises(case.error):
        XGradient(model, **case.options).attribute(inputs, **case.call)
    assert same(dict(model.state_dict()), dict(untouched.state_dict()))
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()].count(0) == len(
        [*model.modules()]
    )


def writes_on_every_forward():
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5, bias=False))
    return nn.Sequential(module, mlp(5, 3))


BUFFERS = {
    "BatchNorm1d": lambda: nn.Sequential(nn.BatchNorm1d(6), mlp(6, 3)),
    "InstanceNorm1d": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten(), mlp(6, 3)
    ),
    "spectral_norm": writes_on_every_forward,
}


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_that_a_layer_in_training_mode_rewrites_stay_as_they_were(name):
    torch.manual_seed(0)
    model, x = BUFFERS[name]().train(), torch.randn(4, 6)
    with nothing_is_touched(model, x), contextlib.suppress(CaptumXGError):
        XGradient(model).attribute(x, target=0)


def test_random_numbers_that_a_refused_call_has_used_are_given_back():
    model = nn.Sequential(mlp(6, 3), Elementwise(lambda h: F.dropout(h, 0.5, training=True)))
    x = torch.rand(4, 6)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with pytest.raises(NondeterministicForwardError):
        XGradient(model).attribute(x, target=0)
    assert torch.equal(torch.rand(3), expected)


# --- modes of autograd -----------------------------------------------------------------------------------------------


@given(x_dnns())
def test_attributions_are_the_same_under_no_grad(problem):
    method = XGradient(problem.model)
    expected = method.attribute(problem.inputs, target=problem.target)
    with torch.no_grad(), nothing_is_touched(problem.model, problem.inputs):
        actual = method.attribute(problem.inputs, target=problem.target)
    assert torch.equal(actual, expected)


@given(x_dnns())
def test_attributions_are_the_same_inside_inference_mode(problem):
    method = XGradient(problem.model)
    expected = method.attribute(problem.inputs, target=problem.target)
    with torch.inference_mode(), nothing_is_touched(problem.model, problem.inputs):
        ours = method.attribute(problem.inputs, target=problem.target, return_convergence_delta=True)[0]
        made_here = method.attribute(problem.inputs.clone(), target=problem.target, internal_batch_size=2)
    assert torch.equal(ours, expected)
    assert_close(made_here.clone(), expected, 1e-12)


@given(x_dnns())
def test_inputs_may_be_made_in_inference_mode(problem):
    method = XGradient(problem.model)
    with torch.inference_mode():
        x = problem.inputs.clone()
    with nothing_is_touched(problem.model, x):
        actual = method.attribute(x, target=problem.target)
    assert x.is_inference()
    assert not actual.is_inference()
    assert torch.equal(actual, method.attribute(problem.inputs, target=problem.target))


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("what", ["targets", "targets of one example", "further arguments", "baselines", "integers"])
def test_whatever_is_made_in_inference_mode_is_accepted(what, inside):
    """Integrated Gradients takes all of them outside of inference mode, because it repeats them for its steps."""
    torch.manual_seed(0)
    model, x = mlp(6, 5, 3), torch.randn(4, 6)
    with torch.inference_mode():
        inputs, call = {
            "targets": (x, {"target": torch.tensor([0, 2, 1, 0])}),
            "targets of one example": (x, {"target": torch.tensor([2])}),
            "further arguments": (x, {"target": 1, "additional_forward_args": torch.rand(4, 1)}),
            "baselines": (x, {"target": 1, "baselines": torch.zeros(4, 6)}),
            "integers": (torch.arange(24).reshape(4, 6) - 9, {"target": 1}),
        }[what]

    def forward(x, factor=2.0):
        return model(x) * factor

    expected = IntegratedGradients(forward).attribute(inputs, **call)
    with torch.inference_mode() if inside else contextlib.nullcontext():
        actual = XGradient(forward).attribute(inputs, **call)
    assert_close(actual.clone(), expected, 1e-5)


def test_the_caller_may_differentiate_around_a_call():
    """A call in the middle of somebody's own forward pass leaves that pass and its gradients alone."""
    model, x = mlp(6, 5, 3), torch.rand(4, 6, requires_grad=True)
    output = model(x).sum()
    XGradient(model).attribute(x, target=0)
    output.backward()
    gradients = [p.grad.clone() for p in (x, *model.parameters())]
    x.grad = None
    model.zero_grad()
    model(x).sum().backward()
    assert same(gradients, [p.grad for p in (x, *model.parameters())])


# --- forward functions that write into their inputs ------------------------------------------------------------------


def relu_of_a_view(x):
    x[:, 1:].relu_()
    return x


def leaky_relu_of_a_reshaped_view(x):
    return F.leaky_relu_(x.view(len(x), 2, 3)).flatten(1)


IN_PLACE = {
    "ReLU": nn.ReLU(inplace=True),
    "LeakyReLU": nn.LeakyReLU(0.2, inplace=True),
    "multiplication": Elementwise(lambda x: x.mul_(3)),
    "view": Elementwise(relu_of_a_view),
    "reshaped view": Elementwise(leaky_relu_of_a_reshaped_view),
}


def tensor_of_kind(kind):
    x = torch.randn(4, 6)
    with torch.inference_mode():
        inference = x.clone()
    return {
        "plain": x,
        "requires grad": x.clone().requires_grad_(),
        "not a leaf": x.clone().requires_grad_() * 1,
        "inference": inference,
        "integer": (10 * x).long(),
    }[kind]


def copying(model):
    """The same function, which writes into a copy."""
    return lambda x: model(x.clone())


@pytest.mark.parametrize("create_graph", [False, True], ids=["detached", "create_graph"])
@pytest.mark.parametrize("kind", ["plain", "requires grad", "not a leaf", "inference", "integer"])
@pytest.mark.parametrize("layer", IN_PLACE)
def test_a_first_layer_that_works_in_place_does_not_reach_the_users_tensor(layer, kind, create_graph):
    torch.manual_seed(0)
    model = nn.Sequential(IN_PLACE[layer], mlp(6, 5, 3))
    x = tensor_of_kind(kind)
    expected = XGradient(copying(model)).attribute(x, target=1)
    with nothing_is_touched(model, x):
        actual = XGradient(model).attribute(x, target=1, create_graph=create_graph)
    assert_close(actual, expected, 1e-6)


def write_under_no_grad(x):
    with torch.no_grad():
        x.mul_(2)
    return x


def write_into_detached(x):
    x.detach().mul_(2)
    return x


@pytest.mark.parametrize("write", [write_under_no_grad, write_into_detached], ids=lambda f: f.__name__)
@pytest.mark.parametrize("validate", ["numeric", "off"])
def test_a_forward_function_that_writes_into_its_input_behind_autograds_back_is_refused_as_such(write, validate):
    """No copy protects the user's tensor here (it would cost the memory of one input), so it must not go unseen."""
    torch.manual_seed(0)
    model = nn.Sequential(Elementwise(write), mlp(6, 5, 3))
    with pytest.raises(InputError, match=r"overwrites inputs\[0\].*x\.clone\(\)"):
        XGradient(model, validate=validate).attribute(torch.randn(4, 6), target=1)


# --- the graph -------------------------------------------------------------------------------------------------------


@given(homogeneous())
def test_attributions_are_detached(problem):
    method = XGradient(problem.model, degree=problem.case.degree)
    for x in (problem.inputs, problem.inputs.clone().requires_grad_()):
        attributions, delta = method.attribute(x, target=problem.target, return_convergence_delta=True)
        assert not attributions.requires_grad
        assert attributions.grad_fn is None
        assert not delta.requires_grad


@given(homogeneous())
def test_create_graph_does_not_change_the_attributions(problem):
    method = XGradient(problem.model, degree=problem.case.degree)
    expected = method.attribute(problem.inputs, target=problem.target)
    for x in (problem.inputs, problem.inputs.clone().requires_grad_()):
        attributions = method.attribute(x, target=problem.target, create_graph=True)
        assert attributions.requires_grad
        assert_close(attributions, expected, 1e-12)


def test_inputs_that_depend_on_each_other_are_attributed_to_separately():
    """F(x, y) with y = 2x: the attribution to x is x·∂F/∂x, not x·dF/dx."""
    torch.manual_seed(0)
    first, second = mlp(6, 5, 1).double(), mlp(6, 4, 1).double()
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    method = XGradient(lambda x, y: first(x) + second(y))
    for inputs in ((x, x), (x, 2 * x), (2 * x, x)):
        expected = method.attribute(tuple(t.detach() for t in inputs))
        assert_close(method.attribute(inputs, create_graph=True), expected, 1e-12)


@pytest.mark.parametrize("internal_batch_size", [None, 2], ids=["whole", "in parts"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=lambda f: f.__name__)
def test_create_graph_gives_a_graph_in_every_mode(mode, internal_batch_size):
    """A loss of attributions without a graph trains nothing and says nothing."""
    torch.manual_seed(0)
    model, x = mlp(6, 5, 3), torch.rand(4, 6)
    with mode():
        attributions = XGradient(model).attribute(
            x, target=0, internal_batch_size=internal_batch_size, create_graph=True
        )
    attributions.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("case", [*X_DNNS, *POWERS], ids=str)
def test_gradients_of_attributions_reach_every_parameter(case):
    model, x = case.model(1), case.inputs(1, examples=8)
    for internal_batch_size in (None, 3):
        model.zero_grad()
        attributions = XGradient(model, degree=case.degree).attribute(
            x, target=[i % 3 for i in range(8)], internal_batch_size=internal_batch_size, create_graph=True
        )
        attributions.square().sum().backward()
        reached = {name: p.grad is not None and bool(p.grad.any()) for name, p in model.named_parameters()}
        assert {name for name, value in reached.items() if not value} == unreachable(case.name)


def unreachable(name):
    """The bias of a batch norm shifts F and leaves its slopes alone, so x·∇F does not contain it."""
    return {"1.bias"} if name == "batch_norm_without_shift" else set()


DIFFERENTIATED = [case for case in (*X_DNNS, *POWERS) if case.shape == (6,)]


@pytest.mark.parametrize("multiply_by_inputs", [True, False], ids=["global", "local"])
@pytest.mark.parametrize("case", DIFFERENTIATED, ids=str)
def test_gradients_of_attributions_for_the_parameters_are_those_of_finite_differences(case, multiply_by_inputs):
    model, x = case.model(2), case.inputs(2)
    names = [name for name, _ in model.named_parameters()]
    parameters = tuple(p.detach().clone().requires_grad_() for p in model.parameters())

    def attributions(*values):
        def forward(x):
            return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

        method = XGradient(forward, multiply_by_inputs, degree=case.degree, validate="off")
        return method.attribute(x, target=1, create_graph=True)

    assert torch.autograd.gradcheck(attributions, parameters, atol=1e-6, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("multiply_by_inputs", [True, False], ids=["global", "local"])
@pytest.mark.parametrize("case", DIFFERENTIATED, ids=str)
def test_gradients_of_attributions_for_the_input_are_those_of_finite_differences(case, multiply_by_inputs):
    model, x = case.model(3), case.inputs(3).requires_grad_()

    def attributions(x):
        method = XGradient(model, multiply_by_inputs, degree=case.degree, validate="off")
        return method.attribute(x, target=1, create_graph=True)

    if not multiply_by_inputs and not attributions(x).grad_fn:
        pytest.skip("the gradient of a linear function is constant")
    assert torch.autograd.gradcheck(attributions, (x,), atol=1e-6, rtol=1e-5)


@given(homogeneous())
def test_gradients_flow_through_an_input_that_is_somebodys_output(problem):
    """With x = c·z, the gradient of Σ A² for c is the sum of z times that for x."""
    method = XGradient(problem.model, degree=problem.case.degree)

    def loss(x):
        return method.attribute(x, target=problem.target, create_graph=True).square().sum()

    x = problem.inputs.clone().requires_grad_()
    loss(x).backward()
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss((factor * problem.inputs).view_as(x)).backward()
    expected = (x.grad * problem.inputs).sum()
    torch.testing.assert_close(factor.grad, expected, rtol=1e-9, atol=1e-9 * float(x.grad.abs().max() * problem.size))
