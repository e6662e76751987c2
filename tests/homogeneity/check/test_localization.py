"""A refusal names exactly what is to blame, in the order in which it runs, and leaves no hook behind.

The certificate names it; where that sees nothing, each layer is probed. Both must name the same.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from violations import (
    AddsConstant,
    ByKeyword,
    Named,
    Pair,
    ReadsNamed,
    Residual,
    SaturatesAt,
    SumOfPair,
    assert_names_exactly,
    culprits,
    fill,
    insert,
    nothing_changes,
    plant_bias,
    refusal,
    seeded,
    shifting_batch_norm,
    strip_biases,
    xdnn,
)

from captum_xg import XGradient, check_homogeneity
from captum_xg._core.function import ScalarFunction
from captum_xg.errors import HomogeneityError, InputError
from captum_xg.homogeneity.check.localization import find_culprits
from captum_xg.homogeneity.check.report import Culprit
from captum_xg.homogeneity.scaling.precision import Precision

WIDTH = 12


def batch(n: int = 3, width: int = WIDTH, seed: int = 1) -> Tensor:
    return torch.randn(n, width, generator=seeded(seed))


def probe(
    forward_func: Callable[..., Any], x: Tensor, *, target: int | None = 1, example: int = 0, additional: Any = None
) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
    """Return what probing alone finds, and its notes; hold that it leaves input, hooks and random numbers alone."""
    function = ScalarFunction(forward_func, additional, target, "probe")
    modules = [forward_func] if isinstance(forward_func, nn.Module) else []
    with nothing_changes(x, *modules):
        return find_culprits(function, (x,), example, Precision.of(x))


def probed(forward_func: Callable[..., Any], x: Tensor, **call: Any) -> list[tuple[str, str]]:
    """Return (path, class name) of what probing alone names; hold that there was nothing that it could not look at."""
    found, notes = probe(forward_func, x, **call)
    assert notes == ()
    return [(culprit.module, culprit.kind) for culprit in found]


def assert_both_name(
    forward_func: Callable[..., Any],
    x: Tensor,
    planted: Sequence[str],
    *,
    model: nn.Module | None = None,
    target: int | None = 1,
    says: Sequence[str] = (),
) -> None:
    """Hold that the refusal, and probing without a certificate, name exactly the planted modules in this order."""
    holder = forward_func if model is None else model
    error = refusal(HomogeneityError, forward_func, x, target=target, model=model, says=says)
    assert error.report.certificate.violations, "the certificate sees it"
    assert_names_exactly(error, holder, planted)
    expected = [(path, type(holder.get_submodule(path)).__name__) for path in planted]
    assert probed(forward_func, x, target=target, example=error.report.worst_example) == expected


def unseen(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function run in a thread of its own, where a certificate sees none of its operations."""

    def run(x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, x).result()

    return run


def assert_names_line(error: HomogeneityError, function: Callable, reason: str) -> Culprit:
    """Hold that report and message name the line of this lambda, for this reason, and nothing else; return that."""
    (culprit,) = error.report.culprits
    assert (culprit.module, culprit.kind, culprit.reason) == ("", "", reason)
    assert culprit.location.endswith(f"test_localization.py:{function.__code__.co_firstlineno}")
    assert f"    the forward function: {reason} [{culprit.location}]\n      → {culprit.remedy}." in str(error)
    return culprit


# ------------------------------------------------------------------------------------------------------ random networks

VIOLATIONS: dict[str, Callable[[], nn.Module]] = {
    "bias": lambda: nn.Linear(WIDTH, WIDTH),
    "ReLU6": lambda: nn.Sequential(nn.ReLU6()),
    "GELU": nn.GELU,
    "Hardshrink": lambda: nn.Hardshrink(0.05),
    "LayerNorm": lambda: nn.LayerNorm(WIDTH),
    "BatchNorm1d": lambda: shifting_batch_norm(WIDTH),
    "AddsConstant": lambda: AddsConstant(WIDTH),
    "SaturatesAt": lambda: SaturatesAt(0.5),
    "AddsConstant in a residual": lambda: Residual(AddsConstant(WIDTH, 0.01)),
}
# LayerNorm and BatchNorm take `input`, this project's own blocks take `x`.
TAKES_X = (AddsConstant, SaturatesAt, Residual, SumOfPair, ReadsNamed, ByKeyword)


