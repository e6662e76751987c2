"""Measures of denoisers against slow references: signal-to-noise ratios, net biases, filters."""

import numpy as np
import pytest
import torch

from captum_xg import models
from captum_xg.datasets.photographs import TEST, photograph
from captum_xg.repro.restoration.filters import filters, measured, packed, random_places, squares, unpacked
from captum_xg.repro.restoration.measure import psnr, quality
from captum_xg.repro.restoration.protocol import GREY, SEEN, UNSEEN, Protocol, held_out, with_noise

pytest.importorskip("skimage")
TINY = Protocol(("dncnn",), (0,), steps=1, batch=2, patch=16, stride=128, crops=2, side=24, pixels=4)
CPU = torch.device("cpu")


def small_network(*, bias, dtype=torch.float64):
    torch.manual_seed(0)
    model = getattr(models, "dncnn_small" if bias else "xdncnn_small")(width=4, depth=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval().to(dtype)


@pytest.mark.parametrize("bias", [True, False])
def test_quality_is_that_of_the_whole_jacobian(bias):
    model, clean = small_network(bias=bias), torch.rand(2, 1, 6, 6, dtype=torch.float64)
    found = quality(model.float(), clean, CPU)
    model = model.double()
    assert found["homogeneous"] is not bias
    for level in (SEEN[0], UNSEEN[-1]):
        noisy = with_noise(clean.float(), level).double()
        for i in range(2):
            x = noisy[i : i + 1]
            jacobian = torch.autograd.functional.jacobian(model, x).reshape(36, 36)
            y = model(x).detach()
            net = (y.flatten() - jacobian @ x.flatten()).square().mean().sqrt() * GREY
            assert found["net_bias"][str(level)][i] == pytest.approx(net.item(), abs=1e-3)
            error = np.mean((y[0].numpy() - clean[i].float().numpy()) ** 2)
            assert found["psnr"][str(level)][i] == pytest.approx(10 * np.log10(1 / error), abs=1e-3)
            removed = np.sqrt(np.mean((y - x).numpy() ** 2)) * GREY
            assert found["removed"][str(level)][i] == pytest.approx(removed, rel=1e-4)


def test_the_ratio_of_a_noisy_image_is_that_of_its_noise():
    clean = torch.full((1, 1, 256, 256), 0.5)
    for level in (5, 50):
        assert psnr(with_noise(clean, level), clean)[0] == pytest.approx(-20 * np.log10(level / 255), abs=0.05)


def test_noise_differs_by_its_strength_only_and_not_from_call_to_call():
    clean = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    torch.manual_seed(1)
    weak, strong = (with_noise(clean, level) - clean for level in (10, 40))
    torch.testing.assert_close(4 * weak, strong)
    torch.manual_seed(2)
    assert torch.equal(with_noise(clean, 40), with_noise(clean, 40))


def test_a_filter_is_a_row_of_the_jacobian():
    model = small_network(bias=True)
    noisy = torch.rand(3, 1, 10, 10, dtype=torch.float64)
    found, pixels = filters(model, noisy)
    for i in range(3):
        rows = torch.autograd.functional.jacobian(model, noisy[i : i + 1])
        torch.testing.assert_close(found[i], rows[0, 0, 5, 5, 0, 0])
    torch.testing.assert_close(pixels, model(noisy)[:, 0, 5, 5])


def test_filters_times_images_are_integrated_gradients_without_biases_only():
    values = {bias: measured(small_network(bias=bias), 12, TINY, CPU, bias=bias) for bias in (True, False)}
    for key in ("from_ig", "from_pixel"):
        largest = {bias: max(max(each[key]) for each in value["explained"].values()) for bias, value in values.items()}
        assert largest[False] < 1e-6 < 1e-3 < largest[True]


def test_a_mean_over_nine_pixels_averages_over_nine(monkeypatch):
    mean = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    torch.nn.init.constant_(mean.weight, 1 / 9)
    found = measured(mean, 12, TINY, CPU, bias=False)
    for level in (*SEEN, *UNSEEN):
        assert found["pixels"][str(level)] == pytest.approx([9] * 4)
        assert found["sum"][str(level)] == pytest.approx([1] * 4)


def test_squares_are_around_their_pixels_and_whole():
    places = random_places(30, 24)
    found = squares(places, 24)
    assert found.shape == (30, 1, 24, 24)
    assert {name for name, _, _ in places} == set(TEST)
    for (name, row, column), square in zip(places, found, strict=True):
        assert square[0, 12, 12] == photograph(name)[row, column].double()
    assert places == random_places(30, 24)


def test_crops_do_not_overlap_and_are_of_the_test_photographs():
    crops = held_out(TINY)
    assert crops.shape == (6, 1, 24, 24)
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) == 6
    tiles = photograph(TEST[1]).unfold(0, 24, 24).unfold(1, 24, 24).reshape(-1, 24, 24)
    for crop in crops[2:4, 0]:
        assert sum(torch.equal(crop, tile) for tile in tiles) == 1


def test_what_is_packed_comes_out_again():
    values = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    np.testing.assert_array_equal(unpacked(packed(values)), values)
