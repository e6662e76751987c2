"""A drop-in for Captum's IntegratedGradients that refuses what it is not exact for and leaves everything as it was."""

import copy

import pytest
import torch
from bad_arguments import bad_arguments
from captum.attr import IntegratedGradients, NoiseTunnel
from piecewise_networks import cnn, ends, mlp
from torch import nn
from torch.nn import functional as F

import captum_xg
from captum_xg import ExactIntegratedGradients, ExactReport
from captum_xg.errors import (
    CrossExampleError,
    ForwardOutputError,
    GradientError,
    InputError,
    ModelStateError,
    NondeterministicForwardError,
    NotPiecewiseLinearError,
    OptionError,
    OptionTypeError,
    RegionLimitError,
    TrainingModeError,
)

MODEL = mlp(["ReLU", "LeakyReLU"], 1, width=5)
X, B = ends(1, 4, 6)


def close(one, other, rtol=1e-3):
    return bool((one - other).norm() <= rtol * other.norm())


# --- a drop-in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (X, None, 0),
        (X, 0.25, 1),
        (X, B, [0, 1, 2, 0]),
        (X, B[:1], torch.tensor([2, 1, 0, 0])),
        (X, 0.5, 2, None, 20, "riemann_trapezoid"),
    ],
)
def test_calls_mean_what_they_mean_to_captum(arguments):
    mine = ExactIntegratedGradients(MODEL).attribute(*arguments)
    theirs = IntegratedGradients(MODEL).attribute(*arguments[:4], n_steps=300)
    assert close(mine, theirs, 1e-2)
    assert (mine.shape, mine.dtype, mine.requires_grad) == (X.shape, X.dtype, False)


def two_inputs(x, image, scale, row):
    return F.leaky_relu(x @ x.new_ones(x.shape[1], 3) * scale + image.flatten(1).sum(1, keepdim=True) * row)


def test_several_inputs_and_additional_arguments_stay_with_their_examples():
    image, row = torch.randn(4, 1, 2, 2).double(), torch.tensor([[1.0], [2.0], [-1.0], [0.5]]).double()
    call = {"baselines": (B, 0.5), "target": [0, 1, 2, 1], "additional_forward_args": (0.3, row)}
    mine = ExactIntegratedGradients(two_inputs).attribute((X, image), internal_batch_size=3, **call)
    theirs = IntegratedGradients(two_inputs).attribute((X, image), n_steps=400, **call)
    assert isinstance(mine, tuple)
    assert all(close(m, t, 1e-2) for m, t in zip(mine, theirs, strict=True))


