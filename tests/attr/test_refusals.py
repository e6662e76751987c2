"""What is not Integrated Gradients is refused: by its own error, in words that help, and with nothing changed."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from violations import (
    AddsConstant,
    SaturatesAt,
    assert_names_exactly,
    culprits,
    fill,
    insert,
    nothing_changes,
    plant_bias,
    refusal,
    seeded,
    shifting_batch_norm,
    strip_biases,
    xdnn,
)

import captum_xg
from captum_xg import XGradient, check_homogeneity
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
    IntegrationNotice,
    NondeterministicForwardError,
    TargetError,
    TrainingModeError,
)

WIDTHS = (6, 16, 16, 16, 3)


def batch(n: int = 4, width: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(n, width, generator=seeded(seed))


def input_times_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return leaf.detach() * gradient


# --------------------------------------------------------------------------------------------------------------- biases


@pytest.mark.parametrize("position", ["0", "2", "4", "6"])
@pytest.mark.parametrize("bias", [1.0, 1e-3, 1e-6])
def test_a_bias_in_any_layer_is_refused_and_that_layer_named(position: str, bias: float) -> None:
    model = xdnn(*WIDTHS)
    plant_bias(model.get_submodule(position), bias)
    says = [
        "F(αx) ≠ αF(x)",
        f"{position} (Linear): adds a bias of up to {bias:.2g}",
        "Use to_xdnn(model), or train it with bias=False",
        "on_violation='integrate'",
        "on_violation='warn'",
    ]
    assert_names_exactly(refusal(HomogeneityError, model, batch(), target=1, says=says), model, [position])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(2, 3, 3), (2, 9)),
        (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 5)),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4)),
        (nn.ConvTranspose2d(2, 3, 2), (2, 4, 4)),
        (nn.Linear(4, 3), (2, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_bias_in_any_kind_of_layer_is_refused(layer: nn.Module, shape: tuple[int, ...]) -> None:
    model = fill(nn.Sequential(nn.Identity(), copy.deepcopy(layer), nn.ReLU(), nn.Flatten()), seed=2)
    plant_bias(model[1], 0.01)
    x = torch.randn(3, *shape, generator=seeded(3))
    error = refusal(HomogeneityError, lambda x: model(x).sum(1), x, model=model, says=["adds a bias of up to 0.01"])
    assert_names_exactly(error, model, ["1"])


@pytest.fixture(scope="module")
def bias_free_alexnet() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return strip_biases(torchvision.models.alexnet(num_classes=10))


@pytest.mark.parametrize("size", [64, 224])
def test_a_bias_free_alexnet_is_accepted(bias_free_alexnet: nn.Module, size: int) -> None:
    x = torch.randn(2, 3, size, size, generator=seeded(4))
    attributions = XGradient(bias_free_alexnet).attribute(x, target=3)
    torch.testing.assert_close(attributions, input_times_gradient(lambda x: bias_free_alexnet(x)[:, 3], x))


# In the first layer on images of 224 pixels a bias of this size lies at the limit of what float32 shows (1e-6).
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("size", "position"),
    [*((64, at) for at in ("features.0", "features.6", "classifier.1", "classifier.6")), (224, "classifier.1")],
)
def test_a_bias_of_a_hundred_millionth_in_one_alexnet_layer_is_refused_and_only_that_layer_named(
    bias_free_alexnet: nn.Module, size: int, position: str
) -> None:
    layer = bias_free_alexnet.get_submodule(position)
    plant_bias(layer, 1e-8)
    try:
        x = torch.randn(2, 3, size, size, generator=seeded(4))
        error = refusal(HomogeneityError, bias_free_alexnet, x, target=3, says=["adds a bias of up to 1e-08"])
        assert_names_exactly(error, bias_free_alexnet, [position])
    finally:
        layer.bias = None


def test_several_biases_are_all_named_in_order() -> None:
    model = xdnn(*WIDTHS)
    plant_bias(model[4], -0.2)
    plant_bias(model[0], 0.1)
    assert_names_exactly(refusal(HomogeneityError, model, batch(), target=0), model, ["0", "4"])


def test_a_bias_is_named_also_where_the_worst_example_is_all_zero() -> None:
    """A padded example shows a bias more than any other: F(0) = b."""
    model = xdnn(*WIDTHS)
    plant_bias(model[0], 0.1)
    x = batch()
    x[2] = 0
    assert_names_exactly(refusal(HomogeneityError, model, x, target=0), model, ["0"])


def test_a_bias_behind_activations_that_are_all_zero_is_named() -> None:
    model = xdnn(*WIDTHS)
    with torch.no_grad():
        model[0].weight.copy_(-model[0].weight.abs())
    plant_bias(model[2], 0.1)
    assert_names_exactly(refusal(HomogeneityError, model, batch().abs(), target=0), model, ["2"])


# ------------------------------------------------------------------------------------------------ layers of other kinds

RECTIFIER = "Use to_xdnn(model), or put nn.ReLU, nn.LeakyReLU or nn.PReLU there"
LOGITS = "Explain the logits"
WITHOUT = "Use to_xdnn(model), or leave it out"
LAYERS = [
    (nn.ReLU6(), "saturates at 6, so a large enough αx is cut off", RECTIFIER),
    (nn.Hardtanh(), "saturates at 1, so a large enough αx is cut off", RECTIFIER),
    (nn.Hardswish(), "changes its slope at fixed values, which αx passes", RECTIFIER),
    (nn.Hardsigmoid(), "saturates at fixed values, so a large enough αx is cut off", RECTIFIER),
    (nn.GELU(), "is curved, so its slope changes with α", RECTIFIER),
    (nn.SiLU(), "is curved, so its slope changes with α", RECTIFIER),
    (nn.Mish(), "is curved, so its slope changes with α", RECTIFIER),
    (nn.ELU(), "is curved, so its slope changes with α", RECTIFIER),
    (nn.Softplus(), "is curved, so its slope changes with α", RECTIFIER),
    (nn.Sigmoid(), "saturates, so a large enough αx no longer counts", RECTIFIER),
    (nn.Tanh(), "saturates, so a large enough αx no longer counts", RECTIFIER),
    (nn.Hardshrink(0.1), "compares with the fixed threshold 0.1, which αx crosses", RECTIFIER),
    (nn.Softshrink(0.1), "compares with the fixed threshold 0.1, which αx crosses", RECTIFIER),
    (nn.Threshold(0.1, 0.0), "compares with the threshold 0.1, which αx crosses", RECTIFIER),
    (nn.Softmax(1), "normalises exponentials (softmax), which are sharper for larger α", LOGITS),
    (nn.LogSoftmax(1), "subtracts a smooth maximum (logsumexp), which is sharper for larger α", LOGITS),
    (nn.LayerNorm(16), "divides by a statistic of its input plus a constant eps = 1e-05", WITHOUT),
    (nn.GroupNorm(2, 16), "divides by a statistic of its input plus a constant eps = 1e-05", WITHOUT),
    (nn.RMSNorm(16), "divides by a statistic of its input", WITHOUT),
    (shifting_batch_norm(16), "adds a shift of up to", "Use to_xdnn(model), or train without it"),
    (AddsConstant(16), "adds a constant of up to 0.1", "Leave it out, or set it to zero"),
    (SaturatesAt(0.5), "saturates at 0.5, so a large enough αx is cut off", "Clamp at zero or infinity"),
]


@pytest.mark.parametrize(("layer", "why", "remedy"), LAYERS, ids=[type(layer).__name__ for layer, *_ in LAYERS])
@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_layer_that_does_not_scale_is_refused_with_its_name_and_reason_and_remedy(
    layer: nn.Module, why: str, remedy: str, at: int
) -> None:
    # Leaky, because ReLU after ELU or LogSoftmax takes away just what does not scale.
    model = insert(xdnn(*WIDTHS, gain=1.5, activation=nn.LeakyReLU), at, copy.deepcopy(layer))
    says = [f"    {at} ({type(layer).__name__}): {why}", remedy, "F(αx) ≠ αF(x)", "on_violation='integrate'"]
    assert_names_exactly(refusal(HomogeneityError, model, batch(), target=1, says=says), model, [str(at)])


@pytest.mark.parametrize("layer", [nn.Sigmoid(), nn.Softmax(1), nn.LogSoftmax(1), nn.Tanh()], ids=str)
def test_an_output_nonlinearity_is_refused_and_named(layer: nn.Module) -> None:
    model = insert(xdnn(*WIDTHS), 7, layer)
    assert_names_exactly(refusal(HomogeneityError, model, batch(), target=1), model, ["7"])


@pytest.mark.parametrize("padding", [nn.ConstantPad1d(1, 0.5), nn.ConstantPad1d((0, 1), -1e-3)], ids=str)
def test_padding_with_a_constant_is_refused_and_named(padding: nn.Module) -> None:
    width = 16 + sum(padding.padding)
    tail = fill(nn.Linear(width, 3, bias=False), seed=5)
    model = nn.Sequential(*xdnn(6, 16, 16), padding, tail).eval()
    says = [f"pads with the constant {padding.value:g}", "Pad with zeros"]
    assert_names_exactly(refusal(HomogeneityError, model, batch(), target=1, says=says), model, ["3"])


def test_padding_with_zeros_is_accepted() -> None:
    model = nn.Sequential(*xdnn(6, 16, 16), nn.ConstantPad1d(1, 0.0), fill(nn.Linear(18, 3, bias=False), seed=5)).eval()
    x = batch()
    torch.testing.assert_close(
        XGradient(model).attribute(x, target=1), input_times_gradient(lambda x: model(x)[:, 1], x)
    )


def test_a_constant_that_a_forward_adds_between_its_layers_names_the_module_of_that_forward() -> None:
    model = AddsConstant(6)
    error = refusal(
        HomogeneityError, fill(model, 1).eval(), batch(), target=1, says=["the model itself (AddsConstant)"]
    )
    assert_names_exactly(error, model, [""])


def test_batch_norm_without_shift_is_accepted() -> None:
    norm = nn.BatchNorm1d(16)
    model = insert(xdnn(*WIDTHS), 2, norm)
    x = batch()
    torch.testing.assert_close(
        XGradient(model).attribute(x, target=1), input_times_gradient(lambda x: model(x)[:, 1], x)
    )


def test_batch_norm_names_the_size_of_its_shift() -> None:
    norm = nn.BatchNorm1d(16, affine=False, eps=0.0)
    norm.running_mean.fill_(-0.25)
    norm.running_var.fill_(4.0)
    model = insert(xdnn(*WIDTHS), 2, norm)
    refusal(HomogeneityError, model, batch(), target=1, says=["2 (BatchNorm1d): adds a shift of up to 0.12"])


# -------------------------------------------------------------------------------------------------------- training mode


def with_dropout() -> nn.Sequential:
    return insert(xdnn(*WIDTHS), 2, nn.Dropout(0.3)).train()


def with_batch_norm() -> nn.Sequential:
    return insert(xdnn(*WIDTHS), 2, nn.BatchNorm1d(16)).train()


class Predictor:
    """An object that owns a model, as pipelines and Lightning-like wrappers do."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def predict(self, x: Tensor) -> Tensor:
        return self.model(x)

    def __call__(self, x: Tensor) -> Tensor:
        return self.model(x)


