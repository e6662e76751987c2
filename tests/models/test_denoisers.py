"""Denoisers without biases are in the class, by proof and against Captum; their pixels are weighted sums."""

import pytest
import torch
from captum.attr import IntegratedGradients
from effort import thorough
from hypothesis import given
from hypothesis import settings as h
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from captum_xg import XGradient, certify, models
from captum_xg.errors import CheckpointError, OptionError, OptionTypeError
from captum_xg.models.small_weights import ASSETS

FAMILIES = ("dncnn_small", "unet_small")
SHIPPED = ("dncnn_small", "xdncnn_small")
families = pytest.mark.parametrize("family", FAMILIES)


def random_network(name, dtype=torch.float64, seed=0, **options):
    """A network in evaluation mode, all of its parameters moved at random, biases too."""
    torch.manual_seed(seed)
    model = getattr(models, name)(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval().to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, *thorough([torch.float64, torch.bfloat16])])
@families
def test_without_biases_it_is_proven_of_degree_one_and_its_twin_is_not(family, dtype):
    x = torch.rand(2, 1, 12, 14).to(dtype)
    certificate = certify(random_network(f"x{family}", dtype), x)
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == 1
    assert not certify(random_network(family, dtype), x).homogeneous


@families
def test_an_x_dnn_is_its_twin_minus_biases_and_starts_from_the_same_weights(family):
    torch.manual_seed(3)
    regular = getattr(models, family)().state_dict()
    torch.manual_seed(3)
    own = getattr(models, f"x{family}")().state_dict()
    assert own.keys() == {name for name in regular if not name.endswith("bias")}
    assert all(torch.equal(value, regular[name]) for name, value in own.items())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("dncnn_small", 21289), ("xdncnn_small", 21168), ("unet_small", 144465), ("xunet_small", 144048)],
)
def test_number_of_parameters(name, parameters):
    assert sum(p.numel() for p in getattr(models, name)().parameters()) == parameters


@families
@h(max_examples=8)
@given(m=st.integers(-20, 20), seed=st.integers(0, 2**16), height=st.integers(1, 9), width=st.integers(1, 9))
def test_powers_of_two_come_out_bit_for_bit_at_any_size(family, m, seed, height, width):
    model = random_network(f"x{family}", torch.float32)
    torch.manual_seed(seed)
    x = torch.rand(2, 1, height, width)
    with torch.no_grad():
        restored = model(x)
        assert restored.shape == x.shape
        assert torch.equal(model(2.0**m * x), 2.0**m * restored)


@families
@h(max_examples=4)
@given(seed=st.integers(0, 2**16), row=st.integers(0, 9), column=st.integers(0, 10))
def test_x_gradient_of_a_pixel_is_its_integrated_gradients_and_sums_to_it(family, seed, row, column):
    model = random_network(f"x{family}", seed=seed)
    x = torch.rand(2, 1, 10, 11, dtype=torch.float64)
    target = (0, row, column)
    actual = XGradient(model).attribute(x, target=target)
    expected = IntegratedGradients(model).attribute(x, target=target, n_steps=16)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 * expected.abs().max().item())
    torch.testing.assert_close(actual.sum((1, 2, 3)), model(x)[:, 0, row, column].detach())


@families
def test_the_image_is_its_jacobian_times_itself_without_biases_only(family):
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    for name in (family, f"x{family}"):
        model = random_network(name)
        jacobian = torch.autograd.functional.jacobian(model, x).reshape(36, 36)
        left = (model(x).flatten() - jacobian @ x.flatten()).abs().max()
        assert (left < 1e-12) == name.startswith("x")


def test_dncnn_computes_its_formula():
    p = (model := random_network("dncnn_small", channels=3, width=5, depth=3)).state_dict()
    x = torch.rand(2, 3, 7, 8, dtype=torch.float64)
    y = torch.relu(F.conv2d(x, p["layers.0.weight"], p["layers.0.bias"], padding=1))
    y = torch.relu(F.conv2d(y, p["layers.2.weight"], p["layers.2.bias"], padding=1))
    y = x - F.conv2d(y, p["layers.4.weight"], p["layers.4.bias"], padding=1)
    torch.testing.assert_close(model(x), y)


