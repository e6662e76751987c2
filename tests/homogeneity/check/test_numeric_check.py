"""The numeric check accepts every X-DNN, catches every planted violation that it can see, and reports true numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from violations import SaturatesAt, culprits, insert, nothing_changes, plant_bias, refusal, seeded, xdnn

from captum_xg import HomogeneityReport, XGradient, certify, check_homogeneity
from captum_xg.errors import DegreeError, HomogeneityError

# Per dtype: the widest exponent of the default scales, and how many decades the gains of layers and the sizes of inputs
# may go up and down without anything leaving the dtype's range.
SENSIBLE = {
    torch.float64: (32, 6.0, 6.0),
    torch.float32: (16, 6.0, 6.0),
    torch.bfloat16: (16, 2.0, 4.0),
    torch.float16: (4, 0.3, 1.0),
}
EPS = {dtype: torch.finfo(dtype).eps for dtype in SENSIBLE}
WIDE = [torch.float64, torch.float32]
DTYPES = st.sampled_from(list(SENSIBLE))
SEEDS = st.integers(0, 10**6)


class PReLUs(nn.PReLU):
    """Slopes of several sizes, one negative."""

    def __init__(self) -> None:
        super().__init__(init=-0.4)


ACTIVATIONS = [nn.ReLU, lambda: nn.LeakyReLU(0.1), nn.Identity, PReLUs, lambda: nn.RReLU(0.2, 0.2), nn.Hardtanh]
HOMOGENEOUS = ACTIVATIONS[:-1]


@st.composite
def networks(
    draw: st.DrawFn, dtype: torch.dtype, decades: float | None = None, least: int = 1
) -> tuple[nn.Sequential, Tensor]:
    """Return a random X-DNN and a batch for it, with gains of layers and sizes of examples over many decades."""
    _, gains, sizes = SENSIBLE[dtype]
    gains = gains if decades is None else decades
    seed, depth = draw(SEEDS), draw(st.integers(least, 4))
    # Where large terms cancel in a narrow layer, F is left with their rounding, and Euler's identity fails by it: in
    # the two short dtypes for 1 in 1,500 networks of width 4 and up, for none in 12,000 of width 12 and up.
    narrow, wide = (16, 24) if EPS[dtype] > 1e-4 else (8, 16)
    widths = [draw(st.integers(narrow, wide)), *(draw(st.integers(narrow, wide)) for _ in range(depth - 1)), 3]
    model = xdnn(*widths, seed=seed, activation=draw(st.sampled_from(HOMOGENEOUS)))
    n = draw(st.integers(1, 6))
    sized = [10 ** draw(st.floats(-sizes, sizes)) for _ in range(n)]
    x = torch.randn(n, widths[0], generator=seeded(seed), dtype=torch.float64) * torch.tensor(sized)[:, None]
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.weight.data *= 10 ** draw(st.floats(-gains, gains))
    return model.to(dtype), x.to(dtype)


# ----------------------------------------------------------------------------------------------------- what is accepted


@given(data=st.data(), dtype=DTYPES)
def test_every_xdnn_is_accepted_and_gives_input_times_gradient(data: st.DataObject, dtype: torch.dtype) -> None:
    model, x = data.draw(networks(dtype))
    target = data.draw(st.integers(0, 2))
    attributions = XGradient(model, validate="numeric").attribute(x, target=target)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[:, target].sum(), leaf)
    torch.testing.assert_close(attributions, x * gradient.to(attributions.dtype))


@given(data=st.data(), dtype=DTYPES)
def test_every_xdnn_is_reported_homogeneous_of_degree_one(data: st.DataObject, dtype: torch.dtype) -> None:
    model, x = data.draw(networks(dtype))
    report = check_homogeneity(model, x, data.draw(st.integers(0, 2)))
    assert report.homogeneous
    assert report.degree in (1, None)  # None: zero on all these rays
    assert report.culprits == ()
    assert report.unchecked == ()


@given(data=st.data(), dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_powers_of_two_deviate_by_exactly_nothing_on_piecewise_linear_networks(
    data: st.DataObject, dtype: torch.dtype
) -> None:
    model, x = data.draw(networks(dtype, decades=2.0))
    report = check_homogeneity(model, x, 0)
    assert report.max_deviation == 0.0
    assert all(check.max_deviation == 0.0 for check in report.scales)
    XGradient(model, rtol=0.0, validate="numeric").attribute(x, target=0)


class ConvolutionalNet(nn.Module):
    """Convolution, pooling of both kinds, a residual connection, a maximum and a concatenation: degree 1."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.b = nn.Conv2d(6, 6, 3, padding=1, bias=False, groups=2)
        self.c = nn.Linear(24, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        h = nn.functional.max_pool2d(h + self.b(h), 2)
        h = torch.cat([nn.functional.adaptive_avg_pool2d(h, 1), h.amax((2, 3), keepdim=True)], 1).flatten(1)
        return self.c(torch.cat([h, torch.minimum(h, h.flip(1))], 1))


@pytest.mark.parametrize("dtype", list(SENSIBLE), ids=str)
def test_a_convolutional_residual_network_is_accepted_in_every_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = ConvolutionalNet().to(dtype).eval()
    x = torch.randn(5, 2, 8, 8, generator=seeded(1)).to(dtype)
    report = check_homogeneity(model, x, 1)
    assert report.homogeneous
    assert report.dtype == str(dtype).removeprefix("torch.")
    XGradient(model, validate="numeric").attribute(x, target=1)


def test_a_norm_is_homogeneous_and_root_and_square_add_their_degrees() -> None:
    x = torch.randn(4, 6, generator=seeded(1))
    for function in (
        lambda x: x.norm(dim=1),
        lambda x: (x**2).sum(1).sqrt(),
        lambda x: (x[:, 0] * x[:, 1]) / x.abs().sum(1),
        lambda x: x.logsumexp(1) - x.logsumexp(1) + x[:, 0],
    ):
        assert check_homogeneity(function, x).degree == 1


# -------------------------------------------------------------------------------------------------- what must be caught


def scales_of(dtype: torch.dtype) -> tuple[float, float]:
    m = SENSIBLE[dtype][0]
    return 2.0**-m, 2.0**m


def exact_deviation(model: nn.Module, x: Tensor, target: int, scales: tuple[float, ...]) -> Tensor:
    """Return the deviation of each example, by double arithmetic from the definition, the worst over the scales."""
    double = [p.detach().clone() for p in model.parameters()]
    model.double()
    leaf = x.double().requires_grad_()
    values = model(leaf)[:, target]
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    size = torch.maximum((leaf * gradient).abs().sum(1), values.abs()).detach()
    with torch.no_grad():
        deviations = [(model(x.double() * a)[:, target] - a * values).abs() / (a * size) for a in scales]
    for parameter, old in zip(model.parameters(), double, strict=True):
        parameter.data = old
    return torch.stack(deviations).amax(0)


BIASES = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-4, torch.float16: 1e-1}