class WithMethod(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def logits(self, x: Tensor) -> Tensor:
        return self.net(x)


def a_closure(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        return model(x)

    return forward


def call_with(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def in_a_list(model: nn.Module) -> Callable[[Tensor], Tensor]:
    models = [model, model]
    return lambda x: sum(m(x) for m in models)


def in_a_dict(model: nn.Module) -> Callable[[Tensor], Tensor]:
    models = {"a": model}
    return lambda x: 1 * models["a"](x)


WAYS = {
    "module": lambda model: model,
    "lambda": lambda model: lambda x: 1 * model(x),
    "closure": a_closure,
    "closure of a closure": lambda model: a_closure(a_closure(model)),
    "default": lambda model: lambda x, m=model: m(x),
    "bound method": lambda model: WithMethod(model).logits,
    "bound __call__": lambda model: model.__call__,
    "partial": lambda model: functools.partial(call_with, model),
    "partial of a partial": lambda model: functools.partial(functools.partial(call_with, model)),
    "partial by keyword": lambda model: functools.partial(lambda x, m: m(x), m=model),
    "method of an object that owns it": lambda model: Predictor(model).predict,
    "callable object that owns it": Predictor,
    "list of an ensemble": in_a_list,
    "dict of models": in_a_dict,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("make", "named"), [(with_dropout, "2 (Dropout): drops"), (with_batch_norm, "2 (BatchNorm1d): normalises")]
)
def test_training_mode_is_refused_before_anything_runs_however_the_model_is_reached(
    way: str, make: Callable[[], nn.Module], named: str
) -> None:
    model, ran = make(), []
    model.register_forward_pre_hook(lambda *_: ran.append(1))
    refusal(
        TrainingModeError, WAYS[way](model), batch(), target=1, model=model, says=[named, "Call model.eval() first"]
    )
    assert not ran


GLOBAL_MODEL = with_batch_norm()


def test_training_mode_of_a_global_model_is_refused() -> None:
    forward = lambda x: 1 * GLOBAL_MODEL(x)
    refusal(TrainingModeError, forward, batch(), target=1, model=GLOBAL_MODEL, says=["2 (BatchNorm1d)"])


def test_every_layer_in_training_mode_is_named() -> None:
    model = insert(insert(xdnn(*WIDTHS), 2, nn.Dropout(0.3)), 5, nn.BatchNorm1d(16)).train()
    refusal(TrainingModeError, model, batch(), target=1, says=["2 (Dropout)", "5 (BatchNorm1d)", "Nothing was run"])


def test_one_layer_left_in_training_mode_is_named() -> None:
    model = insert(insert(xdnn(*WIDTHS), 2, nn.Dropout(0.3)), 5, nn.BatchNorm1d(16)).eval()
    model[2].train()
    error = refusal(TrainingModeError, model, batch(), target=1, says=["2 (Dropout)"])
    assert "5 (BatchNorm1d)" not in str(error)


@pytest.mark.parametrize("layer", [nn.Dropout(0.3), nn.AlphaDropout(0.3), nn.RReLU(), nn.BatchNorm1d(16)], ids=str)
def test_each_kind_of_training_layer_is_refused_in_training_and_not_in_evaluation(layer: nn.Module) -> None:
    model, x = insert(xdnn(*WIDTHS), 2, layer), batch()
    refusal(TrainingModeError, model.train(), x, target=1, says=[f"2 ({type(layer).__name__})"])
    expected = input_times_gradient(lambda x: model.eval()(x)[:, 1], x)
    torch.testing.assert_close(XGradient(model).attribute(x, target=1), expected)


def test_dropout_of_probability_zero_may_be_in_training_mode() -> None:
    XGradient(insert(xdnn(*WIDTHS), 2, nn.Dropout(0.0)).train()).attribute(batch(), target=1)


def test_a_homogeneous_model_may_be_in_training_mode_and_stays_there() -> None:
    model, x = xdnn(*WIDTHS).train(), batch()
    with nothing_changes(model, x):
        XGradient(model).attribute(x, target=1)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Sequential(nn.Unflatten(1, (2, 8)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten()),
        nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16, bias=False)),
    ],
    ids=["InstanceNorm1d", "spectral_norm"],
)
def test_a_layer_that_writes_its_buffers_in_training_mode_is_refused_before_it_runs(layer: nn.Module) -> None:
    refusal(TrainingModeError, insert(xdnn(*WIDTHS), 2, layer).train(), batch(), target=1)