class Builder:
    """Random trees of homogeneous blocks with violations at random leaves; remembers what was planted."""

    def __init__(self, seed: int, kinds: list[str]) -> None:
        self.random = random.Random(seed)
        self.kinds = list(kinds)
        self.planted: list[nn.Module] = []
        self.shared = nn.ReLU()

    def leaf(self) -> nn.Module:
        choice = self.random.randrange(5)
        if choice == 0:
            return nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.LeakyReLU(0.2, inplace=True))
        if choice == 1:
            return nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.ReLU(inplace=True))
        if choice == 2:
            return nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), self.shared)
        if choice == 3:
            return nn.Identity()
        return nn.Linear(WIDTH, WIDTH, bias=False)

    def violation(self) -> nn.Module:
        module = VIOLATIONS[self.kinds.pop()]()
        # The innermost module whose own operations break it.
        guilty = module
        while isinstance(guilty, (nn.Sequential, Residual)):
            guilty = guilty.inner if isinstance(guilty, Residual) else guilty[0]
        self.planted.append(guilty)
        return module

    def block(self, depth: int) -> nn.Module:
        if depth == 0:
            return self.leaf()
        parts = [self.block(depth - 1) for _ in range(self.random.randint(1, 2))]
        while self.kinds and self.random.random() < 0.4:
            parts.insert(self.random.randint(0, len(parts)), self.violation())
        inner: nn.Module = nn.Sequential(*parts)
        wrap = self.random.randrange(6)
        if wrap == 0:
            return Residual(nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), inner))
        if wrap == 1:
            return SumOfPair(Pair(nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), inner)))
        if wrap == 2:
            return ReadsNamed(Named(nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), inner)))
        if wrap == 3:
            return nn.Sequential(ByKeyword(nn.Linear(WIDTH, WIDTH, bias=False)), inner)
        if wrap == 4 and isinstance(parts[0], TAKES_X):
            return nn.Sequential(ByKeyword(parts[0]), *parts[1:])
        return inner

    def network(self, depth: int) -> nn.Module:
        body = self.block(depth)
        while self.kinds:
            body = nn.Sequential(body, self.violation())
        return nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), body, nn.Linear(WIDTH, 3, bias=False))


def executed(model: nn.Module, x: Tensor) -> list[nn.Module]:
    """Return every module in the order of its first execution."""
    order: list[nn.Module] = []
    handles = [m.register_forward_pre_hook(lambda module, _: order.append(module)) for m in model.modules()]
    with torch.no_grad():
        model(x.clone())
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(order))


def alive(model: nn.Module, x: Tensor) -> bool:
    """Tell whether every activation is ordinary: neither dead nor large nor tiny, for any example."""
    sizes: list[float] = []

    def look(module: nn.Module, args: tuple, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.extend(output.detach().abs().amax(1).tolist())

    handles = [m.register_forward_hook(look) for m in model.modules()]
    with torch.no_grad():
        model(x.clone())
    for handle in handles:
        handle.remove()
    return all(1e-2 < size < 1e2 for size in sizes)


def network(seed: int, depth: int, kinds: list[str], dtype: torch.dtype) -> tuple[nn.Module, list[nn.Module]]:
    builder = Builder(seed, kinds)
    model = fill(builder.network(depth), seed)
    for module in builder.planted:
        if isinstance(module, nn.Linear):
            plant_bias(module, 0.1 * torch.randn(WIDTH, generator=seeded(seed)))
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm1d)):
            nn.init.ones_(module.weight)
    return model.to(dtype).eval(), builder.planted


def planted_network(seed: int, depth: int, kinds: list[str]) -> tuple[nn.Module, Tensor, list[tuple[str, str]]]:
    """Return a network, a batch that reaches its output, and (path, class name) of what is planted, as it runs."""
    model, planted = network(seed, depth, kinds, torch.float32)
    x = batch(seed=seed)
    assume(alive(model, x))
    paths = {id(module): path for path, module in model.named_modules()}
    return model, x, [(paths[id(m)], type(m).__name__) for m in executed(model, x) if any(m is p for p in planted)]


KINDS = st.lists(st.sampled_from(list(VIOLATIONS)), min_size=1, max_size=3)


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 3), kinds=KINDS)
# The second receives the same saturated values at x and αx.
@example(seed=1024, depth=2, kinds=["GELU", "SaturatesAt"])
def test_exactly_the_planted_modules_are_named_in_order_of_execution_each_once(
    seed: int, depth: int, kinds: list[str]
) -> None:
    model, x, expected = planted_network(seed, depth, kinds)
    assert_names_exactly(refusal(HomogeneityError, model, x, target=1), model, [path for path, _ in expected])


