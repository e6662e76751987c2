"""XGradient takes the place of Captum's IntegratedGradients: same calls, same results, also inside Captum's tools."""

import functools
import inspect
import itertools
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
from captum.attr import GradientAttribution, IntegratedGradients, NoiseTunnel
from captum.attr import visualization as viz
from captum.metrics import infidelity, sensitivity_max
from cases import X_DNNS, mlp
from tolerance import assert_close
from torch import nn
from torch.nn import functional as F

from captum_xg import XGradient
from captum_xg.errors import HomogeneityError, TrainingModeError

NO_MODELS = "Captum ships its test models since 0.9"
basic = pytest.importorskip("captum.testing.helpers.basic_models", reason=NO_MODELS)
classification = pytest.importorskip("captum.testing.helpers.classification_models", reason=NO_MODELS)

# Captum multiplies by step sizes in float32, which is off by 7e-10 at its 50 steps.
RTOL = 1e-8

N, FEATURES, CLASSES = 4, 6, 3


@pytest.fixture
def model():
    return next(case for case in X_DNNS if case.name == "leaky_relu_mlp").model()


@pytest.fixture
def x():
    return X_DNNS[0].inputs(examples=N)


def assert_same(forward, inputs, **call):
    """Assert that both methods give the same attributions and deltas, whole, in parts, and without the factor x."""
    for multiply_by_inputs in (True, False):
        ours, captums = XGradient(forward, multiply_by_inputs), IntegratedGradients(forward, multiply_by_inputs)
        expected = captums.attribute(inputs, **call)
        assert_close(ours.attribute(inputs, **call), expected, RTOL)
        assert_close(ours.attribute(inputs, internal_batch_size=3, **call), expected, RTOL)
        attributions, delta = ours.attribute(inputs, return_convergence_delta=True, **call)
        _, captums_delta = captums.attribute(inputs, return_convergence_delta=True, **call)
        assert_close(attributions, expected, RTOL)
        assert delta.shape == captums_delta.shape
        assert delta.dtype == captums_delta.dtype
        torch.testing.assert_close(delta, captums_delta, atol=1e-7, rtol=0)


# --- the signature ---------------------------------------------------------------------------------------------------


def test_the_parameters_of_captum_come_first_with_names_kinds_and_defaults():
    ours = list(inspect.signature(XGradient.attribute).parameters.values())
    captums = list(inspect.signature(IntegratedGradients.attribute).parameters.values())
    described = [(p.name, p.kind, p.default) for p in captums]
    assert [(p.name, p.kind, p.default) for p in ours[: len(captums)]] == described
    for added in ours[len(captums) :]:
        assert added.kind is inspect.Parameter.KEYWORD_ONLY
        assert added.default is not inspect.Parameter.empty


def test_the_parameters_of_captums_constructor_come_first_with_names_kinds_and_defaults():
    ours = list(inspect.signature(XGradient.__init__).parameters.values())
    captums = list(inspect.signature(IntegratedGradients.__init__).parameters.values())
    described = [(p.name, p.kind, p.default) for p in captums]
    assert [(p.name, p.kind, p.default) for p in ours[: len(captums)]] == described


CALL = {
    "baselines": 0,
    "target": [0, 1, 2, 1],
    "additional_forward_args": (torch.full((N, 1), 2.0, dtype=torch.float64), 3.0),
    "n_steps": 20,
    "method": "gausslegendre",
    "internal_batch_size": 80,
    "return_convergence_delta": True,
}


def scaled(model):
    return lambda x, factor, other: model(x) * factor * other


@pytest.mark.parametrize("positional", range(len(CALL) + 1))
def test_positional_calls_mean_what_they_mean_for_integrated_gradients(model, x, positional):
    args = list(CALL.values())[:positional]
    kwargs = dict(itertools.islice(reversed(CALL.items()), len(CALL) - positional))
    attributions, delta = XGradient(scaled(model)).attribute(x, *args, **kwargs)
    expected, expected_delta = IntegratedGradients(scaled(model)).attribute(x, *args, **kwargs)
    assert_close(attributions, expected, RTOL)
    assert delta.shape == expected_delta.shape == (N,)


