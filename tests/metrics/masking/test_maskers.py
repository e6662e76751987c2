"""What takes the place of masked features."""

import masking_references as reference
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.errors import InputError, OptionError
from captum_xg.metrics.maskers import Constant, GaussianBlur, Mean, Noise, NoisyLinear, Zero

SHAPES = [(3, 2), (2, 5, 3), (2, 3, 6, 7), (1, 2, 3, 4, 5)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize("size", [(2, 40, 28), (1, 6, 9), (1, 1, 5), (2, 2, 2)])
def test_blur_is_the_sum_under_the_kernel_in_an_image_that_goes_on_mirrored(protocol, size):
    x = random(*size)
    result = GaussianBlur(protocol=protocol)(x[None])[0]
    torch.testing.assert_close(result, reference.blur(x, protocol), rtol=1e-12, atol=1e-12)


def test_blur_is_torchs_convolution_of_the_reflected_image_where_that_is_defined():
    x = random(2, 3, 32, 30)
    w = torch.tensor(reference.blur_weights(51, 41.0, "released"), dtype=torch.float64).expand(3, 1, 51, 51)
    padded = torch.nn.functional.pad(x, (25, 25, 25, 25), mode="reflect")
    expected = torch.nn.functional.conv2d(padded, w, groups=3)
    torch.testing.assert_close(GaussianBlur(protocol="released")(x), expected, rtol=1e-12, atol=1e-12)


def test_the_released_kernel_is_a_gaussian_of_root_two_sigma():
    wide = GaussianBlur(sigma=41 * 2**0.5).weights()
    torch.testing.assert_close(GaussianBlur(protocol="released").weights(), wide, rtol=1e-14, atol=0)
    assert not torch.allclose(GaussianBlur().weights(), wide, rtol=1e-3)


@given(st.sampled_from([1, 3, 51]), st.floats(0.1, 100), st.sampled_from(SHAPES[1:]), st.floats(-5, 5))
def test_blur_leaves_constants_alone_and_stays_between_the_extremes(kernel_size, sigma, shape, value):
    blur = GaussianBlur(kernel_size, sigma)
    constant = torch.full(shape, value, dtype=torch.float64)
    torch.testing.assert_close(blur(constant), constant, rtol=1e-12, atol=1e-12)
    x = random(*shape)
    assert blur(x).min() >= x.min() - 1e-12
    assert blur(x).max() <= x.max() + 1e-12


def test_a_sequence_is_blurred_along_its_positions_alone():
    x = random(2, 9, 3)
    as_image = x.transpose(1, 2)[..., None]  # (N, D, L, 1)
    expected = GaussianBlur(5, 2.0)(as_image)[..., 0].transpose(1, 2)
    torch.testing.assert_close(GaussianBlur(5, 2.0)(x), expected, rtol=1e-12, atol=1e-12)


def test_blur_of_a_table_is_refused_unless_its_features_are_said_to_be_in_order():
    x = random(2, 9)
    with pytest.raises(InputError, match="no positions to blur along"):
        GaussianBlur()(x)
    expected = GaussianBlur(3, 1.0)(x[..., None])[..., 0]
    torch.testing.assert_close(GaussianBlur(3, 1.0, dims=(1,))(x), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match="behind the examples"):
        GaussianBlur(dims=(0,))(x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_masker_keeps_shape_dtype_and_inputs(shape, dtype):
    x = random(*shape).to(dtype)
    before = x.clone()
    maskers = [Zero(), Constant(2.0), Mean(), Mean("example"), Noise()]
    maskers += [GaussianBlur()] if len(shape) > 2 else []
    maskers += [NoisyLinear()] if len(shape) == 4 else []
    for masker in maskers:
        values = masker(x)
        assert values.shape == x.shape
        assert values.dtype == dtype
        assert torch.equal(x, before)


def test_means_are_those_of_channels_features_and_examples():
    image, row, sequence = random(4, 3, 5, 6), random(4, 3), random(4, 5, 3)
    for c in range(3):
        assert torch.allclose(Mean()(image)[:, c], image[:, c].mean(), rtol=1e-12)
        assert torch.allclose(Mean()(row)[:, c], row[:, c].mean(), rtol=1e-12)
        assert torch.allclose(Mean()(sequence)[..., c], sequence[..., c].mean(), rtol=1e-12)
        assert torch.allclose(Mean(channel_dim=1)(sequence.transpose(1, 2))[:, c], sequence[..., c].mean(), rtol=1e-12)
        for i in range(4):
            assert torch.allclose(Mean("example")(image)[i, c], image[i, c].mean(), rtol=1e-12)
            assert torch.allclose(Mean("example")(sequence)[i, :, c], sequence[i, :, c].mean(), rtol=1e-12)
    for i in range(4):
        assert torch.allclose(Mean("example")(row)[i], row[i].mean(), rtol=1e-12)


def test_given_means_go_to_their_channel_or_feature():
    means = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(Mean(means)(random(2, 3, 4, 4)).amax((0, 2, 3)), means.double())
    assert torch.equal(Mean(means)(random(2, 3, 3, 3)).amin((0, 2, 3)), means.double())
    assert torch.equal(Mean(means)(random(2, 4, 3))[0, 0], means.double())
    assert torch.equal(Mean(means)(random(2, 3))[1], means.double())
    with pytest.raises(InputError, match="each of the 4"):
        Mean(means)(random(2, 4))


def test_noise_belongs_to_the_example_and_moves_no_global_generator():
    x, order = random(5, 3, 4, 4), torch.tensor([3, 1, 4, 0, 2])
    state = torch.get_rng_state()
    values = Noise(seed=1)(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(Noise(seed=1)(x[order]), values[order])
    assert torch.equal(Noise(seed=1)(x[2:3]), values[2:3])
    assert not torch.equal(Noise(seed=2)(x), values)
    assert not torch.equal(values[0], values[1])


def test_noise_has_the_mean_and_the_standard_deviation_that_were_asked_for():
    values = Noise(std=0.5, mean=3.0)(random(4, 10_000))
    # Five standard errors.
    assert abs(values.mean() - 3.0) < 5 * 0.5 / 200
    assert abs(values.std() - 0.5) < 5 * 0.5 / 200 / 2**0.5


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.1, 0.5, 0.9]))
def test_imputation_solves_the_linear_system_of_neighbours(seed, height, width, share):
    x = random(2, 3, height, width, seed=seed)
    masked = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < share
    masked[:, 0, 0] = False
    values = NoisyLinear(noise=0.0)(x, masked)
    for i in range(2):
        torch.testing.assert_close(values[i], reference.imputed(x[i], masked[i]), rtol=1e-6, atol=1e-6)