# Probing can blame the sum around a module that adds a constant between layers of its own; the certificate does not.
PROBED_KINDS = st.lists(
    st.sampled_from([kind for kind in VIOLATIONS if kind != "AddsConstant"]), min_size=1, max_size=3
)


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 3), kinds=PROBED_KINDS)
@example(seed=1024, depth=2, kinds=["GELU", "SaturatesAt"])
def test_probing_names_exactly_the_planted_modules_where_there_is_no_certificate(
    seed: int, depth: int, kinds: list[str]
) -> None:
    model, x, expected = planted_network(seed, depth, kinds)
    error = refusal(HomogeneityError, unseen(model), x, target=1, model=model, says=["Not analysed: "])
    assert not error.report.certificate.violations
    assert_names_exactly(error, model, [path for path, _ in expected])
    assert probed(model, x, example=error.report.worst_example) == expected


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 3), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_a_network_without_a_planted_module_is_accepted_and_names_none(
    seed: int, depth: int, dtype: torch.dtype
) -> None:
    model, _ = network(seed, depth, [], dtype)
    report = check_homogeneity(model, batch(seed=seed).to(dtype), 1)
    assert report.homogeneous
    assert report.culprits == ()
    assert probed(model, batch(seed=seed).to(dtype)) == []


@given(seed=st.integers(0, 10**6), kinds=st.lists(st.sampled_from(list(VIOLATIONS)), min_size=1, max_size=2))
# The largest relative deviation is at 2^-1, too near for the second.
@example(seed=27993, kinds=["ReLU6", "Hardshrink"])
def test_the_report_names_the_same_modules_as_the_refusal(seed: int, kinds: list[str]) -> None:
    model, _ = network(seed, 2, kinds, torch.float64)
    x = batch(seed=seed).double()
    assume(alive(model, x))
    error = refusal(HomogeneityError, model, x, target=1)
    report = check_homogeneity(model, x, 1)
    assert culprits(report) == culprits(error.report)
    assert all(str(culprit) in str(report) for culprit in report.culprits)


@given(seed=st.integers(0, 10**6), exponent=st.integers(-7, 0))
def test_a_tiny_bias_is_named_and_no_other_layer(seed: int, exponent: int) -> None:
    model, x = xdnn(WIDTH, 24, 24, 24, 3, seed=seed), batch(seed=seed)
    position = str(2 * (seed % 4))
    assume(alive(model, x))
    plant_bias(model.get_submodule(position), 10.0**exponent)
    assert_both_name(model, x, [position])


def test_layers_are_named_also_where_the_violation_shows_in_a_low_precision() -> None:
    for dtype, bias in ((torch.bfloat16, 0.1), (torch.float16, 0.5)):
        model = xdnn(WIDTH, 24, 24, 24, 3).to(dtype)
        plant_bias(model[2], bias)
        assert_both_name(model, batch().to(dtype), ["2"])


# ----------------------------------------------------------------------------------------- who is to blame, and who not


def test_a_shared_module_that_runs_many_times_is_named_once_under_its_first_path() -> None:
    clipped = nn.ReLU6()
    model = nn.Sequential(*(part for layer in xdnn(WIDTH, 12, 12, 12, 3) for part in (layer, clipped))).eval()
    model = fill(nn.Sequential(model, nn.Linear(3, 3, bias=False)), 3)
    assert_both_name(model, batch(), ["0.1"])