@pytest.mark.parametrize("omitted", CALL)
def test_each_argument_may_be_left_out_as_for_integrated_gradients(model, x, omitted):
    kwargs = {name: value for name, value in CALL.items() if name != omitted}
    with_two = scaled(model) if omitted != "additional_forward_args" else model
    forward = with_two if omitted != "target" else lambda *args: with_two(*args)[:, 0]
    if omitted == "target":
        kwargs.pop("target", None)
    ours = XGradient(forward).attribute(inputs=x, **kwargs)
    expected = IntegratedGradients(forward).attribute(inputs=x, **kwargs)
    assert isinstance(ours, tuple) == isinstance(expected, tuple) == (omitted != "return_convergence_delta")
    assert_close(
        ours[0] if isinstance(ours, tuple) else ours, expected[0] if isinstance(expected, tuple) else expected, RTOL
    )


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_right", "riemann_middle"])
@pytest.mark.parametrize("n_steps", [2, 7, 128])
def test_steps_and_method_have_nothing_to_do(model, x, n_steps, method):
    expected = IntegratedGradients(model).attribute(x, target=1, n_steps=n_steps, method=method)
    assert_close(XGradient(model).attribute(x, target=1, n_steps=n_steps, method=method), expected, 1e-7)


# --- baselines -------------------------------------------------------------------------------------------------------


ZEROS = {
    "None": None,
    "integer": 0,
    "float": 0.0,
    "negative zero": -0.0,
    "tensor": torch.zeros(N, FEATURES, dtype=torch.float64),
    "one example": torch.zeros(1, FEATURES, dtype=torch.float64),
    "tuple of a number": (0,),
    "tuple of a tensor": (torch.zeros(1, FEATURES, dtype=torch.float64),),
}


@pytest.mark.parametrize("form", ZEROS)
def test_zero_may_be_spelled_in_every_form_of_captum(model, x, form):
    inputs = (x,) if isinstance(ZEROS[form], tuple) else x
    assert_same(model, inputs, baselines=ZEROS[form], target=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.bool], ids=str)
def test_zeros_may_have_any_dtype(model, x, dtype):
    attributions, delta = XGradient(model).attribute(
        x, baselines=torch.zeros(N, FEATURES, dtype=dtype), target=1, return_convergence_delta=True
    )
    expected, expected_delta = XGradient(model).attribute(x, target=1, return_convergence_delta=True)
    assert torch.equal(attributions, expected)
    assert torch.equal(delta, expected_delta)


TUPLES_OF_ZEROS = {
    "None": None,
    "numbers": (0, 0.0),
    "number and tensor": (0, torch.zeros(1, 2, dtype=torch.float64)),
    "tensor and number": (torch.zeros(N, FEATURES, dtype=torch.float64), 0),
}


@pytest.mark.parametrize("form", TUPLES_OF_ZEROS)
def test_zeros_of_several_inputs_may_be_spelled_in_every_form_of_captum(model, x, form):
    def forward(x, y):
        return model(x) + y[:, :1]

    assert_same(forward, (x, x[:, :2].clone()), baselines=TUPLES_OF_ZEROS[form], target=1)


# --- targets ---------------------------------------------------------------------------------------------------------

CLASS_TARGETS = [
    0,
    2,
    -1,
    -3,
    (1,),
    (-1,),
    torch.tensor(2),
    torch.tensor(-1),
    torch.tensor([1]),
    torch.tensor([-2]),
    torch.tensor([0, 2, 1, 0]),
    torch.tensor([0, 2, 1, 0], dtype=torch.int32),
    [2, 0, 0, 1],
    [1, 1, 1, 1],
    [(2,), (0,), (-1,), (1,)],
]


@pytest.mark.parametrize("target", CLASS_TARGETS, ids=str)
def test_every_form_of_target_for_classes_means_what_it_means_for_integrated_gradients(model, x, target):
    assert_same(model, x, target=target)


@pytest.mark.parametrize(
    "target",
    [
        (1, 2),
        (0, 0),
        (-1, 1),
        (-2, -3),
        (slice(0, 1), 2),
        [(0, 2), (1, 0), (1, 1), (0, 0)],
        [(-1, 2), (1, -1), (0, 1), (-2, 0)],
    ],
    ids=str,
)
def test_every_form_of_target_for_maps_means_what_it_means_for_integrated_gradients(model, x, target):
    assert_same(lambda x: torch.stack((model(x), 2 * model(x).relu()), dim=1), x, target=target)


