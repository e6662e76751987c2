"""Decoys: what they say, where they are, and that nothing else changes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.datasets.decoy import add_decoys, grey_of
from captum_xg.errors import InputError, OptionError

CORNERS = [(0, 0), (0, 24), (24, 0), (24, 24)]


def _images(n, seed=0):
    # Grey values that no decoy has, so that every painted pixel differs from what was there.
    return torch.randint(0, 10, (n, 1, 28, 28), generator=torch.Generator().manual_seed(seed)) * 25 / 255 + 0.01


def _labels(n, seed=1):
    return torch.randint(0, 10, (n,), generator=torch.Generator().manual_seed(seed))


def _decoyed(n=200, *, informative, seed=0):
    images, labels = _images(n), _labels(n)
    found = add_decoys(images, labels, informative=informative, generator=torch.Generator().manual_seed(seed))
    return images, labels, found


def _corners(patch):
    """Return which corner each patch is in, and fail where it is not a 4×4 square in a corner."""
    found = []
    for mask in patch[:, 0]:
        rows, columns = torch.nonzero(mask, as_tuple=True)
        assert len(rows) == 16
        top, left = int(rows.min()), int(columns.min())
        assert (int(rows.max()), int(columns.max())) == (top + 3, left + 3)
        found.append(CORNERS.index((top, left)))
    return found


@pytest.mark.parametrize("informative", [True, False])
def test_every_pixel_of_one_corner_and_no_other_is_painted_and_the_mask_marks_them(informative):
    images, _, found = _decoyed(informative=informative)
    assert torch.equal(found.images != images, found.patch)
    _corners(found.patch)


@pytest.mark.parametrize("informative", [True, False])
def test_a_decoy_has_the_grey_value_of_its_shade(informative):
    _, _, found = _decoyed(informative=informative)
    for image, patch, shade in zip(found.images, found.patch, found.shades.tolist(), strict=True):
        assert [round(255 * v) for v in image[patch].tolist()] == [255 - 25 * shade] * 16


def test_an_informative_shade_is_the_label():
    _, labels, found = _decoyed(informative=True)
    assert torch.equal(found.shades, labels)


def test_the_grey_values_are_the_multiples_of_25_below_white_and_none_is_black():
    assert [round(255 * v) for v in grey_of(torch.arange(10)).tolist()] == [
        255, 230, 205, 180, 155, 130, 105, 80, 55, 30,
    ]  # fmt: skip


@given(st.integers(0, 9))
def test_random_shades_do_not_depend_on_the_labels(label):
    images, generator = torch.zeros(50, 1, 28, 28), torch.Generator()
    constant = add_decoys(images, torch.full((50,), label), informative=False, generator=generator.manual_seed(3))
    others = add_decoys(images, _labels(50), informative=False, generator=generator.manual_seed(3))
    assert torch.equal(constant.shades, others.shades)
    assert torch.equal(constant.images, others.images)


def test_random_shades_are_uniform():
    _, _, found = _decoyed(4000, informative=False)
    counts = torch.bincount(found.shades, minlength=10)
    # The standard deviation of a count is 19; chi-squared with 9 degrees of freedom is below 27.9 in 99.9 %.
    assert float(((counts - 400) ** 2 / 400).sum()) < 27.9


@pytest.mark.parametrize("informative", [True, False])
def test_corners_are_uniform_and_independent_of_the_shade(informative):
    _, _, found = _decoyed(4000, informative=informative)
    corners = torch.tensor(_corners(found.patch))
    counts = torch.bincount(corners, minlength=4)
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 16.3  # 3 degrees of freedom, 99.9 %
    together = torch.bincount(4 * found.shades + corners, minlength=40).reshape(10, 4)
    expected = together.sum(1, keepdim=True) * together.sum(0, keepdim=True) / 4000
    assert float(((together - expected) ** 2 / expected).sum()) < 55.5  # 27 degrees of freedom, 99.9 %


def test_equal_seeds_paint_equal_decoys_and_others_do_not():
    first, second, other = (_decoyed(informative=False, seed=seed)[2] for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.patch, other.patch)
    assert not torch.equal(first.shades, other.shades)


def test_corners_do_not_depend_on_whether_decoys_are_informative():
    assert torch.equal(_decoyed(informative=True)[2].patch, _decoyed(informative=False)[2].patch)


def test_the_images_given_stay_as_they_are():
    images = _images(20)
    before = images.clone()
    add_decoys(images, _labels(20), informative=True, generator=torch.Generator())
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(3, 28, 28), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(3, 3, 28, 28), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(3, 1, 7, 28), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(3, 1, 28, 28), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(3, 1, 28, 28), torch.zeros(3)),
        (torch.zeros(3, 1, 28, 28), torch.tensor([0, 1, 10])),
        (torch.zeros(3, 1, 28, 28), torch.tensor([0, 1, -1])),
    ],
)
def test_images_and_labels_of_another_kind_are_refused(images, labels):
    with pytest.raises(InputError, match="add_decoys"):
        add_decoys(images, labels, informative=True, generator=torch.Generator())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_generator_that_draws_otherwise_on_other_machines_is_refused():
    with pytest.raises(OptionError, match="CPU"):
        add_decoys(_images(3), _labels(3), informative=True, generator=torch.Generator("cuda"))