def test_a_shared_module_that_saturates_only_where_it_runs_again_is_named() -> None:
    """Its first call is on activations that are all negative, where it is zero at every scale."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU6()
            self.out = nn.Linear(WIDTH, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.act(-x.abs()) + self.act(x.abs()))

    assert_both_name(fill(Twice(), 1).eval(), batch(), ["act"])


def test_a_layer_behind_a_saturated_one_is_named_as_well() -> None:
    """Saturation gives it the same activations at x and at larger αx, which must not be taken for a constant."""
    model = nn.Sequential(SaturatesAt(0.5), nn.GELU(), nn.Linear(WIDTH, 3, bias=False))
    nn.init.ones_(model[2].weight)
    x = torch.full((3, WIDTH), 0.7)  # gelu(0.5) = 0.35 = 0.7/2, so that 2^16 deviates more than 2^-16
    assert_both_name(model.eval(), x, ["0", "1"])


def test_a_layer_behind_a_floor_is_named_as_well() -> None:
    """The floor gives it the same activations at x and at smaller αx."""

    class Floor(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(min=1.0)

    model = nn.Sequential(Floor(), nn.GELU(), nn.Linear(WIDTH, 3, bias=False))
    x = torch.full((3, WIDTH), 0.5)
    assert_both_name(fill(model, 1).eval(), x, ["0", "1"])


def test_a_layer_that_breaks_it_far_from_one_only_is_named_whichever_scale_deviates_most() -> None:
    """Saturation deviates most at 2; the threshold is crossed at 2^-16."""
    model = nn.Sequential(nn.ReLU6(), nn.Hardshrink(1e-3), nn.Linear(2, 1, bias=False)).eval()
    model[2].weight.data = torch.tensor([[1.0, -6.0]])
    x = torch.tensor([[8.0, 1.0]])
    assert_both_name(model, x, ["0", "1"], target=None)
    report = check_homogeneity(model, x)
    assert report.worst_scale == 2
    assert culprits(report) == [("0", "ReLU6"), ("1", "Hardshrink")]


def test_a_parent_is_not_blamed_for_its_child() -> None:
    model = fill(nn.Sequential(Residual(Residual(nn.Sequential(nn.Linear(WIDTH, WIDTH))))), 1).eval()
    plant_bias(model[0].inner.inner[0], 0.1)
    assert_both_name(model, batch(), ["0.inner.inner.0"])


def test_a_parent_is_blamed_where_its_own_operations_break_it_and_its_children_are_fine() -> None:
    model = fill(nn.Sequential(nn.Sequential(AddsConstant(WIDTH)), nn.Linear(WIDTH, 3, bias=False)), 1).eval()
    says = ["    0.0 (AddsConstant): adds a constant of up to 0.1\n      → Leave it out, or set it to zero."]
    assert_both_name(model, batch(), ["0.0"], says=says)
    (culprit,), _ = probe(model, batch())
    assert culprit.reason == "the operations of its own forward are not homogeneous, though each layer inside it is"
    assert culprit.remedy.startswith("Look for constants added, fixed thresholds, softmax")


def test_a_child_and_its_parents_own_operations_are_named_together_and_mending_both_ends_with_an_accepted_model() -> (
    None
):
    """Probing sees the parent's own operations only once the child is mended."""
    model = fill(nn.Sequential(AddsConstant(WIDTH), nn.Linear(WIDTH, 3)), 1).eval()
    plant_bias(model[0].a, 0.1)
    plant_bias(model[1], 0.1)
    assert_names_exactly(refusal(HomogeneityError, model, batch(), target=1), model, ["0.a", "0", "1"])
    assert probed(model, batch()) == [("0.a", "Linear"), ("1", "Linear")]
    model[0].a.bias = model[1].bias = None
    assert_both_name(model, batch(), ["0"])
    model[0].constant = 0.0
    XGradient(model).attribute(batch(), target=1)


def test_a_bias_of_zero_is_not_blamed() -> None:
    model = xdnn(WIDTH, 12, 12, 3)
    plant_bias(model[0], 0.0)
    plant_bias(model[2], 0.1)
    assert_both_name(model, batch(), ["2"])


def test_a_layer_that_does_not_run_is_not_blamed() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.never = nn.Linear(WIDTH, 3)
            self.used = nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = fill(Unused(), 1).eval()
    assert_both_name(model, batch(), ["used"])


def test_layers_of_another_degree_than_one_are_not_blamed() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sqrt()

    model = fill(nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), Square(), Root(), nn.Linear(WIDTH, 3)), 1).eval()
    plant_bias(model[3], 0.1)
    assert_both_name(model, batch(), ["3"])