@pytest.mark.parametrize("target", [(1, 0, 2), [(0, 0, 2), (1, 1, 0), (0, 1, 1), (1, 0, 0)]], ids=str)
def test_targets_may_index_any_number_of_dimensions(model, x, target):
    def forward(x):
        pair = torch.stack((model(x), model(2 * x.abs())), dim=1)
        return torch.stack((pair, -pair.relu()), dim=2)

    assert_same(forward, x, target=target)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
def test_no_target_is_needed_for_one_number_per_example(model, x, shape):
    assert_same(lambda x: model(x)[:, 1].reshape(-1, *shape), x)


def test_a_single_example_takes_every_form_of_target(model, x):
    for target in (1, -1, (1,), torch.tensor(1), torch.tensor([1]), [1], [(1,)]):
        assert_same(model, x[:1], target=target)


# --- inputs and further arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", X_DNNS, ids=str)
def test_every_network_of_the_zoo_gives_the_same_results(case):
    model = case.model(5)
    # A copy: Captum's points on the path are leaves, which an in-place first layer cannot take.
    assert_same(lambda x: model(x.clone()), case.inputs(5, N), target=[0, 1, 2, 1])


def test_a_tuple_of_inputs_gives_a_tuple_of_attributions(model, x):
    y = X_DNNS[0].inputs(9, N)[:, :3]
    assert_same(lambda x, y: model(x) + torch.maximum(y, 2 * y), (x, y), target=2)
    assert_same(model, (x,), target=2)


def test_inputs_may_have_one_dimension():
    assert_same(F.leaky_relu, torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64))