@given(data=st.data(), dtype=DTYPES)
def test_a_bias_of_a_millionth_of_the_activations_anywhere_is_caught(data: st.DataObject, dtype: torch.dtype) -> None:
    """A millionth in float32, 1e-12 in double; 1e-4 in bfloat16 and a tenth in float16, whose scales reach less far."""
    model, x = data.draw(networks(dtype, decades=min(2.0, SENSIBLE[dtype][1])))
    position = data.draw(st.sampled_from([i for i, layer in enumerate(model) if isinstance(layer, nn.Linear)]))
    # One size for all examples: a bias is small or large relative to the activations of one of them.
    x = (x.double() / x.double().norm(dim=1, keepdim=True)).to(dtype)
    with torch.no_grad():
        size = float(model[: position + 1](x).abs().max())
    plant_bias(model[position], BIASES[dtype] * size)
    assume(float(exact_deviation(model, x, 0, scales_of(dtype)).max()) > 128 * EPS[dtype])
    error = refusal(HomogeneityError, model, x, target=0)
    with torch.no_grad():
        reached = bool(model[:position](x).any(1).all())
    if reached:
        assert culprits(error.report) == [(str(position), "Linear")]


@given(data=st.data(), dtype=st.sampled_from(WIDE), shrink=st.booleans())
def test_a_threshold_between_the_scaled_and_the_given_activations_is_caught(
    data: st.DataObject, dtype: torch.dtype, shrink: bool
) -> None:
    model, x = data.draw(networks(dtype, decades=2.0, least=2))
    x = x / x.norm(dim=1, keepdim=True)
    m = SENSIBLE[dtype][0]
    with torch.no_grad():
        size = float(model[0](x).abs().amax())
    # Activations of one example at least cross it, on the one side of 1 or the other.
    level = size * 2.0 ** -data.draw(st.floats(0.1, m - 1)) if shrink else size * 2.0 ** data.draw(st.floats(0, m - 1))
    model = insert(model, 1, nn.Hardshrink(level)).to(dtype)
    assume(float(exact_deviation(model, x, 0, scales_of(dtype)).max()) > 1e-3)
    error = refusal(HomogeneityError, model, x, target=0)
    assert culprits(error.report) == [("1", "Hardshrink")]