def test_a_branch_that_does_not_depend_on_the_input_is_not_blamed_but_who_adds_it() -> None:
    class WithEmbedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, WIDTH)
            self.out = nn.Linear(WIDTH, 3, bias=False)
            self.register_buffer("token", torch.ones(1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x + self.embed(self.token))

    model = fill(WithEmbedding(), 1).eval()
    assert_both_name(model, batch(), [""])


def test_an_additional_argument_is_not_scaled_when_a_layer_is_probed() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Bilinear(WIDTH, 2, 3, bias=False)
            self.out = nn.Linear(3, 3)

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            return self.out(self.gate(x, condition))

    model, condition = fill(Gated(), 1).eval(), torch.rand(3, 2, generator=seeded(2))
    plant_bias(model.out, 0.1)
    error = refusal(HomogeneityError, model, batch(), target=1, additional_forward_args=condition)
    assert_names_exactly(error, model, ["out"])
    assert probed(model, batch(), additional=condition) == [("out", "Linear")]


def test_an_inplace_layer_leaves_the_other_layers_their_inputs() -> None:
    model = xdnn(WIDTH, 12, 12, 12, 3, activation=lambda: nn.ReLU(inplace=True))
    plant_bias(model[4], 0.1)
    model = nn.Sequential(nn.LeakyReLU(0.1, inplace=True), *model).eval()
    assert_both_name(model, batch(), ["5"])


def test_activations_that_are_overwritten_after_a_layer_has_read_them_are_probed_as_it_read_them() -> None:
    class Overwrites(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            hidden = 1 * x
            read = self.a(hidden)
            hidden.fill_(1.0)
            return self.b(read * hidden)

    model = fill(Overwrites(), 1).eval().requires_grad_(False)
    plant_bias(model.a, 0.1)
    model.a.bias.requires_grad_(False)
    assert_both_name(model, batch(), ["a"])


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float16, 5e3), (torch.float32, 1e35), (torch.float32, 1e-32), (torch.bfloat16, 1e35)]
)
def test_layers_whose_activations_leave_the_range_when_they_are_probed_are_not_blamed(
    dtype: torch.dtype, size: float
) -> None:
    """float16 ends at 65504: activations of 5000 cannot be multiplied by 16, which is no fault of the layer's."""
    model, x = xdnn(WIDTH, 16, 16, 3).to(dtype), (batch() * size).to(dtype)
    plant_bias(model[2], 0.3 * size)
    assert_both_name(model, x, ["2"])


def test_of_a_network_of_high_degree_that_overflows_when_it_is_probed_no_layer_is_blamed() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    layers = [Square() if isinstance(layer, nn.ReLU) else layer for layer in xdnn(WIDTH, 8, 8, 8, 3)]
    model = nn.Sequential(*layers).eval()  # degree 8: 2^(16·8) is beyond float32
    forward_func = lambda x: model(x).softmax(1)
    error = refusal(HomogeneityError, forward_func, batch() / 4, target=1, model=model)
    assert_names_line(error, forward_func, "normalises exponentials (softmax), which are sharper for larger α")
    for i in range(3):
        assert probed(forward_func, batch() / 4, example=i) == []


def test_a_violation_that_shows_in_one_example_only_names_its_layer() -> None:
    model = xdnn(WIDTH, 12, 12, 3)
    model = insert(model, 2, SaturatesAt(50.0))
    for i in range(4):
        x = batch(4) * 2.0**-20
        x[i] *= 2.0**19
        assert_both_name(model, x, ["2"], says=[f"Worst: example {i}"])


@dataclasses.dataclass
class Output:
    logits: Tensor
    hidden: Tensor