def test_local_attributions_are_the_mean_gradient():
    mine = ExactIntegratedGradients(MODEL, multiply_by_inputs=False).attribute(X, B, 0)
    torch.testing.assert_close(mine * (X - B), ExactIntegratedGradients(MODEL).attribute(X, B, 0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_come_out_as_integrated_gradients_gives_them(dtype):
    model = copy.deepcopy(MODEL).to(dtype)
    mine, report = ExactIntegratedGradients(model).attribute(X.to(dtype), target=0, return_report=True)
    assert mine.dtype == torch.float32
    assert bool((report.completeness_gap < 1e-10).all())
    wide = copy.deepcopy(model).double()
    assert close(mine.double(), ExactIntegratedGradients(wide).attribute(X.to(dtype).double(), target=0), 1e-6)


def test_integers_become_floating_point():
    found = ExactIntegratedGradients(copy.deepcopy(MODEL).float()).attribute(torch.arange(6).reshape(1, -1), target=0)
    exact = ExactIntegratedGradients(MODEL).attribute(torch.arange(6).double().reshape(1, -1), target=0)
    assert close(found.double(), exact, 1e-6)


def test_a_single_example_may_have_several_rows():
    def nodes(x):
        return MODEL(x[0].reshape(2, 6))

    found = ExactIntegratedGradients(nodes).attribute(X[:2].reshape(1, 2, 6), target=1)
    assert close(found[0], ExactIntegratedGradients(MODEL).attribute(X[:2], target=1), 1e-10)


def test_what_puts_examples_elsewhere_than_in_the_first_dimension_is_walked_point_by_point():
    def forward(x):
        return MODEL(x.t().reshape(2, 3, -1).permute(2, 0, 1).reshape(len(x), 6).t().relu().t())

    found, report = ExactIntegratedGradients(forward).attribute(X, B, target=1, return_report=True)
    plain = ExactIntegratedGradients(lambda x: MODEL(x.relu())).attribute(X, B, target=1)
    assert close(found, plain, 1e-10)
    assert bool((report.completeness_gap < 1e-10).all())


def test_functions_that_compute_in_the_dtype_of_their_inputs_need_no_copy():
    def forward(x):
        return (x * x.new_tensor([1.0, -2.0, 0, 0, 1, 3])).relu().sum(1, keepdim=True)

    found = ExactIntegratedGradients(forward).attribute(X.float(), B.float(), 0)
    assert found.dtype == torch.float32
    assert close(found.double(), ExactIntegratedGradients(forward).attribute(X, B, 0), 1e-6)


def test_results_come_in_this_order():
    method = ExactIntegratedGradients(MODEL)
    found, delta, report = method.attribute(X, B, 0, return_convergence_delta=True, return_report=True)
    assert isinstance(report, ExactReport)
    assert delta.shape == report.regions.shape == report.completeness_gap.shape == (4,)
    torch.testing.assert_close(method.attribute(X, B, 0, return_convergence_delta=True)[1], delta)
    torch.testing.assert_close(method.compute_convergence_delta(found, B, X, 0), delta)
    assert str(report).startswith(f"Integrated Gradients of 4 examples, exact, from {int(report.regions.sum())} linear")
    assert len(str(report).splitlines()) == 6
    assert len(report.line(3).values) == int(report.regions[3]) + 1
    with pytest.raises(OptionError, match="must be below 4"):
        report.line(4)
    assert method.has_convergence_delta()
    assert method.multiplies_by_inputs
    needed = method.steps_needed(X, B, 0)
    assert str(needed).startswith("Steps that Integrated Gradients (gausslegendre) needs for a relative error of 0.01")


def test_noise_tunnel_runs_over_it():
    found = NoiseTunnel(ExactIntegratedGradients(MODEL)).attribute(X, nt_samples=2, stdevs=1e-7, target=0)
    assert close(found, ExactIntegratedGradients(MODEL).attribute(X, target=0))


def test_names_are_public():
    assert {"ExactIntegratedGradients", "ExactReport", "StepsNeeded"} <= set(captum_xg.__all__)


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_more_regions_than_allowed_are_an_error_and_no_number():
    _, report = ExactIntegratedGradients(MODEL).attribute(X, B, 0, return_report=True)
    most = int(report.regions.max())
    ExactIntegratedGradients(MODEL, max_regions=most).attribute(X, B, 0)
    with pytest.raises(RegionLimitError, match=rf"max_regions={most - 1} .* {most} were found[\s\S]*Adaptive"):
        ExactIntegratedGradients(MODEL, max_regions=most - 1).attribute(X, B, 0)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_no_forward_pass_is_larger_than_asked_for(size):
    sizes = []

    def forward(x):
        sizes.append(len(x))
        return MODEL(x)

    ExactIntegratedGradients(forward).attribute(X, B, target=0, internal_batch_size=size)
    assert max(sizes) <= max(size, 4)  # F in the dtype of the inputs is looked at once, for all examples


@pytest.mark.parametrize("size", [1, None])
def test_no_more_gradients_are_taken_than_there_are_regions_but_for_a_few(size):
    seen = []

    def forward(x):
        seen.append(len(x) if x.requires_grad else 0)
        return MODEL(x)

    method = ExactIntegratedGradients(forward)
    _, report = method.attribute(X, B, 0, internal_batch_size=size, return_report=True)
    if size == 1:
        assert sum(seen) == int(report.regions.sum())
    else:  # three points tell whether points may share a pass; points that share one may share a piece
        assert sum(seen) - 3 <= 1.3 * int(report.regions.sum())
        assert sum(map(bool, seen)) < 0.3 * int(report.regions.sum())


def test_nothing_happens_between_equal_points():
    found, report = ExactIntegratedGradients(MODEL).attribute(X, X, 0, return_report=True)
    assert not found.any()
    assert report.regions.tolist() == [1] * 4


# --- nothing is touched ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_touched(context, fails):
    model, x = copy.deepcopy(MODEL).float(), X.float().requires_grad_()
    if fails:
        model.append(nn.Softmax(1))
    before = {name: (p, p.detach().clone(), p.requires_grad) for name, p in model.named_parameters()}
    random = torch.get_rng_state()
    with context():
        if fails:
            with pytest.raises(NotPiecewiseLinearError):
                ExactIntegratedGradients(model).attribute(x, B.float(), 0)
        else:
            found = ExactIntegratedGradients(model).attribute(x, B.float(), 0)
            assert (found.requires_grad, found.is_inference()) == (False, False)
    assert (x.requires_grad, x.grad) == (True, None)
    assert all(
        p is q and p.equal(v) and p.grad is None and p.requires_grad == r
        for p, (q, v, r) in zip(model.parameters(), before.values(), strict=True)
    )
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert torch.get_rng_state().equal(random)
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())


# --- refusals -------------------------------------------------------------------------------------------------------

BAD_OPTIONS = [
    ({"max_regions": 0}, OptionError),
    ({"max_regions": 10.5}, OptionError),
    ({"multiply_by_inputs": nn.ReLU()}, OptionTypeError),
]


@pytest.mark.parametrize(("options", "error"), BAD_OPTIONS)
def test_an_option_without_a_meaning_is_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        ExactIntegratedGradients(MODEL, **options)


@pytest.mark.parametrize(("arguments", "error"), bad_arguments(X, B))
def test_an_argument_without_a_meaning_is_refused(arguments, error):
    with pytest.raises(error, match=r"ExactIntegratedGradients\.attribute"):
        ExactIntegratedGradients(MODEL).attribute(**{"inputs": X, "target": 0, **arguments})


@pytest.mark.parametrize(
    "arguments", [{"rtol": 0}, {"rtol": 1}, {"method": "simpson"}, {"most": 1}, {"internal_batch_size": -1}]
)
def test_steps_of_nothing_are_refused(arguments):
    with pytest.raises(OptionError, match=r"ExactIntegratedGradients\.steps_needed"):
        ExactIntegratedGradients(MODEL).steps_needed(X, B, 0, **arguments)


def wrapped(backward):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.relu()

        @staticmethod
        def backward(ctx, gradient):
            return backward(gradient)

    return Own.apply


BAD_FUNCTIONS = {
    "dropout": (lambda: nn.Sequential(MODEL, nn.Dropout(0.5).train()), TrainingModeError),
    "noise": (lambda: lambda x: MODEL(x) + torch.randn(len(x), 3), NondeterministicForwardError),
    "a mean over the batch": (lambda: lambda x: MODEL(x - x.mean(0)), CrossExampleError),
    "no memory": (lambda: copy.deepcopy(MODEL).to("meta"), ModelStateError),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), ModelStateError),
    "infinite": (lambda: lambda x: MODEL(x) / 0, ForwardOutputError),
    "not a tensor": (lambda: lambda x: [MODEL(x)], ForwardOutputError),
    "float32": (lambda: copy.deepcopy(MODEL).float().forward, OptionError),
    "detached": (lambda: lambda x: MODEL(x.detach()), GradientError),
    "detached in part": (lambda: lambda x: MODEL(x) - MODEL(x).amax(1, keepdim=True).detach(), NotPiecewiseLinearError),
    ".data": (lambda: lambda x: MODEL(x) + x.data[:, :3].abs(), NotPiecewiseLinearError),
    "no_grad": (lambda: lambda x: MODEL(x) + torch.no_grad()(torch.abs)(x[:, :3]), NotPiecewiseLinearError),
    "straight through": (lambda: lambda x: MODEL(wrapped(lambda g: g)(x)), NotPiecewiseLinearError),
    "max_pool1d under no_grad": (
        lambda: lambda x: MODEL(x) + torch.no_grad()(F.max_pool1d)(x[:, None], 2)[:, 0],
        NotPiecewiseLinearError,
    ),
    "a jump": (lambda: lambda x: MODEL(x) + (x[:, :3] > 0), NotPiecewiseLinearError),
    "a rounding": (lambda: lambda x: MODEL(x) + x[:, :3].round(), NotPiecewiseLinearError),
    "numpy": (lambda: lambda x: MODEL(x) * torch.from_numpy(abs(x.detach().numpy()[:, :1])), NotPiecewiseLinearError),
    "a list": (lambda: lambda x: MODEL(x) * x.new_tensor([[abs(r[0])] for r in x.tolist()]), NotPiecewiseLinearError),
}


