"""The radius of HomogeneousExtension: any number, or the mean norm of the first batch, the same from then on."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import references
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerance import assert_close
from torch import nn

from captum_xg import HomogeneousExtension, XGradient, bias_ledger, certify, check_homogeneity, to_xdnn
from captum_xg.errors import ConversionError, HomogeneityError, InputError, OptionError, TrainingModeError


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)).double().eval()


def inputs(n=5, scale=3.0, seed=1):
    return scale * torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_norm(x, norm=2):
    """By definition, one number at a time."""
    sizes = []
    for row in x.flatten(1).tolist():
        power = 2 if norm == "rms" else norm
        total = max(map(abs, row)) if power == math.inf else sum(abs(v) ** power for v in row)
        sizes.append(
            total
            if power == math.inf
            else (total / len(row)) ** 0.5
            if norm == "rms"
            else total ** (1 / power)
        )  # fmt: skip
    return sum(sizes) / len(sizes)


def measured():
    extension = HomogeneousExtension(network(), radius="auto")
    extension(inputs())
    return extension


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "radius",
    [torch.tensor(2.5), torch.tensor(2.5, requires_grad=True), np.float64(2.5), np.float32(2.5), np.array(2.5), 2.5],
    ids=repr,
)
def test_one_number_of_any_kind_is_a_radius(radius):
    extension = HomogeneousExtension(network(), radius=radius)
    assert float(extension.radius) == 2.5
    assert not extension.radius.requires_grad
    assert torch.equal(extension(inputs()), HomogeneousExtension(network(), radius=2.5)(inputs()))


def test_the_mean_of_norms_is_a_radius_as_it_is():
    norms = inputs().norm(dim=1)
    assert float(HomogeneousExtension(network(), radius=norms.mean()).radius) == float(norms.mean())


@pytest.mark.parametrize(
    "options",
    [
        {"degree": torch.tensor(2.0)},
        {"degree": np.int64(2)},
        {"norm": np.int64(1)},
        {"norm": torch.tensor(math.inf)},
        {"n_inputs": np.int64(1)},
    ],
    ids=repr,
)
def test_other_options_take_one_number_of_any_kind(options):
    plain = {name: value.item() for name, value in options.items()}
    one, other = (HomogeneousExtension(network(), radius=2.0, **o) for o in (options, plain))
    assert torch.equal(one(inputs()), other(inputs()))
    assert repr(one) == repr(other)


@pytest.mark.parametrize(
    "radius",
    [torch.tensor([1.0, 2.0]), torch.tensor(-1.0), torch.tensor(math.nan), 10**400, "Auto", 1j, torch.tensor(True)],
    ids=repr,
)
def test_what_is_no_radius_is_refused_by_name(radius):
    with pytest.raises(OptionError, match="HomogeneousExtension: `radius`"):
        HomogeneousExtension(network(), radius=radius)


def test_a_class_and_the_pair_of_a_conversion_are_refused_with_what_to_do():
    with pytest.raises(OptionError, match=r"`model` is the class ReLU. Pass an instance: ReLU\(…\)"):
        HomogeneousExtension(nn.ReLU)
    converted = to_xdnn(network(), inputs(), strict=False)
    with pytest.raises(OptionError, match="Unpack it first"):
        HomogeneousExtension(converted)
    with pytest.raises(TypeError, match="`degree`"):
        HomogeneousExtension(network(), network())


# --- measured --------------------------------------------------------------------------------------------------------


@given(st.sampled_from((1, 2, 3, math.inf, "rms")), st.integers(1, 6), st.integers(-8, 8), st.integers(0, 1000))
def test_the_radius_is_the_mean_norm_of_the_first_batch_and_stays_so(norm, n, m, seed):
    x = inputs(n, 2.0**m, seed)
    auto = HomogeneousExtension(network(), norm=norm, radius="auto")
    first = auto(x)
    assert float(auto.radius) == pytest.approx(mean_norm(x, norm), rel=1e-12)
    fixed = HomogeneousExtension(network(), norm=norm, radius=auto.radius)
    assert torch.equal(first, fixed(x))
    for other in (inputs(2, 100.0), 8 * x, torch.zeros(1, 4, dtype=torch.float64)):
        assert torch.equal(auto(other), fixed(other))
    assert_close(auto(4 * x), 4 * first, 1e-13)


def test_several_inputs_give_their_joint_norm():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a + b

    auto = HomogeneousExtension(Sum().eval(), radius="auto", n_inputs=2)
    a, b = inputs(), inputs(seed=2)
    auto(a, b)
    assert float(auto.radius) == pytest.approx(mean_norm(torch.cat([a, b], 1)), rel=1e-12)


def certified(extension, x):
    assert certify(extension, x).homogeneous


FIRST = {
    "a call": lambda extension, x: extension(x),
    "a call in inference mode": lambda extension, x: torch.inference_mode()(extension)(x),
    "certify": certified,
    "check_homogeneity": lambda extension, x: check_homogeneity(extension, x, target=0),
    "bias_ledger": lambda extension, x: bias_ledger(extension, x, target=0),
    **{
        f"XGradient, {mode}": lambda extension, x, mode=mode: XGradient(extension, validate=mode).attribute(x, target=0)
        for mode in ("numeric", "certificate", "off")
    },
}


@pytest.mark.parametrize("name", FIRST)
def test_whoever_runs_it_first_measures_it_once_and_for_all(name):
    extension, x = HomogeneousExtension(network(), radius="auto"), inputs()
    FIRST[name](extension, x)
    assert float(extension.radius) == pytest.approx(mean_norm(x), rel=1e-12)
    FIRST[name](extension, 8 * x)
    assert float(extension.radius) == pytest.approx(mean_norm(x), rel=1e-12)
    assert not extension.radius.is_inference()


@pytest.mark.parametrize("mode", ["numeric", "certificate", "off"])
@pytest.mark.parametrize("first", [True, False])
def test_x_gradient_is_integrated_gradients_of_the_measured_extension(mode, first):
    extension, x = HomogeneousExtension(network(), radius="auto"), inputs(2)
    if not first:
        extension(inputs(7, seed=3))
    attributions = XGradient(extension, validate=mode).attribute(x, target=1)
    assert certify(extension, x).degree == 1
    assert_close(attributions, references.integrated_gradients(extension, (x,), 1)[0], 1e-9)


def test_a_certificate_covers_the_state_that_it_was_made_of():
    extension, x = HomogeneousExtension(network(), radius="auto"), inputs()
    certificate = certify(extension, x)
    assert not certificate.is_stale(extension)
    explainer = XGradient(extension, validate="certificate")
    explainer.attribute(x, target=0)
    explainer.attribute(2 * x, target=0)
    assert not certificate.is_stale(extension)


def test_it_says_what_its_radius_is():
    extension = HomogeneousExtension(network(), radius="auto")
    assert "radius='auto' (not measured yet)" in repr(extension)
    assert math.isnan(extension.radius)
    extension(inputs())
    assert f"radius={mean_norm(inputs()):.4g} ('auto': measured)" in repr(extension)
    assert "radius=1, " in repr(HomogeneousExtension(network()))
    assert dict(extension.named_buffers())["radius"] is extension.radius


def saved_state(extension):
    file = io.BytesIO()
    torch.save(extension.state_dict(), file)
    file.seek(0)
    other = HomogeneousExtension(network(), radius="auto")
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def assigned_state(extension):
    other = HomogeneousExtension(network(), radius=1.0)
    other.load_state_dict(extension.state_dict(), assign=True)
    return other


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda extension: pickle.loads(pickle.dumps(extension)),
    "state dict": saved_state,
    "assigned state dict": assigned_state,
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_and_states_bring_the_measured_radius(name):
    extension = measured()
    other = COPIES[name](extension)
    assert float(other.radius) == float(extension.radius)
    for x in (inputs(2, 50.0), inputs()):
        assert torch.equal(other(x), extension(x))


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), saved_state],
    ids=["deepcopy", "pickle", "state dict"],
)
def test_a_copy_of_what_is_not_measured_measures_for_itself(copied):
    extension = HomogeneousExtension(network(), radius="auto")
    other = copied(extension)
    other(inputs())
    assert math.isnan(extension.radius)
    extension(2 * inputs())
    assert float(extension.radius) == pytest.approx(2 * float(other.radius))


def test_another_state_replaces_what_was_measured():
    extension = measured()
    extension.load_state_dict(HomogeneousExtension(network(), radius=7.5).state_dict())
    extension(inputs())
    assert float(extension.radius) == 7.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_another_dtype_of_the_model_does_not_round_the_radius(dtype):
    extension = measured().to(dtype)
    assert float(extension.radius) == pytest.approx(mean_norm(inputs()), rel=1e-12)
    assert extension.model[0].weight.dtype == extension(inputs().to(dtype)).dtype == dtype


def test_the_meta_device_loses_no_radius_that_was_given():
    with torch.device("meta"):
        extension = HomogeneousExtension(nn.Linear(4, 3), radius=3.7)
    extension = extension.to("meta").to_empty(device="cpu")
    assert float(extension.radius) == 3.7
    lost = measured().to("meta").to_empty(device="cpu")
    assert math.isnan(lost.radius)
    lost.load_state_dict(measured().state_dict())
    assert torch.equal(lost(inputs()), measured()(inputs()))


# --- modes and refusals ----------------------------------------------------------------------------------------------


def test_the_extension_of_a_model_is_in_the_mode_of_the_model():
    assert not HomogeneousExtension(network(), radius="auto").training
    assert HomogeneousExtension(network().train(), radius="auto").training
    mixed = network()
    mixed[1].train()
    HomogeneousExtension(mixed)
    assert [module.training for module in mixed.modules()] == [False, False, True, False]


def test_in_training_mode_it_is_refused_until_it_is_measured_and_trains_with_it_then():
    extension, x = HomogeneousExtension(network().train(), radius="auto"), inputs()
    with pytest.raises(TrainingModeError, match=r"radius='auto'.*extension\.eval\(\)"):
        extension(x)
    assert math.isnan(extension.radius)
    extension.eval()(x)
    extension.train()(3 * x).sum().backward()
    assert float(extension.radius) == pytest.approx(mean_norm(x), rel=1e-12)
    assert all(p.grad is not None for p in extension.parameters())
    assert extension.radius.grad is None


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 4),
        torch.zeros(0, 4),
        torch.full((2, 4), math.nan),
        torch.full((2, 4), math.inf),
        torch.zeros(2, 4, device="meta"),
    ],
    ids=["zero", "empty", "NaN", "infinite", "meta"],
)
def test_a_batch_that_has_no_size_measures_nothing(x):
    extension = HomogeneousExtension(network(), radius="auto")
    with pytest.raises(InputError, match="radius='auto' cannot be measured"):
        extension(x.double())
    extension(inputs())
    assert float(extension.radius) == pytest.approx(mean_norm(inputs()), rel=1e-12)


def test_under_vmap_it_is_refused_until_it_is_measured():
    extension = HomogeneousExtension(network(), radius="auto")
    with pytest.raises(InputError, match="Run it once on typical inputs first"):
        torch.func.vmap(extension)(inputs().reshape(5, 1, 4))
    extension(inputs())
    assert_close(torch.func.vmap(extension)(inputs().reshape(5, 1, 4))[:, 0], extension(inputs()), 1e-12)


@pytest.mark.parametrize("norm", [1, 2, 3, math.inf, "rms"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_input_that_is_not_finite_gives_no_finite_number(norm, bad):
    x = inputs()
    x[1, 2] = bad
    y = HomogeneousExtension(network(), norm=norm)(x)
    assert not y[1].isfinite().any()
    assert y[[0, 2, 3, 4]].isfinite().all()


# --- what it breaks, and what it says --------------------------------------------------------------------------------


class FirstOnly(nn.Module):
    """Ignores all but the first two features; smooth, and not linear, of which the extension would be the same."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()

    def forward(self, x):
        return self.inner(x[:, :2])