# -------------------------------------------------------------------------------------- random forwards, mixed examples


@pytest.mark.parametrize(
    "noisy",
    [
        lambda x: F.dropout(x, 0.5, training=True),
        lambda x: x + 0.1 * torch.randn_like(x),
        lambda x: x * torch.rand(1),
        lambda x: x[:, torch.randperm(6)],
    ],
    ids=["dropout", "added noise", "random gain", "random order"],
)
@pytest.mark.parametrize("on_violation", ["raise", "warn"])
def test_a_random_forward_function_is_refused_and_uses_up_no_random_numbers(noisy: Callable, on_violation: str) -> None:
    model = xdnn(*WIDTHS)
    error = refusal(
        NondeterministicForwardError,
        lambda x: model(noisy(x)),
        batch(),
        target=1,
        model=model,
        options={"on_violation": on_violation},
        says=["not deterministic", "changes F(x) of example", "fixed function of its inputs"],
    )
    assert "homogeneous" not in str(error)


def test_a_forward_that_differs_without_gradient_recording_is_refused() -> None:
    model = xdnn(*WIDTHS)
    branch = lambda x: model(x) * (2 if torch.is_grad_enabled() else 1)
    refusal(NondeterministicForwardError, branch, batch(), target=1, model=model, says=["is_grad_enabled"])


def test_a_seeded_forward_function_is_accepted() -> None:
    def masked(x: Tensor) -> Tensor:
        return (x * torch.rand(6, generator=seeded(9))).sum(1)

    x = batch()
    torch.testing.assert_close(XGradient(masked).attribute(x), input_times_gradient(masked, x))


MIXING = {
    "minus the mean of the batch": lambda f: f - f.mean(0),
    "divided by the maximum of the batch": lambda f: f / f.abs().max(),
    "softmax over the batch": lambda f: f.softmax(0),
    "plus its neighbour": lambda f: f + f.roll(1, 0),
    "plus the second next": lambda f: f + f.roll(2, 0),
    "sorted": lambda f: f.sort(0).values,
}


@pytest.mark.parametrize("mixing", MIXING)
@pytest.mark.parametrize("n", [2, 3, 4, 7])
@pytest.mark.parametrize("on_violation", ["raise", "warn"])
def test_a_function_that_mixes_examples_is_refused_as_such(mixing: str, n: int, on_violation: str) -> None:
    if mixing == "plus the second next" and n == 2:
        pytest.skip("the second next of two is the example itself")
    model = xdnn(*WIDTHS)
    refusal(
        CrossExampleError,
        lambda x: MIXING[mixing](model(x)),
        batch(n),
        target=1,
        model=model,
        options={"on_violation": on_violation},
        says=["depends on the others", "treat examples separately"],
    )


@pytest.mark.parametrize("internal_batch_size", [None, 2, 3, 4])
def test_the_random_or_mixed_example_is_counted_over_the_whole_batch(internal_batch_size: int | None) -> None:
    x = torch.rand(5, 6, generator=seeded(1)) + 0.5
    x[3] *= -1

    def noisy(x: Tensor) -> Tensor:
        return x.sum(1) + torch.where(x[:, 0] < 0, torch.rand(1), 0)

    def mixed(x: Tensor) -> Tensor:
        return x.sum(1) + torch.where(x[:, 0] < 0, x.sum(1).roll(1), 0)

    says = ["changes F(x) of example 3 from"]
    refusal(NondeterministicForwardError, noisy, x, internal_batch_size=internal_batch_size, says=says)
    refusal(CrossExampleError, mixed, x, internal_batch_size=internal_batch_size, says=says)


def test_batch_norm_without_running_statistics_is_refused_in_eval_mode_and_named() -> None:
    model = insert(xdnn(*WIDTHS), 2, nn.BatchNorm1d(16, track_running_stats=False))
    says = ["batch statistics even in eval mode: 2 (BatchNorm1d)"]
    refusal(CrossExampleError, model, batch(), target=1, says=says)


# ------------------------------------------------------------------------------------------------------------ baselines


NONZERO = {
    "integer": 1,
    "number": 1e-30,
    "negative": -0.5,
    "infinity": math.inf,
    "NaN": math.nan,
    "true": True,
    "0-dim tensor": torch.tensor(0.5),
    "tensor": torch.ones(4, 6),
    "one row": torch.full((1, 6), 1e-20),
    "one entry": torch.eye(4, 6),
    "NaN in a tensor": torch.zeros(4, 6).index_fill(0, torch.tensor(2), math.nan),
    "tuple of a number": (0.1,),
    "tuple of a tensor": (torch.ones(4, 6),),
    "integer tensor": torch.ones(4, 6, dtype=torch.int64),
}


