"""For tests of rules: does what a degree rule claims agree with the values and gradients of its operation?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from captum_xg.homogeneity.degree import Scaling
from captum_xg.homogeneity.escapes import Escapes
from captum_xg.homogeneity.registry import find_rule
from captum_xg.homogeneity.tracer import Located, Tracer

SCALES = (1e-3, 1 / 17, 0.37, 2.6, 31.0, 1e3)
"""α at which F(αx) is compared with αᵏF(x): far from 1 on both sides, and near to it."""

_TOLERANCE = 1e-6
_SLOPE_TOLERANCE = 1e-4
_TINY = 1e-200

Function = Callable[..., Any]


@dataclass(frozen=True)
class Finding:
    """What is claimed about one tensor of the output, and what its values say.

    Attributes:
        chosen: The arguments that were scaled together; all others stayed as they were.
        output: Number of the tensor among those that the function returns.
        claim: The scaling that the rules infer.
        wrong: How the claim is contradicted, ``""`` if it is not.
        degree: The k for which F(αx) = αᵏF(x) was seen to hold; None if none does, or if F is zero wherever it was looked.
        vacuous: F is zero or not finite wherever it was looked, so that values say nothing.
        slope_wrong: Values scale, but autograd's gradient is not theirs.
        escapes: What else makes a verdict unknown.
    """

    chosen: tuple[int, ...]
    output: int
    claim: Scaling
    wrong: str = ""
    degree: float | None = None
    vacuous: bool = False
    slope_wrong: bool = False
    escapes: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether a certificate would be issued."""
        return self.claim.proven and not self.escapes

    @property
    def missed(self) -> bool:
        """Whether it scales, as far as seen, but no certificate would be issued."""
        return self.degree is not None and not self.slope_wrong and not self.proven

    @property
    def obstacles(self) -> str:
        """What speaks against a certificate, in words."""
        return "; ".join(sorted({*(reason.what for reason in self.claim.reasons), *self.escapes}))


def assert_degree_rule_sound(
    function: Function,
    *inputs: Tensor,
    scales: Sequence[float] | None = None,
    n_draws: int = 4,
    complete: bool = False,
    seed: int = 0,
) -> None:
    """Assert that the degree rules of the operations in a function claim nothing that its values contradict.

    Every non-empty set of the floating-point inputs is taken as the input that α multiplies, the others as constants. For
    each, the degree that the rules infer is compared with F(αx) in float64, for inputs of both signs; where a degree is
    claimed, also autograd's gradient with finite differences and with Euler's identity Σ x·∂F = kF.

    Args:
        function: Calls the operation; it must accept float64. It returns a tensor, or tensors in a list, tuple or dict.
        inputs: Example arguments. Those that are not floating-point tensors stay as they are.
        scales: Values of α, positive; by default from 1e-3 to 1e3.
        n_draws: On how many inputs of the same shapes, the given ones among them.
        complete: Also fail if a set of inputs for which F scales, as far as seen, is not certified.
        seed: Of the inputs that are drawn.

    Raises:
        AssertionError: If a claim is contradicted; if an operation has no rule; with ``complete``, if a claim is missing.
        ValueError: If no input is a floating-point tensor with elements, or a scale is not positive.

    Example:
        >>> import torch
        >>> assert_degree_rule_sound(torch.mul, torch.randn(3), torch.randn(3), complete=True)
    """
    where = "assert_degree_rule_sound"
    scales = SCALES if scales is None else tuple(scales)
    if not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"{where}: `scales` must be positive and finite but are {scales}.")
    exact = [_exact(value) for value in inputs]
    eligible = [i for i, value in enumerate(exact) if scalable(value)]
    if not eligible:
        raise ValueError(f"{where}: no input is a floating-point tensor with elements. Pass one to be scaled.")
    for size in range(1, len(eligible) + 1):
        for chosen in combinations(eligible, size):
            for finding in examine(function, exact, chosen, scales=scales, n_draws=n_draws, seed=seed):
                if message := _complaint(finding, complete):
                    raise AssertionError(f"{where}: {message}")


