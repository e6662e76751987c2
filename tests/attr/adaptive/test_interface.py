"""A drop-in for Captum's IntegratedGradients that refuses what has no answer and leaves everything as it was."""

import copy
import warnings

import pytest
import torch
from bad_arguments import bad_arguments
from captum.attr import IntegratedGradients, NoiseTunnel
from path_networks import FEATURES, KINDS, network, points
from torch import nn

import captum_xg
from captum_xg import AdaptiveIntegratedGradients, IntegrationReport
from captum_xg.errors import (
    CrossExampleError,
    ForwardOutputError,
    GradientError,
    InputError,
    IntegrationWarning,
    ModelStateError,
    NondeterministicForwardError,
    OptionError,
    OptionTypeError,
    TrainingModeError,
)

MODEL = network(nn.GELU, seed=1)
X, B = points(1, 4, zero=False)


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
    mine = AdaptiveIntegratedGradients(MODEL, rtol=1e-4).attribute(*arguments)
    theirs = IntegratedGradients(MODEL).attribute(*arguments[:4], n_steps=60)
    assert close(mine, theirs)
    assert (mine.shape, mine.dtype, mine.requires_grad) == (X.shape, X.dtype, False)


def two_inputs(x, image, scale, row):
    return torch.nn.functional.gelu(x @ x.new_ones(x.shape[1], 3) * scale + image.flatten(1).sum(1, keepdim=True) * row)


def test_several_inputs_and_additional_arguments_stay_with_their_examples():
    image, row = torch.randn(4, 1, 2, 2).double(), torch.tensor([[1.0], [2.0], [-1.0], [0.5]]).double()
    call = {"baselines": (B, 0.5), "target": [0, 1, 2, 1], "additional_forward_args": (0.3, row)}
    mine = AdaptiveIntegratedGradients(two_inputs, rtol=1e-4).attribute((X, image), internal_batch_size=3, **call)
    theirs = IntegratedGradients(two_inputs).attribute((X, image), n_steps=60, **call)
    assert isinstance(mine, tuple)
    assert all(map(close, mine, theirs))


def test_local_attributions_are_the_mean_gradient():
    mine = AdaptiveIntegratedGradients(MODEL, multiply_by_inputs=False, rtol=1e-4).attribute(X, B, 0)
    assert close(mine, IntegratedGradients(MODEL, multiply_by_inputs=False).attribute(X, B, 0, n_steps=60))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_come_out_as_integrated_gradients_gives_them(dtype):
    model = copy.deepcopy(MODEL).to(dtype)
    mine, report = AdaptiveIntegratedGradients(model).attribute(X.to(dtype), target=0, return_report=True)
    assert mine.dtype == torch.float32
    reference = IntegratedGradients(MODEL).attribute(X, target=0, n_steps=60)
    assert close(mine.double(), reference, 2e-2 if dtype == torch.float32 else 0.1)
    assert (report.evaluations < 200).all()


def test_integers_become_floating_point():
    model = network(nn.GELU, seed=2).float()
    x = torch.arange(FEATURES).reshape(1, -1)
    found = AdaptiveIntegratedGradients(model, rtol=1e-3).attribute(x, target=0)
    assert close(found, IntegratedGradients(model).attribute(x, target=0, n_steps=300), 1e-2)


def test_a_single_example_may_have_several_rows():
    def nodes(x):
        return MODEL(x[0].reshape(2, FEATURES))

    x = X[:2].reshape(1, 2, FEATURES)
    found = AdaptiveIntegratedGradients(nodes, rtol=1e-4).attribute(x, target=1)
    apart = AdaptiveIntegratedGradients(MODEL, rtol=1e-4).attribute(X[:2], target=1)
    assert close(found[0], apart)


def test_results_come_in_this_order():
    method = AdaptiveIntegratedGradients(MODEL)
    found, delta, report = method.attribute(X, B, 0, return_convergence_delta=True, return_report=True)
    assert isinstance(report, IntegrationReport)
    assert delta.shape == report.evaluations.shape == report.converged.shape == (4,)
    assert report.converged.equal(1.5 * report.estimated_error <= 1e-2)
    torch.testing.assert_close(method.attribute(X, B, 0, return_convergence_delta=True)[1], delta)
    torch.testing.assert_close(method.compute_convergence_delta(found, B, X, 0), delta)
    assert str(report).startswith("4 of 4 examples within 0.01")
    assert len(str(report).splitlines()) == 6
    assert method.has_convergence_delta()
    assert method.multiplies_by_inputs


def test_noise_tunnel_runs_over_it():
    found = NoiseTunnel(AdaptiveIntegratedGradients(MODEL)).attribute(X, nt_samples=2, stdevs=1e-6, target=0)
    assert close(found, AdaptiveIntegratedGradients(MODEL).attribute(X, target=0), 3e-2)


def test_names_are_public():
    assert {"AdaptiveIntegratedGradients", "IntegrationReport"} <= set(captum_xg.__all__)