@given(data=st.data(), dtype=st.sampled_from(WIDE), n=st.integers(1, 9), saturates=st.booleans())
def test_what_breaks_one_example_only_is_caught_wherever_it_stands_in_the_batch(
    data: st.DataObject, dtype: torch.dtype, n: int, saturates: bool
) -> None:
    """Saturation shows at large α only and a threshold at small α only: so both sides are tried on every example."""
    m = SENSIBLE[dtype][0]
    example, seed = data.draw(st.integers(0, n - 1)), data.draw(SEEDS)
    x = torch.rand(n, 8, generator=seeded(seed), dtype=torch.float64) + 0.5
    model = nn.Sequential(nn.Linear(8, 6, bias=False), nn.Identity(), nn.Linear(6, 3, bias=False)).eval()
    for layer in (model[0], model[2]):
        layer.weight.data = torch.rand(layer.weight.shape, generator=seeded(seed), dtype=torch.float64)
    # The others are so small (large) that even their largest (smallest) α does not reach the level.
    factor = 2.0 ** (m + 3) if saturates else 2.0 ** -(m + 3)
    with torch.no_grad():
        hidden = model[0](x)
    if saturates:
        level = float(hidden[example].max() * 2.0 ** (m - 1))
        model[1] = SaturatesAt(level)
        x[torch.arange(n) != example] /= factor
    else:
        level = float(hidden[example].min() / 2.0 ** (m - 1))
        model[1] = nn.Hardshrink(level)
        x[torch.arange(n) != example] /= factor
    x, model = x.to(dtype), model.to(dtype)
    deviation = exact_deviation(model, x, 0, scales_of(dtype))
    assert (deviation > 1e-6).nonzero().flatten().tolist() == [example]
    error = refusal(HomogeneityError, model, x, target=0, says=[f"Worst: example {example} at α = 2^"])
    assert error.report.worst_example == example
    assert error.report.worst_scale == 2.0 ** (m if saturates else -m)
    assert culprits(error.report) == [("1", type(model[1]).__name__)]