@pytest.mark.parametrize("baselines", NONZERO.values(), ids=NONZERO)
@pytest.mark.parametrize("validate", ["numeric", "off"])
@pytest.mark.parametrize("on_violation", ["raise", "warn"])
def test_a_baseline_that_is_not_zero_is_refused_in_every_form(
    baselines: object, validate: str, on_violation: str
) -> None:
    refusal(
        BaselineError,
        xdnn(*WIDTHS),
        batch(),
        target=1,
        baselines=baselines,
        options={"validate": validate, "on_violation": on_violation},
        says=[
            "is not zero",
            "only against the zero baseline",
            "on_violation='integrate'",
            "shift the data",
            "ExpectedXGradient",
        ],
    )


UNFIT = {
    "too many": ((0, 0), "2 baselines for 1 inputs"),
    "none at all": ((), "0 baselines for 1 inputs"),
    "too few rows": (torch.zeros(3, 6), "has shape (3, 6) but its input has (4, 6)"),
    "no batch dimension": (torch.zeros(6), "has shape (6,) but its input has (4, 6)"),
    "too many columns": (torch.zeros(4, 7), "has shape (4, 7)"),
    "text": ("zero", "must be a number or a tensor but is str"),
    "list": ([0], "must be a number or a tensor but is list"),
    "complex": (0j, "must be a number or a tensor but is complex"),
    "text in a tuple": (("zero",), "`baselines[0]` must be a number or a tensor but is str"),
    "none in a tuple": ((None,), "`baselines[0]` must be a number or a tensor but is NoneType"),
}


@pytest.mark.parametrize(("baselines", "says"), UNFIT.values(), ids=UNFIT)
def test_a_baseline_that_does_not_fit_is_refused(baselines: object, says: str) -> None:
    refusal(BaselineError, xdnn(*WIDTHS), batch(), target=1, baselines=baselines, says=[says, "None for zeros"])


def two_inputs(a: Tensor, b: Tensor) -> Tensor:
    return a.sum(1) + 2 * b.sum(1)


@pytest.mark.parametrize(
    "baselines", [(0, 0.5), (None, 0), (0,), 0, (torch.zeros(4, 6), torch.ones(4, 6)), torch.zeros(4, 6)], ids=str
)
def test_baselines_of_several_inputs_are_refused_unless_each_is_zero(baselines: object) -> None:
    refusal(BaselineError, two_inputs, (batch(), batch(seed=2)), baselines=baselines)


def test_the_baseline_that_is_not_zero_is_named() -> None:
    refusal(
        BaselineError, two_inputs, (batch(), batch(seed=2)), baselines=(0, 0.5), says=["`baselines[1]` is not zero"]
    )


ZERO = {
    "none": None,
    "integer": 0,
    "number": 0.0,
    "negative zero": -0.0,
    "0-dim tensor": torch.tensor(0.0),
    "zeros": torch.zeros(4, 6),
    "negative zeros": -torch.zeros(4, 6),
    "one row": torch.zeros(1, 6),
    "double zeros": torch.zeros(4, 6, dtype=torch.float64),
    "integer zeros": torch.zeros(4, 6, dtype=torch.int64),
    "tuple of a number": (0,),
    "tuple of zeros": (torch.zeros(4, 6),),
    "tuple of one row": (torch.zeros(1, 6),),
}


@pytest.mark.parametrize("baselines", ZERO.values(), ids=ZERO)
def test_a_zero_baseline_is_accepted_in_every_form(baselines: object) -> None:
    model, x = xdnn(*WIDTHS), batch()
    attributions = XGradient(model).attribute(x, baselines, 1)
    torch.testing.assert_close(attributions, input_times_gradient(lambda x: model(x)[:, 1], x))


# ------------------------------------------------------------------------------------------ NaN, infinity, out of range


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("example", [0, 2, 3])
def test_inputs_that_are_not_finite_are_refused_and_the_example_named(value: float, example: int) -> None:
    x = batch()
    x[example, 3] = value
    refusal(InputError, xdnn(*WIDTHS), x, target=1, says=[f"NaN or infinity, first in example {example};", "Clean"])


def test_one_dimensional_inputs_that_are_not_finite_are_refused_and_the_example_named() -> None:
    refusal(InputError, lambda x: x, torch.tensor([1.0, 2.0, math.nan]), says=["first in example 2"])


def test_the_input_that_is_not_finite_is_named() -> None:
    x = batch()
    x[1] = math.inf
    refusal(InputError, two_inputs, (batch(), x), says=["`inputs[1]` has NaN or infinity, first in example 1"])


def where_first_is(x: Tensor, example: int) -> Tensor:
    """Mark an example by its first entry, so that a function can treat it differently in any part of the batch."""
    return x[:, 0] == float(example + 1)


def numbered(n: int = 5) -> Tensor:
    x = batch(n).abs() + 0.1
    x[:, 0] = torch.arange(1, n + 1)
    return x