class Wraps(nn.Module):
    """Returns a data class, as models of other libraries do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Output:
        return Output(self.inner(x), x)


@pytest.mark.parametrize(
    ("wrap", "read", "path"),
    [
        (Wraps, lambda o: o.logits, "inner.2"),
        (Pair, lambda o: o[0], "inner.2"),
        (Named, lambda o: o["hidden"], "inner.2"),
    ],
)
def test_models_that_return_containers_are_looked_into(wrap: Callable, read: Callable, path: str) -> None:
    model = wrap(xdnn(WIDTH, 12, 12, 3)).eval()
    plant_bias(model.get_submodule(path), 0.1)
    assert_both_name(lambda x: read(model(x)), batch(), [path], model=model)


# -------------------------------------------------------------------------------------- forward functions around models


def test_a_lambda_around_a_model_still_names_the_layers() -> None:
    model = xdnn(WIDTH, 12, 12, 3)
    plant_bias(model[2], 0.1)
    assert_both_name(lambda x: 2 * model(3 * x)[:, 0], batch(), ["2"], model=model, target=None)


def test_of_two_models_in_one_forward_function_the_one_to_blame_is_named() -> None:
    good, bad = nn.Sequential(xdnn(WIDTH, 12, 3)), xdnn(WIDTH, 12, 3)
    plant_bias(bad[2], 0.1)
    forward_func = lambda x: good(x) + bad(x)
    error = refusal(HomogeneityError, forward_func, batch(), target=1, model=bad)
    assert culprits(error.report) == [("2", "Linear")]
    assert probed(forward_func, batch()) == [("2", "Linear")]


OUTSIDE = {
    "softmax": (lambda f: f.softmax(1), "normalises exponentials (softmax), which are sharper for larger α"),
    "log_softmax": (
        lambda f: f.log_softmax(1),
        "subtracts a smooth maximum (logsumexp), which is sharper for larger α",
    ),
    "sigmoid": (lambda f: f.sigmoid(), "saturates, so a large enough αx no longer counts"),
    "constant": (lambda f: f + 0.1, "adds a constant of up to 0.1"),
    "clamp": (
        lambda f: f.clamp(-1, 1) + f.clamp(max=0.01),
        "saturates at 1, so a large enough αx is cut off; saturates at 0.01, so a large enough αx is cut off",
    ),
}


@pytest.mark.parametrize(("wrap", "reason"), OUTSIDE.values(), ids=OUTSIDE)
def test_what_the_forward_function_itself_does_is_named_with_its_line_and_no_layer_is_blamed(
    wrap: Callable, reason: str
) -> None:
    model = xdnn(WIDTH, 12, 12, 3)
    error = refusal(HomogeneityError, lambda x: wrap(model(x)), batch(), target=1, model=model)
    assert_names_line(error, wrap, reason)


@pytest.mark.parametrize("wrap", [wrap for wrap, _ in OUTSIDE.values()], ids=OUTSIDE)
def test_where_the_forward_function_breaks_it_unseen_the_message_says_that_the_layers_are_fine(wrap: Callable) -> None:
    model = xdnn(WIDTH, 12, 12, 3)
    says = ["Not analysed: ", "in another thread", "Every layer is homogeneous by itself", "in the forward function"]
    forward_func = unseen(lambda x: wrap(model(x)))
    error = refusal(HomogeneityError, forward_func, batch(), target=1, model=model, says=says)
    assert error.report.culprits == ()
    assert probed(lambda x: wrap(model(x)), batch()) == []


def test_a_sum_of_layers_of_unequal_degree_is_named_with_its_line_and_neither_layer() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    square, plain = Square(), nn.Linear(WIDTH, WIDTH, bias=False)
    forward_func = lambda x: (square(x) + plain(x)).sum(1)
    error = refusal(HomogeneityError, forward_func, batch())
    culprit = assert_names_line(error, forward_func, "adds what has degree 1 and degree 2")
    assert culprit.remedy == "Bring the parts to one degree, or explain them separately"
    says = ["Every layer is homogeneous by itself", "a sum of parts of different degree"]
    assert refusal(HomogeneityError, unseen(forward_func), batch(), says=says).report.culprits == ()
    assert probed(forward_func, batch(), target=None) == []


def test_in_a_forward_function_without_any_module_the_operation_is_named_with_its_line() -> None:
    forward_func = lambda x: x.exp().sum(1)
    error = refusal(HomogeneityError, forward_func, batch())
    assert_names_line(error, forward_func, "takes an exponential, and that of αx is no multiple of that of x")


def test_a_forward_function_without_any_module_claims_nothing_about_layers() -> None:
    error = refusal(HomogeneityError, lambda x: x.exp().sum(1), batch())
    assert "layer" not in str(error)


# --------------------------------------------------------------------------------------------------- models that resist


class OnlyWholeBatches(nn.Module):
    """Runs for exactly three examples."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.reshape(3, WIDTH))