FURTHER = {
    "tensor per example": (torch.arange(1.0, N + 1, dtype=torch.float64)[:, None], lambda x, a: x * a),
    "vector per example": (torch.arange(1.0, N + 1, dtype=torch.float64), lambda x, a: x * a[:, None]),
    "tensor without dimensions": (torch.tensor(2.5, dtype=torch.float64), lambda x, a: x * a),
    "empty tuple": ((), lambda x: 3 * x),
    "number": (2.5, lambda x, a: x * a),
    "None": (None, lambda x: 3 * x),
    "string": ("double", lambda x, a: 2 * x if a == "double" else x),
    "list": ([1.0, 2.0], lambda x, a: x * a[1]),
    "dictionary": ({"scale": 3.0}, lambda x, a: x * a["scale"]),
    "tuple of all kinds": (
        (torch.arange(1.0, N + 1, dtype=torch.float64)[:, None], 2.0, None, "yes", [3.0]),
        lambda x, a, b, c, d, e: x * a * b * e[0] if c is None and d == "yes" else x,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FURTHER)
def test_additional_forward_args_of_every_kind_reach_the_forward_function(model, x, kind):
    args, apply = FURTHER[kind]
    assert_same(lambda x, *further: model(apply(x, *further)), x, target=1, additional_forward_args=args)


def test_any_callable_is_a_forward_function(model, x):
    class Wrapper:
        def __init__(self):
            self.model = model

        def score(self, x):
            return self.model(x)[:, 0]

        def __call__(self, x):
            return self.model(x)[:, 0]

    def choose(x, index):
        return model(x)[:, index]

    wrapper = Wrapper()
    for forward in (
        lambda x: model(x)[:, 0],
        lambda x: 2 * model(x)[:, 0] - model(x)[:, 1],
        wrapper,
        wrapper.score,
        functools.partial(choose, index=0),
        lambda x: model.forward(x)[:, 0],
    ):
        assert_same(forward, x)


# --- dtypes ----------------------------------------------------------------------------------------------------------

DTYPES = {torch.float64: 1e-8, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}
INTEGERS = (torch.int64, torch.int32, torch.int8, torch.uint8)


@pytest.mark.parametrize("multiply_by_inputs", [True, False], ids=["global", "local"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_of_results_are_those_of_integrated_gradients(dtype, multiply_by_inputs):
    torch.manual_seed(0)
    model, x = mlp(5, 4, 2).to(dtype), torch.randn(3, 5).to(dtype)
    ours, delta = XGradient(model, multiply_by_inputs).attribute(x, target=1, return_convergence_delta=True)
    captums = IntegratedGradients(model, multiply_by_inputs)
    expected, expected_delta = captums.attribute(x, target=1, return_convergence_delta=True)
    assert (ours.dtype, delta.dtype) == (expected.dtype, expected_delta.dtype)
    assert_close(ours, expected, DTYPES[dtype])


@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("multiply_by_inputs", [True, False], ids=["global", "local"])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_become_floating_point_as_for_integrated_gradients(dtype, multiply_by_inputs, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        torch.manual_seed(0)
        model, x = mlp(5, 4, 2), torch.randint(0, 100, (3, 5)).to(dtype)
        ours, delta = XGradient(model, multiply_by_inputs).attribute(x, target=1, return_convergence_delta=True)
        captums = IntegratedGradients(model, multiply_by_inputs)
        # Captum's delta runs the model on the integers themselves, which a Linear refuses; its dtype is the output's.
        expected = captums.attribute(x, target=1)
    finally:
        torch.set_default_dtype(before)
    assert ours.dtype == expected.dtype == default
    assert delta.shape == (3,)
    assert_close(ours, expected, 1e-5)


def test_a_tuple_of_inputs_of_different_dtypes_gives_the_dtypes_of_integrated_gradients(model, x):
    y, z = torch.randint(1, 5, (N, 1)), torch.rand(N, 1)

    def forward(x, y, z):
        return (model(x) + y + 2 * z)[:, 0]

    ours = XGradient(forward).attribute((x, y, z))
    expected = IntegratedGradients(forward).attribute((x, y, z))
    assert [a.dtype for a in ours] == [a.dtype for a in expected]
    assert_close(ours, expected, 1e-6)


# --- what a result is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multiply_by_inputs", [True, False], ids=["global", "local"])
def test_results_may_be_overwritten_as_those_of_integrated_gradients(multiply_by_inputs):
    """∂F/∂x of a sum is one number seen through strides of zero, and the same tensor for both inputs."""
    inputs = (torch.rand(3, 4), torch.rand(3, 4))
    kept = tuple(x.clone() for x in inputs)
    first, second = XGradient(lambda x, y: (x + y).sum(1), multiply_by_inputs).attribute(inputs)
    expected = second.clone()
    first.add_(1)
    first[0, 0] = 7
    assert torch.equal(second, expected)
    assert all(torch.equal(x, y) for x, y in zip(inputs, kept, strict=True))


def test_the_form_of_the_result_is_the_form_of_the_inputs(model, x):
    method = XGradient(model)
    assert isinstance(method.attribute(x, target=0), torch.Tensor)
    alone = method.attribute((x,), target=0)
    assert isinstance(alone, tuple)
    assert len(alone) == 1
    for inputs in (x, (x,)):
        attributions, delta = method.attribute(inputs, target=0, return_convergence_delta=True)
        assert isinstance(attributions, tuple) == isinstance(inputs, tuple)
        assert delta.shape == (N,)


def test_the_method_describes_itself_as_captums_do(model):
    method = XGradient(model)
    assert isinstance(method, GradientAttribution)
    assert method.get_name() == "X Gradient"
    assert method.has_convergence_delta()
    assert method.multiplies_by_inputs is True
    assert XGradient(model, False).multiplies_by_inputs is False
    assert XGradient(model, multiply_by_inputs=False).multiplies_by_inputs is False
    assert method.forward_func is model
    with pytest.raises(NotImplementedError):
        method.attribute_future()


def test_captums_own_convergence_delta_agrees(model, x):
    method = XGradient(model)
    attributions, delta = method.attribute(x, target=1, return_convergence_delta=True)
    again = method.compute_convergence_delta(attributions, 0, x, target=1)
    torch.testing.assert_close(again, delta, atol=1e-14, rtol=0)
    torch.testing.assert_close(delta, torch.zeros(N, dtype=torch.float64), atol=1e-14, rtol=0)


# --- Captum's homogeneous test models --------------------------------------------------------------------------------


def double(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seeded(build):
    torch.manual_seed(0)
    return build().double().eval()


HOMOGENEOUS = {
    "BasicLinearReLULinear": (lambda: basic.BasicLinearReLULinear(6), double(N, 6), {}),
    "BasicLinearModel2": (lambda: basic.BasicLinearModel2(6, 3), double(N, 6), {"target": 1}),
    "BasicLinearModel_Multilayer": (
        lambda: basic.BasicLinearModel_Multilayer(6, 4, 3), double(N, 6), {"target": [0, 1, 2, 0]}),
    "LinearMaxPoolLinearModel": (basic.LinearMaxPoolLinearModel, double(N, 4), {}),
    "BasicModel_MaxPool_ReLU": (basic.BasicModel_MaxPool_ReLU, double(N, 2, 9), {"target": 1}),
    "BasicModel_MaxPool_ReLU in place": (
        lambda: basic.BasicModel_MaxPool_ReLU(inplace=True), double(N, 2, 9), {"target": 0}),
    "ReLULinearModel": (basic.ReLULinearModel, (double(N, 3), double(N, 3).flip(0)), {}),
    "ReLULinearModel in place": (
        lambda: basic.ReLULinearModel(inplace=True), (double(N, 3), double(N, 3).flip(0)),
        {"additional_forward_args": 2}),
    "SimpleLRPModel": (lambda: basic.SimpleLRPModel(inplace=True), double(N, 3), {}),
    "MixedKwargsAndArgsModule": (basic.MixedKwargsAndArgsModule, (double(N, 3), double(N, 3).flip(0)), {"target": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_homogeneous_test_models_of_captum_give_the_same_results(name):
    build, inputs, call = HOMOGENEOUS[name]
    assert_same(seeded(build), inputs, **call)


TWO = (torch.full((N, 2), 3.0, dtype=torch.float64), torch.full((N, 2), 1.0, dtype=torch.float64))
THREE = (double(N, 3), double(N, 3).flip(0), double(N, 3).flip(1))

NOT_HOMOGENEOUS = {
    "BasicLinearReLULinear with biases": (lambda: basic.BasicLinearReLULinear(6, bias=True), double(N, 6), {}),
    "BasicModel": (basic.BasicModel, double(N, 3) + 2, {"target": 0}),
    "BasicModel2": (basic.BasicModel2, TWO, {"target": 0}),
    "BasicModel3": (basic.BasicModel3, TWO, {"target": 0}),
    "BasicModel4_MultiArgs": (basic.BasicModel4_MultiArgs, TWO, {"additional_forward_args": (2, 1)}),
    "BasicModel5_MultiArgs": (basic.BasicModel5_MultiArgs, TWO, {"additional_forward_args": ([2, 1], 1)}),
    "BasicModel6_MultiTensor": (basic.BasicModel6_MultiTensor, TWO, {}),
    "BasicLinearModel": (basic.BasicLinearModel, (double(N, 3), double(N, 4)), {}),
    "BasicModelWithReusedModules": (basic.BasicModelWithReusedModules, 5 * double(N, 3), {"target": 0}),
    "BasicModelWithReusedLinear": (basic.BasicModelWithReusedLinear, 5 * double(N, 3), {"target": 0}),
    "ReLUDeepLiftModel": (basic.ReLUDeepLiftModel, tuple(x[:, 0] for x in TWO), {}),
    "TanhDeepLiftModel": (basic.TanhDeepLiftModel, tuple(x[:, 0] for x in TWO), {}),
    "BasicModel_MultiLayer": (basic.BasicModel_MultiLayer, double(N, 3), {"target": 1}),
    "BasicModel_MultiLayer in place": (lambda: basic.BasicModel_MultiLayer(inplace=True), double(N, 3), {"target": 1}),
    "BasicModel_MultiLayer with maps": (
        basic.BasicModel_MultiLayer, double(N, 3), {"target": (1, 0, 1), "additional_forward_args": (None, True)}),
    "BasicModel_MultiLayer_MultiInput": (
        basic.BasicModel_MultiLayer_MultiInput, THREE, {"target": 1, "additional_forward_args": 2}),
    "BasicModel_MultiLayer_TrueMultiInput": (basic.BasicModel_MultiLayer_TrueMultiInput, THREE, {"target": 0}),
    "BasicModel_ConvNet_One_Conv": (basic.BasicModel_ConvNet_One_Conv, 20 * double(N, 1, 4, 4).abs(), {"target": 0}),
    "BasicModel_ConvNetWithPaddingDilation": (
        basic.BasicModel_ConvNetWithPaddingDilation, double(N, 1, 5, 5), {"target": 0}),
    "BasicModel_ConvNet": (basic.BasicModel_ConvNet, double(N, 1, 10, 10), {"target": 0}),
    "BasicModel_ConvNet_MaxPool1d": (basic.BasicModel_ConvNet_MaxPool1d, double(N, 1, 10), {"target": 0}),
    "BasicModel_ConvNet_MaxPool3d": (basic.BasicModel_ConvNet_MaxPool3d, double(N, 1, 10, 10, 10), {"target": 0}),
    "SigmoidModel": (lambda: classification.SigmoidModel(6, 4, 3), double(N, 6), {"target": 1}),
    "SoftmaxModel": (lambda: classification.SoftmaxModel(6, 4, 3), double(N, 6), {"target": 1}),
    "SigmoidDeepLiftModel": (lambda: classification.SigmoidDeepLiftModel(6, 4, 3), double(N, 6).abs(), {"target": 1}),
    "SoftmaxDeepLiftModel": (lambda: classification.SoftmaxDeepLiftModel(6, 4, 3), double(N, 6), {"target": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_HOMOGENEOUS)
def test_test_models_of_captum_with_biases_and_the_like_are_refused(name):
    build, inputs, call = NOT_HOMOGENEOUS[name]
    with pytest.raises(HomogeneityError):
        XGradient(seeded(build)).attribute(inputs, **call)


def test_captums_model_with_dropout_is_refused_while_it_trains():
    with pytest.raises(TrainingModeError, match=r"dropout \(Dropout\)"):
        XGradient(basic.SimpleLRPModel(inplace=False).train()).attribute(torch.rand(2, 3))


# --- Captum's tools --------------------------------------------------------------------------------------------------


def tunnel(method, inputs, **call):
    torch.manual_seed(3)
    return NoiseTunnel(method).attribute(inputs, **call)


@pytest.mark.parametrize("nt_samples_batch_size", [None, 2])
@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnels_around_both_methods_agree(model, x, nt_type, nt_samples_batch_size):
    call = {
        "nt_type": nt_type,
        "nt_samples": 5,
        "nt_samples_batch_size": nt_samples_batch_size,
        "stdevs": 0.3,
        "target": [0, 1, 2, 1],
        "return_convergence_delta": True,
    }
    attributions, delta = tunnel(XGradient(model), x, **call)
    expected, expected_delta = tunnel(IntegratedGradients(model), x, **call)
    # The variance is a difference of means of squares, so it is their rounding that counts.
    squares = tunnel(IntegratedGradients(model), x, **call | {"nt_type": "smoothgrad_sq"})[0]
    assert_close(attributions, expected, RTOL, torch.maximum(expected.abs(), squares).amax(1))
    assert delta.shape == expected_delta.shape
    torch.testing.assert_close(delta, expected_delta, atol=1e-7, rtol=0)
    without = tunnel(XGradient(model), x, **call | {"return_convergence_delta": False})
    assert torch.equal(without, attributions)
    assert not attributions.requires_grad


def test_noise_tunnels_pass_on_tuples_baselines_and_further_arguments(model, x):
    y, factor = x[:, :1].clone(), torch.arange(1.0, N + 1, dtype=torch.float64)[:, None]

    def forward(x, y, factor, sign):
        return (model(x) + y) * factor * sign

    call = {
        "nt_samples": 3,
        "stdevs": (0.2, 0.5),
        "target": 1,
        "baselines": (torch.zeros(1, FEATURES), torch.zeros(1, 1)),
        "additional_forward_args": (factor, -1),
        "internal_batch_size": 7,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum: seven is fewer than the number of examples
        expected = tunnel(IntegratedGradients(forward), (x, y), **call)
    assert_close(tunnel(XGradient(forward), (x, y), **call), expected, RTOL)


def test_noise_tunnels_may_draw_zero_baselines_from_a_distribution(model, x):
    call = {
        "nt_samples": 3,
        "target": 1,
        "baselines": torch.zeros(5, FEATURES, dtype=torch.float64),
        "draw_baseline_from_distrib": True,
    }
    assert_close(tunnel(XGradient(model), x, **call), tunnel(IntegratedGradients(model), x, **call), RTOL)


def test_a_noise_tunnel_passes_on_the_refusal(x):
    torch.manual_seed(0)
    with pytest.raises(HomogeneityError):
        tunnel(XGradient(mlp(FEATURES, 4, CLASSES, bias=True).double()), x, target=0)


def test_infidelity_of_both_methods_agrees(model, x):
    def perturb(inputs):
        noise = 0.1 * torch.randn_like(inputs)
        return noise, inputs - noise

    def score(method):
        attributions = method.attribute(x, target=1)
        torch.manual_seed(4)
        return infidelity(model, perturb, x, attributions, target=1, n_perturb_samples=8, max_examples_per_batch=16)

    torch.testing.assert_close(score(XGradient(model)), score(IntegratedGradients(model)), atol=1e-9, rtol=1e-6)


def test_sensitivity_of_both_methods_agrees(model, x):
    def score(method):
        torch.manual_seed(5)
        return sensitivity_max(method.attribute, x, target=[0, 1, 2, 1], n_perturb_samples=4)

    torch.testing.assert_close(score(XGradient(model)), score(IntegratedGradients(model)), atol=1e-7, rtol=1e-6)


def test_visualisations_of_both_methods_agree():
    case = next(case for case in X_DNNS if case.name == "max_pool_conv_net")
    model, image = case.model(), case.inputs(examples=1)

    def shown(method):
        attributions = np.transpose(method.attribute(image, target=0)[0].numpy(), (1, 2, 0))
        with mpl.rc_context({"backend": "agg"}):
            _, axis = viz.visualize_image_attr(attributions, sign="all", method="heat_map", use_pyplot=False)
        return np.asarray(axis.images[0].get_array())

    ours, captums = shown(XGradient(model)), shown(IntegratedGradients(model))
    assert ours.shape == (6, 6)
    assert np.abs(ours).max() > 0
    np.testing.assert_allclose(ours, captums, atol=1e-6)


# --- the gradient function -------------------------------------------------------------------------------------------


def test_a_replaced_gradient_function_is_called_with_the_keywords_of_captum(model, x):
    calls = []

    def doubled_gradients(**kwargs):
        calls.append(kwargs)
        inputs = kwargs["inputs"]
        output = kwargs["forward_fn"](*inputs, *(kwargs["additional_forward_args"] or ()))
        return tuple(2 * g for g in torch.autograd.grad(output[:, kwargs["target_ind"]].sum(), inputs))

    def attribute(method):
        method.gradient_func = doubled_gradients
        return method.attribute(x, target=1, additional_forward_args=3.0)

    ours = attribute(XGradient(lambda x, a: model(x) * a, validate="off"))
    captums = attribute(IntegratedGradients(lambda x, a: model(x) * a))
    assert_close(ours, captums, RTOL)
    assert calls[0].keys() == calls[1].keys()
    assert not ours.requires_grad


def test_a_replaced_gradient_function_divides_by_the_degree_as_well(model, x):
    method = XGradient(lambda x: model(x).square(), degree=2, validate="off")
    expected = method.attribute(x, target=0)
    original = method.gradient_func
    method.gradient_func = functools.partial(original)
    assert_close(method.attribute(x, target=0), expected, 1e-12)
    assert_close(method.attribute(x, target=0, internal_batch_size=3), expected, 1e-12)


def test_a_replaced_gradient_function_cannot_be_validated(model, x):
    method = XGradient(model)
    method.gradient_func = lambda **kwargs: kwargs["inputs"]
    with pytest.raises(ValueError, match="validate='off'"):
        method.attribute(x, target=0)


# --- refusals that Captum does not know ------------------------------------------------------------------------------


def test_where_integrated_gradients_is_needed_the_refusal_says_so(x):
    torch.manual_seed(0)
    with pytest.raises(HomogeneityError, match=r"on_violation=.integrate."):
        XGradient(nn.Linear(FEATURES, 1).double()).attribute(x)