def test_imputation_of_one_known_pixel_spreads_it_over_a_large_image():
    x = torch.zeros(1, 1, 96, 96, dtype=torch.float64)
    x[..., 0, 0] = 2.0
    masked = torch.ones(1, 96, 96, dtype=torch.bool)
    masked[..., 0, 0] = False
    torch.testing.assert_close(NoisyLinear(noise=0.0)(x, masked), torch.full_like(x, 2.0), rtol=1e-5, atol=1e-5)


def test_an_image_of_which_nothing_is_known_becomes_its_mean():
    x = random(2, 3, 5, 5)
    expected = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(NoisyLinear(noise=0.0)(x), expected, rtol=1e-12, atol=1e-12)
    mixed = torch.ones(2, 5, 5, dtype=torch.bool)
    mixed[1, 2, 2] = False
    values = NoisyLinear(noise=0.0)(x, mixed)
    torch.testing.assert_close(values[0], expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(values[1], reference.imputed(x[1], mixed[1]), rtol=1e-6, atol=1e-6)


def test_imputation_leaves_known_pixels_and_adds_noise_to_the_others():
    x = random(1, 2, 6, 6)
    masked = torch.zeros(1, 6, 6, dtype=torch.bool)
    masked[:, 2:4, 2:4] = True
    noisy, plain = NoisyLinear(noise=0.1)(x, masked), NoisyLinear(noise=0.0)(x, masked)
    changed = (noisy != plain).any(1)
    assert torch.equal(changed, masked)
    assert torch.equal(noisy.movedim(1, -1)[~masked], x.movedim(1, -1)[~masked])
    assert (noisy - plain).abs().max() < 0.1 * 6


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianBlur(50),
        lambda: GaussianBlur(0),
        lambda: GaussianBlur(sigma=0),
        lambda: GaussianBlur(protocol="other"),
        lambda: Constant(float("nan")),
        lambda: Mean("median"),
        lambda: Mean(torch.tensor([float("nan")])),
        lambda: Noise(std=-1),
        lambda: Noise(mean=float("inf")),
        lambda: Noise(seed=0.5),
        lambda: NoisyLinear(noise=-1),
        lambda: NoisyLinear(tolerance=0),
    ],
)
def test_options_without_a_meaning_are_refused(make):
    with pytest.raises(OptionError):
        make()


def test_imputation_refuses_what_is_no_image_and_masks_that_do_not_fit():
    with pytest.raises(InputError, match="images"):
        NoisyLinear()(random(2, 5), torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(InputError, match="mask"):
        NoisyLinear()(random(2, 3, 4, 4), torch.ones(2, 3, 4, 4, dtype=torch.bool))