def _complaint(finding: Finding, complete: bool) -> str:
    names = " and ".join(f"inputs[{i}]" for i in finding.chosen)
    place = f"with {names} scaled, output {finding.output}"
    if finding.wrong:
        return (
            f"{place}: the rules claim {finding.claim}, but {finding.wrong}. "
            "Mend the rule of the operation; where an option makes it doubtful, return the scaling with a Reason."
        )
    for reason in finding.claim.reasons:
        name = "::".join(reason.site.op.split(".")[:2]) if isinstance(reason, Located) else ""
        if name.count("::") == 1 and find_rule(name) is None:
            return (
                f"{place}: {name} has no rule, so nothing can be claimed. "
                f"Write one with @captum_xg.homogeneity.degree_rule({name!r}), and import it before."
            )
    if complete and finding.missed:
        return (
            f"{place}: F scales with degree {finding.degree:g} as far as seen, but is not certified: {finding.obstacles}. "
            "Let the rule say so, or leave `complete` out if it only seems so on these inputs."
        )
    return ""


def scalable(value: Any) -> bool:
    """Return whether a value is a dense tensor of real or complex numbers with elements."""
    return (
        isinstance(value, Tensor)
        and (value.dtype.is_floating_point or value.dtype.is_complex)
        and value.layout == torch.strided
        and not value.is_nested
        and value.numel() > 0
    )


def examine(
    function: Function,
    inputs: Sequence[Any],
    chosen: tuple[int, ...],
    *,
    scales: Sequence[float] = SCALES,
    n_draws: int = 4,
    seed: int = 0,
) -> list[Finding]:
    """Return, for each tensor of the output, what the rules claim if some inputs are scaled, and what values say.

    Args:
        function: F.
        inputs: Its arguments, in float64 or complex128.
        chosen: Which of them α multiplies.
        scales: Values of α.
        n_draws: On how many inputs of the same shapes.
        seed: Of the inputs that are drawn.
    """
    claims, escapes = claims_of(function, inputs, chosen)
    looks = [
        look
        for xs in _draws([inputs[i] for i in chosen], n_draws, seed)
        if (look := _look(function, inputs, chosen, xs, scales)) is not None
    ]
    return [_compare(chosen, i, claim, escapes, looks, scales) for i, claim in enumerate(claims)]


def claims_of(
    function: Function, inputs: Sequence[Any], chosen: tuple[int, ...]
) -> tuple[list[Scaling], tuple[str, ...]]:
    """Return how each tensor of the output scales according to the rules, and what else makes a verdict unknown."""

    def run(values: Sequence[Any]) -> list[Tensor]:
        torch.manual_seed(0)
        return _tensors(function(*values))

    tracer = Tracer({}, run.__code__)
    with torch.enable_grad():
        values = [value.detach().clone() if isinstance(value, Tensor) else value for value in inputs]
        for i in chosen:
            values[i] = values[i].requires_grad_().clone()
            tracer.add_input(values[i])
        with Escapes(tracer), tracer:
            outputs = run(values)
        claims = [tracer.scaling(y) for y in outputs]
    return claims, tuple(reason.what for reason in tracer.escapes)


@dataclass
class _Look:
    """F near one x: its values there and at every scale, slopes by autograd and by differences."""

    values: list[Tensor]
    scaled: list[list[Tensor] | None]
    euler: list[float | None] = field(default_factory=list)
    slopes: list[tuple[float, float, float] | None] = field(default_factory=list)
    moved: list[bool] = field(default_factory=list)


def _look(
    function: Function, inputs: Sequence[Any], chosen: tuple[int, ...], xs: list[Tensor], scales: Sequence[float]
) -> _Look | None:
    def run(points: Iterable[Tensor]) -> list[Tensor]:
        arguments = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
        for i, point in zip(chosen, points, strict=True):
            arguments[i] = point.clone()
        torch.manual_seed(0)
        return [_real(y) for y in _tensors(function(*arguments))]

    def attempt(points: Iterable[Tensor]) -> list[Tensor] | None:
        try:
            with torch.no_grad():
                return run(points)
        except (RuntimeError, ValueError, IndexError):  # outside of its domain
            return None

    values = attempt(xs)
    if values is None:
        return None
    look = _Look(values, [attempt([scale * x for x in xs]) for scale in scales])
    directions = [torch.randn_like(x) * _size(x) for x in xs]
    step = 1e-6
    ahead = attempt([x + step * d for x, d in zip(xs, directions, strict=True)])
    behind = attempt([x - step * d for x, d in zip(xs, directions, strict=True)])
    handles = [x.detach().clone().requires_grad_() for x in xs]
    try:
        with torch.enable_grad():
            recorded: list[Tensor] | None = run(handles)
    except (RuntimeError, ValueError, IndexError):
        recorded = None
    for i, y in enumerate(values):
        after = None if ahead is None or behind is None else (behind[i], ahead[i])
        _look_at_slopes(look, y, None if recorded is None else recorded[i], handles, directions, after, step)
    return look