@pytest.mark.parametrize("name", [name for name, (_, error) in BAD_FUNCTIONS.items() if error])
def test_a_function_without_exact_integrated_gradients_is_refused(name):
    make, error = BAD_FUNCTIONS[name]
    x = X.float() if name == "float32" else X
    method = ExactIntegratedGradients(make())
    with pytest.raises(error):
        method.attribute(x, B.to(x), target=0)


CURVED = {
    "1 (GELU)": lambda: nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3)),
    "0 (Softmax)": lambda: nn.Sequential(nn.Softmax(1), nn.Linear(6, 3)),
    "2 (LayerNorm)": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.LayerNorm(5), nn.Linear(5, 3)),
    "0 (Hardswish)": lambda: nn.Sequential(nn.Hardswish(), nn.Linear(6, 3)),
    "0 (Bilinear)": lambda: nn.Sequential(Twice(nn.Bilinear(6, 6, 3))),
    "Gated": lambda: Gated(),
}


class Twice(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside(x, x)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(x) * x.sum(1, keepdim=True)


@pytest.mark.parametrize("name", CURVED)
def test_the_first_operation_that_is_curved_is_named(name):
    with pytest.raises(NotPiecewiseLinearError, match="AdaptiveIntegratedGradients takes its place") as caught:
        ExactIntegratedGradients(CURVED[name]().eval()).attribute(X.float(), B.float(), target=0)
    text = str(caught.value)
    assert name in text or name == "0 (Bilinear)"
    assert ".py:" in text


def test_an_error_that_the_model_catches_is_raised_all_the_same():
    def forward(x):
        try:
            return F.gelu(x)
        except Exception:
            return MODEL(x)

    with pytest.raises(NotPiecewiseLinearError, match="gelu"):
        ExactIntegratedGradients(forward).attribute(X, B, 0)


def test_an_unused_input_is_told():
    with pytest.raises(GradientError, match=r"inputs\[1\]"):
        ExactIntegratedGradients(lambda x, _: MODEL(x)).attribute((X, X), target=0)


def test_ids_are_refused_with_the_layer_that_looks_them_up():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)).eval()
    with pytest.raises(InputError, match="'0'"):
        ExactIntegratedGradients(model).attribute(torch.randint(9, (2, 3)), target=0)


def test_a_replaced_gradient_is_refused():
    method = ExactIntegratedGradients(MODEL)
    method.gradient_func = lambda **_: ()
    with pytest.raises(OptionError, match="gradient_func"):
        method.attribute(X, target=0)


def test_python_may_decide_by_comparisons():
    def forward(x):
        return MODEL(x) if bool((x[:, 0] > 0.1).all()) else MODEL(x) + (0.1 - x[:, :1])

    found, report = ExactIntegratedGradients(forward).attribute(X[:1], -X[:1], 0, return_report=True)
    plain = ExactIntegratedGradients(lambda x: MODEL(x) + F.relu(0.1 - x[:, :1])).attribute(X[:1], -X[:1], 0)
    assert close(found, plain, 1e-10)
    assert bool(report.completeness_gap < 1e-10)


def test_large_networks_of_torchvision_style_run_in_place():
    model = cnn(["ReLU in place", "ReLU6"], 2).float()
    x, b = (z.float() for z in ends(2, 2, 2, 6, 6))
    _, report = ExactIntegratedGradients(model).attribute(x, b, [0, 2], return_report=True)
    assert bool((report.completeness_gap < 1e-10).all())