class Recorder(nn.Module):
    """Keeps every batch that it is given, and whether gradients were recorded for it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x.detach().clone(), torch.is_grad_enabled()))
        return x.sum(1)


@pytest.mark.parametrize("dtype", list(SENSIBLE), ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_every_example_is_tried_on_both_sides_of_one_in_two_passes_of_the_whole_batch(
    n: int, dtype: torch.dtype
) -> None:
    x = (torch.rand(n, 5, generator=seeded(1)) + 0.5).to(dtype)
    recorder = Recorder()
    XGradient(recorder, validate="numeric").attribute(x)
    (first, recorded), *others = recorder.seen[:3]  # those that follow see to it that examples are not mixed
    assert recorded
    assert torch.equal(first, x)
    assert [grad for _, grad in others] == [False, False]
    assert all(batch.shape == x.shape for batch, _ in others)
    for i in range(n):
        ratios = {float(batch[i, 0].double() / x[i, 0].double()) for batch, _ in others}
        assert ratios == set(scales_of(dtype))
        assert all(torch.equal(batch[i], x[i] * (batch[i, 0] / x[i, 0])) for batch, _ in others)


def test_examples_of_one_batch_are_scaled_differently_so_that_mixing_them_shows() -> None:
    recorder = Recorder()
    XGradient(recorder, validate="numeric").attribute(torch.ones(4, 5))
    for batch, _ in recorder.seen[1:]:
        assert len(set(batch[:, 0].tolist())) == 2


def test_internal_batches_are_each_tried_on_both_sides() -> None:
    recorder = Recorder()
    XGradient(recorder, validate="numeric").attribute(torch.ones(5, 3), internal_batch_size=2)
    # F at x and at two scales, then twice with other rows, where there are any.
    assert [len(batch) for batch, _ in recorder.seen] == [2] * 5 * 2 + [1] * 3


@pytest.mark.parametrize(
    ("dtype", "part"), [(torch.float64, 1e-9), (torch.float32, 1e-4), (torch.bfloat16, 0.125), (torch.float16, 0.0625)]
)
def test_a_small_part_of_the_value_without_gradient_is_caught_by_eulers_identity(
    dtype: torch.dtype, part: float
) -> None:
    x = (torch.rand(3, 8, generator=seeded(1)) + 0.5).to(dtype)
    error = refusal(HomogeneityError, lambda x: ((1 - part) * x + part * x.detach()).sum(1), x)
    assert error.report.euler.max_deviation == pytest.approx(part, rel=0.2)


def test_a_function_that_is_zero_at_the_input_and_wakes_at_a_scale_is_caught() -> None:
    x = torch.full((3, 4), 0.1)
    refusal(HomogeneityError, lambda x: (x - 1).relu().sum(1), x)
    refusal(HomogeneityError, lambda x: (1e-3 - x).relu().sum(1), x)


@pytest.mark.parametrize("constant", [1e-30, 1.0, -5.0])
def test_a_constant_is_caught_also_where_the_function_is_zero(constant: float) -> None:
    """F(0) = constant, and Σ|x·∂F| = 0 leaves no other yardstick."""
    report = check_homogeneity(lambda x: x.sum(1) + constant, torch.zeros(2, 3), degree=1)
    assert not report.homogeneous
    assert math.isclose(report.max_deviation, 65535)


# --------------------------------------------------------------------------------------------------------------- degree


def power(k: float) -> Callable[[Tensor], Tensor]:
    return lambda x: (x.abs() ** k).sum(1)


@given(
    k=st.sampled_from([1.0, 4 / 3, 1.5, 2.0, 2.5, 3.0]), dtype=st.sampled_from(WIDE), seed=SEEDS, n=st.integers(1, 5)
)  # fmt: skip
def test_the_degree_is_estimated(k: float, dtype: torch.dtype, seed: int, n: int) -> None:
    x = (torch.randn(n, 6, generator=seeded(seed), dtype=torch.float64) + 0.1).to(dtype)
    report = check_homogeneity(power(k), x)
    assert report.homogeneous
    assert report.degree == k
    assert report.tested_degree == k
    assert f"Homogeneous of degree {k:g}" in str(report)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_network_of_squares_has_the_product_of_their_degrees(layers: int) -> None:
    model = xdnn(6, *([8] * layers), 3)

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    model = nn.Sequential(*(Square() if isinstance(m, nn.ReLU) else m for m in model)).double().eval()
    x = torch.randn(3, 6, generator=seeded(1), dtype=torch.float64)
    assert check_homogeneity(model, x, 0).degree == 2 ** (layers)


def difference_of_squares(x: Tensor) -> Tensor:
    return x[:, 0] ** 2 - x[:, 1] ** 2


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("position", [0, -1])
def test_where_the_function_is_zero_along_the_ray_the_gradient_has_to_be_of_the_degree_asked_for(
    others: int, position: int
) -> None:
    """x² − y² at (1, 1) is zero at every α, which agrees with degree 1; its attributions are (1, −1), not (2, −2)."""
    x = torch.rand(others + 1, 2, generator=seeded(1), dtype=torch.float64) + 0.5
    x[position] = 1.0
    attributions = XGradient(difference_of_squares, degree=2, validate="numeric").attribute(x)
    torch.testing.assert_close(attributions, x**2 * torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert not check_homogeneity(difference_of_squares, x, degree=1).homogeneous
    refusal(HomogeneityError, difference_of_squares, x)


def test_a_zero_with_a_gradient_does_not_tell_a_degree_and_that_is_said() -> None:
    report = check_homogeneity(difference_of_squares, torch.ones(2, 2))
    assert not report.homogeneous
    assert report.degree is None
    assert "they cannot tell the degree. Give `degree`." in str(report)
    options = {"degree": "auto", "validate": "numeric"}
    refusal(DegreeError, difference_of_squares, torch.ones(2, 2), options=options, says=["Give `degree`"])


def test_inputs_are_scaled_jointly_and_additional_arguments_are_not() -> None:
    a, b = torch.randn(3, 4, generator=seeded(1)), torch.randn(3, 4, generator=seeded(2))
    product = lambda a, b: (a * b).sum(1)
    assert check_homogeneity(product, (a, b)).degree == 2
    assert check_homogeneity(product, a, additional_forward_args=b).degree == 1


@pytest.mark.parametrize("degree", [1, 1.5, 2, 3])
def test_the_degree_asked_for_is_the_one_tested(degree: float) -> None:
    x = torch.randn(4, 6, generator=seeded(1))
    for true in (1, 1.5, 2, 3):
        report = check_homogeneity(power(true), x, degree=degree)
        assert report.tested_degree == degree
        assert report.homogeneous == (true == degree)
        assert report.degree == true


@pytest.mark.parametrize("degree", [math.nan, math.inf, "auto", "1", [1]])
def test_a_degree_that_is_no_number_is_refused(degree: object) -> None:
    with pytest.raises(DegreeError, match=r"^check_homogeneity: `degree` must be a number or None but is"):
        check_homogeneity(power(1), torch.ones(2, 3), degree=degree)


def test_a_function_of_degree_below_one_is_not_reported_homogeneous_though_its_values_scale() -> None:
    x = torch.rand(3, 4, generator=seeded(1)) + 0.5
    for k in (0.5, 0.0, -1.0):
        report = check_homogeneity(lambda x, k=k: (x**k).sum(1), x)
        assert not report.homogeneous
        assert report.degree == k
        assert not report.violated
        assert "X-Gradient does not apply" in str(report)


def test_examples_of_unequal_degree_have_none_in_common() -> None:
    x = torch.tensor([[1.0, 2.0], [-1.0, 2.0]])
    report = check_homogeneity(lambda x: torch.where(x[:, 0] > 0, (x**2).sum(1), x.abs().sum(1)), x)
    assert not report.homogeneous
    assert report.degree is None
    assert "Each example shows one degree, but not all the same: from 1 to 2" in str(report)


# --------------------------------------------------------------------------------------------------------------- scales


@given(
    scales=st.lists(st.floats(1e-3, 1e3).filter(lambda a: abs(a - 1) > 1e-3), min_size=1, max_size=5, unique=True),
    n=st.integers(1, 5),
    seed=SEEDS,
)
def test_any_positive_scales_are_taken_as_they_are_and_tried_on_every_example(
    scales: list[float], n: int, seed: int
) -> None:
    model, x = xdnn(8, 12, 3, seed=seed).double(), torch.randn(n, 8, generator=seeded(seed), dtype=torch.float64)
    report = check_homogeneity(model, x, 1, scales=scales)
    assert report.homogeneous
    assert [s.scale for s in report.scales] == sorted(scales)
    assert [s.examples for s in report.scales] == [n] * len(scales)
    assert report.unused == ()


@pytest.mark.parametrize("scales", [(3.0,), (0.1, 10.0), [0.7, 1.3], (2, 3), (1.0, 3.0), torch.tensor([0.5, 3.0])])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_scales_that_are_no_powers_of_two_have_the_tolerance_of_their_rounding(
    scales: object, dtype: torch.dtype
) -> None:
    model = xdnn(12, 16, 16, 3).to(dtype)
    x = torch.randn(4, 12, generator=seeded(1)).to(dtype)
    report = check_homogeneity(model, x, 1, scales=scales)
    assert report.homogeneous
    exact = {check.tolerance for check in report.scales if math.frexp(check.scale)[0] == 0.5}
    inexact = {check.tolerance for check in report.scales if math.frexp(check.scale)[0] != 0.5}
    assert len(exact) <= 1
    assert len(inexact) == 1
    assert all(tolerance >= EPS[dtype] ** 0.5 for tolerance in inexact)
    assert all(tolerance <= 64 * EPS[dtype] for tolerance in exact)


def test_scales_that_are_no_powers_of_two_catch_a_bias_too() -> None:
    model, x = xdnn(12, 16, 3), torch.randn(4, 12, generator=seeded(1))
    plant_bias(model[0], 0.01)
    for scales in ((3.0,), (0.3,), (1.0, 1e-3)):
        report = check_homogeneity(model, x, 1, scales=scales)
        assert not report.homogeneous
        assert report.worst_scale in scales


def test_repeated_scales_count_once() -> None:
    report = check_homogeneity(power(1), torch.ones(3, 2), scales=(2.0, 2.0, 0.5))
    assert [(s.scale, s.examples) for s in report.scales] == [(0.5, 3), (2.0, 3)]


@pytest.mark.parametrize(
    "scales", [(), (0.0,), (-2.0, 2.0), (math.inf,), (math.nan,), (1.0,), (1, 1.0), (2.0, 0)], ids=str
)
def test_scales_that_test_nothing_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"^check_homogeneity: `scales` must be finite numbers above 0, and not only 1"
    ):
        check_homogeneity(power(1), torch.ones(2, 3), scales=scales)


@pytest.mark.parametrize("scales", [(1e-300,), (1e300,), (2.0**-149,), (2.0**127,)])
def test_scales_outside_the_range_of_the_dtype_show_nothing_and_say_so(scales: tuple[float, ...]) -> None:
    report = check_homogeneity(power(1), torch.full((2, 3), 7.3), degree=1, scales=scales)
    assert not report.homogeneous
    assert not report.violated
    assert report.unchecked == (0, 1)
    assert [(u.scale, u.examples) for u in report.unused] == [(scales[0], 2)]
    assert "NOT SHOWN" in str(report)
    assert "Tried at no scale: examples 0, 1." in str(report)


def test_the_relative_tolerance_can_be_given() -> None:
    x = torch.rand(3, 4, generator=seeded(1)) + 0.5
    nearly = lambda x: x.sum(1) + 1e-6
    assert not check_homogeneity(nearly, x).homogeneous
    assert check_homogeneity(nearly, x, degree=1, rtol=0.1).homogeneous
    assert not check_homogeneity(nearly, x, degree=1, rtol=1e-3).homogeneous
    XGradient(nearly, rtol=0.1, validate="numeric").attribute(x)
    refusal(HomogeneityError, nearly, x, options={"rtol": 1e-3})


# --------------------------------------------------------------------------------------------------------------- report

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x[:, 0] - 2 * x[:, 1],
    "piecewise": lambda x: x.relu().sum(1) + x.amax(1),
    "square": lambda x: (x**2).sum(1),
    "bias": lambda x: x.sum(1) + 0.25,
    "saturation": lambda x: x.clamp(-3.0, 3.0).sum(1),
    "sigmoid": lambda x: x.sigmoid().sum(1),
    "threshold": lambda x: torch.where(x.abs() > 1e-2, x, 0).sum(1),
    "mixture": lambda x: x.sum(1) + (x**2).sum(1),
    "zero": lambda x: 0 * x.sum(1),
}


def recomputed(function: Callable, x: Tensor, scale: float, degree: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return F(αx), αᵏF(x) and the deviation of each example from the definition, one example at a time."""
    observed, expected, deviation = [], [], []
    for row in x:
        leaf = row[None].clone().requires_grad_()
        value = function(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        size = max(float((leaf * gradient).detach().abs().sum()), abs(float(value.detach())))
        observed.append(float(function(row[None] * scale)))
        expected.append(float(value.detach()) * scale**degree)
        difference = abs(observed[-1] - expected[-1])
        deviation.append(0.0 if difference == 0 else difference / (size * scale**degree) if size else math.inf)
    return torch.tensor(observed), torch.tensor(expected), torch.tensor(deviation)


def tables(report: HomogeneityReport) -> list[list[str]]:
    """Return the cells of the lines that begin with a scale."""
    lines = str(report).splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith("scale α"))
    rows = [line.split() for line in lines[start + 1 :]]
    return [row for row in rows if row and (row[0].startswith("2^") or row[0].replace(".", "").isdigit())]


