"""Random programs against brute truth: what is certified is true, and what is true is certified."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import seeds
from effort import tries
from hypothesis import given
from programs import STEPS, Program, draw_program
from torch import Tensor
from torch.nn import functional as F
from truth import truth_of
from verdicts import Tally, judge, outcomes

pytestmark = pytest.mark.filterwarnings("ignore")  # programs do what users are warned of


@pytest.fixture(scope="module")
def tally() -> Tally:
    """Programs and what is said of them."""
    found = Tally()
    for outcome in outcomes(range(100, 100 + tries(100, 300))):
        found.add(outcome)
    return found


# ---------------------------------------------------------------------------------------------------------------- laws


def hold_soundness(found: Tally) -> None:
    assert not found.kinds["unsound"], found.examples("unsound")


def hold_completeness(found: Tally) -> None:
    assert found.share_certified >= 0.98, f"{found}\n{found.examples('missed')}"


def hold_disproofs(found: Tally) -> None:
    assert not found.kinds["falsely disproved"], found.examples("falsely disproved")


def test_nothing_is_certified_that_brute_truth_disproves(tally: Tally) -> None:
    hold_soundness(tally)


def test_nearly_all_that_is_homogeneous_by_construction_is_certified(tally: Tally) -> None:
    hold_completeness(tally)


def test_nothing_that_is_homogeneous_is_disproved(tally: Tally) -> None:
    hold_disproofs(tally)


def test_programs_are_of_both_kinds_and_of_all_steps(tally: Tally) -> None:
    assert 0.35 < tally.share_homogeneous < 0.9
    assert tally.kinds["refused"] > tally.total / 6
    assert tally.kinds["unclear"] < 0.08 * tally.total
    assert len(tally.ops) > 0.9 * sum(map(len, STEPS.values()))


@given(seeds)
def test_no_seed_draws_a_program_that_is_falsely_certified_or_disproved(seed: int) -> None:
    outcome = judge(draw_program(seed), seed)
    assert outcome.kind not in ("unsound", "falsely disproved"), outcome


@pytest.mark.slow
def test_the_laws_hold_for_ten_thousand_programs() -> None:
    found = Tally()
    for outcome in outcomes(range(1000, 11000)):
        found.add(outcome)
    print(found)
    hold_soundness(found)
    hold_completeness(found)
    hold_disproofs(found)


# ------------------------------------------------------------------------------------------ what the laws are held with


def points(seed: int = 0) -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(2, 4, generator=generator, dtype=torch.float64),) for _ in range(3)]


def behind_autograd(x: Tensor) -> Tensor:
    y = x.clone()
    y.data.mul_(2)
    return y


def used_twice(x: Tensor) -> Tensor:
    y = x.exp()
    z = (y * y).sum()
    y.zero_()
    return z


KNOWN: dict[str, tuple[Callable[[Tensor], Tensor], str, str, float | None]] = {
    "identity": (lambda x: x, "yes", "yes", 1),
    "relu": (torch.relu, "yes", "yes", 1),
    "square": (lambda x: x**2, "yes", "yes", 2),
    "root": (lambda x: x.abs().sqrt(), "yes", "yes", 0.5),
    "third root": (lambda x: x.norm() ** (1 / 3), "yes", "yes", 1 / 3),
    "reciprocal": (lambda x: 1 / x.norm(), "yes", "yes", -1),
    "direction": (lambda x: x / x.norm(), "yes", "yes", 0),
    "softmax of a direction": (lambda x: (x / x.norm()).softmax(1) * x, "yes", "yes", 1),
    "sign": (torch.sign, "yes", "yes", 0),
    "sign, detached": (lambda x: x.detach().sign() * x, "yes", "yes", 1),
    "largest": (lambda x: x.max(1).values, "yes", "yes", 1),
    "constant": (lambda x: torch.ones(3, dtype=torch.float64), "yes", "yes", 0),
    "zero": (lambda x: 0 * x, "yes", "yes", None),
    "zero or not": (lambda x: x * (x > 1e9 * x.abs().max()), "yes", "yes", None),
    "no scale": (torch.exp, "no", "unclear", None),
    "a tiny offset": (lambda x: x + 1e-9, "no", "unclear", None),
    "a tiny eps beside a norm": (lambda x: x / x.norm().clamp(min=1e-12), "no", "unclear", None),
    "a large bound": (lambda x: x.clamp(max=1e12), "no", "unclear", None),
    "an offset in one small number": (
        lambda x: torch.cat([1e5 * x, 1e-3 * x.clamp(max=0.1)]), "no", "unclear", None),
    "two degrees": (lambda x: x + x**2, "no", "unclear", None),
    "two degrees side by side": (lambda x: torch.cat([x, x**2]), "no", "unclear", None),
    "steps": (torch.floor, "no", "unclear", None),
    "powers of two only": (lambda x: torch.frexp(x).mantissa, "no", "unclear", None),
    "for one sign only": (lambda x: torch.where(x > 0, x, -1.0), "no", "unclear", None),
    "for some inputs only": (lambda x: x + 0.1 * (x.sum() > 0), "no", "unclear", None),
    "logarithm": (lambda x: x.abs().log(), "no", "unclear", None),
    "detached": (lambda x: x.detach(), "yes", "no", 1),
    "detached in part": (lambda x: x + x.detach(), "yes", "no", 1),
    "a detached factor of degree 0": (lambda x: x * (x / x.norm()).detach().abs().mean(), "yes", "no", 1),
    "a detached denominator": (lambda x: x**2 / x.norm().detach(), "yes", "no", 1),
    "behind autograd's back": (behind_autograd, "yes", "no", 1),
    "autograd refuses": (used_twice, "no", "unclear", None),
    "a root at zero": (lambda x: (x * (x > 0)).pow(2).sqrt(), "yes", "not finite", 1),
    "equal but for rounding": (lambda x: x.sum() * (x.sum().expand(7) > x.sum().expand(7).mean()), "unclear", "", None),
    "in place": (lambda x: x.mul_(2).relu_(), "yes", "yes", 1),
    "cancelled exactly": (lambda x: (x.sin() - x.sin()) + x, "yes", "yes", 1),
    "straight through": (lambda x: x.abs() + (x - x.abs()).detach(), "yes", "no", 1),
    "gated linear unit": (F.glu, "no", "unclear", None),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_brute_truth_knows_what_is_known(name: str) -> None:
    function, values, gradient, degree = KNOWN[name]
    truth = truth_of(function, points())
    assert truth.values == values, truth
    if values == "unclear":
        return
    assert truth.gradient == gradient, truth
    assert (truth.degree is None) == (degree is None)
    assert degree is None or truth.fits(degree)


def test_a_program_that_is_printed_runs_as_it_was_judged() -> None:
    for seed in range(20):
        program = draw_program(seed)
        names: dict = {}
        text = str(program)
        exec("import math, torch\nfrom torch import nn\nfrom torch.nn import functional as F\ninf = math.inf", names)
        exec("LOW = torch.float64\nfrom programs import given, made, shifted, unshifted, zeroed", names)
        exec(text, names)
        x = program.inputs(1)
        copies = tuple(t.clone() for t in x)
        assert torch.equal(names["program"](*x), program.function()(*copies))


def test_the_same_seed_draws_the_same_program() -> None:
    assert all(str(draw_program(seed)) == str(draw_program(seed)) for seed in range(10))


def test_modes_say_what_is_in_a_program() -> None:
    def broken(program: Program) -> bool:
        return any(op in STEPS["breaking"] for op in program.ops)

    assert not any(broken(draw_program(seed, "strict")) for seed in range(30))
    assert sum(broken(draw_program(seed, "planted")) for seed in range(30)) >= 28
    assert all(draw_program(seed, "strict").meant_homogeneous for seed in range(30))
