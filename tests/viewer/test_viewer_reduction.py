"""What a page keeps of large arrays: totals exactly, numbers to a bound, pictures as they look."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from captum_xg.errors import InputError
from captum_xg.viewer.forms import form_of
from captum_xg.viewer.pictures import as_picture, picture_bytes
from captum_xg.viewer.reduction import area_means, area_sums, area_weights, fitting, gini, quantised, restored

sides = st.integers(1, 40)
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.data(), sides, sides)
def test_sums_over_areas_keep_the_total_and_means_the_mean(data, height, width):
    maps = data.draw(arrays.arrays(float, (2, height, width), elements=numbers))
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    tolerance = {"rtol": 1e-9, "atol": 1e-9 * np.abs(maps).sum() + 1e-300}
    assert area_sums(maps, size).shape == (2, *size)
    np.testing.assert_allclose(area_sums(maps, size).sum((1, 2)), maps.sum((1, 2)), **tolerance)
    np.testing.assert_allclose(area_means(maps, size).mean((1, 2)), maps.mean((1, 2)), **tolerance)


@given(sides, st.integers(1, 6))
def test_by_a_whole_factor_sums_are_those_of_blocks(small, factor):
    maps = np.random.default_rng(0).normal(size=(small * factor, 6))
    blocks = maps.reshape(small, factor, 3, 2).sum((1, 3))
    np.testing.assert_allclose(area_sums(maps, (small, 3)), blocks, atol=1e-12)


@given(sides, st.data())
def test_a_cell_goes_to_the_places_that_it_lies_in(size, data):
    smaller = data.draw(st.integers(1, size))
    weights = area_weights(size, smaller)
    np.testing.assert_allclose(weights.sum(0), 1)
    np.testing.assert_allclose(weights.sum(1), size / smaller)
    for i, j in np.argwhere(weights > 1e-12):
        assert j < (i + 1) * size / smaller + 1e-9
        assert j + 1 > i * size / smaller - 1e-9


@given(arrays.arrays(float, st.integers(1, 60), elements=st.floats(-1e30, 1e30, allow_subnormal=False)))
def test_eight_bits_are_off_by_no_more_than_is_said(values):
    levels, end = quantised(values)
    assert levels.dtype == np.int8
    assert abs(int(np.abs(levels.astype(int)).max())) <= 127
    error, largest = np.abs(restored(levels, end) - values), float(np.abs(values).max())
    bound = np.sqrt(np.abs(values) * largest) / 127 + largest / (4 * 127**2)
    assert (error <= bound * (1 + 1e-5) + 1e-37).all()
    assert (levels[values == 0] == 0).all()
    assert (np.sign(restored(levels, end)) * np.sign(values) >= 0).all()


@given(arrays.arrays(float, (3, 7), elements=st.floats(0, 1e3, allow_subnormal=False)))
def test_gini_is_half_the_mean_difference_by_the_mean(rows):
    for row, found in zip(rows, gini(rows), strict=True):
        if row.sum() == 0:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(np.abs(row[:, None] - row).mean() / (2 * row.mean()), abs=1e-9)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 200))
def test_pictures_shrink_to_fit_and_never_grow(height, width, longest):
    size = fitting((height, width), longest)
    assert max(size) == min(longest, max(height, width))
    assert 1 <= size[0] <= height
    assert 1 <= size[1] <= width


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_pictures_come_back_as_they_were(channels):
    pixels = torch.rand(channels, 9, 7)
    mean, std = [0.4] * channels, [0.2] * channels
    shown = as_picture((pixels - 0.4) / 0.2, mean, std, "here")
    np.testing.assert_allclose(shown, pixels.double(), atol=1e-6)
    raw = np.frombuffer(picture_bytes(shown, (9, 7)), np.uint8).reshape(9, 7, channels)
    assert np.abs(raw / 255 - pixels.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


def test_large_pictures_are_kept_as_jpegs_that_look_like_them():
    y, x = np.mgrid[0:200, 0:150] / 200
    picture = np.stack([x, y, 1 - x * y]).clip(0, 1)
    read = np.asarray(Image.open(io.BytesIO(picture_bytes(picture, (100, 75)))))
    assert read.shape == (100, 75, 3)
    assert np.abs(read / 255 - area_means(picture, (100, 75)).transpose(1, 2, 0)).max() < 0.05


def test_pictures_outside_of_the_unit_interval_are_stretched_and_holes_refused():
    shown = as_picture(torch.tensor([[-2.0, 0.0], [2.0, 6.0]]), None, None, "here")
    assert (shown.min(), shown.max(), shown[0, 0, 1]) == (0, 1, 0.25)
    with pytest.raises(InputError, match=r"here.*NaN"):
        as_picture(torch.tensor([[float("nan")]]), None, None, "here")


@pytest.mark.parametrize(
    ("shape", "tokens", "kind", "shown"),
    [((3, 8, 6), False, "picture", (8, 6)), ((8, 6), False, "picture", (8, 6)), ((5,), False, "table", (5,)),
     ((5,), True, "tokens", (5,)), ((5, 16), True, "tokens", (5,)), ((64, 7, 7), False, "picture", (7, 7))],
)  # fmt: skip
def test_the_shape_says_what_attributions_are_shown_as(shape, tokens, kind, shown):
    form = form_of(shape, tokens, 96, 224, "here")
    assert (form.kind, form.shape) == (kind, shown)
    a = torch.randn(4, *shape)
    maps = form.maps(a)
    assert maps.shape == (4, *shown)
    np.testing.assert_allclose(maps.reshape(4, -1).sum(1), a.double().flatten(1).sum(1))
    assert form.large is None


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(InputError, match=r"here.*\(2, 3, 4, 5\)"):
        form_of((2, 3, 4, 5), False, 96, 224, "here")