# --- bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [2, 3, 9, 30])
def test_the_budget_is_kept_and_its_end_is_told_once(budget):
    method = AdaptiveIntegratedGradients(KINDS["ReLU"](0), rtol=1e-3, max_evaluations=budget)
    with pytest.warns(IntegrationWarning, match="4 of 4 examples are not within rtol=0.001") as caught:
        _, report = method.attribute(X, B, 0, return_report=True)
    assert [each.filename for each in caught] == [__file__]
    assert (report.evaluations <= budget).all()
    assert not report.converged.any()
    assert "not converged" in str(report)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_no_forward_pass_is_larger_than_asked_for(size):
    sizes = []

    def forward(x):
        sizes.append(len(x))
        return KINDS["ReLU"](0)(x)

    AdaptiveIntegratedGradients(forward, rtol=0.1).attribute(X, target=0, internal_batch_size=size)
    assert max(sizes) <= size


def test_examples_that_are_done_take_no_more_gradients():
    model, seen = KINDS["ReLU"](0), []

    def forward(x):
        seen.append(len(x) if x.requires_grad else 0)
        return model(x)

    x = torch.cat([1e-3 * X[:1], X[1:2]])
    b = torch.cat([torch.zeros_like(X[:1]), -X[1:2]])
    _, report = AdaptiveIntegratedGradients(forward).attribute(x, b, 0, return_report=True)
    assert report.evaluations[0] < report.evaluations[1]
    assert sum(seen) == int(report.evaluations.sum())


def test_nothing_happens_between_equal_points():
    found, report = AdaptiveIntegratedGradients(MODEL).attribute(X, X, 0, return_report=True)
    assert not found.any()
    assert report.converged.all()


# --- nothing is touched ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_touched(context):
    model, x = copy.deepcopy(MODEL), X.clone().requires_grad_()
    before = {name: (p, p.detach().clone(), p.requires_grad) for name, p in model.named_parameters()}
    random = torch.get_rng_state()
    with context():
        found = AdaptiveIntegratedGradients(model).attribute(x, B, 0)
    assert (x.requires_grad, x.grad, found.requires_grad, found.is_inference()) == (True, None, False, False)
    assert all(
        p is q and p.equal(v) and p.grad is None
        for p, (q, v, _) in zip(model.parameters(), before.values(), strict=True)
    )
    assert torch.get_rng_state().equal(random)
    assert close(found, AdaptiveIntegratedGradients(MODEL).attribute(X, B, 0))


# --- refusals -------------------------------------------------------------------------------------------------------

BAD_OPTIONS = [
    ({"rtol": 0}, OptionError),
    ({"rtol": -1e-3}, OptionError),
    ({"rtol": 1.0}, OptionError),
    ({"rtol": float("nan")}, OptionError),
    ({"rtol": "1 %"}, OptionTypeError),
    ({"max_evaluations": 1}, OptionError),
    ({"max_evaluations": 0}, OptionError),
    ({"max_evaluations": 10.5}, OptionError),
    ({"multiply_by_inputs": nn.ReLU()}, OptionTypeError),
]


@pytest.mark.parametrize(("options", "error"), BAD_OPTIONS)
def test_an_option_without_a_meaning_is_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        AdaptiveIntegratedGradients(MODEL, **options)


@pytest.mark.parametrize(("arguments", "error"), bad_arguments(X, B))
def test_an_argument_without_a_meaning_is_refused(arguments, error):
    with pytest.raises(error, match=r"AdaptiveIntegratedGradients\.attribute"):
        AdaptiveIntegratedGradients(MODEL).attribute(**{"inputs": X, "target": 0, **arguments})


def lazy():
    return nn.Sequential(nn.LazyLinear(3))


BAD_FUNCTIONS = {
    "dropout": (lambda: nn.Sequential(MODEL, nn.Dropout(0.5).train()), TrainingModeError),
    "noise": (lambda: lambda x: MODEL(x) + torch.randn(len(x), 3), NondeterministicForwardError),
    "a mean over the batch": (lambda: lambda x: MODEL(x - x.mean(0)), CrossExampleError),
    "no memory": (lambda: copy.deepcopy(MODEL).to("meta"), ModelStateError),
    "lazy": (lazy, ModelStateError),
    "detached": (lambda: lambda x: MODEL(x.detach()), GradientError),
    "infinite": (lambda: lambda x: MODEL(x) / 0, ForwardOutputError),
    "not a tensor": (lambda: lambda x: [MODEL(x)], ForwardOutputError),
}


@pytest.mark.parametrize("name", BAD_FUNCTIONS)
def test_a_function_without_integrated_gradients_is_refused(name):
    make, error = BAD_FUNCTIONS[name]
    with pytest.raises(error):
        AdaptiveIntegratedGradients(make()).attribute(X, target=0)


def test_ids_are_refused_with_the_layer_that_looks_them_up():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)).eval()
    with pytest.raises(InputError, match="'0'"):
        AdaptiveIntegratedGradients(model).attribute(torch.randint(9, (2, 3)), target=0)


def test_a_gradient_that_is_not_finite_is_told_with_its_example():
    def forward(x):
        return MODEL(torch.where(x > 0.1 * X[2, 0], (x - x.detach()).sqrt() + x, x))

    with pytest.raises(GradientError, match="example"):
        AdaptiveIntegratedGradients(forward).attribute(X, target=0)


def test_a_replaced_gradient_is_refused():
    method = AdaptiveIntegratedGradients(MODEL)
    method.gradient_func = lambda **_: ()
    with pytest.raises(OptionError, match="gradient_func"):
        method.attribute(X, target=0)


def test_no_warning_comes_where_the_tolerance_is_met():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AdaptiveIntegratedGradients(MODEL).attribute(X, B, 0)