@pytest.mark.parametrize("scales", [None, (0.5, 4.0), (2.0**-10, 3.0)])
@given(name=st.sampled_from(list(FUNCTIONS)), n=st.integers(1, 5), seed=SEEDS)
def test_every_number_of_the_report_is_that_of_the_definition(scales: object, name: str, n: int, seed: int) -> None:
    function = FUNCTIONS[name]
    x = torch.randn(n, 4, generator=seeded(seed), dtype=torch.float64) + 0.05
    report = check_homogeneity(function, x, degree=1, scales=scales)
    assert report.examples == n
    assert report.dtype == "float64"
    assert report.tested_degree == 1
    worst = 0.0
    for check in report.scales:
        observed, expected, deviation = recomputed(function, x, check.scale, 1)
        at = check.worst_example
        assert check.examples == n
        assert check.max_deviation == pytest.approx(float(deviation.max()), rel=1e-6, abs=1e-13)
        assert float(deviation[at]) == pytest.approx(float(deviation.max()), rel=1e-6, abs=1e-13)
        assert check.observed == pytest.approx(float(observed[at]), rel=1e-6, abs=1e-12)
        assert check.expected == pytest.approx(float(expected[at]), rel=1e-6, abs=1e-12)
        assert check.holds == (check.max_deviation <= check.tolerance)
        worst = max(worst, check.max_deviation)
    assert report.max_deviation == worst
    at_worst = next(check for check in report.scales if check.scale == report.worst_scale)
    assert at_worst.max_deviation == worst
    assert at_worst.worst_example == report.worst_example
    holds = all(check.holds for check in report.scales) and report.euler.holds
    assert report.violated == (not holds)
    assert report.homogeneous == holds
    if name in ("linear", "piecewise", "zero"):
        assert holds
    elif scales is None:
        assert not holds