@pytest.mark.parametrize("n", [1, 4])
def test_it_breaks_sensitivity_b_by_the_formula_in_its_docstring(n):
    torch.manual_seed(0)
    model, radius = FirstOnly().eval(), 2.0
    extension, x = HomogeneousExtension(model, radius=radius), inputs(n)
    ignored = XGradient(extension).attribute(x)[:, 2:]
    of_the_model = references.integrated_gradients(model, (x,), 0)[0][:, 2:]
    assert not of_the_model.any()
    assert (ignored.abs() > 1e-3).all()
    size = x.norm(dim=1, keepdim=True)
    there = (radius * x / size).requires_grad_()
    (gradient,) = torch.autograd.grad(model(there).sum(), there)
    expected = x[:, 2:] ** 2 / size**2 * (extension(x) - (there * gradient).sum(1, keepdim=True) * size / radius)
    assert_close(ignored, expected.detach(), 1e-12)
    assert "Sensitivity (b)" in HomogeneousExtension.__doc__


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.o = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, a, b, c=None):
        return self.o(torch.tanh(self.l(torch.cat([a, b], 1)))) + (0 if c is None else c)


FORGOTTEN = {
    "itself": lambda extension: extension,
    "a function": lambda extension: lambda a, b: extension(a, b),
    "by keyword": lambda extension: lambda a, b: extension(a, b=b),
    "computed from an input": lambda extension: lambda a, b: extension(a, 2 * b + a),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_forgotten_n_inputs_is_named_and_no_bias_is_blamed(name):
    torch.manual_seed(0)
    forward = FORGOTTEN[name](HomogeneousExtension(Joined().eval(), radius=2.0))
    a, b = torch.randn(2, 4), torch.randn(2, 4)
    certificate = certify(forward, a, b)
    assert not certificate.homogeneous
    assert len(certificate.violations) == 1
    assert not certificate.unsupported
    assert "n_inputs=1" in certificate.violations[0].reason
    assert certificate.violations[0].type == "HomogeneousExtension"
    with pytest.raises(HomogeneityError, match="n_inputs=1") as error:
        XGradient(forward).attribute((a, b), target=0)
    assert "bias" not in str(error.value)
    if name == "itself":
        with pytest.raises(ConversionError, match="n_inputs=1") as error:
            to_xdnn(forward, a, b)
        assert "bias" not in str(error.value)


def test_constants_behind_the_inputs_and_joint_inputs_are_proven():
    a, b = torch.randn(2, 4), torch.randn(2, 4)
    model = Joined().eval()
    assert certify(HomogeneousExtension(model, n_inputs=2), a, b).homogeneous
    assert certify(HomogeneousExtension(model), a, additional_forward_args=(b,)).homogeneous
    assert certify(lambda x: HomogeneousExtension(model)(x, torch.ones(2, 4)), a).homogeneous


def test_an_argument_of_degree_zero_may_follow_the_inputs():
    extension = HomogeneousExtension(Joined().eval())
    assert certify(lambda a, b: extension(a, b / b.norm(dim=1, keepdim=True)), torch.randn(2, 4), torch.randn(2, 4))