def test_the_u_net_computes_its_formula_and_pads_with_zeros():
    model = random_network("xunet_small")
    p = model.state_dict()
    image = torch.rand(2, 1, 7, 9, dtype=torch.float64)
    x = torch.zeros(2, 1, 8, 12, dtype=torch.float64)
    x[..., :7, :9] = image
    conv = lambda y, name, stride=1: F.conv2d(y, p[f"{name}.weight"], stride=stride, padding=1)
    fine = conv(conv(x, "fine.0").relu(), "fine.2").relu()
    middle = conv(conv(fine, "down_to_middle.0", 2).relu(), "down_to_middle.2").relu()
    coarse = conv(conv(middle, "down_to_coarse.0", 2).relu(), "down_to_coarse.2").relu()
    up = F.conv_transpose2d(coarse, p["up_to_middle.weight"], stride=2)
    middle = conv(middle + up, "middle.0").relu()
    up = F.conv_transpose2d(middle, p["up_to_fine.weight"], stride=2)
    noise = conv(conv(fine + up, "last.0").relu(), "last.2")
    torch.testing.assert_close(model(image), (x - noise)[..., :7, :9])


@pytest.mark.parametrize(("family", "side"), [("dncnn_small", 13), ("unet_small", 37)])
def test_a_pixel_sees_no_more_than_it_is_said_to(family, side):
    model = random_network(family)
    for row in (48, 49, 50, 51):
        x = torch.rand(1, 1, 96, 96, dtype=torch.float64, requires_grad=True)
        (filter_,) = torch.autograd.grad(model(x)[0, 0, row, row], x)
        rows = filter_[0, 0].abs().sum(1).nonzero()[:, 0] - row
        assert rows.abs().max() <= side // 2


@pytest.mark.parametrize("family", ["dncnn_small", *thorough(["unet_small"])])
def test_a_denoiser_is_saved_and_exported(family):
    model, other = (random_network(f"x{family}", seed=seed) for seed in (0, 1))
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    exported = torch.export.export(model, (x,))
    torch.testing.assert_close(exported.module()(x), model(x))


@families
def test_a_penalty_on_filters_reaches_every_weight(family):
    model = random_network(f"x{family}")
    x = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    attributions = XGradient(model).attribute(x, target=(0, 6, 6), create_graph=True)
    gradients = torch.autograd.grad(attributions.square().sum(), list(model.parameters()))
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: models.xdncnn_small(depth=1), OptionError, "`depth` must be an integer ≥ 2"),
        (lambda: models.dncnn_small(width=0), OptionError, "dncnn_small: `width` must be a positive integer"),
        (lambda: models.xunet_small(channels=1.5), OptionTypeError, "xunet_small: `channels`"),
        (lambda: models.xdncnn_small(width=8, pretrained=True), CheckpointError, "wrong shape"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_denoisers_come_to_what_is_recorded_of_them(name):
    pytest.importorskip("skimage")
    from captum_xg.repro.restoration.measure import psnr
    from captum_xg.repro.restoration.protocol import PRESETS, held_out, with_noise

    model, record = getattr(models, name)(pretrained=True), models.denoiser_record()["networks"][name]
    assert not model.training
    assert record["parameters"] == sum(p.numel() for p in model.parameters())
    clean = held_out(PRESETS["full"])
    for level in ("25", "75"):
        noisy = with_noise(clean, float(level))[::6]
        with torch.no_grad():
            found = psnr(model(noisy), clean[::6])
        assert sum(found) / len(found) == pytest.approx(record["psnr"][level], abs=2)
    assert certify(model, clean[:1]).homogeneous == name.startswith("x")


def test_shipped_denoisers_are_small():
    sizes = [(ASSETS / f"{name}.pt").stat().st_size for name in SHIPPED]
    assert sum(sizes) < 100_000
    assert isinstance(models.xdncnn_small(pretrained=True), nn.Module)