@pytest.mark.parametrize("name", FUNCTIONS)
def test_eulers_identity_is_reported_with_the_numbers_of_the_definition(name: str) -> None:
    function, x = FUNCTIONS[name], torch.randn(5, 4, generator=seeded(2), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    values = function(leaf)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    terms, values = (leaf * gradient).detach(), values.detach()
    deviation = (terms.sum(1) - values).abs() / torch.maximum(terms.abs().sum(1), values.abs()).clamp(min=1e-300)
    euler = check_homogeneity(function, x, degree=1).euler
    assert euler.max_deviation == pytest.approx(float(deviation.max()), rel=1e-9, abs=1e-13)
    assert euler.observed == pytest.approx(float(terms.sum(1)[euler.worst_example]), rel=1e-9)
    assert euler.expected == pytest.approx(float(values[euler.worst_example]), rel=1e-9)
    assert euler.holds == (euler.max_deviation <= euler.tolerance)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("scales", [None, (0.5, 3.0)])
def test_the_report_prints_as_a_table_with_one_row_for_each_scale(name: str, scales: tuple[float, ...] | None) -> None:
    x = torch.randn(5, 4, generator=seeded(2))
    report = check_homogeneity(FUNCTIONS[name], x, degree=1, scales=scales)
    rows = tables(report)
    assert len(rows) == len(report.scales)
    for row, check in zip(rows, report.scales, strict=True):
        printed = 2.0 ** int(row[0].removeprefix("2^")) if row[0].startswith("2^") else float(row[0])
        assert printed == check.scale
        assert row[1] == "5"
        assert float(row[2]) == pytest.approx(check.max_deviation, rel=0.06, abs=1e-30)
        assert ("✓" in row, "✗" in row) == (check.holds, not check.holds)
        assert int(row[-3]) == check.worst_example
        assert float(row[-2]) == pytest.approx(check.observed, rel=1e-4)
        assert float(row[-1]) == pytest.approx(check.expected, rel=1e-4)
    assert sum("Euler " in line for line in str(report).splitlines()) == 1
    first = str(report).splitlines()[0]
    assert first.startswith("Homogeneous" if report.homogeneous else "NOT")
    assert "5 examples, float32" in first


def test_the_lines_of_the_table_are_equally_long() -> None:
    report = check_homogeneity(FUNCTIONS["sigmoid"], torch.randn(12, 4, generator=seeded(2)), degree=1)
    lines = [line for line in str(report).splitlines() if "✓" in line or "✗" in line or "scale α" in line]
    assert len({len(line) for line in lines}) == 1


# --------------------------------------------------------------------------------------------------------- zero and one


def test_a_function_that_is_zero_everywhere_is_homogeneous_of_any_degree() -> None:
    x = torch.randn(3, 4, generator=seeded(1))
    zero = lambda x: 0 * x.sum(1)
    report = check_homogeneity(zero, x)
    assert report.homogeneous
    assert report.degree is None
    assert str(report).startswith("Zero on every ray: any degree")
    for degree in (1, 2, "auto"):
        assert torch.equal(XGradient(zero, degree=degree, validate="numeric").attribute(x), torch.zeros(3, 4))


def test_examples_of_value_zero_leave_the_degree_to_the_others() -> None:
    x = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])
    report = check_homogeneity(lambda x: (x.relu() ** 2).sum(1), x)
    assert report.homogeneous
    assert report.degree == 2