@pytest.mark.parametrize("internal_batch_size", [None, 1, 2, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("example", [0, 3])
def test_an_output_that_is_not_finite_is_refused_and_the_example_named(
    value: float, example: int, internal_batch_size: int | None
) -> None:
    def broken(x: Tensor) -> Tensor:
        return torch.where(where_first_is(x, example), value, x.sum(1))

    says = [f"F(x) is {value} in example {example}.", "overflows or divides by zero"]
    refusal(ForwardOutputError, broken, numbered(), internal_batch_size=internal_batch_size, says=says)


@pytest.mark.parametrize("internal_batch_size", [None, 1, 2, 3])
@pytest.mark.parametrize("example", [0, 3])
def test_a_gradient_that_is_not_finite_is_refused_and_the_example_named(
    example: int, internal_batch_size: int | None
) -> None:
    def norm(x: Tensor) -> Tensor:
        return (x[:, 1:] ** 2).sum(1).sqrt() + x[:, 0]

    x = numbered()
    x[example, 1:] = 0
    says = [f"first in example {example},", "the square root or a norm of exactly zero"]
    refusal(GradientError, norm, x, internal_batch_size=internal_batch_size, says=says)


def outputs_sized(scale: float) -> tuple[nn.Module, Tensor]:
    return xdnn(*WIDTHS), batch() * scale


@pytest.mark.parametrize("scale", [1e37, 1e36, 1e30, 1e-30, 1e-35, 1e-36])
def test_inputs_at_the_edge_of_the_range_give_the_right_attributions(scale: float) -> None:
    model, x = outputs_sized(scale)
    attributions = XGradient(model).attribute(x, target=1)
    model64 = copy.deepcopy(model).double()
    expected = input_times_gradient(lambda x: model64(x)[:, 1], x.double())
    torch.testing.assert_close(attributions.double() / scale, expected / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "side"),
    [(1e37, 1), (1e36, 1), (1e35, 1), (1e-34, -1), (1e-35, -1), (1e-36, -1)],
    ids=lambda value: f"{value:g}",
)
def test_scales_that_leave_the_range_are_given_up_and_the_report_says_which(scale: float, side: int) -> None:
    model, x = outputs_sized(scale)
    report = check_homogeneity(model, x, 1)
    assert report.homogeneous
    assert report.degree == 1
    lost = {u.scale for u in report.unused}
    assert 2.0 ** (16 * side) in lost
    assert all((math.log2(alpha) > 0) == (side > 0) for alpha in lost)
    assert {s.scale for s in report.scales if s.examples == 4} >= {2.0 ** (-16 * side)}
    for u in report.unused:
        assert 1 <= u.examples <= report.examples
        assert "range of float32" in u.reason or "not finite" in u.reason
    assert "Not used: α = 2^" in str(report)


def test_inputs_of_ordinary_size_use_every_scale() -> None:
    model, x = outputs_sized(1.0)
    report = check_homogeneity(model, x, 1)
    assert report.unused == ()
    assert report.unchecked == ()
    assert {s.scale: s.examples for s in report.scales} == {2.0**m: 4 for m in (-16, -8, -1, 1, 8, 16)}


def test_only_the_examples_that_leave_the_range_use_other_scales() -> None:
    model, x = xdnn(*WIDTHS), batch()
    x[1] *= 1e37
    report = check_homogeneity(model, x, 1)
    assert report.homogeneous
    assert {s.scale: s.examples for s in report.scales}[2.0**16] == 3
    assert {u.scale: u.examples for u in report.unused}[2.0**16] == 1


def test_outputs_that_overflow_at_a_scale_give_that_scale_up() -> None:
    model = xdnn(*WIDTHS)
    huge = lambda x: model(x) * 1e37
    report = check_homogeneity(huge, batch(), 1)
    assert report.homogeneous
    assert any(u.scale == 2.0**16 and u.reason == "F(αx) is not finite" for u in report.unused)
    x = batch()
    expected = input_times_gradient(lambda x: huge(x)[:, 1], x)
    torch.testing.assert_close(XGradient(huge).attribute(x, target=1), expected)


def test_what_can_be_tried_at_no_scale_is_refused_as_untested() -> None:
    x = batch().abs()

    def finite_only_here(z: Tensor) -> Tensor:
        return z.sum(1) / (z == x).all(1)

    error = refusal(
        HomogeneityError,
        finite_only_here,
        x,
        says=["could not be tested", "2^-16", "2^16", "F(αx) is not finite", "Rescale the inputs or use a dtype"],
    )
    assert not error.report.violated
    assert not error.report.homogeneous
    assert error.report.unchecked == (0, 1, 2, 3)
    assert "NOT SHOWN to be homogeneous" in str(error.report)


# --------------------------------------------------------------------------------------------------------------- inputs


def sparse_batch() -> Tensor:
    return batch().relu().to_sparse()


UNSUITABLE = {
    "empty batch": (lambda: torch.zeros(0, 6), "`inputs` is empty (shape (0, 6))"),
    "no features": (lambda: torch.zeros(4, 0), "`inputs` is empty (shape (4, 0))"),
    "no batch dimension": (lambda: torch.tensor(1.0), "Add a batch dimension"),
    "complex": (lambda: batch().to(torch.complex64), "two real channels"),
    "boolean": (lambda: batch() > 0, "torch.bool"),
    "sparse": (sparse_batch, "Pass a dense tensor"),
    "sparse rows": (lambda: batch().relu().to_sparse_csr(), "Pass a dense tensor"),
    "list": (lambda: [batch()], "must be a torch.Tensor but is list"),
    "array": (lambda: batch().numpy(), "must be a torch.Tensor but is ndarray"),
    "dict": (lambda: {"x": batch()}, "must be a torch.Tensor but is dict"),
    "none": (lambda: None, "must be a torch.Tensor but is NoneType"),
    "empty tuple": (lambda: (), "nothing to attribute to"),
    "none in a tuple": (lambda: (batch(), None), "`inputs[1]` must be a torch.Tensor"),
    "nested": (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "Pass a dense tensor"),
    "eight bits": (lambda: batch().to(torch.float8_e4m3fn), "Convert it to a floating-point dtype"),
}


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:.*Sparse CSR:UserWarning")
@pytest.mark.parametrize(("make", "says"), UNSUITABLE.values(), ids=UNSUITABLE)
def test_unsuitable_inputs_are_refused_before_anything_runs(make: Callable[[], object], says: str) -> None:
    ran = []

    def forward(*x: object) -> Tensor:
        ran.append(1)
        return x[0].sum(1)

    with pytest.raises(InputError) as caught:
        XGradient(forward).attribute(make())
    assert str(caught.value).startswith("XGradient.attribute: ")
    assert says in str(caught.value)
    assert not ran


def test_unequal_batches_are_refused() -> None:
    says = ["inputs[1] has 3 examples and inputs[0] has 4", "additional_forward_args"]
    refusal(InputError, two_inputs, (batch(4), batch(3)), says=says)


def test_integer_inputs_are_made_floating_point_as_integrated_gradients_makes_them() -> None:
    x = torch.arange(12).reshape(2, 6)
    attributions = XGradient(lambda x: (x * 2.0).sum(1)).attribute(x)
    torch.testing.assert_close(attributions, 2.0 * x)


# --------------------------------------------------------------------------------------------------------------- target


TARGETS = {
    "missing": (None, "several numbers per example, and no `target`"),
    "too large": (3, "`target` = 3 is out of range"),
    "too negative": (-4, "`target` = -4 is out of range"),
    "float": (1.0, "but holds float"),
    "text": ("1", "but holds str"),
    "boolean": (True, "but holds bool"),
    "slice of one": (slice(0, 1), "into a tuple"),
    "tuple too long": ((0, 0), "has 2 indices for 1 dimension"),
    "list too short": ([0, 1], "`target` lists 2 entries for 4 examples"),
    "list too long": ([0, 1, 2, 0, 1], "`target` lists 5 entries for 4 examples"),
    "list out of range": ([0, 1, 2, 3], "`target[3]` = 3 is out of range"),
    "list of floats": ([0.0, 1.0, 0.0, 1.0], "but holds float"),
    "mixed list": ([0, (1,), 0, 0], "mixes int and tuple"),
    "tensor too short": (torch.tensor([0, 1]), "has shape (2,) but must have one index per example, (4,)"),
    "tensor too long": (torch.tensor([0, 1, 2, 0, 1]), "has shape (5,) but must have one index per example, (4,)"),
    "tensor out of range": (torch.tensor([0, 1, 2, 3]), "goes from 0 to 3 but must lie in [0, 3)"),
    "tensor negative": (torch.tensor([0, 1, 2, -1]), "goes from -1 to 2"),
    "tensor of floats": (torch.tensor([0.0, 1.0, 2.0, 0.0]), "must hold integer indices"),
    "tensor of booleans": (torch.ones(4, dtype=torch.bool), "must hold integer indices"),
    "column": (torch.zeros(4, 1, dtype=torch.int64), "must have one index per example"),
    "slice": (slice(0, 2), "picks 2 numbers per example"),
}


@pytest.mark.parametrize(("target", "says"), TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("validate", ["numeric", "off"])
def test_a_target_that_does_not_pick_one_number_per_example_is_refused(
    target: object, says: str, validate: str
) -> None:
    refusal(TargetError, xdnn(*WIDTHS), batch(), target=target, options={"validate": validate}, says=[says])


@pytest.mark.parametrize("name", ["list too short", "list too long", "tensor too short", "tensor too long"])
@pytest.mark.parametrize("internal_batch_size", [1, 2, 3])
def test_a_target_of_the_wrong_length_is_refused_also_where_the_batch_runs_in_parts(
    name: str, internal_batch_size: int
) -> None:
    target, says = TARGETS[name]
    options = {"target": target, "internal_batch_size": internal_batch_size}
    refusal(TargetError, xdnn(*WIDTHS), batch(), says=[says], **options)


def test_a_target_for_one_number_per_example_is_refused() -> None:
    refusal(TargetError, lambda x: x.sum(1), batch(), target=0, says=["leave `target` out"])


def test_an_integer_target_into_a_deeper_output_is_refused() -> None:
    model = xdnn(*WIDTHS)
    deep = lambda x: model(x)[:, :, None].expand(-1, -1, 2)
    refusal(TargetError, deep, batch(), target=1, model=model, says=["picks 2 numbers per example"])


# -------------------------------------------------------------------------------------------------------------- outputs


OUTPUTS = {
    "transposed": (lambda f: f.T, "returns shape (3, 4) for 4 examples"),
    "summed over the batch": (lambda f: f.sum(0), "do not sum or average over the batch"),
    "0-dim": (lambda f: f.sum(), "returns shape () for 4 examples"),
    "rows left out": (lambda f: f[:-1], "returns shape (3, 3) for 4 examples"),
    "tuple": (lambda f: (f, f), "returns tuple and not a tensor"),
    "list": (lambda f: [f], "returns list and not a tensor"),
    "dict": (lambda f: {"logits": f}, "returns dict and not a tensor"),
    "none": (lambda f: None, "returns NoneType and not a tensor"),
    "number": (lambda f: float(f.detach().sum()), "returns float and not a tensor"),
    "array": (lambda f: f.detach().numpy(), "returns ndarray and not a tensor"),
    "argmax": (lambda f: f.argmax(1), "returns torch.int64, which has no real gradient"),
    "decision": (lambda f: f > 0, "returns torch.bool"),
    "complex": (lambda f: f.to(torch.complex64), "returns torch.complex64"),
}


@pytest.mark.parametrize(("wrap", "says"), OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize("target", [None, 0])
def test_an_output_that_is_not_one_row_of_real_numbers_per_example_is_refused(
    wrap: Callable[[Tensor], object], says: str, target: int | None
) -> None:
    model = xdnn(*WIDTHS)
    refusal(ForwardOutputError, lambda x: wrap(model(x)), batch(), model=model, target=target, says=[says])


# ------------------------------------------------------------------------------------------------------------ gradients


def test_an_unused_input_is_refused_and_named() -> None:
    model, says = xdnn(*WIDTHS), ["inputs[1]", "unused or detached", "additional forward argument"]
    refusal(GradientError, lambda a, b: model(a), (batch(), batch(seed=2)), target=1, model=model, says=says)


DETACHED = {
    "detach": lambda model, x: model(x.detach()),
    "data": lambda model, x: model(x.data),
    "numpy": lambda model, x: torch.from_numpy(x.detach().numpy() * 2.0),
}


@pytest.mark.parametrize("way", DETACHED)
def test_a_fully_detached_output_is_refused(way: str) -> None:
    model = xdnn(*WIDTHS)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    says = ["does not depend on the inputs through autograd", "no_grad, detach"]
    refusal(GradientError, lambda x: DETACHED[way](model, x), batch(), target=1, model=model, says=says)


def test_an_output_that_reaches_only_the_parameters_is_refused() -> None:
    model = xdnn(*WIDTHS)
    says = ["does not depend on inputs[0] through autograd"]
    refusal(GradientError, lambda x: model(x.detach()), batch(), target=1, model=model, says=says)


class StraightThrough(torch.autograd.Function):
    """ReLU whose gradient pretends to be the identity's."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.relu()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


def relu_with_hook(x: Tensor) -> Tensor:
    y = x.relu()
    if y.requires_grad:
        y.register_hook(lambda g: 2 * g)
    return y


WRONG_GRADIENTS = {
    "a detached path": lambda x: x.relu().detach() + x,
    "a path under no_grad": lambda x: x.data.abs() + x,
    "a straight-through sum": lambda x: x + (x.relu() - x).detach(),
    "a custom function": StraightThrough.apply,
    "a tensor hook": relu_with_hook,
    "a reversed gradient": lambda x: 2 * x.detach() - x,
}


@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_values_that_scale_with_a_gradient_that_is_not_theirs_are_refused_by_eulers_identity(name: str) -> None:
    model = xdnn(*WIDTHS)
    error = refusal(
        HomogeneityError,
        lambda x: model(WRONG_GRADIENTS[name](x)),
        batch(),
        target=1,
        model=model,
        says=["Σ x·∂F = ", "the gradient is not the gradient of F", "detach", "backward hook"],
    )
    assert all(check.holds for check in error.report.scales)
    assert not error.report.euler.holds
    assert "F(αx) ≠ αF(x)" not in str(error), "the values do scale"
    assert "layer" not in str(error), "no layer's output shows it"


CUT = "is cut off from autograd (detach, .data or no_grad), so the gradient is not the gradient of F"


@pytest.mark.parametrize(
    "name", ["a detached path", "a path under no_grad", "a straight-through sum", "a reversed gradient"]
)
def test_a_path_that_is_cut_off_from_autograd_is_named_with_its_line(name: str) -> None:
    model, function = xdnn(*WIDTHS), WRONG_GRADIENTS[name]
    error = refusal(HomogeneityError, lambda x: model(function(x)), batch(), target=1, model=model)
    (culprit,) = error.report.culprits
    assert (culprit.module, culprit.kind, culprit.reason) == ("", "", CUT)
    assert culprit.location.endswith(f"test_refusals.py:{function.__code__.co_firstlineno}")
    assert culprit.remedy == "Let the gradient pass, or compute it from constants"
    assert f"    the forward function: {CUT} [{culprit.location}]" in str(error)


def test_a_module_that_cuts_its_path_off_from_autograd_is_named_and_no_other() -> None:
    class Detaches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.5 * x.detach().relu()

    model = insert(xdnn(*WIDTHS), 3, Detaches())
    error = refusal(HomogeneityError, model, batch(), target=1, says=[f"    3 (Detaches): {CUT}"])
    assert_names_exactly(error, model, ["3"])
    assert error.report.values_hold


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (StraightThrough.apply, "goes through the custom autograd function StraightThrough"),
        (relu_with_hook, "a hook on a tensor may change its gradient"),
    ],
    ids=["a custom function", "a tensor hook"],
)
def test_a_gradient_that_nothing_is_known_about_is_told_and_no_layer_is_blamed(function: Callable, says: str) -> None:
    model = xdnn(*WIDTHS)
    says = ["Not analysed: the forward function: " + says, "test_refusals.py:"]
    error = refusal(HomogeneityError, lambda x: model(function(x)), batch(), target=1, model=model, says=says)
    assert error.report.culprits == ()


def test_a_backward_hook_that_changes_the_gradient_is_refused() -> None:
    model = xdnn(*WIDTHS)
    model[2].register_full_backward_hook(lambda module, given, out: (1.5 * given[0],))
    says = ["the gradient is not the gradient of F", "2 (Linear): has a backward hook, which may change the gradient"]
    error = refusal(HomogeneityError, model, batch(), target=1, says=says)
    assert not error.report.euler.holds


def test_a_rounding_straight_through_estimator_is_refused() -> None:
    model = xdnn(*WIDTHS)
    refusal(HomogeneityError, lambda x: model(x + ((4 * x).round() / 4 - x).detach()), batch(), target=1, model=model)


def test_the_worst_example_of_eulers_identity_is_counted_over_the_whole_batch() -> None:
    def forward(x: Tensor) -> Tensor:
        # Recognised by a ratio, which scaling leaves alone.
        marked = (x[:, 1] == 0)[:, None]
        return torch.where(marked, (x.detach() + x) / 2, x).sum(1)

    x = numbered()
    x[3, 1] = 0
    for size in (None, 1, 2, 3, 5):
        # By numbers alone, as a proof refuses the first part already.
        options = {"validate": "numeric"}
        error = refusal(
            HomogeneityError, forward, x, internal_batch_size=size, options=options, says=["Worst: example 3:"]
        )
        assert error.report.euler.worst_example == 3


# --------------------------------------------------------------------------------------------------------------- degree


@pytest.mark.parametrize("degree", [0.5, 0, -1, math.nan, math.inf, True, "2", None, "AUTO", 1j])
def test_a_degree_that_is_not_a_number_of_at_least_one_is_refused_at_once(degree: object) -> None:
    with pytest.raises(DegreeError, match="`degree` must be a number ≥ 1 or 'auto'"):
        XGradient(xdnn(*WIDTHS), degree=degree)


def power(k: float) -> Callable[[Tensor], Tensor]:
    return lambda x: (x.abs() ** k).sum(1)


def scale_invariant(x: Tensor) -> Tensor:
    return x[:, 0] / x.abs().sum(1)


def test_a_degree_between_zero_and_one_is_refused_for_degree_one() -> None:
    refusal(HomogeneityError, power(0.5), batch(), says=["degree 0.5", "below 1"])


def test_a_degree_between_zero_and_one_is_refused_for_auto() -> None:
    says = ["found no degree k ≥ 1", "F shows degree 0.5, below 1", "grows without bound"]
    refusal(DegreeError, power(0.5), batch(), options={"degree": "auto"}, says=says)


def test_a_negative_degree_is_refused() -> None:
    refusal(HomogeneityError, power(-1.0), batch())
    refusal(DegreeError, power(-1.0), batch(), options={"degree": "auto"}, says=["F shows degree -1, below 1"])


def test_a_scale_invariant_function_is_refused_as_such() -> None:
    says = ["scale-invariant (degree 0)", "nothing to distribute"]
    refusal(HomogeneityError, scale_invariant, batch(), says=says)
    refusal(DegreeError, scale_invariant, batch(), options={"degree": "auto"}, says=says)


@pytest.mark.parametrize("on_violation", ["raise", "warn"])
def test_examples_of_different_degree_are_refused_by_auto(on_violation: str) -> None:
    def mixed(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, (x**2).sum(1), x.abs().sum(1))

    x = batch()
    x[:, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    says = ["Each example shows one degree, but not all the same: from 1 to 2"]
    options = {"degree": "auto", "on_violation": on_violation}
    for size in (None, 2, 3, 4):
        refusal(DegreeError, mixed, x, options=options, internal_batch_size=size, says=says)


def test_parts_of_the_batch_of_different_degree_are_refused_by_auto() -> None:
    def mixed(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, (x**2).sum(1), x.abs().sum(1))

    x = batch()
    x[:, 0] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    for size in (1, 2):
        refusal(DegreeError, mixed, x, options={"degree": "auto"}, internal_batch_size=size, says=["different degrees"])


def test_a_function_of_no_degree_is_refused_by_auto() -> None:
    refusal(DegreeError, lambda x: x.exp().sum(1), batch(), options={"degree": "auto"}, says=["found no degree k ≥ 1"])


@pytest.mark.parametrize("true", [1, 1.5, 2, 3])
@pytest.mark.parametrize("asked", [1, 1.5, 2, 3])
def test_a_wrong_degree_is_refused_and_the_message_says_which_degree_it_is(true: float, asked: float) -> None:
    x = batch()
    if true == asked:
        expected = input_times_gradient(power(true), x) / true
        torch.testing.assert_close(XGradient(power(true), degree=asked).attribute(x), expected)
        return
    says = [f"F shows degree {true:g}: use XGradient(…, degree={true:g})"]
    error = refusal(HomogeneityError, power(true), x, options={"degree": asked}, says=says)
    assert error.report.degree == true
    assert error.report.tested_degree == asked


@pytest.mark.parametrize("true", [1, 1.5, 2, 3])
def test_auto_finds_the_degree(true: float) -> None:
    x = batch()
    expected = input_times_gradient(power(true), x) / true
    torch.testing.assert_close(XGradient(power(true), degree="auto").attribute(x), expected)


def test_a_sum_of_unequal_degrees_has_no_degree() -> None:
    error = refusal(HomogeneityError, lambda x: x.abs().sum(1) + (x**2).sum(1), batch())
    assert error.report.degree is None
    assert "F shows degree" not in str(error)


# ----------------------------------------------------------------------------------------------------- options, warning


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"validate": "none"}, "`validate` must be"),
        ({"validate": "proof"}, "'numeric', 'certificate' or 'off' but is 'proof'"),
        ({"validate": True}, "`validate` must be"),
        ({"on_violation": "ignore"}, "`on_violation` must be 'raise', 'warn' or 'integrate'"),
        ({"rtol": -1e-3}, "`rtol` must be"),
        ({"rtol": math.inf}, "`rtol` must be"),
        ({"rtol": math.nan}, "`rtol` must be"),
        ({"validate": "off", "degree": "auto"}, "and validate='off' leaves out both"),
    ],
)
def test_an_option_without_meaning_is_refused_at_once(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", "\\(")):
        XGradient(xdnn(*WIDTHS), **options)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "2"])
def test_an_internal_batch_size_that_is_no_positive_integer_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match="`internal_batch_size` must be a positive integer"):
        XGradient(xdnn(*WIDTHS)).attribute(batch(), target=1, internal_batch_size=size)


def test_a_forward_function_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="`forward_func` must be callable but is Tensor"):
        XGradient(torch.zeros(3)).attribute(batch())


@pytest.mark.parametrize("internal_batch_size", [None, 1, 2, 3])
@pytest.mark.parametrize("degree", [1, 2])
def test_warn_warns_once_per_call_at_the_line_that_called_and_gives_input_times_gradient(
    internal_batch_size: int | None, degree: int
) -> None:
    model, x = xdnn(*WIDTHS), batch(7)
    plant_bias(model[2], 0.1)
    method = XGradient(model, on_violation="warn", degree=degree)
    expected = input_times_gradient(lambda x: model(x)[:, 1], x) / degree
    for _ in range(2):
        with nothing_changes(model, x), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            attributions = method.attribute(x, target=1, internal_batch_size=internal_batch_size)
        torch.testing.assert_close(attributions, expected)
        assert [w.category for w in caught] == [HomogeneityWarning]
        assert caught[0].filename == __file__
        assert "2 (Linear): adds a bias of up to 0.1" in str(caught[0].message)


def test_warn_warns_of_a_gradient_that_is_not_that_of_the_values() -> None:
    x = batch()
    with pytest.warns(HomogeneityWarning, match="the gradient is not the gradient of F"):
        XGradient(lambda x: (x + x.detach()).sum(1), on_violation="warn").attribute(x)


def test_warn_does_not_warn_of_a_homogeneous_function() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        XGradient(xdnn(*WIDTHS), on_violation="warn").attribute(batch(), target=1)


def test_validation_off_gives_input_times_gradient_of_anything_in_silence() -> None:
    model, x = insert(xdnn(*WIDTHS), 2, nn.GELU()), batch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attributions = XGradient(model, validate="off").attribute(x, target=1)
    torch.testing.assert_close(attributions, input_times_gradient(lambda x: model(x)[:, 1], x))


# ------------------------------------------------------------------------------------------------------------ the error


@pytest.mark.parametrize("internal_batch_size", [None, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("example", range(5))
def test_the_worst_example_is_counted_over_the_whole_batch(example: int, internal_batch_size: int | None) -> None:
    x = batch(5, seed=3).abs() * 2.0**-20
    x[example] *= 2.0**18
    model = nn.Sequential(nn.Linear(6, 8, bias=False), SaturatesAt(1.0), nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(layer.weight.abs())
    error = refusal(
        HomogeneityError,
        model.eval(),
        x,
        target=1,
        internal_batch_size=internal_batch_size,
        options={"validate": "numeric"},  # a proof refuses the first part already
        says=[f"Worst: example {example} at α = 2^16"],
    )
    report = error.report
    assert report.worst_example == example
    assert report.worst_scale == 2.0**16
    assert [s.worst_example for s in report.scales if not s.holds] == [example]
    assert culprits(report) == [("1", "SaturatesAt")]


def test_the_error_carries_the_report_and_survives_pickling_and_copying() -> None:
    model = xdnn(*WIDTHS)
    plant_bias(model[2], 0.1)
    error = refusal(HomogeneityError, model, batch(), target=1)
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert type(twin) is HomogeneityError
        assert str(twin) == str(error)
        assert twin.report == error.report
        assert culprits(twin.report) == [("2", "Linear")]


@pytest.mark.parametrize("error", [InputError, BaselineError, TargetError, GradientError, TrainingModeError])
def test_every_other_error_survives_pickling(error: type[Exception]) -> None:
    twin = pickle.loads(pickle.dumps(error("where: what")))
    assert type(twin) is error
    assert str(twin) == "where: what"


@pytest.mark.parametrize(
    "error",
    [
        BaselineError, CrossExampleError, DegreeError, ForwardOutputError, GradientError, HomogeneityError, InputError,
        NondeterministicForwardError, TargetError, TrainingModeError,
    ],
)  # fmt: skip
def test_every_error_has_the_one_base_and_a_builtin_one(error: type[Exception]) -> None:
    assert issubclass(error, CaptumXGError)
    assert issubclass(error, (ValueError, RuntimeError))


def test_the_error_of_the_forward_function_itself_comes_through() -> None:
    class OwnError(Exception):
        pass

    def broken(x: Tensor) -> Tensor:
        raise OwnError("mine")

    with pytest.raises(OwnError, match="mine"):
        XGradient(broken).attribute(batch())


def test_a_long_list_of_culprits_is_cut_in_the_message_and_whole_in_the_report() -> None:
    model = xdnn(*([6] + [16] * 14 + [3]))
    for layer in model:
        if isinstance(layer, nn.Linear):
            plant_bias(layer, 0.1)
    error = refusal(HomogeneityError, model, batch(), target=1, says=["… and 5 more (all in report.culprits)"])
    assert culprits(error.report) == [(str(2 * i), "Linear") for i in range(15)]


@pytest.mark.parametrize("name", ["XGradient", "LayerXGradient", "NeuronXGradient", "ExpectedXGradient"])
def test_every_class_names_the_way_that_always_works_and_it_does(name: str) -> None:
    model = xdnn(*WIDTHS)
    plant_bias(model[2], 1.0)
    layer, where = {"LayerXGradient": (model[0],), "NeuronXGradient": (model[6],)}.get(name, ()), {"target": 1}
    call = {"NeuronXGradient": {"neuron_selector": 1}, "ExpectedXGradient": {"baselines": batch()[:2], **where}}
    attribute = lambda **options: getattr(captum_xg, name)(model, *layer, **options).attribute(
        batch(), **call.get(name, where)
    )
    with pytest.raises(HomogeneityError) as caught:
        attribute()
    says = next(line for line in str(caught.value).splitlines() if line.startswith("    on_violation='integrate' "))
    assert ("by way of zero" in says) is (name == "ExpectedXGradient")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationNotice)
        assert bool(attribute(on_violation="integrate").isfinite().all())