def _look_at_slopes(
    look: _Look,
    y: Tensor,
    recorded: Tensor | None,
    handles: list[Tensor],
    directions: list[Tensor],
    after: tuple[Tensor, Tensor] | None,
    step: float,
) -> None:
    """Note Σ x·∂F, slopes along a direction, and whether F moves at all, for F weighted at random."""
    comparable = after is not None and after[0].shape == after[1].shape == y.shape
    look.moved.append(comparable and after is not None and not torch.equal(after[0], after[1]))
    if recorded is None or y.dtype != torch.float64 or not y.isfinite().all():
        look.euler.append(None)
        look.slopes.append(None)
        return
    weights = torch.randn(y.shape, dtype=y.dtype)
    gradients: Sequence[Tensor | None] = [None] * len(handles)
    if recorded.requires_grad:
        try:
            gradients = torch.autograd.grad((weights * recorded).sum(), handles, retain_graph=True, allow_unused=True)
        except RuntimeError:  # it has no derivative, or says itself that it is not defined
            look.euler.append(None)
            look.slopes.append(None)
            return
    total = float((weights * y).sum())
    along = sum(_inner(g, x) for g, x in zip(gradients, handles, strict=True) if g is not None)
    size = float((weights * y).abs().sum()) + sum(
        _inner(g.abs(), x.abs()) for g, x in zip(gradients, handles, strict=True) if g is not None
    )
    look.euler.append(None if not math.isfinite(size) else (along, total, size))  # type: ignore[arg-type]
    if not comparable or after is None:
        look.slopes.append(None)
        return
    slope = sum(_inner(g, d) for g, d in zip(gradients, directions, strict=True) if g is not None)
    seen = float((weights * (after[1] - after[0])).sum()) / (2 * step)
    typical = sum(_inner(g.abs(), d.abs()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    look.slopes.append((slope, seen, typical + float((weights * y).abs().sum())))


def _compare(
    chosen: tuple[int, ...],
    output: int,
    claim: Scaling,
    escapes: tuple[str, ...],
    looks: list[_Look],
    scales: Sequence[float],
) -> Finding:
    looks = [look for look in looks if len(look.values) > output]
    degree, vacuous = _degree_seen(output, looks, scales)
    wrong = ""
    if claim.proven and not escapes:
        wrong = _contradiction(output, claim, looks, scales)
    slope_wrong = degree is not None and bool(_contradicted_slope(output, degree, looks))
    return Finding(chosen, output, claim, wrong, degree, vacuous, slope_wrong, escapes)


def _contradiction(output: int, claim: Scaling, looks: list[_Look], scales: Sequence[float]) -> str:
    degree = claim.degree or 0.0
    for look in looks:
        y = look.values[output]
        if claim.zero and bool((y.isfinite() & (y != 0)).any()):
            return f"F(x) is not zero but up to {float(y.abs().max()):.2g}"
        if claim.constant and not _equal(y, looks[0].values[output]):
            return "F(x) differs between two inputs"
        for scale, scaled in zip(scales, look.scaled, strict=True):
            if scaled is None:
                continue
            if len(scaled) <= output or scaled[output].shape != y.shape:
                return f"F({scale:g}·x) has another shape than F(x)"
            if (deviation := _deviation(scaled[output], y, scale, degree)) > _TOLERANCE:
                return f"F({scale:g}·x) deviates from {scale:g}^{degree:g}·F(x) by {deviation:.1e} of it"
    if claim.stepwise and claim.depends_on_input and (tried := [look.moved[output] for look in looks]) and all(tried):
        return "it is said to change in steps only, but changes with every small change of x"
    return _contradicted_slope(output, degree, looks)


def _contradicted_slope(output: int, degree: float, looks: list[_Look]) -> str:
    sums = [look.euler[output] for look in looks if look.euler[output] is not None]
    bad = [s for s in sums if abs(s[0] - degree * s[1]) > _SLOPE_TOLERANCE * s[2]]  # type: ignore[index]
    if sums and len(bad) == len(sums):
        return f"Σ x·∂F is {bad[0][0]:.3g} by autograd and kF is {degree * bad[0][1]:.3g}"  # type: ignore[index]
    slopes = [s for look in looks if (s := look.slopes[output]) is not None]
    # At a kink, or where steps are crossed, one direction may disagree; not every one.
    wrong = [s for s in slopes if abs(s[0] - s[1]) > 10 * _SLOPE_TOLERANCE * s[2]]
    if slopes and len(wrong) == len(slopes):
        return f"autograd's slope along a direction is {wrong[0][0]:.3g} and the slope of F is {wrong[0][1]:.3g}"
    return ""


def _degree_seen(output: int, looks: list[_Look], scales: Sequence[float]) -> tuple[float | None, bool]:
    """Return the degree that fits all values, and whether they say nothing."""
    telling = [look for look in looks if bool((look.values[output].isfinite() & (look.values[output] != 0)).any())]
    if not telling:
        return None, True
    near = min(range(len(scales)), key=lambda i: abs(abs(math.log(scales[i])) - 1))
    seen = telling[0].scaled[near]
    if seen is None or len(seen) <= output or seen[output].shape != telling[0].values[output].shape:
        return None, False
    before, after = _largest(telling[0].values[output]), _largest(seen[output])
    if before == 0 or not 0 < after / before < math.inf:
        return None, False
    degree = math.log(after / before) / math.log(scales[near])
    rounded = round(degree * 120) / 120  # fractions such as 1/2, 1/3, 2/5
    degree = rounded if abs(rounded - degree) < 1e-6 else degree
    for look in looks:
        y = look.values[output]
        for scale, scaled in zip(scales, look.scaled, strict=True):
            if scaled is None:
                continue
            if len(scaled) <= output or scaled[output].shape != y.shape:
                return None, False
            if not _deviation(scaled[output], y, scale, degree) <= _TOLERANCE:
                return None, False
    return degree, False


def _draws(xs: list[Tensor], n_draws: int, seed: int) -> Iterator[list[Tensor]]:
    """Yield the given inputs, then others of their shapes: random, negated, and shuffled ones."""
    generator = torch.Generator().manual_seed(seed)
    for draw in range(n_draws):
        if draw == 0:
            yield xs
        elif draw == 1:
            yield [_size(x) * torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in xs]
        elif draw == 2:
            yield [-x for x in xs]
        else:
            yield [x.flatten()[torch.randperm(x.numel(), generator=generator)].view_as(x) for x in xs]


def _deviation(observed: Tensor, y: Tensor, scale: float, degree: float) -> float:
    power = torch.tensor(scale, dtype=torch.float64) ** degree
    expected = y.double() * power
    rounding = torch.finfo(y.dtype).eps / torch.finfo(torch.float64).eps  # of a result in a shorter dtype
    observed = observed.double()
    if not _TINY < _largest(expected) / rounding < 1 / _TINY:
        return 0.0  # beyond, intermediate values need not be what they are in exact arithmetic
    if not torch.equal(observed.isnan(), expected.isnan()) or not torch.equal(observed.isinf(), expected.isinf()):
        return math.inf
    finite = expected.isfinite()
    if not torch.equal(observed[expected.isinf()], expected[expected.isinf()]):
        return math.inf
    difference = _largest((observed - expected)[finite])
    size = max(_largest(expected), _largest(observed))
    return difference / size / rounding if size > 0 else 0.0


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and _deviation(one, other, 1.0, 0.0) < _TOLERANCE


def _largest(y: Tensor) -> float:
    finite = y[y.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _size(x: Tensor) -> float:
    return _largest(x.detach().abs()) or 1.0


def _inner(gradient: Tensor, x: Tensor) -> float:
    return float((gradient.conj() * x.detach()).real.sum() if x.is_complex() else (gradient * x.detach()).sum())


def _real(y: Tensor) -> Tensor:
    y = y.to_dense() if y.layout != torch.strided else y
    if y.is_complex():
        return torch.view_as_real(y.resolve_conj())
    return y if y.dtype.is_floating_point else y.double()


def _tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


def _exact(value: Any) -> Any:
    if not isinstance(value, Tensor) or not (value.dtype.is_floating_point or value.dtype.is_complex):
        return value
    return value.detach().to(torch.complex128 if value.dtype.is_complex else torch.float64)