@pytest.mark.parametrize("dtype", list(SENSIBLE), ids=str)
def test_inputs_of_zero_are_accepted_and_attributed_nothing(dtype: torch.dtype) -> None:
    model, x = xdnn(8, 12, 3).to(dtype), torch.zeros(3, 8, dtype=dtype)
    assert not XGradient(model, validate="numeric").attribute(x, target=1).any()
    assert check_homogeneity(model, x, 1).homogeneous


def test_an_input_of_zero_among_others_is_accepted() -> None:
    model, x = xdnn(8, 12, 3), torch.randn(3, 8, generator=seeded(1))
    x[1] = 0
    report = check_homogeneity(model, x, 1)
    assert report.homogeneous
    assert report.degree == 1
    assert report.unchecked == ()


def test_one_feature_and_one_dimension_are_enough() -> None:
    assert check_homogeneity(lambda x: 3 * x, torch.tensor([1.0, -2.0])).degree == 1
    assert check_homogeneity(lambda x: 3 * x[:, 0], torch.tensor([[1.0]])).degree == 1


def test_a_batch_of_one_is_tried_at_every_scale() -> None:
    report = check_homogeneity(power(1), torch.ones(1, 3))
    assert [(s.scale, s.examples) for s in report.scales] == [(2.0**m, 1) for m in (-16, -8, -1, 1, 8, 16)]
    error = refusal(HomogeneityError, FUNCTIONS["bias"], torch.ones(1, 3))
    assert [(s.scale, s.examples) for s in error.report.scales] == [(2.0**-16, 1), (2.0**16, 1)]