class RefusesHooks(nn.Module):
    """Raises where it is looked at: any module may do anything when probed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self._forward_hooks or self._forward_pre_hooks:
            raise KeyError("no hooks")
        return self.linear(x)


COULD_NOT = "The layers could not be probed one by one"


@pytest.mark.parametrize(
    ("model", "run", "says"),
    [
        (
            OnlyWholeBatches(),
            lambda f: f,
            "It could not be analysed op by op: RuntimeError: shape '[3, 12]' is invalid",
        ),
        (RefusesHooks(), unseen, "Not analysed: "),
    ],
    ids=["OnlyWholeBatches", "RefusesHooks"],
)
def test_a_model_that_cannot_be_run_in_pieces_is_refused_all_the_same(
    model: nn.Module, run: Callable, says: str
) -> None:
    fill(model, 1).eval()
    plant_bias(model.linear, 0.1)
    says = ["F(αx) ≠ αF(x)", says, COULD_NOT]
    error = refusal(HomogeneityError, run(model), batch(), target=1, model=model, says=says)
    assert error.report.culprits == ()
    assert not error.report.homogeneous
    found, (note,) = probe(model, batch())
    assert found == ()
    assert note.startswith(COULD_NOT)


def test_a_model_that_refuses_hooks_is_seen_by_the_certificate_which_needs_none() -> None:
    model = fill(RefusesHooks(), 1).eval()
    plant_bias(model.linear, 0.1)
    says = ["linear (Linear): adds a bias of up to 0.1"]
    assert_names_exactly(refusal(HomogeneityError, model, batch(), target=1, says=says), model, ["linear"])


@pytest.mark.parametrize(
    ("convert", "named", "says"),
    [
        (torch.jit.script, [], [COULD_NOT, "is scripted or traced, so its operations are not seen one by one"]),
        (
            lambda model: torch.jit.trace(model, batch()),
            [("", "TopLevelTracedModule")],
            [
                "is scripted or traced, so its operations are not seen one by one",
                "the model itself (TopLevelTracedModule): its output does not scale with its input; the layers inside "
                "it were not called as modules",
                "Try the model as it was before tracing",
            ],
        ),
        (
            lambda model: torch.compile(model, backend="eager"),
            [("_orig_mod.2", "Linear")],
            [
                "is compiled, so its operations are not seen one by one",
                "    _orig_mod.2 (Linear): adds a bias of up to 0.1\n"
                "      → Use to_xdnn(model), or train it with bias=False",
            ],
        ),
    ],
    ids=["scripted", "traced", "compiled"],
)
def test_a_model_whose_operations_are_not_seen_is_refused_and_probed(
    convert: Callable, named: list, says: list[str]
) -> None:
    model = xdnn(WIDTH, 12, 3)
    plant_bias(model[2], 0.1)
    with torch.no_grad():
        twin = convert(model)
    with pytest.raises(HomogeneityError) as caught:
        XGradient(twin).attribute(batch(), target=1)
    for fragment in ["F(αx) ≠ αF(x)", *says]:
        assert fragment in str(caught.value)
    assert not caught.value.report.certificate.violations
    assert culprits(caught.value.report) == named


def test_control_flow_that_depends_on_the_input_is_refused_and_its_layers_named() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = nn.Linear(WIDTH, 3, bias=False), nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.large(x) if float(x.detach().abs().max()) > 0.5 else self.small(x)

    model = fill(Branches(), 1).eval()
    plant_bias(model.large, 0.1)
    error = refusal(HomogeneityError, model, batch(), target=1)
    assert ("large", "Linear") in culprits(error.report)
    assert probed(model, batch()) == [("large", "Linear")]


def hooks(model: nn.Module) -> int:
    return sum(len(v) for m in model.modules() for k, v in vars(m).items() if k.endswith("_hooks") and v is not None)


@pytest.mark.parametrize("model", [OnlyWholeBatches(), RefusesHooks(), AddsConstant(WIDTH)], ids=str)
def test_no_hook_stays_on_any_module_also_where_probing_fails(model: nn.Module) -> None:
    fill(model, 1).eval()
    if hasattr(model, "linear"):
        plant_bias(model.linear, 0.1)
    refusal(HomogeneityError, model, batch(), target=1)
    assert hooks(model) == 0
    probe(model, batch())
    assert hooks(model) == 0


def test_the_users_own_hooks_stay_and_still_work() -> None:
    model, seen = xdnn(WIDTH, 12, 3), []
    plant_bias(model[0], 0.1)
    model[0].register_forward_hook(lambda *_: seen.append(1))
    assert_both_name(model, batch(), ["0"])
    seen.clear()
    model(batch())
    assert seen == [1]
    assert hooks(model) == 1


def test_localization_leaves_buffers_that_a_forward_does_not_write_alone_under_inference_mode() -> None:
    model = insert(xdnn(WIDTH, 12, 12, 3), 2, shifting_batch_norm(12))
    with torch.inference_mode(), nothing_changes(model):
        assert culprits(check_homogeneity(model, batch(), 1)) == [("2", "BatchNorm1d")]
        assert culprits(check_homogeneity(unseen(model), batch(), 1)) == [("2", "BatchNorm1d")]


def test_a_check_that_cannot_begin_names_the_public_function() -> None:
    with pytest.raises(InputError, match=r"^check_homogeneity: "):
        check_homogeneity(xdnn(WIDTH, 3), torch.zeros(0, WIDTH))


# ------------------------------------------------------------------------------------------------- torchvision's models


def image(size: int = 64, n: int = 2) -> Tensor:
    return torch.randn(n, 3, size, size, generator=seeded(7))


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.resnet18(num_classes=10).eval()
    generator = seeded(8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
                module.bias.copy_(0.1 * torch.randn(module.num_features, generator=generator))
    return model


def test_in_a_resnet_every_batch_norm_and_the_last_layer_are_named_and_no_convolution(resnet: nn.Module) -> None:
    x = image()
    to_blame = [m for m in executed(resnet, x) if isinstance(m, (nn.BatchNorm2d, nn.Linear))]
    paths = {id(module): path for path, module in resnet.named_modules()}
    error = refusal(HomogeneityError, resnet, x, target=3, says=["… and 11 more (all in report.culprits)"])
    assert culprits(error.report) == [(paths[id(m)], type(m).__name__) for m in to_blame]
    assert probed(resnet, x, target=3) == culprits(error.report)
    assert len(to_blame) == 21
    assert "Conv2d" not in str(error)


def test_a_fresh_resnet_names_only_the_bias_of_its_last_layer() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.resnet18(num_classes=10).eval()
    assert_both_name(model, image(), ["fc"], target=3)
    model.fc.bias = None
    XGradient(model).attribute(image(), target=3)


def test_a_fresh_squeezenet_is_accepted_and_with_biases_each_convolution_is_named() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.squeezenet1_1(num_classes=10).eval()
    x = image()
    XGradient(model).attribute(x, target=3)  # its biases are zero to begin with
    generator = seeded(9)
    convolutions = [m for m in executed(model, x) if isinstance(m, nn.Conv2d)]
    for convolution in convolutions:
        plant_bias(convolution, 0.01 * torch.randn(convolution.out_channels, generator=generator))
    error = refusal(HomogeneityError, model, x, target=3)
    paths = {id(module): path for path, module in model.named_modules()}
    assert culprits(error.report) == [(paths[id(m)], "Conv2d") for m in convolutions]
    assert probed(model, x, target=3) == culprits(error.report)
    strip_biases(model)
    XGradient(model).attribute(x, target=3)


def test_a_recurrent_network_is_named_with_its_reason() -> None:
    class LastStep(nn.Module):
        def __init__(self, rnn: nn.Module) -> None:
            super().__init__()
            self.rnn = rnn

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x)[0][:, -1]

    x = torch.randn(3, 5, 4, generator=seeded(1))
    for rnn in (nn.LSTM(4, 6, batch_first=True), nn.GRU(4, 6, batch_first=True), nn.RNN(4, 6, batch_first=True)):
        model = fill(LastStep(rnn), 1).eval()
        says = [f"rnn ({type(rnn).__name__}): has gates or activations that saturate"]
        assert_names_exactly(refusal(HomogeneityError, model, x, target=1, says=says), model, ["rnn"])
    homogeneous = fill(LastStep(nn.RNN(4, 6, batch_first=True, nonlinearity="relu", bias=False)), 1).eval()
    XGradient(homogeneous).attribute(x, target=1)


@pytest.mark.parametrize("math_only", [True, False])
def test_attention_is_named_with_its_reason(math_only: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=math_only)[0].sum(1)

    model = fill(Attends(), 1, gain=2.0).eval()
    x = torch.randn(3, 5, 4, generator=seeded(1))
    error = refusal(HomogeneityError, model, x, target=1, says=["takes a softmax over products of its input"])
    assert ("attention", "MultiheadAttention") in culprits(error.report)


def test_scales_that_are_no_powers_of_two_localize_as_well() -> None:
    model = xdnn(WIDTH, 12, 12, 3)
    plant_bias(model[2], 0.1)
    for scales in ((3.0,), (0.3, 7.0), (math.pi,)):
        assert culprits(check_homogeneity(model, batch(), 1, scales=scales)) == [("2", "Linear")]