# ------------------------------------------------------------------------------------------------ the limits, as stated


def test_a_gradient_that_varies_along_a_ray_on_which_the_values_are_linear_escapes_as_documented() -> None:
    """The numeric check is a test and no proof; one step off that ray it sees the violation."""
    function = lambda x: x[:, 0] + x[:, 1] ** 2 - x[:, 1] * x[:, 0] ** 2
    assert check_homogeneity(function, torch.tensor([[2.0, 0.0]])).homogeneous
    assert not check_homogeneity(function, torch.tensor([[2.0, 1e-3]])).homogeneous
    assert "a test, not a proof" in check_homogeneity.__doc__


def test_a_violation_between_the_default_scales_only_is_seen_by_scales_that_are_given() -> None:
    bump = lambda x: x.sum(1) * torch.where((x.sum(1) > 6.2) & (x.sum(1) < 6.4), 2.0, 1.0)
    x = torch.full((2, 4), 0.5)
    assert check_homogeneity(bump, x).homogeneous
    assert not check_homogeneity(bump, x, scales=(3.15,)).homogeneous


# ------------------------------------------------------------------------------------------------------------- autocast


def training_gradients(model: nn.Module, x: Tensor, before: Callable[[], object]) -> list[Tensor]:
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before()
        loss = model(x).float().square().mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    return gradients


def refused(model: nn.Module, x: Tensor) -> None:
    with pytest.raises(HomogeneityError):
        XGradient(lambda x: model(x) + 0.5, validate="numeric").attribute(x, target=1)


USES = {
    "attribute": lambda model, x: XGradient(model, validate="numeric").attribute(x, target=1),
    "attribute in parts": lambda model, x: XGradient(model, validate="numeric").attribute(
        x, target=1, internal_batch_size=2
    ),
    "attribute with a delta": lambda model, x: XGradient(model, validate="numeric").attribute(
        x, target=1, return_convergence_delta=True
    ),
    "attribute unchecked": lambda model, x: XGradient(model, validate="off").attribute(x, target=1),
    "attribute under no_grad": torch.no_grad()(
        lambda model, x: XGradient(model, validate="numeric").attribute(x, target=1)
    ),
    "check": lambda model, x: check_homogeneity(model, x, 1),
    "refusal": refused,
}


@pytest.mark.parametrize("use", USES)
def test_a_training_step_in_the_same_autocast_region_still_reaches_every_parameter(use: str) -> None:
    model, x = xdnn(8, 12, 12, 3), torch.randn(4, 8, generator=seeded(1))
    alone = training_gradients(model, x, lambda: None)
    after = training_gradients(model, x, lambda: USES[use](model, x))
    assert all(g is not None and bool(g.any()) for g in after)
    for one, other in zip(alone, after, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("dtype", "name"), [(torch.bfloat16, "bfloat16"), (torch.float16, "float16")])
def test_autocast_is_accepted_at_its_precision_and_a_bias_in_it_caught(dtype: torch.dtype, name: str) -> None:
    model, x = xdnn(8, 12, 12, 3), torch.randn(4, 8, generator=seeded(1))
    with torch.autocast("cpu", dtype=dtype):
        with nothing_changes(model, x):
            report = check_homogeneity(model, x, 1)
            attributions = XGradient(model, validate="numeric").attribute(x, target=1)
        assert report.homogeneous
        assert report.dtype == name
        plant_bias(model[2], 0.2)
        assert culprits(refusal(HomogeneityError, model, x, target=1).report) == [("2", "Linear")]
    model[2].bias = None
    exact = XGradient(model, validate="numeric").attribute(x, target=1)
    assert attributions.dtype == torch.float32
    torch.testing.assert_close(attributions, exact, rtol=0.1, atol=0.02)
    assert not torch.is_autocast_enabled("cpu")


@given(seed=st.integers(0, 999), exponent=st.floats(-26.0, -12.0))
def test_outputs_below_the_normal_range_of_half_precision_are_compared_to_their_last_digit(seed, exponent):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 3, bias=False)).half()
    x, target = torch.rand(4, 6).half(), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        largest = float(net(x).abs().max())
    tiny = 2.0**exponent / max(largest, 1e-3)
    scaled = lambda x: net(x) * torch.tensor(tiny, dtype=torch.float32).to(torch.float16)
    assert not check_homogeneity(scaled, x, target=target).violated
    assert certify(scaled, x).homogeneous
    # What is far above the last digit is seen.
    shifted = lambda x: scaled(x) + 2.0**-16
    assert not check_homogeneity(shifted, x, target=target).homogeneous
